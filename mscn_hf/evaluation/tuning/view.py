# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""What an encoder's own preprocessing makes of pixels, and random crops and flips that end in the same form."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from PIL import Image

from mscn_hf.views.recipe import ViewRecipe, ViewSpec

from ..encoder import PreprocessFn

COLOUR = (102, 51, 204)


@dataclass(frozen=True)
class InputFormat:
    """Square images of `size` pixels, (x - mean) / std of each channel for x in [0, 1]."""

    size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


def input_format(preprocess: PreprocessFn) -> InputFormat:
    """Finds an encoder's input format by preprocessing a black, a white and a coloured image.

    Image processors of transformers, transforms of timm and functions of one's own name these settings in their own
    ways; what they do to plain images is the same question to all of them.

    Raises:
        ValueError: images that are not square, or anything but a scale and a shift for each channel.
    """
    images_BCHW = preprocess([Image.new("RGB", (96, 96), colour) for colour in ("black", "white", COLOUR)]).double()
    if images_BCHW.ndim != 4 or images_BCHW.shape[1] != 3 or images_BCHW.shape[2] != images_BCHW.shape[3]:
        raise ValueError(f"training needs square images of three channels, the encoder takes {_shape(images_BCHW)}")
    black_C, white_C, colour_C = images_BCHW.mean(dim=(2, 3))
    span_C = white_C - black_C
    flat = bool((images_BCHW - images_BCHW.mean(dim=(2, 3), keepdim=True)).abs().max() < 1e-4)
    expected_C = black_C + span_C * torch.tensor(COLOUR) / 255
    if not flat or bool((span_C <= 0).any()) or not torch.allclose(colour_C, expected_C, atol=1e-3, rtol=1e-3):
        raise ValueError(
            "training needs an encoder whose preprocessing scales and shifts each channel; black, white and "
            f"{COLOUR} became {black_C.tolist()}, {white_C.tolist()} and {colour_C.tolist()}"
        )
    return InputFormat(images_BCHW.shape[-1], _three(-black_C / span_C), _three(1 / span_C))


def training_view(
    form: InputFormat, crop_scale: Sequence[float], crop_ratio: Sequence[float], flip_p: float
) -> ViewRecipe:
    """One view: random crop resized to the encoder's input size, flip, the encoder's normalisation.

    The high-pass filter is no step of it: an encoder that has one filters its input itself.
    """
    spec = ViewSpec(
        size=form.size,
        crop_scale=(crop_scale[0], crop_scale[1]),
        crop_ratio=(crop_ratio[0], crop_ratio[1]),
        flip_p=flip_p,
        jitter_p=0.0,
        grayscale_p=0.0,
        blur_p=0.0,
    )
    return ViewRecipe(views={"train": spec}, image_mean=form.mean, image_std=form.std)


def _three(values_C: torch.Tensor) -> tuple[float, float, float]:
    red, green, blue = (round(float(value), 6) for value in values_C)
    return red, green, blue


def _shape(images_BCHW: torch.Tensor) -> str:
    return f"tensors of shape {tuple(images_BCHW.shape[1:])}"
