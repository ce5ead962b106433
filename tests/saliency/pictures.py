# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Superpixels and pictures that tests of the cues make for themselves."""

import warnings

import numpy as np
import pytest
from skimage.color import rgb2lab

from mscn_hf.saliency.superpixels import Superpixels


@pytest.fixture(autouse=True)
def warnings_are_errors():
    with warnings.catch_warnings(), np.errstate(divide="raise", invalid="raise", over="raise"):
        warnings.simplefilter("error")
        yield


def voronoi(seed, count, height=60, width=80):
    """Superpixels around random points, each of a random colour with a little noise."""
    random = np.random.default_rng(seed)
    point_N2 = random.uniform(0, 1, (count, 2)) * (height, width)
    pixel_HW2 = np.stack(np.mgrid[:height, :width], axis=-1)
    labels_HW = np.square(pixel_HW2[:, :, None] - point_N2).sum(-1).argmin(-1)
    labels_HW = np.unique(labels_HW, return_inverse=True)[1].reshape(height, width)
    rgb_HW3 = random.integers(20, 236, (count, 3))[labels_HW] + random.integers(-20, 20, (height, width, 3))
    rgb_HW3 = rgb_HW3.astype(np.uint8)
    return Superpixels(labels_HW, rgb_HW3, rgb2lab(rgb_HW3))


def flipped(regions, axis):
    return Superpixels(*(np.flip(picture, axis) for picture in (regions.labels_HW, regions.rgb_HW3, regions.lab_HW3)))


def disc(ground, figure, centre=(100, 120), radius=40, shape=(200, 240)):
    rows_HW, columns_HW = np.mgrid[: shape[0], : shape[1]]
    inside_HW = (rows_HW - centre[0]) ** 2 + (columns_HW - centre[1]) ** 2 <= radius**2
    return np.where(inside_HW[..., None], figure, np.broadcast_to(ground, 3)).astype(np.uint8), inside_HW
