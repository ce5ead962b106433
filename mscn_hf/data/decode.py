# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Bytes of an image file -> uint8 RGB, within limits, whatever the file's colour mode or orientation."""

import functools
import io
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from PIL import Image, ImageOps

try:  # two to three times faster than PIL on JPEG; optional
    import simplejpeg
except ImportError:
    simplejpeg = None

MAX_BYTES = 64 * 2**20
MAX_PIXELS = 100_000_000
_EXIF_ORIENTATION = 0x0112
_EXIF_SIDEWAYS = (5, 6, 7, 8)


class BrokenImage(ValueError):
    """An image that cannot be used; the message says why. Loaders count it and put another one in its place."""


class UnreadableFile(BrokenImage):
    """An image file that is there but could not be read this time: a disk or a connection that failed."""


def decode_image(
    data: bytes, *, fit: int | None = None, max_bytes: int = MAX_BYTES, max_pixels: int = MAX_PIXELS
) -> np.ndarray:
    """Decodes one image file to an array (H, W, 3) of uint8 RGB.

    Grey, palette, CMYK, 16-bit and transparent images become RGB (transparency over white); EXIF orientation is
    applied; of an animation the first frame counts.

    Args:
        data: the file's bytes.
        fit: shrink an image whose longer side exceeds this many pixels to exactly that, aspect kept and no side
            below 1 (JPEG: decoded at a reduced scale first, which is what makes big photographs cheap).
        max_bytes, max_pixels: limits against decompression bombs; the header is read before any pixel.

    Raises:
        BrokenImage: empty, too large, truncated, or not an image.
    """
    with _broken_where_unreadable():
        image = _open(data, max_bytes, max_pixels)
        width, height = image.size
        long_side = max(width, height)
        if fit is None or long_side <= fit:
            fit = None
        upright = image.getexif().get(_EXIF_ORIENTATION, 1) == 1
        if simplejpeg is not None and upright and image.format == "JPEG" and image.mode in ("RGB", "L"):
            at_least = {} if fit is None else {"min_width" if width >= height else "min_height": fit}
            pixels = simplejpeg.decode_jpeg(data, "RGB", **at_least)
            return pixels if fit is None else _shrink(Image.fromarray(pixels), fit)
        if fit is not None and image.format == "JPEG":
            # draft() picks the smallest scale at which both sides still reach what is asked.
            image.draft(None, (fit * width // long_side, fit * height // long_side))
        upright_image = _to_rgb(ImageOps.exif_transpose(image))
        return np.asarray(upright_image) if fit is None else _shrink(upright_image, fit)


def decode_mask(data: bytes, *, max_bytes: int = MAX_BYTES, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Decodes the image file of a mask to an array (H, W) of uint8, 0 for background and 255 for foreground.

    Colours become their luma, transparency is background, EXIF orientation is applied. Where no value exceeds 1 the
    mask is taken to hold 0 to 1; 16-bit and float files with greater values hold 0 to 255 or, beyond that, to 65535.

    Args:
        data: the file's bytes.
        max_bytes, max_pixels: limits against decompression bombs; the header is read before any pixel.

    Raises:
        BrokenImage: empty, too large, truncated, or not an image.
    """
    with _broken_where_unreadable():
        return _to_mask(ImageOps.exif_transpose(_open(data, max_bytes, max_pixels)))


def upright_size(data: bytes) -> tuple[int, int]:
    """Height and width in pixels of an image file with its EXIF orientation applied, read from its header.

    Raises:
        BrokenImage: empty or not an image.
    """
    with _broken_where_unreadable():
        image = _open(data, len(data), sys.maxsize)
        width, height = image.size
        return (width, height) if image.getexif().get(_EXIF_ORIENTATION, 1) in _EXIF_SIDEWAYS else (height, width)


@contextmanager
def _broken_where_unreadable() -> Iterator[None]:
    try:
        with warnings.catch_warnings():
            # PIL only warns about a bomb up to twice its own limit; our limit is checked before decoding.
            warnings.simplefilter("ignore")
            yield
    except BrokenImage:
        raise
    except (
        Exception
    ) as error:  # decoders raise whatever they like on a damaged file: OSError, SyntaxError, struct.error…
        raise BrokenImage(f"cannot be decoded ({type(error).__name__}: {error})") from error


def _open(data: bytes, max_bytes: int, max_pixels: int) -> Image.Image:
    """The image file with only its header read."""
    if not data:
        raise BrokenImage("the file is empty")
    if len(data) > max_bytes:
        raise BrokenImage(f"{len(data)} bytes, more than the limit of {max_bytes}")
    image = Image.open(io.BytesIO(data), formats=_formats())
    width, height = image.size
    if width * height > max_pixels:
        raise BrokenImage(f"{width}x{height} pixels, more than the limit of {max_pixels}")
    return image


@functools.cache
def _formats() -> list[str]:
    """Pixel formats only: PIL also opens formats that run other programs, such as EPS through Ghostscript."""
    Image.init()
    wanted = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "MPO", "PPM", "JPEG2000", "AVIF", "ICO", "TGA")
    return [name for name in wanted if name in Image.OPEN]


def _shrink(image: Image.Image, fit: int) -> np.ndarray:
    width, height = image.size
    scale = fit / max(width, height)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(image.resize(size, Image.Resampling.BICUBIC))


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16") or image.mode in ("I", "F"):
        # PIL's own conversion clips 16-bit values at 255, which turns almost every picture white.
        values = np.asarray(image, dtype=np.float64)
        if image.mode == "F":  # no fixed range: stretch what is there
            values = (values - values.min()) / max(float(np.ptp(values)), 1e-12)
        else:
            values = values / (65535.0 if values.max(initial=0) > 255 else 255.0)
        grey = np.clip(values * 255.0 + 0.5, 0, 255).astype(np.uint8)
        return Image.fromarray(np.repeat(grey[:, :, None], 3, axis=2))
    if image.mode in ("LA", "PA", "RGBA", "La", "RGBa") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")
    return image.convert("RGB")


def _to_mask(image: Image.Image) -> np.ndarray:
    wide = image.mode.startswith("I;16") or image.mode in ("I", "F")
    if not wide and (image.mode in ("LA", "PA", "RGBA", "La", "RGBa") or "transparency" in image.info):
        rgba = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", rgba.size, "black"), rgba)
    values = np.nan_to_num(np.asarray(image, dtype=np.float64)) if wide else np.asarray(image.convert("L"))
    highest = values.max(initial=0)
    if not wide and highest != 1:
        return values
    full = 1.0 if highest <= 1 else 255.0 if highest <= 255 else 65535.0
    return np.clip(values / full * 255.0 + 0.5, 0, 255).astype(np.uint8)
