# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Recipes: what they accept, what they refuse and with which words."""

import dataclasses
import json
import math
import re

import pytest
import yaml

from mscn_hf.views import ViewRecipe, ViewSpec

MASKED = {"background_p": 0.1}
DOCUMENT = """
views:
  query: {size: 96, crop_scale: [0.2, 1], mask_p: 1.0, mask_cell: 14, high_pass_sigma: 2.1, noise_std: 0.15}
  key: {size: 96, count: 3, augment_as: query}
image_mean: [0.5, 0.5, 0.5]
"""


def test_a_yaml_document_round_trips():
    recipe = ViewRecipe.from_dict(yaml.safe_load(DOCUMENT))
    assert recipe.views["query"].crop_scale == (0.2, 1.0)
    assert recipe.image_mean == (0.5, 0.5, 0.5) and recipe.image_std == (0.229, 0.224, 0.225)
    assert ViewRecipe.from_dict(json.loads(json.dumps(recipe.to_dict()))) == recipe
    assert ViewRecipe.from_dict(yaml.safe_load(yaml.safe_dump(recipe.to_dict()))) == recipe


def test_masks_round_trip_and_name_their_column():
    document = {"views": {"a": {"background_p": 0.1}, "b": {}}, "mask_source": "saliency", "mask_area": 1}
    recipe = ViewRecipe.from_dict(document)
    assert (recipe.mask_change, recipe.mask_area, recipe.foreground_threshold) == (None, 1, 0.05)
    changed = dataclasses.replace(recipe, mask_change="add_rectangle", mask_area=0.1, foreground_threshold=0.2)
    unused = ViewRecipe({"a": {}}, foreground_threshold=0.2)
    for one in (recipe, changed, unused):
        assert ViewRecipe.from_dict(json.loads(json.dumps(one.to_dict()))) == one
        assert ViewRecipe.from_dict(yaml.safe_load(yaml.safe_dump(one.to_dict()))) == one
    assert recipe.mask_column == changed.mask_column == "saliency"
    assert dataclasses.replace(recipe, mask_source="random").mask_column is None, "it is made"
    assert ViewRecipe({"a": {}}, mask_source="saliency").mask_column is None, "no view takes masks"
    assert ViewRecipe({"a": {}}).mask_column is None


def test_recipes_without_masks_are_written_as_before():
    assert set(ViewRecipe({"a": {}}).to_dict()) == {"views", "image_mean", "image_std"}


def test_expansion_keeps_the_order_and_copies():
    recipe = ViewRecipe({"b": {"count": 2}, "a": {}, "again": {"count": 3, "augment_as": "b"}})
    assert [(name, copy) for name, copy, _ in recipe.expand()] == [
        ("b", 0), ("b", 1), ("a", 0), ("again", 0), ("again", 1), ("again", 2),
    ]  # fmt: skip
    assert recipe.draw_indices() == [0, 1, 2, 0, 1, 0]


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"mask_ratio": 1.5}, "mask_ratio must lie in [0, 1), got 1.5"),
        ({"mask_ratio": -0.1}, "mask_ratio must lie in [0, 1), got -0.1"),
        ({"mask_p": 1.2}, "mask_p must lie in [0, 1], got 1.2"),
        ({"background_p": -0.1}, "background_p must lie in [0, 1], got -0.1"),
        ({"background_p": "a lot"}, "background_p must be a number, got 'a lot'"),
        ({"hue": 0.6}, "hue must lie in [0, 0.5], got 0.6"),
        ({"size": 0}, "size must be at least 1, got 0"),
        ({"size": 48.0}, "size must be an integer, got 48.0"),
        ({"size": True}, "size must be an integer, got True"),
        ({"blur_kernel": 4}, "blur_kernel must be odd, got 4"),
        ({"crop_scale": [1, 0.5]}, "crop_scale must be positive and ascending, got [1, 0.5]"),
        ({"crop_scale": [0.5, 1.5]}, "crop_scale must end at 1"),
        ({"crop_ratio": 1.0}, "crop_ratio must be two numbers"),
        ({"blur_sigma": (0, 2)}, "blur_sigma must be positive and ascending"),
        ({"noise_std": "1e-1"}, "noise_std must be a number, got '1e-1' (YAML reads 1e-1 as text"),
        ({"noise_std": -1}, "noise_std must not be negative, got -1"),
        ({"noise_std": math.nan}, "noise_std must be finite, got nan"),
        ({"high_pass_sigma": 0.0}, "high_pass_sigma must be positive"),
        ({"high_pass_sigma": 5.0, "size": 5}, "size 5 is too small for high_pass_sigma 5.0"),
        ({"size": 48, "mask_p": 1.0}, "mask_cell 32 cuts size 48 into 4 cells, of which mask_ratio 0.15 masks none"),
    ],
)
def test_bad_values_are_named(settings, message):
    with pytest.raises((ValueError, TypeError), match=re.escape(message)):
        ViewSpec(**settings)
    with pytest.raises((ValueError, TypeError), match=re.escape(f"view 'left': {message}")):
        ViewRecipe.from_dict({"views": {"left": settings}})


