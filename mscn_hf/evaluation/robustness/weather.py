# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Weather of ImageNet-C: snow, frost, fog, brightness. Each takes and gives float64 (H, W, C) in [0, 1]."""

from __future__ import annotations

import numpy as np

from .filters import magnify, motion_blur, plasma

LUMA = (0.299, 0.587, 0.114)
FROST_TINT = (0.80, 0.92, 1.0)


def snow(image_HWC: np.ndarray, severity: int, random: np.random.Generator) -> np.ndarray:
    """Flakes that fall at a slant, in front of a scene that is whitened."""
    mean, deviation, size, least, radius, sigma, keep = (
        (0.1, 0.3, 3, 0.5, 10, 4, 0.8),
        (0.2, 0.3, 2, 0.5, 12, 4, 0.7),
        (0.55, 0.3, 4, 0.9, 12, 8, 0.7),
        (0.55, 0.3, 4.5, 0.85, 12, 8, 0.65),
        (0.55, 0.3, 2.5, 0.85, 12, 12, 0.55),
    )[severity - 1]
    flakes_HW1 = magnify(random.normal(mean, deviation, (*image_HWC.shape[:2], 1)), size)
    flakes_HW1 = np.floor(np.clip(np.where(flakes_HW1 < least, 0, flakes_HW1), 0, 1) * 255)
    flakes_HW1 = np.round(motion_blur(flakes_HW1, radius, sigma, random.uniform(-135, -45))) / 255
    grey_HW1 = (image_HWC @ np.array(LUMA))[:, :, None]
    whitened = keep * image_HWC + (1 - keep) * np.maximum(image_HWC, grey_HW1 * 1.5 + 0.5)
    return whitened + flakes_HW1 + flakes_HW1[::-1, ::-1]


def frost(image_HWC: np.ndarray, severity: int, random: np.random.Generator) -> np.ndarray:
    """Ice in front of the scene; see `frost_overlay` for what differs from the benchmark."""
    keep, ice = ((1, 0.4), (0.8, 0.6), (0.7, 0.7), (0.65, 0.7), (0.6, 0.75))[severity - 1]
    height, width = image_HWC.shape[:2]
    return keep * image_HWC + ice * frost_overlay(height, width, random)


def frost_overlay(height: int, width: int, random: np.random.Generator) -> np.ndarray:
    """A picture of ice on glass (H, W, 3) in [0, 1], drawn afresh: ferns, and needles along three axes.

    The benchmark adds crops of photographs of ice, which cannot be shipped here. The drawing is as bright on average,
    of the same contrast and as fine as these are, and bluish, but it is another: compare scores under this corruption
    with one another, not with published ones.
    """
    side = _power_of_two(max(height, width))
    cloud, fern, crack = (plasma(side, decay, random)[:height, :width] for decay in (1.7, 1.5, 1.6))
    ferns = _ridges(fern, 7) + _ridges(crack, 5)
    seeds_HW1 = (random.random((height, width, 1)) < 0.012) * random.uniform(0.3, 1, (height, width, 1))
    tilt = random.uniform(0, 60)
    needles = np.sum([motion_blur(seeds_HW1, 14, 9, tilt + turn) for turn in range(0, 360, 60)], axis=0)[:, :, 0]
    ice_HW = np.clip(1.1 * cloud * (0.45 * ferns + 4.0 * needles), 0, 0.8)
    # The photographs have mean levels from 0.45 to 0.85, and a standard deviation of 0.09 within a crop.
    ice_HW = random.uniform(0.45, 0.85) + 0.5 * (ice_HW - ice_HW.mean())
    return np.clip(ice_HW, 0, 1)[:, :, None] ** (1 / np.array(FROST_TINT))


def _ridges(cloud_HW: np.ndarray, count: int) -> np.ndarray:
    """Bright lines along `count` level lines of a cloud picture."""
    return (1 - np.abs(np.sin(np.pi * count * cloud_HW))) ** 1.5


def fog(image_HWC: np.ndarray, severity: int, random: np.random.Generator) -> np.ndarray:
    """A bank of fog: a cloud fractal is added and the sum brought back to the picture's brightest value."""
    thickness, decay = ((1.5, 2), (2, 2), (2.5, 1.7), (2.5, 1.5), (3, 1.4))[severity - 1]
    height, width = image_HWC.shape[:2]
    cloud_HW = plasma(_power_of_two(max(height, width)), decay, random)[:height, :width]
    brightest = image_HWC.max()
    return (image_HWC + thickness * cloud_HW[:, :, None]) * brightest / (brightest + thickness)


def brightness(image_HWC: np.ndarray, severity: int, random: np.random.Generator) -> np.ndarray:
    """HSV's value raised. With hue and saturation kept, RGB is proportional to the value; black becomes grey."""
    more = (0.1, 0.2, 0.3, 0.4, 0.5)[severity - 1]
    value_HW1 = image_HWC.max(axis=2, keepdims=True)
    raised_HW1 = np.minimum(value_HW1 + more, 1)
    return np.where(value_HW1 > 0, image_HWC * (raised_HW1 / np.where(value_HW1 > 0, value_HW1, 1)), raised_HW1)


def _power_of_two(size: int) -> int:
    return 1 << max(1, (size - 1).bit_length())
