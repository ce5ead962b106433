# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""The embedded dataset keeps its promise: no pixel of a photograph is in both train and test."""

import io

import numpy as np
import pytest
from PIL import Image

from mscn_hf.data import embedded


@pytest.mark.parametrize("name", ["chelsea", "hubble", "china"])
def test_training_patches_come_from_the_left_and_test_patches_from_the_right(name):
    photo = embedded._scaled(embedded.photographs()[name])
    # A photograph whose colour tells the column: what a patch shows says where it was cut.
    columns = np.tile(np.linspace(0, 255, photo.width), (photo.height, 1)).astype(np.uint8)
    marked = Image.fromarray(np.repeat(columns[:, :, None], 3, axis=2))
    for split, (left, right) in embedded._SHARES.items():
        random = np.random.default_rng(0)
        shown = [np.asarray(Image.open(_file(embedded._patch(marked, (left, right), random)))) for _ in range(40)]
        values = np.stack(shown).astype(float) / 255
        assert values.min() > left - 0.04, split
        assert values.max() < right + 0.04, split
    assert embedded._SHARES["train"][1] < embedded._SHARES["test"][0]


def _file(data: bytes) -> io.BytesIO:
    return io.BytesIO(data)
