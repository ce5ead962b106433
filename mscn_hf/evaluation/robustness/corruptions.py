# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""The 15 corruptions x 5 severities of ImageNet-C, made from clean pictures (Hendrycks & Dietterich 2019, sec. 3).

Constants are those of the published benchmark, which made its pictures at 224 x 224. Lengths in pixels are taken as
they are at every size (the elastic one scales): on smaller pictures blurs and trails are stronger, on larger ones
weaker. Bring pictures to 224 first where severities shall mean what they mean in the benchmark.

What differs from the published files: frost is drawn (`weather.frost_overlay`), warps interpolate exactly where OpenCV
rounds to 1/32 pixel, and the files are JPEGs of quality 85, for which see `jpeg_quality` of the protocol.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable

import numpy as np

from . import blur, digital, noise, weather

CorruptionFn = Callable[[np.ndarray, int, np.random.Generator], np.ndarray]

SEVERITIES = (1, 2, 3, 4, 5)
SMALLEST_SIDE = 16

# In the order of the benchmark's tables.
CORRUPTIONS: dict[str, CorruptionFn] = {
    "gaussian_noise": noise.gaussian_noise,
    "shot_noise": noise.shot_noise,
    "impulse_noise": noise.impulse_noise,
    "defocus_blur": blur.defocus_blur,
    "glass_blur": blur.glass_blur,
    "motion_blur": blur.motion_blur,
    "zoom_blur": blur.zoom_blur,
    "snow": weather.snow,
    "frost": weather.frost,
    "fog": weather.fog,
    "brightness": weather.brightness,
    "contrast": digital.contrast,
    "elastic_transform": digital.elastic_transform,
    "pixelate": digital.pixelate,
    "jpeg_compression": digital.jpeg_compression,
}


def corrupt(
    image_HWC: np.ndarray, name: str, severity: int, random: np.random.Generator | int | list[int] = 0
) -> np.ndarray:
    """One corrupted copy of a picture.

    Args:
        image_HWC: uint8 RGB, at least 16 pixels each side.
        name: a key of `CORRUPTIONS`.
        severity: 1 to 5.
        random: generator of the draws, or what seeds one.

    Returns:
        uint8 of the same shape. Values are cut to [0, 1] and to whole levels from above, as the benchmark's are.

    Raises:
        ValueError: an unknown name (the nearest is named), a severity outside 1..5, or not such a picture.
    """
    if name not in CORRUPTIONS:
        near = difflib.get_close_matches(name, CORRUPTIONS, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else f"; known are {list(CORRUPTIONS)}"
        raise ValueError(f"unknown corruption {name!r}{hint}")
    if severity not in SEVERITIES or isinstance(severity, bool):
        raise ValueError(f"severity must be one of {list(SEVERITIES)}, got {severity!r}")
    if image_HWC.dtype != np.uint8 or image_HWC.ndim != 3 or image_HWC.shape[2] != 3:
        raise ValueError(f"a picture must be uint8 (H, W, 3), got {image_HWC.dtype} {image_HWC.shape}")
    if min(image_HWC.shape[:2]) < SMALLEST_SIDE:
        raise ValueError(f"a picture must have at least {SMALLEST_SIDE} pixels each side, got {image_HWC.shape[:2]}")
    changed_HWC = CORRUPTIONS[name](image_HWC / 255.0, int(severity), np.random.default_rng(random))
    # 1e-6 of a level: x / 255 * 255 may come out just below a whole number, which would be cut to a level less.
    return np.floor(np.clip(changed_HWC, 0, 1) * 255 + 1e-6).astype(np.uint8)
