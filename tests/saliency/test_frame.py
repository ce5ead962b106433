# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Frames and letterbox bars are found, and nothing else is."""

import io

import numpy as np
import pytest
import skimage.data
from PIL import Image

from mscn_hf.saliency.frame import find_frame

PHOTOGRAPHS = ("astronaut", "chelsea", "coffee", "rocket", "immunohistochemistry", "retina")


def photograph(name="coffee", size=(240, 160)):
    return np.asarray(Image.fromarray(getattr(skimage.data, name)()).resize(size, Image.Resampling.LANCZOS))


def framed(picture_HW3, bars, colour):
    """The picture with bars (top, bottom, left, right) around it, and its place."""
    top, bottom, left, right = bars
    height, width = picture_HW3.shape[:2]
    result = np.empty((height + top + bottom, width + left + right, 3), dtype=np.uint8)
    result[:] = colour
    place = slice(top, top + height), slice(left, left + width)
    result[place] = picture_HW3
    return result, place


def jpeg(rgb_HW3, quality):
    file = io.BytesIO()
    Image.fromarray(rgb_HW3).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file))


def all_of(rgb_HW3):
    return slice(0, rgb_HW3.shape[0]), slice(0, rgb_HW3.shape[1])


def with_disc(height, width, centre, radius, inside, outside):
    rows_HW, columns_HW = np.mgrid[:height, :width]
    rgb_HW3 = np.full((height, width, 3), outside, dtype=np.uint8)
    rgb_HW3[(rows_HW - centre[0]) ** 2 + (columns_HW - centre[1]) ** 2 < radius**2] = inside
    return rgb_HW3


@pytest.mark.parametrize("colour", [255, 0, 128, (200, 30, 60)])
@pytest.mark.parametrize(
    "bars", [(10, 10, 10, 10), (1, 2, 3, 4), (30, 30, 0, 0), (0, 0, 25, 40), (17, 0, 0, 5), (0, 0, 0, 12)]
)
def test_bars_of_one_colour(bars, colour):
    rgb_HW3, place = framed(photograph("rocket" if colour == 128 else "coffee"), bars, colour)
    assert find_frame(rgb_HW3) == place


def test_broad_frame():
    """Bars of nearly a third: what is left of each other's edges is two fifths of them."""
    rgb_HW3, place = framed(photograph(size=(100, 90)), (60, 70, 70, 70), 255)
    assert find_frame(rgb_HW3) == place


def test_bars_of_different_colours():
    """White above and below of a picture that had black ones left and right."""
    inner, _ = framed(photograph(), (0, 0, 20, 12), 0)
    rgb_HW3, _ = framed(inner, (9, 15, 0, 0), 255)
    assert find_frame(rgb_HW3) == (slice(9, 169), slice(20, 260))


def test_frame_in_a_frame():
    inner, _ = framed(photograph(), (2, 2, 2, 2), 0)
    rgb_HW3, _ = framed(inner, (12, 12, 12, 12), 255)
    assert find_frame(rgb_HW3) == (slice(14, 174), slice(14, 254))


@pytest.mark.parametrize("quality", [50, 75, 95])
@pytest.mark.parametrize("colour", [255, 0, (200, 30, 60)])
@pytest.mark.parametrize("bars", [(13, 13, 13, 13), (21, 30, 0, 0), (16, 16, 24, 24)])
def test_jpeg(bars, colour, quality):
    """Noise may hide up to two of the picture's first lines, or take as many of the bar's."""
    rgb_HW3, place = framed(photograph("chelsea"), bars, colour)
    for found, expected in zip(find_frame(jpeg(rgb_HW3, quality)), place):
        assert abs(found.start - expected.start) <= 2 and abs(found.stop - expected.stop) <= 2


@pytest.mark.parametrize("scale", [1, 2, 4])
def test_frame_around_a_plain_picture(scale):
    picture = with_disc(100 * scale, 120 * scale, (50 * scale, 60 * scale), 25 * scale, (220, 40, 40), 120)
    rgb_HW3, place = framed(picture, (9 * scale, 9 * scale, 6 * scale, 6 * scale), 255)
    assert find_frame(rgb_HW3) == place
    assert find_frame(jpeg(rgb_HW3, 90)) == place


@pytest.mark.parametrize("name", PHOTOGRAPHS)
def test_photographs_have_no_frame(name):
    rgb_HW3 = getattr(skimage.data, name)()
    assert find_frame(rgb_HW3) == all_of(rgb_HW3)
    small = photograph(name, (120, 100))
    assert find_frame(small) == all_of(small)


