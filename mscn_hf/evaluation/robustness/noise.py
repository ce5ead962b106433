# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Noise of ImageNet-C: Gaussian, shot, impulse. Each takes and gives float64 (H, W, C) in [0, 1]."""

from __future__ import annotations

import numpy as np


def gaussian_noise(image_HWC: np.ndarray, severity: int, random: np.random.Generator) -> np.ndarray:
    """Normal noise on every value, as of a sensor in low light."""
    deviation = (0.08, 0.12, 0.18, 0.26, 0.38)[severity - 1]
    return image_HWC + random.normal(scale=deviation, size=image_HWC.shape)


def shot_noise(image_HWC: np.ndarray, severity: int, random: np.random.Generator) -> np.ndarray:
    """Poisson noise: a white value stands for so many photons."""
    photons = (60, 25, 12, 5, 3)[severity - 1]
    return np.asarray(random.poisson(image_HWC * photons) / photons)


def impulse_noise(image_HWC: np.ndarray, severity: int, random: np.random.Generator) -> np.ndarray:
    """Salt and pepper in colour: a share of the values becomes 0 or 1, with equal chance."""
    share = (0.03, 0.06, 0.09, 0.17, 0.27)[severity - 1]
    hit = random.random(image_HWC.shape) < share
    salt = random.random(image_HWC.shape) < 0.5
    return np.where(hit, salt, image_HWC)
