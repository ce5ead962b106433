# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""What a saliency map must beat: a Gaussian in the middle, a cut in brightness, and what OpenCV has."""

from __future__ import annotations

import numpy as np
from skimage.color import rgb2gray
from skimage.filters import threshold_otsu

_OPENCV = {
    "OpenCV spectral residual": "StaticSaliencySpectralResidual",
    "OpenCV fine-grained": "StaticSaliencyFineGrained",
}


def baseline_maps(rgb_HW3: np.ndarray) -> dict[str, np.ndarray]:
    """All of them by name, floats in [0, 1] (H, W)."""
    return {"centre Gaussian": centre_gaussian(rgb_HW3), "Otsu": otsu(rgb_HW3), **opencv(rgb_HW3)}


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


def opencv(rgb_HW3: np.ndarray) -> dict[str, np.ndarray]:
    """OpenCV's two maps of still images by name, float32 (H, W) in [0, 1]; none where its contributed modules lack.

    Spectral residual (Hou and Zhang 2007) and fine-grained (Montabone and Soto 2010): `pip install mscn-hf[opencv]`.
    """
    try:
        from cv2 import saliency
    except ImportError:
        return {}
    bgr_HW3 = np.ascontiguousarray(rgb_HW3[..., ::-1])
    maps = {}
    for name, kind in _OPENCV.items():
        _, map_HW = getattr(saliency, f"{kind}_create")().computeSaliency(bgr_HW3)
        maps[name] = np.clip(map_HW, 0, 1)
    return maps
