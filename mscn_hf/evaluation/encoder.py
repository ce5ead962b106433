# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""A frozen network, its own preprocessing, and the vector it gives for an image."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

PreprocessFn = Callable[[Sequence[Image.Image]], Tensor]


def weights_hash(model: nn.Module) -> str:
    """sha256 over every tensor of a model: parameters and buffers, running statistics of batch norm included.

    Buffers that are not saved (such as a filter kernel) count too. The device does not matter.
    """
    tensors = {**model.state_dict(), **dict(model.named_buffers())}
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def text_hash(value: Any) -> str:
    """sha256 of a JSON-able value, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()


@dataclass
class FrozenEncoder:
    """A model that is only looked through. Made by `load_encoder`, or directly from a model in memory.

    Args:
        name: as the user gave it.
        model: any module; it is put in eval mode and its parameters take no gradient.
        forward: images_BCHW -> features, anything that flattens to (B, D).
        preprocess: list of RGB PIL images -> images_BCHW; runs in DataLoader workers, so it must pickle.
        feature: which layer is taken, in words.
        architecture: the configuration, as a JSON-able value: two networks can share all tensors and differ in
            padding or stride.
        preprocessing: the settings of `preprocess`, as a JSON-able dict.
        variant: how the network differs from the published one with the same tensors ("unfiltered"), "" if it is that.
        load_classifier: loads the same checkpoint with the classification head it was published with; None where there
            is no checkpoint.
    """

    name: str
    model: nn.Module
    forward: Callable[[Tensor], Tensor]
    preprocess: PreprocessFn
    feature: str
    architecture: Any
    preprocessing: dict[str, Any]
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    weights_hash: str = ""
    variant: str = ""
    load_classifier: Callable[[], Any] | None = None

    def __post_init__(self) -> None:
        self.model.requires_grad_(False).eval()
        self.weights_hash = self.weights_hash or weights_hash(self.model)

    @property
    def revision(self) -> str:
        """What Results name the weights by: their hash; of a variant another name, so that nobody mixes the two."""
        return f"{self.weights_hash}-{self.variant}" if self.variant else self.weights_hash

    def to(self, device: torch.device | str) -> FrozenEncoder:
        """Moves the model; returns itself."""
        self.device = torch.device(device)
        self.model.to(self.device)
        return self

    @torch.inference_mode()
    def features(self, images_BCHW: Tensor) -> Tensor:
        """Features z_BD in float32 of preprocessed images.

        Raises:
            RuntimeError: the model is in training mode, where batch norm would learn from what it is tested on.
        """
        if any(module.training for module in self.model.modules()):
            raise RuntimeError(f"{self.name}: the encoder must be in eval mode while it is probed")
        return self.forward(images_BCHW.to(self.device)).flatten(1).float()

    def identity(self) -> dict[str, Any]:
        """Everything that fixes the features of a given image, as JSON types: the encoder's half of a cache key."""
        return {
            "weights": self.weights_hash,
            "architecture": text_hash(self.architecture),
            "feature": self.feature,
            "preprocessing": self.preprocessing,
        }

    def assert_frozen(self) -> None:
        """Checks that no tensor changed since the encoder was made.

        Raises:
            RuntimeError: a weight or a batch-norm buffer changed; the score would not be of the model it names.
        """
        now = weights_hash(self.model)
        if now != self.weights_hash:
            raise RuntimeError(
                f"{self.name}: the encoder changed while it was probed (weights and buffers hashed to "
                f"{self.weights_hash[:12]}, now {now[:12]}); a probe must leave it frozen"
            )


PIXELS_SIDE = 16


class PixelPreprocess:
    """PIL images -> (B, 3, side, side) in [-1, 1], resized whole with an antialiasing box filter."""

    def __init__(self, side: int = PIXELS_SIDE) -> None:
        self.side = side

    def __call__(self, images: Sequence[Image.Image]) -> Tensor:
        small = [image.resize((self.side, self.side), Image.Resampling.BOX) for image in images]
        pixels_BHWC = torch.from_numpy(np.stack([np.asarray(image.convert("RGB")) for image in small]))
        return pixels_BHWC.permute(0, 3, 1, 2).float() / 127.5 - 1.0


def pixel_encoder() -> FrozenEncoder:
    """The baseline that learned nothing: 16x16 RGB pixels as a vector of 768."""
    settings = {"resize": [PIXELS_SIDE, PIXELS_SIDE], "resample": "box", "range": [-1, 1]}
    return FrozenEncoder(
        name="pixels",
        model=nn.Identity(),
        forward=lambda images_BCHW: images_BCHW,
        preprocess=PixelPreprocess(),
        feature=f"{PIXELS_SIDE}x{PIXELS_SIDE} RGB pixels",
        architecture="pixels",
        preprocessing=settings,
    )
