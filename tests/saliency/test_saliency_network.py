# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Dilated encoders against torchvision's, and the saliency network's shapes, start and files."""

import copy

import pytest
import torch
import torchvision
from transformers import BertConfig, CLIPConfig, ResNetConfig, ResNetModel, ViTMSNConfig, ViTMSNModel

from mscn_hf.models import MSCNConfig, MSCNModel, ReLICv2Config, ReLICv2Model
from mscn_hf.saliency.dilation import dilate
from mscn_hf.saliency.network import SaliencyConfig, SaliencyNetwork


def small(kind=MSCNConfig, **fields):
    return kind(embedding_size=8, hidden_sizes=[8, 12, 16, 24], depths=[1, 1, 1, 2], layer_type="basic", **fields)


@pytest.mark.parametrize("replaced", [[False, True, True], [False, False, True]])
@pytest.mark.parametrize("side", [64, 97])
def test_dilated_as_torchvision_does(replaced, side):
    torch.manual_seed(0)
    expected = torchvision.models.resnet50(replace_stride_with_dilation=replaced).double().eval()
    network = torchvision.models.resnet50().double().eval()
    network.load_state_dict(expected.state_dict())
    dilate(network, 8 if replaced[1] else 16)
    images = torch.randn(2, 3, side, side, dtype=torch.float64)
    torch.testing.assert_close(network(images), expected(images), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    "encoder",
    [
        lambda: MSCNModel(small(high_pass_sigma=2.0)),
        lambda: ReLICv2Model(small(ReLICv2Config, padding="same")),
        lambda: ResNetModel(ResNetConfig(embedding_size=8, hidden_sizes=[8, 12, 16, 24], depths=[1, 1, 1, 1])),
    ],
)
def test_maps_are_as_fine_as_asked(encoder):
    encoder = encoder().eval()
    before = copy.deepcopy(encoder.state_dict())
    assert encoder(torch.zeros(1, 3, 128, 128)).last_hidden_state.shape[-1] == 4
    dilate(encoder, 8)
    assert encoder(torch.zeros(1, 3, 128, 128)).last_hidden_state.shape[-1] == 16
    assert encoder(torch.zeros(1, 3, 90, 70)).last_hidden_state.shape[-2:] == (12, 9)
    for name, value in encoder.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0)  # batch norms have seen nothing


def test_an_output_stride_that_is_reached_already_changes_nothing():
    torch.manual_seed(0)
    encoder = MSCNModel(small()).eval()
    images = torch.randn(1, 3, 64, 64)
    before = encoder(images).last_hidden_state
    dilate(encoder, 32)
    torch.testing.assert_close(encoder(images).last_hidden_state, before, rtol=0, atol=0)


def test_bad_encoders():
    with pytest.raises(ValueError, match="power of two"):
        dilate(MSCNModel(small()), 6)
    vit = ViTMSNConfig(
        hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8, image_size=64, patch_size=16
    )
    with pytest.raises(ValueError, match="convolutional encoder, got 'vit_msn'"):
        SaliencyNetwork(SaliencyConfig(encoder=ViTMSNModel(vit).config.to_diff_dict()))
    with pytest.raises(ValueError, match="model_type"):
        SaliencyNetwork(SaliencyConfig())
    text = BertConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8, vocab_size=9)
    with pytest.raises(ValueError, match="BertModel has no convolutions"):
        SaliencyNetwork(SaliencyConfig(encoder=text.to_diff_dict()))
    part = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8}
    both = CLIPConfig(text_config={**part, "vocab_size": 9}, vision_config=part)
    with pytest.raises(ValueError, match="CLIPModel takes no image of 256 x 256 pixels"):
        SaliencyNetwork(SaliencyConfig(encoder=both.to_dict()))


def test_starts_from_the_encoder_and_comes_back_from_its_files(tmp_path):
    torch.manual_seed(0)
    encoder = MSCNModel(small(high_pass_sigma=2.0, image_mean=[0.4] * 3)).eval()
    encoder.save_pretrained(tmp_path / "encoder")
    network = SaliencyNetwork.from_encoder(str(tmp_path / "encoder"), image_size=64).eval()
    assert list(network.config.image_mean) == [0.4] * 3
    for name, value in encoder.state_dict().items():
        torch.testing.assert_close(network.encoder.state_dict()[name], value, rtol=0, atol=0)
    images = torch.randint(0, 256, (2, 3, 50, 66), dtype=torch.uint8)
    logits = network(images)
    assert logits.shape == (2, 50, 66) and logits.std() > 0
    torch.testing.assert_close(network.predict(images), logits.sigmoid())
    network.save_pretrained(tmp_path / "network")
    again = SaliencyNetwork.from_pretrained(tmp_path / "network").eval()
    torch.testing.assert_close(again(images), logits, rtol=0, atol=0)
    assert again.config.output_stride == 8 and again.config.image_size == 64


def test_images_are_normalised_by_the_encoders_mean_and_deviation():
    torch.manual_seed(0)
    network = SaliencyNetwork(SaliencyConfig(encoder=MSCNModel(small()).config.to_diff_dict())).eval()
    images = torch.randint(0, 256, (1, 3, 64, 64), dtype=torch.uint8)
    pixels = torchvision.transforms.functional.normalize(
        images / 255, network.config.image_mean, network.config.image_std
    )
    logits = network.head(network.encoder(pixels).last_hidden_state)
    expected = torch.nn.functional.interpolate(logits, (64, 64), mode="bilinear", align_corners=False)[:, 0]
    torch.testing.assert_close(network(images), expected)
