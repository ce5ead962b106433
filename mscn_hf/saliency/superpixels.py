# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Superpixels of an image, made once for each (number, compactness) and shared by all cues.

Shapes: H, W the image's sides in pixels, N superpixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from skimage.color import rgb2lab
from skimage.segmentation import slic

# A superpixel of fewer pixels than this has no colour of its own to speak of.
SMALLEST = 4


@dataclass(frozen=True)
class Superpixels:
    """A partition of an image into N connected regions of similar colour.

    Attributes:
        labels_HW: int32, the region of each pixel, 0 to N - 1.
        rgb_HW3: uint8, the image.
        lab_HW3: float32, the image in CIELAB.
    """

    labels_HW: np.ndarray
    rgb_HW3: np.ndarray
    lab_HW3: np.ndarray

    def __len__(self) -> int:
        return len(self.size_N)

    @cached_property
    def size_N(self) -> np.ndarray:
        """Pixels of each region, float64."""
        return np.bincount(self.labels_HW.ravel()).astype(np.float64)

    def mean(self, values: np.ndarray) -> np.ndarray:
        """Mean of a picture (H, W) or (H, W, C) over each region, float64 (N,) or (N, C)."""
        if values.ndim == 3:
            return np.stack([self.mean(values[..., channel]) for channel in range(values.shape[2])], axis=1)
        return np.bincount(self.labels_HW.ravel(), values.ravel(), minlength=len(self)) / self.size_N

    def paint(self, values_N: np.ndarray) -> np.ndarray:
        """A picture (H, W) in which each region has its value."""
        return values_N[self.labels_HW]

    @cached_property
    def rgb_N3(self) -> np.ndarray:
        """Mean colour, float64 in [0, 1]."""
        return self.mean(self.rgb_HW3) / 255

    @cached_property
    def lab_N3(self) -> np.ndarray:
        """Mean colour in CIELAB, float64."""
        return self.mean(self.lab_HW3)

    @cached_property
    def lab_distance_NN(self) -> np.ndarray:
        """Euclidean distance of mean colours in CIELAB, float64."""
        return distances(self.lab_N3)

    @cached_property
    def position_N2(self) -> np.ndarray:
        """Centre of mass (row, column), float64, each in [0, 1] of its side."""
        height, width = self.labels_HW.shape
        rows_HW, columns_HW = np.mgrid[:height, :width]
        return np.stack([self.mean(rows_HW) / max(height - 1, 1), self.mean(columns_HW) / max(width - 1, 1)], axis=1)

    @cached_property
    def adjacency_NN(self) -> np.ndarray:
        """bool, symmetric, diagonal False: regions with pixels side by side or corner to corner."""
        labels = self.labels_HW
        found = np.zeros((len(self), len(self)), dtype=bool)
        pairs = (
            (labels[:, :-1], labels[:, 1:]),
            (labels[:-1], labels[1:]),
            (labels[:-1, :-1], labels[1:, 1:]),
            (labels[:-1, 1:], labels[1:, :-1]),
        )
        for one, other in pairs:
            found[one.ravel(), other.ravel()] = True
        found |= found.T
        np.fill_diagonal(found, False)
        return found

    def border_sides(self, width: int = 1) -> list[np.ndarray]:
        """bool (N,) for top, bottom, left and right: regions with a pixel less than `width` from that side."""
        labels = self.labels_HW
        bands = (labels[:width], labels[-width:], labels[:, :width], labels[:, -width:])
        return [np.isin(np.arange(len(self)), band) for band in bands]

    def border(self, width: int = 1) -> np.ndarray:
        """bool (N,): regions with a pixel less than `width` from any side."""
        return np.logical_or.reduce(self.border_sides(width))


class SegmentedImage:
    """An image with the superpixels that were asked of it so far.

    Args:
        rgb_HW3: uint8 (H, W, 3).

    Attributes:
        segmentations: how many times the image was segmented.
    """

    def __init__(self, rgb_HW3: np.ndarray):
        if rgb_HW3.dtype != np.uint8 or rgb_HW3.ndim != 3 or rgb_HW3.shape[2] != 3 or rgb_HW3.size == 0:
            raise ValueError(f"an image must be uint8 of shape (H, W, 3), got {rgb_HW3.dtype} {rgb_HW3.shape}")
        self.rgb_HW3 = rgb_HW3
        self.segmentations = 0
        self._kept: dict[tuple[int, float], Superpixels] = {}

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.rgb_HW3.shape[:2]

    @cached_property
    def lab_HW3(self) -> np.ndarray:
        """The image in CIELAB (D65, 2 degrees), float32."""
        return rgb2lab(self.rgb_HW3.astype(np.float32) / 255).astype(np.float32)

    def superpixels(self, number: int, compactness: float) -> Superpixels:
        """About `number` SLIC superpixels (Achanta et al. 2012), fewer where they would have under `SMALLEST` pixels.

        Args:
            number: how many.
            compactness: weight of distance in space against that in colour, scikit-image's.
        """
        height, width = self.shape
        number = max(1, min(number, height * width // SMALLEST))
        if (number, compactness) not in self._kept:
            # scikit-image first brings the picture's values to [0, 1]: the weight of space follows them
            span = float(self.lab_HW3.max() - self.lab_HW3.min()) or 1.0
            labels_HW = slic(
                self.lab_HW3, number, compactness / span, convert2lab=False, start_label=0, enforce_connectivity=True
            )
            # SLIC may drop a number: every label is to stand for some pixel
            labels_HW = np.unique(labels_HW, return_inverse=True)[1].reshape(height, width).astype(np.int32)
            self._kept[number, compactness] = Superpixels(labels_HW, self.rgb_HW3, self.lab_HW3)
            self.segmentations += 1
        return self._kept[number, compactness]


def distances(points_NC: np.ndarray) -> np.ndarray:
    """Euclidean distances (N, N), float64, exactly symmetric with a diagonal of 0."""
    return np.sqrt(np.square(points_NC[:, None] - points_NC[None]).sum(axis=2))


def two_rings(adjacency_NN: np.ndarray) -> np.ndarray:
    """bool: neighbours and neighbours' neighbours, diagonal False."""
    near = adjacency_NN.astype(np.float32)
    found = adjacency_NN | (near @ near > 0)
    np.fill_diagonal(found, False)
    return found


def minmax(values: np.ndarray) -> np.ndarray:
    """Values brought to [0, 1]; all 0 where they are equal (to rounding) or not all finite."""
    least, most = values.min(), values.max()
    span = most - least
    if not np.isfinite(span) or span <= 1e-9 * max(abs(least), abs(most), 1e-300):
        return np.zeros_like(values)
    return (values - least) / span
