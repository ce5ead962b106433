# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""The network that predicts saliency: a self-supervised encoder with dilated convolutions and a 1x1 head."""

from __future__ import annotations

import hashlib
from typing import Any

import torch
from huggingface_hub.dataclasses import strict
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, PreTrainedConfig, PreTrainedModel
from transformers import initialization as init

from mscn_hf.models import any_encoder

from .dilation import dilate

_IMAGENET_MEAN, _IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@strict
class SaliencyConfig(PreTrainedConfig):
    """What a saliency network is made of.

    Args:
        encoder: `to_diff_dict()` of a convolutional encoder's config, with its `model_type`.
        output_stride: the encoder's last map is this many times smaller than the image; 8 as in DeepUSPS.
        image_size: side in pixels of the squares that it was trained on.
        image_mean, image_std: of RGB in [0, 1], what the encoder was trained with.
    """

    model_type = "saliency_network"

    encoder: dict[str, Any] | None = None
    output_stride: int = 8
    image_size: int = 432
    image_mean: list[float] | tuple[float, ...] = _IMAGENET_MEAN
    image_std: list[float] | tuple[float, ...] = _IMAGENET_STD


class SaliencyNetwork(PreTrainedModel):
    """uint8 images to saliency (Nguyen et al. 2019, DeepUSPS; the encoder as in Tomasev et al. 2022, app. F.2.1)."""

    config_class = SaliencyConfig
    config: SaliencyConfig
    base_model_prefix = "encoder"
    main_input_name = "images"

    def __init__(self, config: SaliencyConfig):
        super().__init__(config)
        if not config.encoder or "model_type" not in config.encoder:
            raise ValueError(
                f"encoder must be an encoder config's to_dict() with its model_type, got {config.encoder}"
            )
        fields = {name: value for name, value in config.encoder.items() if name != "dtype"}
        self.encoder = any_encoder.build_encoder(fields)
        if any_encoder.has_class_token(self.encoder):
            raise ValueError(f"a saliency network needs a convolutional encoder, got {fields['model_type']!r}")
        dilate(self.encoder, config.output_stride, len(config.image_mean))
        self.head = nn.Conv2d(_channels(self.encoder, len(config.image_mean)), 1, 1)
        self.post_init()

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if module is self.head:
            init.normal_(self.head.weight, std=(2 / self.head.in_channels) ** 0.5)
            assert self.head.bias is not None
            init.zeros_(self.head.bias)

    @classmethod
    def from_encoder(cls, name: str, output_stride: int = 8, image_size: int = 432) -> SaliencyNetwork:
        """A network with the weights of an encoder that `AutoModel.from_pretrained` loads, and a new head.

        Raises:
            ValueError: an encoder without convolutions.
        """
        encoder = AutoModel.from_pretrained(name)
        fields = encoder.config.to_diff_dict()
        known = {key: getattr(encoder.config, key, None) for key in ("image_mean", "image_std")}
        config = SaliencyConfig(
            encoder=fields,
            output_stride=output_stride,
            image_size=image_size,
            **{key: value for key, value in known.items() if value},
        )
        network = cls(config)
        network.encoder.load_state_dict(encoder.state_dict())
        return network

    def forward(self, images: Tensor) -> Tensor:
        """Logits (B, H, W) of images (B, 3, H, W), uint8."""
        mean, std = (
            torch.tensor(part, dtype=self.head.weight.dtype, device=images.device)[:, None, None]
            for part in (self.config.image_mean, self.config.image_std)
        )
        pixels = (images.to(mean.dtype) / 255 - mean) / std
        logits = self.head(self.encoder(pixels).last_hidden_state)
        return nn.functional.interpolate(logits, images.shape[-2:], mode="bilinear", align_corners=False)[:, 0]

    @torch.no_grad()
    def predict(self, images: Tensor) -> Tensor:
        """Saliency (B, H, W) in [0, 1], float32, of images (B, 3, H, W), uint8."""
        return self(images).float().sigmoid()


def check_network(name: str) -> None:
    """Raises ValueError where a folder or Hub id holds something else than a saliency network."""
    kind = AutoConfig.from_pretrained(name).model_type
    if kind != SaliencyConfig.model_type:
        raise ValueError(f"{name!r} is a {kind!r}, not a saliency network")


def load_network(name: str) -> SaliencyNetwork:
    """A trained network from a folder or the Hub, in evaluation mode.

    Raises:
        ValueError, OSError: there is no such network.
    """
    check_network(name)
    return SaliencyNetwork.from_pretrained(name).eval().requires_grad_(False)


def weights_digest(module: nn.Module) -> str:
    """16 hexadecimal digits that change with the weights."""
    digest = hashlib.sha256()
    for name, value in sorted(module.state_dict().items()):
        digest.update(name.encode() + value.detach().cpu().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]


def _channels(encoder: PreTrainedModel, num_channels: int) -> int:
    """Channels of the encoder's last map, found by passing one small image through."""
    like = next(encoder.parameters())
    with torch.no_grad():
        training = encoder.training
        output = encoder.eval()(torch.zeros(1, num_channels, 64, 64, device=like.device, dtype=like.dtype))
        encoder.train(training)
    last = getattr(output, "last_hidden_state", None)
    if last is None or last.ndim != 4:
        raise ValueError(f"a saliency network needs a convolutional encoder, got {encoder.config.model_type!r}")
    return last.shape[1]


AutoConfig.register(SaliencyConfig.model_type, SaliencyConfig, exist_ok=True)
