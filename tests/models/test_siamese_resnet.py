# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
import pytest
import torch
import torchvision
from transformers import ResNetBackbone, ResNetForImageClassification, ResNetModel

from mscn_hf.models import (
    MSCNBackbone,
    MSCNConfig,
    MSCNForImageClassification,
    MSCNModel,
    ReLICv2Backbone,
    ReLICv2Config,
    ReLICv2ForImageClassification,
    ReLICv2Model,
    high_pass,
)


@pytest.mark.parametrize("depth", [18, 50])
def test_forward_equals_torchvision(depth, randomise, from_torchvision):
    reference = randomise(getattr(torchvision.models, f"resnet{depth}")())
    model = MSCNForImageClassification(MSCNConfig.resnet(depth, num_labels=1000)).eval()
    model.resnet.load_state_dict(from_torchvision(reference.state_dict()))
    model.classifier[1].load_state_dict(reference.fc.state_dict())
    reference.double(), model.double()
    images = torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    with torch.no_grad():
        expected = reference(images)
        assert expected.std() > 1e-2
        torch.testing.assert_close(model(images, apply_filter=False).logits, expected, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(model(images).logits, reference(high_pass(images, 5.0)), rtol=1e-5, atol=1e-5)
        assert not torch.allclose(model(images).logits, expected, rtol=1e-2)
        single = model.float()(images.float(), apply_filter=False).logits
        torch.testing.assert_close(single, reference.float()(images.float()), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "depth,width,millions",
    [
        (18, 1, 11.2),
        (34, 1, 21.3),
        (50, 1, 23.5),
        (50, 2, 93.9),
        (50, 4, 375.4),
        (101, 1, 42.5),
        (152, 1, 58.1),
        (200, 1, 62.6),
        (200, 2, 250.1),
    ],
)
def test_parameter_counts(depth, width, millions):
    with torch.device("meta"):
        model = ReLICv2Model(ReLICv2Config.resnet(depth, width))
    assert round(sum(parameter.numel() for parameter in model.parameters()) / 1e6, 1) == millions


@pytest.mark.parametrize(
    "ours,native",
    [
        (MSCNModel, ResNetModel),
        (MSCNBackbone, ResNetBackbone),
        (MSCNForImageClassification, ResNetForImageClassification),
        (ReLICv2Model, ResNetModel),
        (ReLICv2Backbone, ResNetBackbone),
        (ReLICv2ForImageClassification, ResNetForImageClassification),
    ],
)
def test_state_dict_keys_are_those_of_transformers_resnet(ours, native, tiny_fields):
    with torch.device("meta"):
        config = ours.config_class(padding="same", **tiny_fields)
        model, reference = ours(config), native(config)
    assert isinstance(model, native)
    assert {k: v.shape for k, v in model.state_dict().items()} == {
        k: v.shape for k, v in reference.state_dict().items()
    }
    assert all(v.is_floating_point() or k.endswith("num_batches_tracked") for k, v in model.state_dict().items())


def test_every_class_can_be_called_past_its_filter(tiny_config, randomise, images_BCHW):
    tiny_config.out_features = ["stage1", "stage3"]
    filtered = high_pass(images_BCHW, 5.0)
    outputs = {
        MSCNModel: lambda out: [out.last_hidden_state, out.pooler_output],
        MSCNBackbone: lambda out: list(out.feature_maps),
        MSCNForImageClassification: lambda out: [out.logits],
    }
    for model_class, tensors in outputs.items():
        model = randomise(model_class(tiny_config))
        inside, past = tensors(model(images_BCHW)), tensors(model(filtered, apply_filter=False))
        without = tensors(model(images_BCHW, apply_filter=False))
        assert all(torch.equal(a, b) for a, b in zip(inside, past, strict=True)), model_class
        assert not any(torch.allclose(a, b) for a, b in zip(inside, without, strict=True)), model_class


def test_without_sigma_there_is_no_filter(tiny_fields, images_BCHW, randomise):
    model = randomise(ReLICv2Model(ReLICv2Config(**tiny_fields)))
    with torch.no_grad():
        assert torch.equal(model(images_BCHW).pooler_output, model(images_BCHW, apply_filter=False).pooler_output)


@pytest.mark.parametrize("padding", ["symmetric", "same"])
@pytest.mark.parametrize("stem,sides", [("imagenet", [12, 6, 3]), ("small", [48, 24, 12])])
def test_shapes_of_both_stems(stem, sides, padding, tiny_fields, images_BCHW):
    model = MSCNModel(MSCNConfig(stem=stem, padding=padding, **tiny_fields)).eval()
    out = model(images_BCHW, output_hidden_states=True)
    assert [tuple(hidden.shape[:3]) for hidden in out.hidden_states] == [
        (2, channels, side) for channels, side in zip([4, 8, 12, 16], [sides[0], *sides], strict=True)
    ]
    assert out.last_hidden_state.shape[:2] == (2, 16) and out.pooler_output.shape == (2, 16, 1, 1)
    assert len(model(images_BCHW, return_dict=False)) == 2


def test_backbone_feature_maps_are_the_encoders_hidden_states(tiny_config, images_BCHW, randomise):
    encoder = randomise(MSCNModel(tiny_config))
    tiny_config.out_features = ["stem", "stage2", "stage3"]
    backbone = MSCNBackbone(tiny_config).eval()
    backbone.load_state_dict(encoder.state_dict())
    hidden = encoder(images_BCHW, output_hidden_states=True).hidden_states
    out = backbone(images_BCHW)
    assert all(torch.equal(a, hidden[i]) for a, i in zip(out.feature_maps, [0, 2, 3], strict=True))
    assert backbone.channels == [4, 12, 16] and out.hidden_states is None
    assert len(backbone(images_BCHW, output_hidden_states=True).hidden_states) == 4


def test_classifier_learns_and_reports_the_cross_entropy(tiny_config, images_BCHW):
    torch.manual_seed(0)
    model = MSCNForImageClassification(tiny_config).train()
    labels = torch.tensor([0, 2])
    first = model(images_BCHW, labels=labels)
    torch.testing.assert_close(first.loss, torch.nn.functional.cross_entropy(first.logits, labels))
    assert len(model(images_BCHW, labels=labels, return_dict=False)) == 2
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(10):
        optimizer.zero_grad()
        loss = model(images_BCHW, labels=labels).loss
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.5 * first.loss.item()


def test_weights_start_as_resnets_do():
    torch.manual_seed(0)
    model = MSCNModel(MSCNConfig.resnet(18, padding="same"))
    for name, parameter in model.named_parameters():
        if parameter.ndim == 4:
            fan_out = parameter.shape[0] * parameter[0, 0].numel()
            assert parameter.std().item() == pytest.approx((2 / fan_out) ** 0.5, rel=0.05), name
        else:
            assert torch.equal(parameter, torch.ones_like(parameter) * name.endswith("weight")), name


def test_wrong_channel_count_is_named(tiny_config):
    with pytest.raises(ValueError, match=r"\(batch, 3, height, width\), got \(2, 1, 32, 32\)"):
        MSCNModel(tiny_config)(torch.zeros(2, 1, 32, 32))


def test_traces_into_one_graph(tiny_fields, images_BCHW, randomise):
    model = randomise(MSCNModel(MSCNConfig(padding="same", **tiny_fields)))
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(images_BCHW).pooler_output, model(images_BCHW).pooler_output)
