# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Every kind of file that a web-scale dataset holds becomes uint8 RGB, or a BrokenImage that says why."""

import io

import numpy as np
import pytest
from PIL import Image

from mscn_hf.data import decode
from mscn_hf.data.decode import BrokenImage, decode_image

GRADIENT = np.linspace(0, 255, 40 * 30).reshape(30, 40).astype(np.uint8)


def saved(image: Image.Image, fmt: str, **options) -> bytes:
    out = io.BytesIO()
    image.save(out, fmt, **options)
    return out.getvalue()


@pytest.mark.parametrize("with_simplejpeg", [True, False])
def test_rgb_jpeg_is_what_pil_decodes(monkeypatch, with_simplejpeg):
    if not with_simplejpeg:
        monkeypatch.setattr(decode, "simplejpeg", None)
    pixels = np.stack([GRADIENT, GRADIENT.T.reshape(30, 40), GRADIENT[::-1]], 2)
    data = saved(Image.fromarray(pixels), "JPEG", quality=95)
    expected = np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(int)
    assert np.abs(decode_image(data).astype(int) - expected).max() <= 2  # two builds of libjpeg-turbo


@pytest.mark.parametrize("with_simplejpeg", [True, False])
def test_grey_jpeg_has_three_equal_channels(monkeypatch, with_simplejpeg):
    if not with_simplejpeg:
        monkeypatch.setattr(decode, "simplejpeg", None)
    pixels = decode_image(saved(Image.fromarray(GRADIENT), "JPEG"))
    assert pixels.shape == (30, 40, 3)
    assert np.array_equal(pixels[..., 0], pixels[..., 1])
    assert np.abs(pixels[..., 0].astype(int) - GRADIENT).max() <= 6


def test_cmyk_jpeg_keeps_its_colour():
    data = saved(Image.new("CMYK", (16, 16), (255, 0, 0, 0)), "JPEG", quality=100)  # cyan
    red, green, blue = decode_image(data)[8, 8].astype(int)
    assert red < 10
    assert min(green, blue) > 245


def test_16_bit_png_is_scaled_not_clipped():
    values = (GRADIENT.astype(np.uint16) * 257).astype(np.uint16)
    pixels = decode_image(saved(Image.fromarray(values), "PNG"))
    assert np.abs(pixels[..., 1].astype(int) - GRADIENT).max() <= 1


def test_float_tiff_is_stretched():
    pixels = decode_image(saved(Image.fromarray(np.linspace(-3, 5, 100, dtype=np.float32).reshape(10, 10)), "TIFF"))
    assert (pixels.min(), pixels.max()) == (0, 255)


def test_palette_and_transparency_over_white():
    palette = Image.new("P", (4, 4), 1)
    palette.putpalette([0, 0, 0, 200, 30, 40] + [0] * 762)
    assert decode_image(saved(palette, "PNG"))[0, 0].tolist() == [200, 30, 40]
    assert decode_image(saved(Image.new("RGBA", (4, 4), (10, 20, 30, 0)), "PNG"))[0, 0].tolist() == [255, 255, 255]
    assert decode_image(saved(Image.new("LA", (4, 4), (10, 255)), "PNG"))[0, 0].tolist() == [10, 10, 10]


@pytest.mark.parametrize("fit", [None, 10])
def test_exif_rotation_is_applied(fit):
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held upright: turn clockwise
    wide = np.zeros((20, 40, 3), np.uint8)
    wide[:, :20, 0] = 255  # left half red
    pixels = decode_image(saved(Image.fromarray(wide), "JPEG", exif=exif, quality=100), fit=fit)
    assert pixels.shape[0] == 2 * pixels.shape[1]
    assert pixels[1, 1, 0] > 200  # what was left is on top
    assert pixels[-2, 1, 0] < 50


def test_first_frame_of_an_animation():
    frames = [Image.new("RGB", (8, 8), c) for c in ("red", "blue")]
    data = saved(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert decode_image(data)[0, 0].tolist() == [255, 0, 0]


@pytest.mark.parametrize("size", [(1, 3000), (3000, 1), (3000, 1500), (900, 1200)])
@pytest.mark.parametrize("fmt", ["JPEG", "PNG"])
def test_fit_gives_the_exact_longer_side_and_no_side_below_one(size, fmt):
    data = saved(Image.new("RGB", size, (200, 100, 50)), fmt, quality=95)
    pixels = decode_image(data, fit=512)
    assert max(pixels.shape[:2]) == 512
    width, height = size
    assert pixels.shape[:2] == (max(1, round(height * 512 / max(size))), max(1, round(width * 512 / max(size))))
    assert np.abs(pixels.astype(int).mean((0, 1)) - (200, 100, 50)).max() < 3


def test_smaller_than_fit_is_left_alone():
    assert decode_image(saved(Image.new("RGB", (7, 5)), "JPEG"), fit=512).shape == (5, 7, 3)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b"<html>404</html>", "cannot be decoded"),
        (saved(Image.fromarray(GRADIENT), "JPEG")[:-200], "cannot be decoded"),
        (saved(Image.fromarray(GRADIENT), "PNG")[:-80], "cannot be decoded"),
    ],
)
def test_broken_files_say_why(data, reason):
    with pytest.raises(BrokenImage, match=reason):
        decode_image(data)


def test_limits_are_checked_before_pixels_are_decoded():
    data = saved(Image.new("1", (12_000, 12_000)), "PNG")
    with pytest.raises(BrokenImage, match="12000x12000 pixels, more than the limit of 100000000"):
        decode_image(data)
    with pytest.raises(BrokenImage, match="bytes, more than the limit of 100"):
        decode_image(data, max_bytes=100)
