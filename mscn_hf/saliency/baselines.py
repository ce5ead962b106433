# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""What a saliency map must beat: a Gaussian in the middle, and the brighter or darker half of the image."""

from __future__ import annotations

import numpy as np
from skimage.color import rgb2gray
from skimage.filters import threshold_otsu


def centre_gaussian(rgb_HW3: np.ndarray, width: float = 1 / 3) -> np.ndarray:
    """A Gaussian about the centre, of standard deviation `width` times each side, float64 (H, W)."""
    axes = [(np.arange(side) - (side - 1) / 2) / (width * side) for side in rgb_HW3.shape[:2]]
    return np.exp(-0.5 * (axes[0][:, None] ** 2 + axes[1][None] ** 2))


def otsu(rgb_HW3: np.ndarray) -> np.ndarray:
    """Luminance cut by Otsu's threshold; of both sides the one that touches the border less, float64 0 or 1 (H, W)."""
    grey_HW = rgb2gray(rgb_HW3)
    if grey_HW.min() == grey_HW.max():
        return np.zeros_like(grey_HW)
    bright_HW = grey_HW > threshold_otsu(grey_HW)
    border = np.concatenate([bright_HW[0], bright_HW[-1], bright_HW[:, 0], bright_HW[:, -1]])
    return (bright_HW if border.mean() <= 0.5 else ~bright_HW).astype(np.float64)
