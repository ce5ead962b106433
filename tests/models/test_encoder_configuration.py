# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
import json
import re

import pytest
from huggingface_hub.errors import StrictDataclassError
from transformers import AutoConfig, AutoImageProcessor

from mscn_hf.models import MSCNConfig, ReLICv2Config


@pytest.mark.parametrize("config_class,sigma", [(MSCNConfig, 5.0), (ReLICv2Config, None)])
def test_defaults(config_class, sigma):
    config = config_class.resnet(50)
    assert (config.high_pass_sigma, config.stem, config.padding) == (sigma, "imagenet", "symmetric")
    assert (config.image_size, config.crop_ratio) == (224, 0.875)
    assert config.image_mean == [0.485, 0.456, 0.406] and config.image_std == [0.229, 0.224, 0.225]
    assert config.to_dict() == config_class().to_dict()  # ResNet-50 is what the class describes by itself


def test_json_round_trip(tmp_path):
    config = MSCNConfig.resnet(
        34, 2, stem="small", padding="same", high_pass_sigma=7, image_size=96, crop_ratio=1.0,
        image_mean=(0.5, 0.4, 0.3), image_std=(1, 2, 3), out_features=["stage2", "stage4"], num_labels=7,
    )  # fmt: skip
    config.save_pretrained(tmp_path)
    saved = json.loads((tmp_path / "config.json").read_text())
    assert saved["model_type"] == "mscn" and saved["high_pass_sigma"] == 7 and saved["padding"] == "same"
    for loaded in (MSCNConfig.from_pretrained(tmp_path), AutoConfig.from_pretrained(tmp_path)):
        assert type(loaded) is MSCNConfig
        ours, theirs = config.to_dict(), loaded.to_dict()
        for bookkeeping in ("_name_or_path", "auto_map"):
            ours.pop(bookkeeping, None), theirs.pop(bookkeeping, None)
        assert ours == theirs
    assert MSCNConfig.from_dict(config.to_dict()).to_dict() == config.to_dict()


def test_defaults_are_written_down(tmp_path):
    """A later change of a default must not change a published network."""
    MSCNConfig().save_pretrained(tmp_path)
    saved = json.loads((tmp_path / "config.json").read_text())
    own = {"stem", "padding", "high_pass_sigma", "image_size", "crop_ratio", "image_mean", "image_std"}
    assert own | {"depths", "hidden_sizes", "layer_type", "embedding_size"} <= saved.keys()


def test_image_processor_is_native_and_follows_the_fields(tmp_path):
    MSCNConfig(image_size=96, crop_ratio=0.8, image_mean=[0.1, 0.2, 0.3], image_std=[1, 1, 2]).save_pretrained(
        tmp_path
    )
    processor = AutoImageProcessor.from_pretrained(tmp_path)
    assert type(processor).__name__.startswith("BitImageProcessor")
    assert dict(processor.size) == {"shortest_edge": 120} and dict(processor.crop_size) == {"height": 96, "width": 96}
    assert list(processor.image_mean) == [0.1, 0.2, 0.3] and list(processor.image_std) == [1, 1, 2]
    assert processor.resample == 3 and processor.do_convert_rgb and processor.do_normalize
    assert AutoImageProcessor.from_pretrained(tmp_path).to_dict() == processor.to_dict()


def test_explicit_sizes_win():
    config = MSCNConfig.resnet(18, 2, hidden_sizes=[8, 16], depths=[1, 1], embedding_size=4)
    assert (config.hidden_sizes, config.depths, config.embedding_size) == ([8, 16], [1, 1], 4)
    assert config.stage_names == ["stem", "stage1", "stage2"]


@pytest.mark.parametrize(
    "fields,message",
    [
        ({"depth": 17}, "18, 34, 50, 101, 152, 200, got 17"),
        ({"width": 0}, "width .* got 0"),
        ({"width": 1.5}, "width .* got 1.5"),
        ({"high_pas_sigma": 3.0}, "no field 'high_pas_sigma'; did you mean 'high_pass_sigma'"),
        ({"stem": "cifar"}, "'imagenet', 'small'.*cifar"),
        ({"padding": "valid"}, "'symmetric', 'same'.*valid"),
        ({"high_pass_sigma": 0}, "high_pass_sigma .* got 0"),
        ({"high_pass_sigma": -2.0}, "high_pass_sigma .* got -2.0"),
        ({"high_pass_sigma": float("nan")}, "high_pass_sigma .* got nan"),
        ({"high_pass_sigma": "5"}, "high_pass_sigma"),
        ({"image_size": 0}, "image_size .* got 0"),
        ({"image_size": 224.0}, "image_size"),
        ({"crop_ratio": 1.2}, r"crop_ratio must lie in \(0, 1\], got 1.2"),
        ({"crop_ratio": 0}, r"crop_ratio must lie in \(0, 1\], got 0"),
        ({"image_mean": [0.5]}, r"image_mean .*num_channels=3.* got \[0.5\]"),
        ({"image_std": [1.0, 1.0, 0.0]}, "image_std must be positive"),
        ({"depths": [1, 1]}, r"same number of stages.*depths=\[1, 1\]"),
        ({"depths": [1, 1, 0, 1]}, "depths must be at least 1"),
        ({"hidden_sizes": [256, 512, 1023, 2048]}, "multiples of 4"),
        ({"num_channels": 0}, "num_channels must be at least 1"),
        ({"layer_type": "wide"}, "layer_type=wide"),
    ],
)
def test_bad_fields_are_named_with_their_value(fields, message):
    with pytest.raises((ValueError, StrictDataclassError)) as error:
        MSCNConfig.resnet(**{"depth": 50} | fields)
    assert re.search(message, str(error.value).replace("\n", " ")), str(error.value)
