# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Filtered networks: the encoder's own features of the high-passed image, from its own library's initial weights."""

import pytest
import timm
import torch
from transformers import (
    AutoConfig,
    AutoModel,
    ConvNextConfig,
    DetrConfig,
    DetrForObjectDetection,
    UperNetConfig,
    UperNetForSemanticSegmentation,
    ViTConfig,
    ViTMSNConfig,
)
from transformers.modeling_outputs import BaseModelOutput

from mscn_hf.models import (
    FilteredBackbone,
    FilteredConfig,
    FilteredForImageClassification,
    FilteredModel,
    high_pass,
    load_backbone_weights,
)
from mscn_hf.models.any_encoder import pooled_features

# Batch norm with activation, layer norm, no norm, channels last, attention with unsaved buffers.
TIMM = ["test_efficientnet", "test_convnext", "test_nfnet", "test_mambaout", "test_vit_relpos"]
SIDE = {"test_vit_relpos": {"img_size": 32}}


def from_timm(architecture, **fields):
    arguments = SIDE.get(architecture, {}) | fields.pop("model_args", {})
    return FilteredConfig.from_timm(architecture, arguments, **{"image_size": 32, "high_pass_sigma": 2.0} | fields)


def tiny_vit(config_class, **fields):
    return config_class(
        hidden_size=12, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, image_size=32, patch_size=8,
        **fields,
    )  # fmt: skip


@pytest.fixture(scope="module")
def square_BCHW():
    return torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("architecture", ["resnet18", *TIMM])
def test_features_are_timms_of_the_high_passed_image(architecture, randomise, square_BCHW):
    model = randomise(FilteredModel(from_timm(architecture)))
    reference = timm.create_model(architecture, num_classes=0, **SIDE.get(architecture, {})).eval()
    reference.load_state_dict(model.encoder.timm_model.state_dict())
    with torch.no_grad():
        expected, plain = reference(high_pass(square_BCHW, 2.0)), reference(square_BCHW)
        output, past_filter = model(square_BCHW), model(square_BCHW, apply_filter=False)
        assert torch.equal(output.pooler_output, expected[:, :, None, None])
        assert torch.equal(past_filter.pooler_output, plain[:, :, None, None])
        assert torch.equal(output.last_hidden_state, reference.forward_features(high_pass(square_BCHW, 2.0)))
        unfiltered = FilteredModel(FilteredConfig(**{**model.config.to_dict(), "high_pass_sigma": None})).eval()
        unfiltered.load_state_dict(model.state_dict())
        assert torch.equal(unfiltered(square_BCHW).pooler_output, plain[:, :, None, None])
    assert not torch.allclose(expected, plain)
    assert output.pooler_output.shape == (2, model.config.hidden_size, 1, 1)


@pytest.mark.parametrize("architecture", TIMM)
def test_weights_start_as_timm_draws_them(architecture):
    torch.manual_seed(3)
    model = FilteredForImageClassification(from_timm(architecture, num_labels=2))
    torch.manual_seed(3)
    reference = timm.create_model(architecture, num_classes=0, **SIDE.get(architecture, {}))
    ours = model.filtered.encoder.timm_model.state_dict()
    assert ours.keys() == reference.state_dict().keys()
    for name, tensor in reference.state_dict().items():
        assert torch.equal(ours[name], tensor), name


@pytest.mark.parametrize(
    "encoder,pooled",
    [
        (
            ConvNextConfig(hidden_sizes=[8, 12], depths=[1, 1], num_stages=2, image_size=32),
            lambda out: out.pooler_output,
        ),
        (tiny_vit(ViTConfig), lambda out: out.pooler_output),
        (tiny_vit(ViTMSNConfig), lambda out: out.last_hidden_state[:, 0]),
    ],
    ids=["convnext", "vit", "vit_msn"],
)
def test_encoders_of_transformers_keep_their_weights_and_pooling(encoder, pooled, square_BCHW, tmp_path, aligned):
    torch.manual_seed(3)
    model = FilteredModel(FilteredConfig.from_encoder(encoder, high_pass_sigma=2.0)).eval()
    torch.manual_seed(3)
    reference = AutoModel.from_config(encoder).eval()
    ours = model.encoder.state_dict()
    assert all(torch.equal(ours[name], tensor) for name, tensor in reference.state_dict().items())
    with torch.no_grad():
        features = model(square_BCHW).pooler_output
        assert torch.equal(features, pooled(reference(high_pass(square_BCHW, 2.0)))[:, :, None, None])
        assert features.shape == (2, 12, 1, 1) and model.config.hidden_size == 12
        model.save_pretrained(tmp_path)
        assert torch.equal(aligned(AutoModel.from_pretrained(tmp_path))(square_BCHW).pooler_output, features)


def test_without_pooler_and_class_token_it_is_the_mean():
    maps, tokens = torch.randn(2, 5, 3, 4), torch.randn(2, 7, 5)
    pooled = pooled_features(BaseModelOutput(last_hidden_state=maps), class_token=False)
    torch.testing.assert_close(pooled, maps.mean(dim=(2, 3), keepdim=True))
    pooled = pooled_features(BaseModelOutput(last_hidden_state=tokens), class_token=False)
    torch.testing.assert_close(pooled.flatten(1), tokens.mean(dim=1))


