# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
import json
import re

import pytest
from huggingface_hub.errors import StrictDataclassError
from transformers import AutoConfig, AutoImageProcessor, ConvNextConfig, TimmWrapperConfig

from mscn_hf.models import FilteredConfig, MSCNConfig

NETWORK = {"model_type": "timm_wrapper", "architecture": "test_convnext", "model_args": {}}


def test_from_timm_finds_the_sizes_of_features_and_maps(tmp_path):
    # timm's num_features of this network is 64, before its head's hidden layer.
    config = FilteredConfig.from_timm("test_mambaout", {"drop_path_rate": 0.1}, image_size=32, num_labels=3)
    assert (config.hidden_size, config.stage_channels) == (256, [16, 32, 48, 64])
    assert config.encoder == {**NETWORK, "architecture": "test_mambaout", "model_args": {"drop_path_rate": 0.1}}
    assert (config.high_pass_sigma, config.num_labels, config.out_features) == (5.0, 3, ["stage4"])
    config.save_pretrained(tmp_path)
    for loaded in (FilteredConfig.from_pretrained(tmp_path), AutoConfig.from_pretrained(tmp_path)):
        assert type(loaded) is FilteredConfig
        ours, theirs = config.to_dict(), loaded.to_dict()
        for bookkeeping in ("_name_or_path", "auto_map"):
            ours.pop(bookkeeping, None), theirs.pop(bookkeeping, None)
        assert ours == theirs
    chosen = AutoConfig.from_pretrained(tmp_path, out_features=["stage1", "stage3"])
    assert chosen.out_indices == [0, 2]


def test_defaults_are_written_down(tmp_path):
    """A later change of a default must not change a published network."""
    FilteredConfig.from_encoder(ConvNextConfig(depths=[1, 1], hidden_sizes=[8, 12], num_stages=2)).save_pretrained(
        tmp_path
    )
    saved = json.loads((tmp_path / "config.json").read_text())
    assert {"high_pass_sigma", "image_size", "crop_ratio", "image_mean", "image_std", "num_channels"} <= saved.keys()
    assert {"patch_size", "hidden_act", "layer_norm_eps", "layer_scale_init_value"} <= saved["encoder"].keys()
    assert not {"auto_map", "transformers_version", "out_features"} & saved["encoder"].keys()
    assert AutoImageProcessor.from_pretrained(tmp_path).crop_size["height"] == 224


def test_a_wrapper_config_of_transformers_becomes_the_same_network():
    wrapper = TimmWrapperConfig(architecture="test_convnext", model_args={"in_chans": 1})
    config = FilteredConfig.from_encoder(wrapper, image_size=32)
    assert config.to_dict() == FilteredConfig.from_timm("test_convnext", image_size=32, num_channels=1).to_dict()
    assert config.num_channels == len(config.image_mean) == 1 and config.encoder["model_args"] == {"in_chans": 1}


def test_image_size_is_the_encoders_own_unless_told_otherwise():
    encoder = ConvNextConfig(depths=[1, 1], hidden_sizes=[8, 12], num_stages=2, image_size=48)
    assert FilteredConfig.from_encoder(encoder).image_size == 48
    assert FilteredConfig.from_encoder(encoder, image_size=32).image_size == 32


@pytest.mark.parametrize(
    "architecture,fields,message",
    [
        ("test_convnxt", {}, "no model 'test_convnxt'; did you mean 'test_convnext'"),
        ("test_convnext.r160_in1k", {}, "names published weights.*leave out '.r160_in1k'"),
        ("hf-hub:org/name", {}, "no model 'hf-hub:org/name'"),
        ("test_convnext", {"model_args": {"pretrained": True}}, "model_args cannot hold pretrained"),
        ("test_convnext", {"model_args": {"checkpoint_path": "x"}}, "model_args cannot hold checkpoint_path"),
        ("test_convnext", {"model_args": {"drop_paths": 0.1}}, "unexpected keyword argument 'drop_paths'"),
        ("test_convnext", {"model_args": {"global_pool": ""}}, "does not pool"),
        ("test_convnext", {"model_args": {"in_chans": 4}, "num_channels": 3}, "takes 4 channels, .* is 3"),
        ("test_convnext", {"high_pas_sigma": 3.0}, "no field 'high_pas_sigma'; did you mean 'high_pass_sigma'"),
        ("test_convnext", {"high_pass_sigma": 0}, "high_pass_sigma .* got 0"),
        ("test_convnext", {"image_size": 0}, "image_size .* got 0"),
        ("test_convnext", {"crop_ratio": 1.2}, r"crop_ratio must lie in \(0, 1\], got 1.2"),
        ("test_convnext", {"image_std": [1.0, 1.0]}, r"image_std .*num_channels=3.* got \[1.0, 1.0\]"),
        ("coat_tiny", {}, r"shape \(1, 3, 64, 64\).*doesn't match model \(224\).*depends on image_size"),
        ("coat_tiny", {"image_size": 224}, "share weights, which a safetensors file cannot hold"),
    ],
)
def test_bad_timm_networks_are_named(architecture, fields, message):
    with pytest.raises((ValueError, StrictDataclassError)) as error:
        FilteredConfig.from_timm(architecture, **{"image_size": 64} | fields)
    assert re.search(message, str(error.value).replace("\n", " ")), str(error.value)


@pytest.mark.parametrize(
    "fields,message",
    [
        ({"encoder": None}, "model_type that transformers knows, got None"),
        ({"encoder": {**NETWORK, "model_type": "timm_wraper"}}, "'timm_wraper'; did you mean 'timm_wrapper'"),
        ({"encoder": {**NETWORK, "do_pooling": False}}, "got also do_pooling"),
        ({"encoder": {**NETWORK, "architecture": "local-dir:/tmp"}}, "timm's name of a network.*local-dir"),
        ({"encoder": {**NETWORK, "model_args": [1]}}, r"model_args must be a dict .* got \[1\]"),
        ({"hidden_size": None}, "hidden_size .* got None; FilteredConfig.from_timm"),
        ({"stage_channels": [8, 0]}, r"stage_channels must be at least 1 everywhere, or None, got \[8, 0\]"),
        ({"num_channels": 1}, "takes 3 channels, but num_channels is 1"),
    ],
)
def test_bad_fields_are_named_with_their_value(fields, message):
    with pytest.raises((ValueError, StrictDataclassError)) as error:
        FilteredConfig(**{"encoder": NETWORK, "hidden_size": 64} | fields)
    assert re.search(message, str(error.value).replace("\n", " ")), str(error.value)


def test_no_filter_in_front_of_a_filter():
    with pytest.raises((ValueError, StrictDataclassError), match="'mscn' filters its input itself"):
        FilteredConfig.from_encoder(MSCNConfig.resnet(18))
    inner = FilteredConfig(encoder=NETWORK, hidden_size=64)
    with pytest.raises((ValueError, StrictDataclassError), match="'filtered' filters its input itself"):
        FilteredConfig.from_encoder(inner)
