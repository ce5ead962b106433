# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Masks predicted while views are made: those of a column to the bit, only where needed, up to a whole run."""

import json

import numpy as np
import pytest
import torch
import yaml
from pretraining_runs import TINY_RECIPE, textured
from saliency.composites import composites

from mscn_hf.cli import main
from mscn_hf.models import MSCNConfig, MSCNModel
from mscn_hf.saliency.masker import CanvasMasker, NetworkMasker
from mscn_hf.saliency.network import SaliencyNetwork
from mscn_hf.views import ViewCollator, ViewRecipe

SIDE = 40


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("network")
    config = MSCNConfig(embedding_size=8, hidden_sizes=[8, 16, 24], depths=[1, 1, 1], layer_type="basic")
    MSCNModel(config).save_pretrained(folder / "encoder")
    SaliencyNetwork.from_encoder(str(folder / "encoder"), image_size=48).save_pretrained(folder / "network")
    return str(folder / "network")


def batch(count=12):
    random = np.random.default_rng(0)
    canvas = torch.from_numpy(random.integers(0, 256, (count, 3, SIDE, SIDE), dtype=np.uint8))
    valid = torch.from_numpy(random.integers(20, SIDE + 1, (count, 2)))
    return {"canvas": canvas, "valid_hw": valid, "position": torch.arange(count), "epoch": 0}


def recipe(source, p=0.5, **masks):
    views = {"large": {"size": 24, "count": 2, "background_p": p}, "small": {"size": 16}}
    return ViewRecipe(views, mask_source=source, **masks)


class TopHalf:
    """Foreground in the upper half of each image; remembers what it was asked for."""

    def __init__(self):
        self.asked = []

    def __call__(self, canvas, valid):
        self.asked.append(canvas)
        mask = torch.zeros_like(canvas[:, :1])
        for row, (height, width) in zip(mask, valid.tolist(), strict=True):
            row[:, : height // 2, :width] = 255
        return mask


@pytest.mark.parametrize("masks", [{}, {"mask_change": "bounding_box"}, {"foreground_threshold": 0.495}])
def test_views_are_those_of_a_column_with_the_same_masks(masks):
    given, masker = batch(), TopHalf()
    column = {**given, "foreground": TopHalf()(given["canvas"], given["valid_hw"])}
    expected, found = (
        ViewCollator(recipe("saliency", **masks), 3),
        ViewCollator(recipe("network:any", **masks), 3, masker=masker),
    )
    for one, other in zip(found.make_views(given), expected.make_views(column), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)
    assert found.unmasked == expected.unmasked
    assert 0 < len(masker.asked[0]) < 12  # images that keep their background in all views are not looked at


def test_nothing_is_predicted_where_nothing_is_removed():
    masker = TopHalf()
    ViewCollator(recipe("network:any", p=0.0), 3, masker=masker).make_views(batch())
    assert not masker.asked
    with pytest.raises(ValueError, match="'network:any': give a masker"):
        ViewCollator(recipe("network:any"), 3)
    with pytest.raises(TypeError, match="network:NAME"):
        recipe("network:")


def test_canvases_get_the_masks_that_images_get(network, tmp_path):
    sharp = SaliencyNetwork.from_pretrained(network).eval()
    with torch.no_grad():
        sharp.head.weight *= 20  # maps of new weights are nearly flat
    sharp.save_pretrained(tmp_path / "sharp")
    images = [rgb for rgb, _ in composites(3)]
    images[1] = images[1][:100]
    canvas = torch.zeros(3, 3, 220, 220, dtype=torch.uint8)
    for place, rgb in zip(canvas, images, strict=True):
        place[:, : rgb.shape[0], : rgb.shape[1]] = torch.from_numpy(rgb.copy()).permute(2, 0, 1)
    sizes = torch.tensor([rgb.shape[:2] for rgb in images])
    masks = CanvasMasker(str(tmp_path / "sharp"))(canvas, sizes)
    alone = NetworkMasker(sharp, "", crf=False)(images)
    for mask, expected, (height, width) in zip(masks[:, 0], alone, sizes.tolist(), strict=True):
        assert not mask[height:].any() and not mask[:, width:].any()
        found = mask[:height, :width].numpy().ravel()
        assert np.corrcoef(found, expected["saliency"].ravel())[0, 1] > 0.99  # PIL and torch resize a little apart


def test_a_run_with_masks_from_a_network(network, tmp_path, capsys):
    images = tmp_path / "images" / "train"
    images.mkdir(parents=True)
    for number in range(24):
        (images / f"{number}.jpg").write_bytes(textured(number))
    document = {**TINY_RECIPE, "dataset_name": str(tmp_path / "images"), "monitor_epochs": 0, "max_steps": 2}
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(document))
    words = ["--config", str(tmp_path / "recipe.yaml"), "--mask_source", f"network:{network}"]
    words += ["--views.*.background_p", "0.5"]
    assert main(["views", *words, "--images", "2", "--out", str(tmp_path / "views.png")]) == 0
    assert main(["pretrain", *words, "--output_dir", str(tmp_path / "run")]) == 0
    facts = json.loads((tmp_path / "run" / "encoder" / "training.json").read_text())
    assert set(facts["masks"]) == {"broken", "too_small"}
    assert main(["pretrain", *words, "--mask_source", "network:/no/such", "--output_dir", str(tmp_path / "no")]) == 2
    assert "/no/such" in capsys.readouterr().err
