# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Corruptions against the package `imagecorruptions`, which has the published benchmark's functions, where installed.

Its last release needs OpenCV, numba and setuptools < 81, and two names that newer libraries have given up; those are
put back here. Its elastic transform has no affine map, so that one is left out. Steps without chance are compared
pixel by pixel, the others by how much and how finely they change a picture.
"""

import functools
import importlib.util

import numpy as np
import pytest
from skimage import data, filters
from skimage.transform import resize

from mscn_hf.evaluation.robustness.corruptions import CORRUPTIONS, SEVERITIES, corrupt

if importlib.util.find_spec("imagecorruptions") is None:
    pytest.skip("imagecorruptions is not installed", allow_module_level=True)

# Mean absolute difference in levels of 255.
CLOSE = {
    "defocus_blur": 1.0,
    "zoom_blur": 1.5,
    "brightness": 1.0,
    "contrast": 1.0,
    "pixelate": 2.0,
    "jpeg_compression": 1.0,
}
# Ratios of the mean change and of its high frequencies. Frost is drawn here, the package's are photographs of ice.
CHANGE, FINE = 0.1, 0.1
LOOSE = {"frost": (0.3, 0.4), "fog": (0.25, 0.1)}


@pytest.fixture(scope="module")
def peer():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(np, "float_", np.float64, raising=False)
        package = importlib.import_module("imagecorruptions")
        corruptions = importlib.import_module("imagecorruptions.corruptions")
        plain = filters.gaussian

        @functools.wraps(plain)
        def gaussian(image, *words, multichannel=False, **named):
            return plain(image, *words, channel_axis=-1 if multichannel else None, **named)

        patch.setattr(corruptions, "gaussian", gaussian)
        yield package.corrupt


@pytest.fixture(scope="module")
def photographs():
    pictures = [data.astronaut(), data.chelsea(), data.coffee(), data.rocket()]
    return [np.round(255 * resize(p, (224, 224), anti_aliasing=True)).astype(np.uint8) for p in pictures]


def change(corrupted, clean):
    """Mean absolute change, and that of the change's differences between neighbours, in levels."""
    step = corrupted.astype(float) - clean
    fine = np.abs(np.diff(step, axis=0)).mean() + np.abs(np.diff(step, axis=1)).mean()
    return np.array([np.abs(step).mean(), fine / 2])


@pytest.mark.parametrize("severity", SEVERITIES)
@pytest.mark.parametrize("name", [name for name in CORRUPTIONS if name != "elastic_transform"])
def test_as_the_published_functions(peer, photographs, name, severity):
    np.random.seed(severity)
    ours, theirs = [], []
    for number, clean in enumerate(photographs):
        mine = corrupt(clean, name, severity, number)
        other = np.asarray(peer(clean, corruption_name=name, severity=severity))
        if name in CLOSE:
            assert np.abs(mine.astype(float) - other).mean() <= CLOSE[name]
        ours.append(change(mine, clean))
        theirs.append(change(other, clean))
    ratio = np.mean(ours, axis=0) / np.mean(theirs, axis=0)
    print(f"{name} {severity}: change {ratio[0]:.2f}, fine change {ratio[1]:.2f} of the package's")
    largest = LOOSE.get(name, (CHANGE, FINE))
    assert abs(ratio[0] - 1) <= largest[0]
    assert abs(ratio[1] - 1) <= largest[1]