@pytest.mark.parametrize("inside, outside", [(230, 60), (0, 255), ((250, 200, 0), (20, 20, 90))])
@pytest.mark.parametrize("radius", [4, 10, 30, 44])
@pytest.mark.parametrize("side", [40, 100, 200, 400])
def test_disc_on_plain_ground_has_no_frame(side, radius, inside, outside):
    radius = radius * side // 100
    for centre in ((side // 2, side // 2), (radius + 3, side // 2), (side - radius - 2, radius + 5)):
        rgb_HW3 = with_disc(side, side, centre, radius, inside, outside)
        assert find_frame(rgb_HW3) == all_of(rgb_HW3)
        assert find_frame(jpeg(rgb_HW3, 75)) == all_of(rgb_HW3)


def test_bottle_on_plain_ground_has_no_frame():
    """A level bottom alone is no edge of a frame: the ground goes on past both its ends."""
    rgb_HW3 = np.full((200, 160, 3), 250, dtype=np.uint8)
    rgb_HW3[70:185, 20:140] = (30, 90, 40)
    rgb_HW3[15:70, 65:95] = (30, 90, 40)
    assert find_frame(rgb_HW3) == all_of(rgb_HW3)


def test_fading_sky_has_no_frame():
    rows_H = np.linspace(255, 90, 200)
    rgb_HW3 = np.repeat(np.repeat(rows_H[:, None, None], 300, axis=1), 3, axis=2).astype(np.uint8)
    assert find_frame(rgb_HW3) == all_of(rgb_HW3)
    rgb_HW3[120:] = photograph(size=(300, 80))  # ground that begins beyond a third
    assert find_frame(rgb_HW3) == all_of(rgb_HW3)


def test_slanting_edge_is_no_frame():
    rgb_HW3 = photograph(size=(300, 200)).copy()
    rows_HW, columns_HW = np.mgrid[:200, :300]
    rgb_HW3[rows_HW < 20 + columns_HW / 8] = 255
    assert find_frame(rgb_HW3) == all_of(rgb_HW3)


def test_picture_that_shares_the_frames_colour_at_the_top():
    """Without a straight edge at the top the other three bars are still found."""
    picture = photograph(size=(240, 160)).copy()
    rows_HW, columns_HW = np.mgrid[:160, :240]
    picture[rows_HW < 20 + 15 * np.sin(columns_HW / 20)] = 255
    rgb_HW3, _ = framed(picture, (10, 10, 10, 10), 255)
    assert find_frame(rgb_HW3) == (slice(0, 170), slice(10, 250))


def test_never_leaves_less_than_a_third():
    picture = photograph(size=(60, 60))
    for bars in ((30, 30, 0, 0), (0, 0, 30, 30), (30, 30, 30, 30)):  # a quarter or a third each
        rgb_HW3, place = framed(picture, bars, 255)
        assert find_frame(rgb_HW3) == place
    for bars in ((31, 28, 0, 0), (0, 0, 90, 0), (62, 62, 62, 62)):
        rgb_HW3, _ = framed(picture, bars, 255)
        rows, columns = find_frame(rgb_HW3)
        assert rows.stop - rows.start >= len(rgb_HW3) / 3 and columns.stop - columns.start >= rgb_HW3.shape[1] / 3
        if max(bars) > 31:
            assert (rows, columns) == all_of(rgb_HW3)
    nested = picture
    for ring in range(12):
        nested, _ = framed(nested, (12, 12, 12, 12), 255 * (ring % 2))
    rows, columns = find_frame(nested)
    assert rows.stop - rows.start >= len(nested) / 3 and columns.stop - columns.start >= len(nested) / 3


@pytest.mark.parametrize("shape", [(1, 1), (2, 2), (3, 3), (8, 8), (2, 300), (300, 2), (50, 60)])
def test_one_colour_and_noise_have_no_frame(shape):
    noise = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    plain = np.full((*shape, 3), 77, dtype=np.uint8)
    assert find_frame(plain) == all_of(plain)
    rows, columns = find_frame(noise)
    assert rows.start <= rows.stop - 1 and columns.start <= columns.stop - 1
    if min(shape) > 3:
        assert (rows, columns) == all_of(noise)


@pytest.mark.parametrize("bars", [(10, 4, 0, 20), (15, 15, 15, 15)])
def test_turned_pictures_have_turned_frames(bars):
    rgb_HW3, _ = framed(photograph(), bars, 0)
    height, width = rgb_HW3.shape[:2]
    rows, columns = find_frame(rgb_HW3)
    assert find_frame(rgb_HW3[::-1]) == (slice(height - rows.stop, height - rows.start), columns)
    assert find_frame(rgb_HW3[:, ::-1]) == (rows, slice(width - columns.stop, width - columns.start))
    assert find_frame(rgb_HW3.transpose(1, 0, 2)) == (columns, rows)
