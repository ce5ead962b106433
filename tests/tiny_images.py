# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Image files that tests make for themselves."""

import io

from PIL import Image


def encoded(number: int, fmt: str = "JPEG", size: tuple[int, int] = (12, 8)) -> bytes:
    """A one-colour image file whose colour tells its number."""
    out = io.BytesIO()
    Image.new("RGB", size, (number % 256, number // 256, 90)).save(out, fmt)
    return out.getvalue()
