# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Pictures with exact truth: a piece of one photograph on the smoothed ground of another."""

import numpy as np
import skimage.data
from PIL import Image, ImageDraw, ImageFilter

SIZE = (200, 150)
GROUNDS = ("coffee", "chelsea", "astronaut", "rocket")


def composites(count=6):
    """(uint8 (150, 200, 3), bool (150, 200)) pairs: an ellipse or a star of another photograph, off the centre."""
    random = np.random.default_rng(0)
    photos = [Image.fromarray(getattr(skimage.data, name)()).resize(SIZE) for name in GROUNDS]
    for number in range(count):
        ground = photos[number % 4].filter(ImageFilter.GaussianBlur(12))
        thing = photos[(number + 1) % 4]
        # of another colour than the ground, with its own texture
        pixels = np.asarray(thing).astype(float)
        colour = np.roll(255 - np.asarray(ground).reshape(-1, 3).mean(0), number)
        pixels = np.clip(0.5 * (pixels - pixels.mean((0, 1))) + colour, 0, 255).astype(np.uint8)
        mask = Image.new("L", SIZE)
        x, y = (int(random.uniform(0.2, 0.8) * side) for side in SIZE)
        x, y = int(np.clip(x, 45, SIZE[0] - 45)), int(np.clip(y, 38, SIZE[1] - 38))
        pen = ImageDraw.Draw(mask)
        if number % 2:
            pen.ellipse((x - 34, y - 26, x + 34, y + 26), fill=255)
        else:
            angles = np.arange(10) * np.pi / 5
            lengths = np.where(np.arange(10) % 2, 18, 34)
            pen.polygon(
                [(x + r * np.sin(a), y - r * np.cos(a)) for a, r in zip(angles, lengths, strict=True)], fill=255
            )
        yield np.asarray(Image.composite(Image.fromarray(pixels), ground, mask)), np.asarray(mask) > 0
