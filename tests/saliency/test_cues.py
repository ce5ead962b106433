# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""The four cues together: truth of composites, shared superpixels, frames, every odd image, and their mean."""

import os
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from saliency.composites import composites

from mscn_hf.data import open_source
from mscn_hf.data.decode import decode_image, decode_mask
from mscn_hf.saliency import cues
from mscn_hf.saliency.baselines import baseline_maps
from mscn_hf.saliency.cues import CUES, CueMasker, cue_maps, fuse
from mscn_hf.saliency.metrics import SaliencyScores
from mscn_hf.saliency.superpixels import SegmentedImage


def scores_of(pairs):
    """Scores by map of (image, truth) pairs, the baselines among them."""
    scores = {}
    for rgb, truth in pairs:
        maps = cue_maps(rgb)
        maps |= {"fused": fuse(list(maps.values())), **baseline_maps(rgb)}
        for name, map_HW in maps.items():
            scores.setdefault(name, SaliencyScores()).add(map_HW, truth)
    return {name: known.result() for name, known in scores.items()}


def check(scores, prior_margin):
    baselines = [name for name in scores if name not in (*CUES, "fused")]
    for name in CUES:
        assert scores[name]["max_f"] > scores["centre Gaussian"]["max_f"] + prior_margin
        for baseline in baselines:
            assert scores[name]["max_f"] > scores[baseline]["max_f"]
            assert scores[name]["mae"] < scores[baseline]["mae"]
    best = max(scores[name]["max_f"] for name in CUES)
    assert scores["fused"]["max_f"] > best - 0.02
    assert scores["fused"]["s_measure"] > np.mean([scores[name]["s_measure"] for name in CUES])


def test_each_cue_finds_what_composites_hide():
    scores = scores_of(composites())
    for name, row in scores.items():
        print(name, row)
    check(scores, prior_margin=0.2)


def test_each_cue_beats_the_priors_on_photographs_with_truth():
    root = os.environ.get("MSCN_HF_DATA")
    if not root or not (Path(root) / "saliency-truth").is_dir():
        pytest.skip("MSCN_HF_DATA is not set, or has no saliency-truth")
    source = open_source(str(Path(root) / "saliency-truth"), split="test", all_columns=True)
    pairs = []
    for row, record in source.read_records(0):
        size = (200, 150)
        image, mask = decode_image(row.read()), decode_mask(record["mask"]["bytes"])
        mask = np.asarray(Image.fromarray(mask).resize(size)) >= 128
        pairs.append((np.asarray(Image.fromarray(image).resize(size)), mask))
    check(scores_of(pairs[:8]), prior_margin=0.05)


def test_the_maps_of_opencv_are_its_own():
    cv2 = pytest.importorskip("cv2", reason="opencv-contrib-python-headless is not installed")
    rgb = next(composites())[0]
    maps = baseline_maps(rgb)
    assert list(maps) == ["centre Gaussian", "Otsu", "OpenCV spectral residual", "OpenCV fine-grained"]
    bgr = cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR)
    _, expected = cv2.saliency.StaticSaliencyFineGrained_create().computeSaliency(bgr)
    np.testing.assert_array_equal(maps["OpenCV fine-grained"], expected)


def test_superpixels_are_made_once_for_all_cues(monkeypatch):
    made = []
    monkeypatch.setattr(cues, "SegmentedImage", lambda rgb: made.append(SegmentedImage(rgb)) or made[-1])
    cue_maps(next(composites())[0])
    # (200, 20) of two cues and one scale, (250, 20), and the other seven scales
    assert [image.segmentations for image in made] == [9]


ODD = {
    "one colour": np.full((30, 40, 3), 77, np.uint8),
    "8x8": np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8),
    "1x1": np.zeros((1, 1, 3), np.uint8),
    "2x90": np.random.default_rng(1).integers(0, 256, (2, 90, 3), dtype=np.uint8),
    "noise": np.random.default_rng(2).integers(0, 256, (60, 60, 3), dtype=np.uint8),
    "halves": np.repeat(np.repeat(np.array([[0, 255]], np.uint8), 20, 0), 20, 1)[:, :, None].repeat(3, 2),
}


@pytest.mark.parametrize("name", ODD)
def test_odd_images_get_finite_maps_of_their_size(name):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        maps = cue_maps(ODD[name])
    assert list(maps) == list(CUES)
    for map_HW in [*maps.values(), fuse(list(maps.values()))]:
        assert map_HW.dtype == np.uint8 and map_HW.shape == ODD[name].shape[:2]
        if name in ("one colour", "1x1"):
            assert not map_HW.any()


@pytest.mark.parametrize("bars", [(12, 12, 0, 0), (10, 10, 10, 10)])
def test_a_frame_is_background_and_changes_nothing_inside(bars):
    rgb, _ = next(composites())
    top, bottom, left, right = bars
    framed = np.pad(rgb, ((top, bottom), (left, right), (0, 0)), constant_values=255)
    plain, maps = cue_maps(rgb), cue_maps(framed)
    for name in CUES:
        inner = maps[name][top : top + rgb.shape[0], left : left + rgb.shape[1]]
        assert np.abs(inner.astype(int) - plain[name]).mean() < 2
        rest = maps[name].copy()
        rest[top : top + rgb.shape[0], left : left + rgb.shape[1]] = 0
        assert not rest.any()


def test_large_images_are_shrunk_for_the_cues_and_their_maps_enlarged():
    rgb, _ = next(composites())
    large = np.asarray(Image.fromarray(rgb).resize((800, 600), Image.Resampling.BICUBIC))
    small, maps = cue_maps(rgb, ["manifold_ranking"]), cue_maps(large, ["manifold_ranking"])
    map_HW = np.asarray(Image.fromarray(maps["manifold_ranking"]).resize((200, 150)))
    assert maps["manifold_ranking"].shape == (600, 800)
    assert np.corrcoef(map_HW.ravel(), small["manifold_ranking"].ravel())[0, 1] > 0.9


def test_processes_give_the_same_maps():
    images = [rgb for rgb, _ in composites(3)]
    names = ["robust_background", "markov_chain"]
    alone, several = CueMasker(names), CueMasker(names, workers=2)
    try:
        for one, other in zip(alone(images), several(images), strict=True):
            assert list(one) == ["saliency", *names] == list(alone.columns)
            for name in one:
                np.testing.assert_array_equal(one[name], other[name])
    finally:
        several.close()


def test_unknown_cues_are_refused():
    with pytest.raises(ValueError, match=r"some of robust_background, .* got colour"):
        CueMasker(["colour"])
    with pytest.raises(ValueError, match="name one twice"):
        CueMasker(["markov_chain", "markov_chain"])
    with pytest.raises(ValueError, match="long_side must be at least 1"):
        CueMasker(long_side=0)
