# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    DetrConfig,
    DetrForObjectDetection,
    ResNetConfig,
    UperNetConfig,
    UperNetForSemanticSegmentation,
)

from mscn_hf.models import MSCNBackbone, MSCNConfig, MSCNForImageClassification, MSCNModel, load_backbone_weights


def detr(backbone_config):
    sizes = {"d_model": 16, "encoder_ffn_dim": 16, "decoder_ffn_dim": 16, "num_queries": 4}
    sizes |= {"encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 2, "decoder_attention_heads": 2}
    config = DetrConfig(use_timm_backbone=False, backbone_config=backbone_config, **sizes)
    torch.manual_seed(3)
    return DetrForObjectDetection(config).eval()


def upernet(backbone_config):
    config = UperNetConfig(
        backbone_config=backbone_config, hidden_size=8, pool_scales=[1], use_auxiliary_head=False, num_labels=3
    )
    torch.manual_seed(3)
    return UperNetForSemanticSegmentation(config).eval()


def backbone_of(detector):
    return next(module for module in detector.modules() if isinstance(module, MSCNBackbone))


@pytest.fixture
def encoder_dir(tiny_config, tmp_path, randomise):
    randomise(MSCNModel(tiny_config)).save_pretrained(tmp_path / "encoder")
    return tmp_path / "encoder"


@pytest.mark.parametrize("build", [detr, upernet])
def test_detector_has_the_encoders_weights_and_keeps_them(build, encoder_dir, tmp_path, images_BCHW, aligned):
    encoder = MSCNModel.from_pretrained(encoder_dir)
    detector = build(MSCNConfig.from_pretrained(encoder_dir, out_features=["stage1", "stage3"]))
    backbone = backbone_of(detector)
    saved = load_file(encoder_dir / "model.safetensors")
    assert not any(torch.equal(backbone.state_dict()[name], saved[name]) for name in saved if "convolution" in name)

    load_backbone_weights(detector, str(encoder_dir))
    state = backbone.state_dict()
    assert all(torch.equal(state[name], saved[name]) for name in state)
    assert saved.keys() - state.keys() <= {name for name in saved if name.endswith("num_batches_tracked")}
    with torch.no_grad():
        hidden = encoder(images_BCHW, output_hidden_states=True).hidden_states
        # DETR freezes batch norms, with the same result but for rounding.
        for feature_map, expected in zip(backbone(images_BCHW).feature_maps, (hidden[1], hidden[3]), strict=True):
            torch.testing.assert_close(feature_map, expected, rtol=1e-4, atol=1e-4)

        detector.save_pretrained(tmp_path / "detector")
        loaded, info = type(detector).from_pretrained(tmp_path / "detector", output_loading_info=True)
        assert not info["missing_keys"] and not info["unexpected_keys"]
        assert torch.equal(aligned(loaded)(images_BCHW).logits, aligned(detector)(images_BCHW).logits)
        assert backbone_of(loaded).high_pass.sigma == 5.0
        unfiltered = backbone_of(loaded)(images_BCHW, apply_filter=False).feature_maps
        assert not torch.allclose(unfiltered[-1], hidden[3], rtol=1e-2)


def test_weights_come_from_a_classifier_too(tiny_config, tmp_path, randomise):
    classifier = randomise(MSCNForImageClassification(tiny_config))
    classifier.save_pretrained(tmp_path)
    backbone = MSCNBackbone(tiny_config).bfloat16()
    load_backbone_weights(backbone, tmp_path)
    expected = classifier.resnet.bfloat16().state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in backbone.state_dict().items())


@pytest.mark.parametrize(
    "change,message",
    [
        ({"high_pass_sigma": None}, "high_pass_sigma=None where the checkpoint has 5.0"),
        ({"padding": "same"}, "padding='same' where the checkpoint has 'symmetric'"),
        ({"hidden_sizes": [8, 12, 20]}, r"hidden_sizes=\[8, 12, 20\] where the checkpoint has \[8, 12, 16\]"),
        ({"hidden_act": "gelu"}, "hidden_act='gelu'"),
    ],
)
def test_another_network_is_refused(change, message, encoder_dir, tiny_config):
    detector = upernet(MSCNConfig.from_dict(tiny_config.to_dict() | change))
    before = {name: value.clone() for name, value in detector.state_dict().items()}
    with pytest.raises(ValueError, match=message):
        load_backbone_weights(detector, encoder_dir)
    assert all(torch.equal(value, before[name]) for name, value in detector.state_dict().items())


def test_fields_that_do_not_change_the_network_may_differ(encoder_dir, tiny_config):
    changed = {"image_size": 512, "out_features": ["stage2"], "out_indices": None}
    detector = upernet(MSCNConfig.from_dict(tiny_config.to_dict() | changed))
    load_backbone_weights(detector, encoder_dir)


def test_native_resnet_backbone_is_told_apart(encoder_dir, tiny_fields):
    with pytest.raises(ValueError, match="model_type='resnet' where the checkpoint has 'mscn'"):
        load_backbone_weights(upernet(ResNetConfig(**tiny_fields)), encoder_dir)


def test_incomplete_checkpoint_is_refused(encoder_dir, tiny_config):
    weights = load_file(encoder_dir / "model.safetensors")
    del weights["encoder.stages.1.layers.1.layer.0.convolution.weight"]
    save_file(weights, encoder_dir / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match=r"lacks the weights encoder\.stages\.1\.layers\.1\.layer\.0\.convolution"):
        load_backbone_weights(upernet(tiny_config), encoder_dir)


def test_model_without_a_backbone_is_refused(encoder_dir):
    with pytest.raises(ValueError, match="exactly one transformers backbone, found none"):
        load_backbone_weights(torch.nn.Linear(2, 2), encoder_dir)
