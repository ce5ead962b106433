# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Frames and letterbox bars, which cues that take the border for background must not see.

Shapes: H, W the image's sides in pixels; seen from one side, L lines of M pixels, outermost line first.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# Levels of 255, of the channel that differs most, and shares of a line's pixels. JPEG of quality 50 and more keeps
# bars within `PLAIN`, but for the two lines at the edge.
PLAIN = 20
PLAIN_SHARE = 0.95
CLEAR = 36
CLEAR_SHARE = 0.6
# Part of a side that a bar may take.
LARGEST = 3
# An edge may be this many lines wide where the side has so many pixels for each of them.
EDGE_LINES = 3
PIXELS_FOR_EDGE_LINE = 64


@dataclass(frozen=True)
class Bar:
    """Lines of one colour at one side.

    Attributes:
        lines: how many; 0 where the outermost line is not of one colour.
        clear_KM: bool, the pixels of the next K lines that differ clearly from the bar.
    """

    lines: int
    clear_KM: np.ndarray

    def end(self, part: slice, corners: int) -> int:
        """Lines up to the straight edge at which the bar ends, 0 where it has none.

        Args:
            part: of the edge's pixels that must mostly differ from the bar.
            corners: in how many of the edge's first and last tenth most pixels must do so, too.
        """
        for number, clear_M in enumerate(self.clear_KM[:, part]):
            tenth = -(-len(clear_M) // 10)
            corners_2 = np.array([clear_M[:tenth].mean(), clear_M[-tenth:].mean()])
            if clear_M.mean() >= CLEAR_SHARE and (corners_2 >= CLEAR_SHARE).sum() >= corners:
                return self.lines + number
        return 0


def find_frame(rgb_HW3: np.ndarray) -> tuple[slice, slice]:
    """Rows and columns that are left when bars of one colour are taken away, all of them where there is none.

    A bar runs along a whole side and takes at most a third of it. Its lines are of nearly one colour, and it ends in
    a straight edge: where the picture begins, most pixels differ clearly from it. So a sky that fades, and a ground
    that reaches around a round object, stay. Frames in frames are taken away one after the other. What cannot be
    told from a frame is taken for one: a rectangle with upright sides on plain ground, or a plain white wall down to
    a level line.

    Args:
        rgb_HW3: uint8 (H, W, 3).
    """
    height, width = rgb_HW3.shape[:2]
    limits = (height // LARGEST, height // LARGEST, width // LARGEST, width // LARGEST)
    top = bottom = left = right = 0
    while True:
        rest_HW3 = rgb_HW3[top : height - bottom, left : width - right]
        room = [limit - cut for limit, cut in zip(limits, (top, bottom, left, right))]
        cuts = _cuts(rest_HW3, room)
        if not any(cuts):
            return slice(top, height - bottom), slice(left, width - right)
        top, bottom, left, right = top + cuts[0], bottom + cuts[1], left + cuts[2], right + cuts[3]


def _cuts(rgb_HW3: np.ndarray, room: list[int]) -> list[int]:
    """Lines to take away at top, bottom, left and right."""
    columns_first = rgb_HW3.transpose(1, 0, 2)
    sides = (rgb_HW3, rgb_HW3[::-1], columns_first, columns_first[::-1])
    bars = [_bar(side_LM3, lines) for side_LM3, lines in zip(sides, room)]
    # All bars together, as those of a broad frame leave too little of each other's edges: then they must enclose a
    # rectangle with its corners, which tells a frame from ground around an object.
    height, width = rgb_HW3.shape[:2]
    rows, columns = slice(bars[0].lines, height - bars[1].lines), slice(bars[2].lines, width - bars[3].lines)
    cuts = [bar.end(part, corners=2) for bar, part in zip(bars, (columns, columns, rows, rows))]
    if all(cut > 0 for bar, cut in zip(bars, cuts) if bar.lines):
        return cuts
    # an object with one level side has ground past both ends of it; a frame whose colour the picture shares has at one
    return [bar.end(slice(None), corners=1) for bar in bars]


def _bar(side_LM3: np.ndarray, room: int) -> Bar:
    """The bar at one side, its end at most `room` lines inside."""
    edge_lines = 1 + min(EDGE_LINES - 1, len(side_LM3) // PIXELS_FOR_EDGE_LINE)
    none = Bar(0, np.zeros((0, side_LM3.shape[1]), dtype=bool))
    if room < 1:
        return none
    colour_3 = np.median(side_LM3[0], axis=0)
    if not _plain(_difference(side_LM3[:1], colour_3))[0]:
        return none
    difference_LM = _difference(side_LM3[: room + 1], colour_3)
    other_lines = np.flatnonzero(~_plain(difference_LM))
    if len(other_lines) == 0:
        return Bar(room, none.clear_KM)
    lines = int(other_lines[0])
    return Bar(lines, difference_LM[lines : lines + edge_lines] > CLEAR)


def _difference(side_LM3: np.ndarray, colour_3: np.ndarray) -> np.ndarray:
    # three maxima of whole planes: one along a short axis is slow
    red, green, blue = (np.abs(side_LM3[..., c] - colour_3[c].astype(np.int16)) for c in range(3))
    return np.maximum(np.maximum(red, green), blue)


def _plain(difference_LM: np.ndarray) -> np.ndarray:
    """bool (L,): lines that are nearly of the bar's colour."""
    return (difference_LM <= PLAIN).mean(axis=1) >= PLAIN_SHARE