def test_stochastic_layers_are_at_work_in_training_only(square_BCHW, randomise):
    model = randomise(FilteredModel(from_timm("test_convnext", model_args={"drop_path_rate": 0.5})))
    model.eval()
    assert torch.equal(model(square_BCHW).pooler_output, model(square_BCHW).pooler_output)
    model.train()
    assert not torch.equal(model(square_BCHW).pooler_output, model(square_BCHW).pooler_output)


def test_tuples_and_hidden_states(square_BCHW):
    model = FilteredModel(from_timm("test_convnext")).eval()
    assert len(model(square_BCHW, return_dict=False)) == 2
    output = model(square_BCHW, output_hidden_states=True)
    assert [hidden.shape[1] for hidden in output.hidden_states] == model.config.stage_channels == [24, 32, 48, 64]
    assert model(square_BCHW).hidden_states is None
    torch.testing.assert_close(output.pooler_output, model(square_BCHW).pooler_output)


def test_classifier_learns_and_reports_the_cross_entropy(square_BCHW):
    torch.manual_seed(0)
    model = FilteredForImageClassification(from_timm("test_convnext", num_labels=3)).train()
    labels = torch.tensor([0, 2])
    first = model(square_BCHW, labels=labels)
    assert first.logits.shape == (2, 3)
    torch.testing.assert_close(first.loss, torch.nn.functional.cross_entropy(first.logits, labels))
    assert len(model(square_BCHW, labels=labels, return_dict=False)) == 2
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02)
    for _ in range(5):
        optimizer.zero_grad()
        loss = model(square_BCHW, labels=labels).loss
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.5 * first.loss.item()


def test_backbone_gives_the_encoders_maps_to_a_segmenter(square_BCHW, randomise, tmp_path):
    encoder = randomise(FilteredModel(from_timm("test_efficientnet")))
    encoder.save_pretrained(tmp_path)
    hidden = encoder(square_BCHW, output_hidden_states=True).hidden_states
    backbone, info = FilteredBackbone.from_pretrained(
        tmp_path, out_features=["stage2", "stage4"], output_loading_info=True
    )
    assert not any(info.values()), info
    assert backbone.channels == [24, 48]
    maps = backbone(square_BCHW).feature_maps
    assert all(torch.allclose(a, hidden[i], atol=1e-5) for a, i in zip(maps, [1, 3], strict=True))
    past_filter = backbone(square_BCHW, apply_filter=False).feature_maps
    assert not any(torch.allclose(a, b) for a, b in zip(maps, past_filter, strict=True))

    config = AutoConfig.from_pretrained(tmp_path, out_features=["stage3", "stage5"])
    fields = {"hidden_size": 8, "pool_scales": [1], "use_auxiliary_head": False}
    segmenter = UperNetForSemanticSegmentation(UperNetConfig(backbone_config=config, **fields)).eval()
    load_backbone_weights(segmenter, tmp_path)
    maps = segmenter.backbone(square_BCHW).feature_maps
    assert all(torch.allclose(a, hidden[i], atol=1e-5) for a, i in zip(maps, [2, 4], strict=True))


def detr_around(folder):
    sizes = {
        f"{side}_{name}": 1 for side in ("encoder", "decoder") for name in ("layers", "attention_heads", "ffn_dim")
    }
    config = AutoConfig.from_pretrained(folder)
    return DetrForObjectDetection(
        DetrConfig(backbone_config=config, use_timm_backbone=False, d_model=8, **sizes)
    ).eval()


def test_detr_freezes_plain_batch_norms_and_nothing_else_may_be_lost(square_BCHW, randomise, tmp_path):
    encoder = randomise(FilteredModel(from_timm("test_resnet")))
    encoder.save_pretrained(tmp_path / "plain")
    detector = detr_around(tmp_path / "plain")
    load_backbone_weights(detector, tmp_path / "plain")
    (backbone,) = (module for module in detector.modules() if isinstance(module, FilteredBackbone))
    expected = encoder(square_BCHW, output_hidden_states=True).hidden_states[-1]
    torch.testing.assert_close(backbone(square_BCHW).feature_maps[0], expected, rtol=1e-4, atol=1e-4)

    FilteredModel(from_timm("test_efficientnet")).save_pretrained(tmp_path / "joined")
    with pytest.raises(ValueError, match=r"replaced encoder\.timm_model\.bn1, a BatchNormAct2d with an activation"):
        load_backbone_weights(detr_around(tmp_path / "joined"), tmp_path / "joined")


def test_no_backbone_without_maps():
    config = FilteredConfig.from_encoder(tiny_vit(ViTConfig))
    assert config.stage_channels is None and config.out_features is None
    with pytest.raises(ValueError, match="gives no feature maps"):
        FilteredBackbone(config)


def test_wrong_channel_count_is_named():
    model = FilteredModel(from_timm("test_convnext"))
    with pytest.raises(ValueError, match=r"\(batch, 3, height, width\), got \(2, 1, 32, 32\)"):
        model(torch.zeros(2, 1, 32, 32))
