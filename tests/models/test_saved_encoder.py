# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from transformers import AutoImageProcessor, AutoModel, AutoModelForImageClassification, pipeline

from mscn_hf.models import (
    MSCNBackbone,
    MSCNConfig,
    MSCNForImageClassification,
    MSCNModel,
    ReLICv2Backbone,
    ReLICv2ForImageClassification,
    ReLICv2Model,
    high_pass,
)

MODELS = [
    MSCNModel, MSCNBackbone, MSCNForImageClassification,
    ReLICv2Model, ReLICv2Backbone, ReLICv2ForImageClassification,
]  # fmt: skip


def tensors(output):
    """All tensors of a model's output."""
    flat = [item if isinstance(item, tuple) else (item,) for item in output.values() if item is not None]
    return [tensor for group in flat for tensor in group]


@pytest.mark.parametrize("model_class", MODELS)
def test_round_trip_of_every_class(model_class, tiny_fields, tmp_path, randomise, images_BCHW, aligned):
    config = model_class.config_class(padding="same", high_pass_sigma=2.0, num_labels=3, **tiny_fields)
    model = randomise(model_class(config))
    model.save_pretrained(tmp_path)
    loaded, info = model_class.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(info.values()), info
    assert not loaded.training
    ours, theirs = model.state_dict(), loaded.state_dict()
    assert ours.keys() == theirs.keys() and all(torch.equal(ours[key], theirs[key]) for key in ours)
    expected = tensors(model(images_BCHW))
    assert all(torch.equal(a, b) for a, b in zip(tensors(aligned(loaded)(images_BCHW)), expected, strict=True))
    # The filter is no part of the checkpoint, and is there all the same: without it the output is another.
    past_filter = tensors(loaded(images_BCHW, apply_filter=False))
    assert not any(torch.allclose(a, b) for a, b in zip(past_filter, expected, strict=True))


@pytest.mark.parametrize("model_class", MODELS)
def test_what_is_written(model_class, tiny_fields, tmp_path):
    model_class(model_class.config_class(**tiny_fields)).save_pretrained(tmp_path)
    kind = model_class.config_class.model_type
    name = {"mscn": "MSCN", "relicv2": "ReLICv2"}[kind]
    assert {path.name for path in tmp_path.iterdir()} == {
        "config.json", "model.safetensors", "preprocessor_config.json", "configuration_siamese_resnet.py",
        "siamese_resnet.py", "high_pass.py", "same_padding.py", "preprocessing.py",
        f"configuration_{kind}.py", f"modeling_{kind}.py",
    }  # fmt: skip
    assert model_class.config_class.from_pretrained(tmp_path).auto_map == {
        "AutoConfig": f"configuration_{kind}.{name}Config",
        "AutoModel": f"modeling_{kind}.{name}Model",
        "AutoBackbone": f"modeling_{kind}.{name}Backbone",
        "AutoModelForImageClassification": f"modeling_{kind}.{name}ForImageClassification",
    }
    assert not any("high_pass" in key for key in load_file(tmp_path / "model.safetensors"))


def test_bfloat16_round_trip(tiny_config, tmp_path, randomise, images_BCHW, aligned):
    model = randomise(MSCNModel(tiny_config)).bfloat16()
    model.save_pretrained(tmp_path)
    loaded = aligned(AutoModel.from_pretrained(tmp_path))
    assert loaded.dtype == torch.bfloat16
    images = images_BCHW.bfloat16()
    assert torch.equal(loaded(images).pooler_output, model(images).pooler_output)
    # Filtered in float32: a constant image is 0 to the network, not what bfloat16 taps would leave of it.
    flat = torch.full_like(images, 2.5)
    assert torch.equal(
        loaded(flat).pooler_output, loaded(high_pass(flat.float(), 5.0).bfloat16(), apply_filter=False).pooler_output
    )
    single = AutoModel.from_pretrained(tmp_path, dtype=torch.float32)
    assert single.dtype == torch.float32
    expected = single(images.float()).pooler_output
    torch.testing.assert_close(loaded(images).pooler_output.float(), expected, rtol=0.1, atol=0.1)


@pytest.mark.parametrize("num_channels", [1, 4])
def test_other_channel_counts(num_channels, tiny_fields, tmp_path, randomise, aligned):
    model = randomise(MSCNModel(MSCNConfig(num_channels=num_channels, **tiny_fields)))
    assert model.config.image_mean == pytest.approx([0.449] * num_channels, abs=1e-3)
    model.save_pretrained(tmp_path)
    images = torch.randn(2, num_channels, 40, 40)
    loaded = aligned(AutoModel.from_pretrained(tmp_path))
    assert torch.equal(loaded(images).pooler_output, model(images).pooler_output)


def test_grey_images_through_the_saved_processor(tiny_fields, tmp_path):
    MSCNConfig(num_channels=1, image_size=32, crop_ratio=0.8, **tiny_fields).save_pretrained(tmp_path)
    grey = Image.fromarray(np.full((50, 60), 128, dtype=np.uint8), mode="L")
    pixels = AutoImageProcessor.from_pretrained(tmp_path)(grey, return_tensors="pt").pixel_values
    expected = (128 / 255 - (0.485 + 0.456 + 0.406) / 3) / ((0.229 + 0.224 + 0.225) / 3)
    torch.testing.assert_close(pixels, torch.full((1, 1, 32, 32), expected))


def test_heads_exchange_encoders(tiny_config, tmp_path, randomise, images_BCHW, aligned):
    encoder = randomise(MSCNModel(tiny_config))
    encoder.save_pretrained(tmp_path / "encoder")
    classifier, info = AutoModelForImageClassification.from_pretrained(
        tmp_path / "encoder", num_labels=5, output_loading_info=True
    )
    assert type(classifier) is MSCNForImageClassification
    assert set(info["missing_keys"]) == {"classifier.1.weight", "classifier.1.bias"}
    assert classifier(images_BCHW).logits.shape == (2, 5)
    classifier.save_pretrained(tmp_path / "classifier")
    pooled = encoder(images_BCHW).pooler_output
    assert torch.equal(aligned(AutoModel.from_pretrained(tmp_path / "classifier"))(images_BCHW).pooler_output, pooled)
    backbone = aligned(MSCNBackbone.from_pretrained(tmp_path / "classifier", out_features=["stage1", "stage3"]))
    assert torch.equal(backbone(images_BCHW).feature_maps[-1], encoder(images_BCHW).last_hidden_state)


def test_resaving_after_a_change_of_size_updates_the_preprocessing(tiny_config, tmp_path):
    model = MSCNModel(tiny_config)
    model.save_pretrained(tmp_path)
    model.config.image_size, model.config.crop_ratio = 64, 1.0
    model.save_pretrained(tmp_path)
    assert dict(AutoImageProcessor.from_pretrained(tmp_path).size) == {"shortest_edge": 64}


def test_pipelines(tiny_fields, tmp_path):
    MSCNForImageClassification(MSCNConfig(num_labels=3, image_size=32, **tiny_fields)).save_pretrained(tmp_path)
    photo = Image.fromarray(np.random.default_rng(0).integers(0, 256, (60, 50, 3), dtype=np.uint8))
    features = pipeline("image-feature-extraction", model=str(tmp_path), pool=True, return_tensors=True)(photo)
    assert features.shape == (1, 16, 1, 1)
    scores = pipeline("image-classification", model=str(tmp_path))(photo)
    assert sum(score["score"] for score in scores) == pytest.approx(1, abs=1e-5)
