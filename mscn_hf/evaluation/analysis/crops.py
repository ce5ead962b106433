# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Positive pairs for any encoder: random crops in front of its own preprocessing."""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Sequence

import torch
from PIL import Image, ImageOps
from torch import Tensor
from torchvision.transforms import RandomResizedCrop

from ..encoder import FrozenEncoder, PreprocessFn

RATIO = (3 / 4, 4 / 3)


class CroppedPreprocess:
    """Crops an image at random, flips it at random, then does what the encoder wants.

    What is drawn hangs on the image's pixels and on `view` alone, so that batches and workers do not matter.
    """

    def __init__(self, preprocess: PreprocessFn, area: tuple[float, float], view: int) -> None:
        self.preprocess, self.area, self.view = preprocess, area, view

    def __call__(self, images: Sequence[Image.Image]) -> Tensor:
        return self.preprocess([self.crop(image) for image in images])

    def crop(self, image: Image.Image) -> Image.Image:
        """A square of `area` of the image's pixels, stretched by up to 4 : 3, in the image's own resolution."""
        image = image.convert("RGB")
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(zlib.crc32(image.tobytes()) * 64 + self.view)
            top, left, height, width = RandomResizedCrop.get_params(image, list(self.area), list(RATIO))
            flip = bool(torch.rand(()) < 0.5)
        side = max(height, width)
        box = (left, top, left + width, top + height)
        cut = image.resize((side, side), Image.Resampling.BICUBIC, box=box)
        return ImageOps.mirror(cut) if flip else cut


def cropped_encoder(encoder: FrozenEncoder, view: int, area: tuple[float, float] = (0.2, 1.0)) -> FrozenEncoder:
    """The same network behind random crops; its features are cached apart from those of whole images.

    Args:
        encoder: whose weights, device and hash are shared.
        view: number of the crop, 0 to 63; two numbers give a positive pair.
        area: range of the crop's share of the image.
    """
    if not 0 <= view < 64:
        raise ValueError(f"view must lie in [0, 64), got {view}")
    return dataclasses.replace(
        encoder,
        preprocess=CroppedPreprocess(encoder.preprocess, area, view),
        preprocessing={**encoder.preprocessing, "random_crop": {"area": list(area), "flip": True, "view": view}},
    )
