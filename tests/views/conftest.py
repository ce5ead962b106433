# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Real photographs for the tests of views: the ones that ship inside the wheels of scikit-image and scikit-learn."""

import numpy as np
import pytest
import torch
from PIL import Image
from skimage import data
from sklearn.datasets import load_sample_image


@pytest.fixture(scope="session")
def photographs() -> list[np.ndarray]:
    """Seven uint8 (H, W, 3) photographs of 300 to 1411 pixels a side."""
    pictures = [data.astronaut(), data.chelsea(), data.coffee(), data.rocket(), data.retina()]
    return [*pictures, load_sample_image("china.jpg"), load_sample_image("flower.jpg")]


def make_batch(photographs: list[np.ndarray], side: int, count: int, epoch: int = 0) -> dict:
    """Canvases of `side` pixels with photographs shrunk into their top-left corners, as the data floor makes them."""
    canvas = np.zeros((count, side, side, 3), np.uint8)
    valid_hw = np.zeros((count, 2), np.int32)
    for slot in range(count):
        picture = Image.fromarray(photographs[slot % len(photographs)])
        picture.thumbnail((side, side), Image.Resampling.BICUBIC)
        pixels = np.asarray(picture)
        valid_hw[slot] = pixels.shape[:2]
        canvas[slot, : pixels.shape[0], : pixels.shape[1]] = pixels
    return {
        "canvas": torch.from_numpy(canvas).permute(0, 3, 1, 2),
        "valid_hw": torch.from_numpy(valid_hw),
        "position": torch.arange(count) * 7 + 3,
        "epoch": epoch,
    }


@pytest.fixture(scope="session")
def photo_batch(photographs):
    """`photo_batch(side, count)` makes a batch of canvases."""
    return lambda side=96, count=14, epoch=0: make_batch(photographs, side, count, epoch)


@pytest.fixture(scope="session")
def photo_images(photographs) -> torch.Tensor:
    """Float images (14, 3, 64, 64) in [0, 1]; two of them black and white, one grey, to meet the edges of formulas."""
    images = [np.asarray(Image.fromarray(p).resize((64, 64), Image.Resampling.BICUBIC)) for p in photographs]
    images = torch.from_numpy(np.stack([*images, *(image[::-1] for image in images)])).permute(0, 3, 1, 2) / 255
    images[11], images[12] = 0.0, 1.0
    images[13] = images[13].mean(0)
    return images.contiguous()
