# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""An encoder with one or several linear heads, as a module that Trainer can train.

Shapes: B images, D features, K classes, G heads.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from ..encoder import FrozenEncoder


class LinearHeads(nn.Module):
    """Encoder and G linear heads that begin alike; each head sees the same features of the same images.

    Args:
        encoder: the network.
        forward: images_BCHW -> features, by way of `encoder`.
        dim: D.
        num_classes: K.
        count: G.
        init: one of `settings.HEAD_INITS`.
        seed: of the heads' weights.
        frozen: the encoder stays in eval mode whatever mode the module is put in, and takes no gradient.
        batch_norm: features to zero mean and unit variance by batch norm without weights, which the linear heads
            that follow would take up anyway.
        name: of the encoder, for messages.
    """

    _forward: Callable[[Tensor], Tensor]

    def __init__(
        self,
        encoder: nn.Module,
        forward: Callable[[Tensor], Tensor],
        dim: int,
        num_classes: int,
        count: int = 1,
        init: str = "normal",
        seed: int = 0,
        *,
        frozen: bool,
        batch_norm: bool = False,
        name: str = "the encoder",
    ) -> None:
        super().__init__()
        self.encoder, self.frozen, self.name = encoder, frozen, name
        object.__setattr__(self, "_forward", forward)  # where it is a module, it is not to count as a second one
        self.norm = nn.BatchNorm1d(dim, affine=False) if batch_norm else nn.Identity()
        self.heads = nn.ModuleList(_linear(dim, num_classes, init, seed) for _ in range(count))
        self.train(False)

    def train(self, mode: bool = True) -> LinearHeads:
        """As `nn.Module.train`, which Trainer calls before every step; a frozen encoder keeps its eval mode."""
        super().train(mode)
        if self.frozen:
            self.encoder.eval()
        return self

    def features(self, images_BCHW: Tensor) -> Tensor:
        """Features z_BD in float32.

        Raises:
            ValueError: the encoder is frozen and a feature is not finite, which no learning rate is to blame for.
        """
        if not self.frozen:
            return self._forward(images_BCHW).flatten(1).float()
        with torch.no_grad():  # not inference_mode: the heads' backward pass needs these tensors
            z_BD = self._forward(images_BCHW).flatten(1).float()
        _check_finite(z_BD, self.name, "images of a batch")
        return z_BD

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """Class scores of every head, logits_BGK."""
        z_BD = self.norm(self.features(images_BCHW))
        weights: list[Any] = [head.weight for head in self.heads]
        biases: list[Any] = [head.bias for head in self.heads]
        logits = nn.functional.linear(z_BD, torch.cat(weights), torch.cat(biases))
        return logits.view(len(z_BD), len(self.heads), -1)

    def finite(self) -> list[bool]:
        """Of each head, whether all its weights are finite."""
        return [all(bool(tensor.isfinite().all()) for tensor in head.parameters()) for head in self.heads]

    def only(self, index: int) -> LinearHeads:
        """Drops all heads but one; returns itself."""
        self.heads = nn.ModuleList([self.heads[index]])
        return self


def feature_dim(encoder: FrozenEncoder) -> int:
    """D, found by one grey image.

    Raises:
        ValueError: its features are not finite.
    """
    z_BD = encoder.features(encoder.preprocess([Image.new("RGB", (64, 48), (128, 128, 128))]))
    _check_finite(z_BD, encoder.name, "grey images")
    return int(z_BD.shape[1])


def frozen_heads(
    encoder: FrozenEncoder,
    num_classes: int,
    count: int = 1,
    init: str = "normal",
    seed: int = 0,
    batch_norm: bool = False,
) -> LinearHeads:
    """Heads on the encoder itself, which they leave as it is.

    Raises:
        ValueError: the encoder's features are not finite.
    """
    module = LinearHeads(
        encoder.model,
        encoder.forward,
        feature_dim(encoder),
        num_classes,
        count,
        init,
        seed,
        frozen=True,
        batch_norm=batch_norm,
        name=encoder.name,
    )
    return module.to(encoder.device)


def trainable_copy(encoder: FrozenEncoder, num_classes: int, init: str = "normal", seed: int = 0) -> LinearHeads:
    """One head on a copy of the encoder, all parameters of which take gradients; the given encoder is left alone.

    Raises:
        ValueError: the encoder has no parameters, its features are not finite, or its `forward` does not follow the
            copy (a lambda or closure keeps the network it was made with).
    """
    # Together, so that a callable which holds the network holds the copied network afterwards.
    model, forward = copy.deepcopy((encoder.model, encoder.forward))
    model.requires_grad_(True)
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise ValueError(f"{encoder.name!r} has no weights that could be fine-tuned")
    dim = feature_dim(encoder)
    module = LinearHeads(model, forward, dim, num_classes, 1, init, seed, frozen=False, name=encoder.name)
    module.to(encoder.device)
    grey_BCHW = encoder.preprocess([Image.new("RGB", (64, 48), (128, 128, 128))]).to(encoder.device)
    with torch.enable_grad():
        if not module.features(grey_BCHW).requires_grad:
            raise ValueError(
                f"{encoder.name!r} cannot be fine-tuned: its `forward` still calls the network it was made with after "
                "both were copied; make it the network itself, or an object that holds the network as an attribute"
            )
    return module


def _check_finite(z_BD: Tensor, name: str, what: str) -> None:
    bad = int((~z_BD.isfinite().all(dim=1)).sum())
    if bad:
        raise ValueError(
            f"{name}: the encoder gives features that are not finite for {bad} of {len(z_BD)} {what}; its weights "
            "have probably diverged"
        )


def _linear(dim: int, num_classes: int, init: str, seed: int) -> nn.Linear:
    head = nn.utils.skip_init(nn.Linear, dim, num_classes)  # the global generator is left alone
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        if init == "lecun":
            std = dim**-0.5
            nn.init.trunc_normal_(head.weight, std=std, a=-2 * std, b=2 * std, generator=generator)
        else:
            head.weight.normal_(std=0.01, generator=generator)
        head.bias.zero_()
    return head