@pytest.mark.parametrize(
    "document, message",
    [
        ({"views": {"a": {"mask_ration": 0.2}}}, "view 'a': unknown key 'mask_ration'; did you mean 'mask_ratio'?"),
        ({"views": {"a": {}}, "image_means": 1}, "unknown key 'image_means'; did you mean 'image_mean'?"),
        ({"views": {}}, "views must map at least one name"),
        ({"views": {"a": 3}}, "view 'a' must be a mapping of settings, got 3"),
        ({"views": {"a": {}}, "image_std": [1, 1]}, "image_std must be three numbers"),
        ({"views": {"a": {}}, "image_std": [1, 0, 1]}, "image_std must be positive"),
        ({"views": {"left": {}, "b": {"augment_as": "lef"}}}, "augment_as names no view: 'lef'; did you mean 'left'?"),
        ({"views": {"a": {"augment_as": "a"}}}, "augment_as must name another view that makes its own draws"),
        ({"views": {"a": {}, "b": MASKED}}, "view 'b': background_p 0.1 needs masks; set mask_source to a column"),
        (
            {"views": {"a": MASKED}, "mask_source": ""},
            "mask_source must be the name of a column, network:NAME, one of 'random', ",
        ),
        ({"views": {"a": MASKED}, "mask_source": 1}, "or null, got 1"),
        ({"views": {"a": {}}, "mask_sorce": "x"}, "views: unknown key 'mask_sorce'; did you mean 'mask_source'?"),
        (
            {"views": {"a": MASKED}, "mask_source": "saliency", "mask_change": "bounding-box"},
            "'remove_rectangle', or null, got 'bounding-box'; did you mean 'bounding_box'?",
        ),
        (
            {"views": {"a": MASKED}, "mask_source": "random", "mask_change": "add_rectangle"},
            "mask_change 'add_rectangle' changes the masks of a dataset column, but mask_source is 'random'",
        ),
        (
            {"views": {"a": {}}, "mask_change": "add_rectangle"},
            "but mask_source is None; name the column (or a network) there",
        ),
        ({"views": {"a": {}}, "mask_area": 0}, "mask_area must lie in (0, 1], got 0"),
        ({"views": {"a": {}}, "mask_area": 1.1}, "mask_area must lie in (0, 1], got 1.1"),
        ({"views": {"a": {}}, "mask_area": "1e-1"}, "mask_area must be a number, got '1e-1' (YAML reads 1e-1 as text"),
        ({"views": {"a": {}}, "foreground_threshold": -0.1}, "foreground_threshold must lie in [0, 1], got -0.1"),
        (
            {"views": {"a": MASKED}, "mask_source": "rectangle", "mask_area": 0.04},
            "mask_area 0.04 is below foreground_threshold 0.05, so no 'rectangle' mask would ever be used",
        ),
    ],
)
def test_bad_documents_are_named(document, message):
    with pytest.raises((ValueError, TypeError), match=re.escape(message)):
        ViewRecipe.from_dict(document)


def test_defaults_are_the_papers():
    spec = ViewSpec()
    assert (spec.grid, spec.masked_cells, spec.blur_taps) == (7, 7, 23)
    assert dataclasses.replace(spec, mask_ratio=0.2).focal_side == 200
