# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Background removal: whole views against a slow replay, who draws it, and the shape of every kind of mask."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats
from test_view_collator import replay, rows

import mscn_hf.views.collator as collator_module
from mscn_hf.views import Draws, ViewCollator, ViewRecipe, ViewSpec
from mscn_hf.views.background import change_masks, draw_backgrounds, foreground_share, make_masks
from mscn_hf.views.draws import Stream
from mscn_hf.views.recipe import MADE_MASKS
from mscn_hf.views.resample import crop_by_matmul

SPEC = ViewSpec(size=40, background_p=0.5, solarize_p=0.2)
PLAIN = ViewSpec(size=96, background_p=1.0, crop_scale=(1, 1), flip_p=0, jitter_p=0, grayscale_p=0, blur_p=0)
SEED = 5


@pytest.fixture
def masked_batch(photo_batch):
    """A batch of photographs with a slanted, soft-edged foreground; image 3 has a tiny one, outside stands noise."""

    def make(count: int = 14, epoch: int = 0) -> dict:
        batch = photo_batch(count=count, epoch=epoch)
        noise = np.random.default_rng(0)
        foreground = noise.integers(0, 256, (count, 1, 96, 96), dtype=np.uint8)
        share = np.zeros(count, np.float32)
        for b, (height, width) in enumerate(batch["valid_hw"].tolist()):
            y, x = np.mgrid[:height, :width] / np.array([height, width])[:, None, None]
            reach = 0.02 if b == 3 else 0.35
            soft = np.clip(1 - np.abs(x + 0.5 * y - 0.8 + 0.02 * b) / (2 * reach), 0, 1) * (np.abs(y - 0.5) < reach)
            foreground[b, 0, :height, :width] = np.round(soft * 255)
            share[b] = (soft * 255 >= 127.5).mean()
        assert share[3] < 0.05 < np.delete(share, 3).min()
        return batch | {"foreground": torch.from_numpy(foreground), "foreground_share": torch.from_numpy(share)}

    return make


def collator(views: dict[str, ViewSpec], mask_source: str = "saliency", **settings) -> ViewCollator:
    return ViewCollator(ViewRecipe(views, mask_source=mask_source, **settings), SEED)


def by_numpy(batch: dict, view: int, probability: float, threshold: float = 0.05) -> tuple[dict, list[bool]]:
    """The batch with the canvases that view number `view` takes, one pixel rule in numpy, and which were changed."""
    draws = Draws(SEED, batch["epoch"], batch["position"])
    drawn = draws.uniform(view, Stream.BACKGROUND, 1)[:, 0].tolist()
    grey = (draws.uniform(view, Stream.GREY, 1)[:, 0].double().numpy() * 256).astype(np.uint8)
    canvas, changed = batch["canvas"].clone(), []
    for b, (height, width) in enumerate(batch["valid_hw"].tolist()):
        mask = batch["foreground"][b, 0, :height, :width].numpy() / 255
        changed.append(drawn[b] < probability and (mask >= 0.5).mean() >= threshold)
        if changed[-1]:
            pixels = canvas[b].numpy().transpose(1, 2, 0)
            pixels[:height, :width][mask < 0.5] = grey[b]
    return batch | {"canvas": canvas}, changed


def test_whole_views_equal_a_replay_by_numpy_pil_and_torchvision(masked_batch):
    batch = masked_batch(18)
    specs = {"a": SPEC, "never": replace(SPEC, background_p=0.0), "b": replace(SPEC, background_p=1.0, mask_p=0)}
    views = collator(specs).make_views(batch)
    for view, (spec, images) in enumerate(zip(specs.values(), views, strict=True)):
        masked, changed = by_numpy(batch, view, spec.background_p)
        assert view == 1 or 4 < sum(changed) <= 18 - (view == 2)
        errors = torch.stack([(images[b].double() - replay(masked, SEED, view, spec, b)).abs() for b in range(18)])
        # as in test_view_collator: a step of uint8, turned at the solarising threshold or doubled by the jitter
        assert errors.mean() < 2e-4, view
        assert (errors > 0.04).double().mean() < 2e-4, view


def test_the_products_of_matrices_see_the_same_images(masked_batch, monkeypatch):
    batch, spec = masked_batch(), replace(PLAIN, background_p=0.5, crop_scale=(0.2, 1))
    on_cpu = collator({"a": spec}).make_views(batch)[0]
    monkeypatch.setattr(collator_module, "apply_crops", crop_by_matmul)  # what a GPU runs
    errors = (collator({"a": spec}).make_views(batch)[0] - on_cpu).abs()
    assert errors.mean() < 0.01 and errors.max() < 0.06


@pytest.mark.parametrize(
    "masks", [{"mask_source": "saliency", "mask_change": "add_rectangle"}, *({"mask_source": s} for s in MADE_MASKS)]
)
def test_views_do_not_depend_on_the_rest_of_the_batch(masked_batch, monkeypatch, masks):
    spec = replace(PLAIN, size=40, background_p=0.5, crop_scale=(0.1, 1))  # crops are made image by image: to the bit
    batch, views = masked_batch(21), {"a": spec, "b": replace(spec, background_p=0.9)}
    whole = collator(views, **masks).make_views(batch)
    order = torch.randperm(21, generator=torch.Generator().manual_seed(1))
    shuffled = collator(views, **masks).make_views(rows(batch, order))
    halves = [collator(views, **masks).make_views(rows(batch, part)) for part in (slice(0, 9), slice(9, 21))]
    monkeypatch.setattr(collator_module, "_CPU_CHUNK_VALUES", 4 * 3 * 40**2)
    monkeypatch.setattr("mscn_hf.views.background._PIXELS_AT_A_TIME", 3 * 96**2)
    chunks = collator(views, **masks).make_views(batch)
    for view in range(2):
        assert torch.equal(shuffled[view], whole[view][order])
        assert torch.equal(torch.cat([half[view] for half in halves]), whole[view])
        assert torch.equal(chunks[view], whole[view])


def test_the_share_of_masked_images_and_the_grey_levels_are_as_asked():
    draws = Draws(0, 0, torch.arange(20_000))
    found = {p: draw_backgrounds(draws, 1, replace(SPEC, background_p=p)) for p in (0.0, 0.1, 0.7, 1.0)}
    assert len(found[0.0].rows_N) == 0 and len(found[1.0].rows_N) == 20_000
    for p in (0.1, 0.7):
        assert stats.binomtest(len(found[p].rows_N), 20_000, p).pvalue > 1e-3
    assert set(found[0.1].rows_N.tolist()) < set(found[0.7].rows_N.tolist())
    grey = found[1.0].grey_N
    assert stats.chisquare(grey.bincount(minlength=256).numpy()).pvalue > 1e-3
    assert torch.equal(grey[found[0.1].rows_N], found[0.1].grey_N), "a level belongs to its image"
    other = draw_backgrounds(draws, 2, replace(SPEC, background_p=0.5))
    both = len(set(other.rows_N.tolist()) & set(found[0.7].rows_N.tolist()))
    assert stats.binomtest(both, 20_000, 0.35).pvalue > 1e-3, "views draw by themselves"
    greys = draw_backgrounds(draws, 2, replace(SPEC, background_p=1.0)).grey_N
    assert abs(np.corrcoef(greys, grey)[0, 1]) < 0.03


def test_a_background_is_one_level_equal_over_rgb_of_its_image_view_and_epoch(masked_batch):
    levels = {}
    for epoch in (0, 1):
        batch = masked_batch(epoch=epoch)
        for copy in (0, 1):
            (_, crop), (step, images), _ = collator({"a": replace(PLAIN, count=2)}).trace(batch, "a", copy)
            assert step == "background"
            for b in (0, 7):  # square: the view is the canvas, pixel by pixel
                assert batch["valid_hw"][b].tolist() == [96, 96]
                keep = (batch["foreground"][b, 0] >= 128).expand(3, -1, -1)
                assert torch.equal(images[b][keep], crop[b][keep])
                (level,) = images[b][~keep].unique().tolist()
                levels[epoch, copy, b] = level
    assert len(set(levels.values())) == 8


def test_small_foregrounds_and_missing_masks_leave_the_image_alone(masked_batch):
    batch = masked_batch()
    batch["foreground_share"][[5, 6]] = torch.tensor([0.3, 0.2999])
    batch["foreground_share"][8] = torch.nan
    spec = replace(PLAIN, size=32)
    maker = collator({"a": replace(spec, background_p=1.0, count=2)}, foreground_threshold=0.3)
    untouched = ViewCollator(ViewRecipe({"a": replace(spec, background_p=0.0, count=2)}), SEED).make_views(batch)
    small = batch["foreground_share"] < torch.tensor(0.3)
    assert small[[3, 6]].all() and not small[[5, 8]].any()
    for turn in (1, 2):
        for image, plain in zip(maker.make_views(batch), untouched, strict=True):
            same = (image == plain).flatten(1).all(1)
            assert torch.equal(same, small | batch["foreground_share"].isnan())
        assert maker.unmasked == turn * 2 * int(small.sum()), "counted on and on, a missing mask not"
    maker.trace(batch, "a")
    assert maker.unmasked == 4 * int(small.sum()), "pictures do not count"
    seldom = collator({"first": spec, "a": replace(spec, background_p=0.3), "b": replace(spec, augment_as="first")})
    seldom.make_views(batch := batch | {"foreground_share": torch.zeros(14)})
    drawn = Draws(SEED, 0, batch["position"]).uniform(1, Stream.BACKGROUND, 1)[:, 0] < 0.3
    assert 0 < drawn.sum() < 14 and seldom.unmasked == 28 + int(drawn.sum()), "only where they were drawn"


def test_the_share_is_found_where_the_batch_does_not_tell_it(masked_batch):
    batch = masked_batch()
    told = batch.pop("foreground_share")
    torch.testing.assert_close(foreground_share(batch["foreground"], batch["valid_hw"]), told, rtol=0, atol=1e-6)
    views = {"a": replace(SPEC, background_p=1.0)}
    first, second = collator(views), collator(views)
    assert torch.equal(first.make_views(batch)[0], second.make_views(batch | {"foreground_share": told})[0])
    assert first.unmasked == second.unmasked == 1


def masks(source: str, area: float, valid_hw: list, count: int, side: int = 64) -> torch.Tensor:
    recipe = ViewRecipe({"a": SPEC}, mask_source=source, mask_area=area, foreground_threshold=0.0)
    valid = torch.tensor([valid_hw] * count, dtype=torch.int32)
    return make_masks(recipe, Draws(0, 0, torch.arange(count)), 0, valid, side)


def boxes(keep_N1HW: torch.Tensor) -> np.ndarray:
    """top, left, height, width of each mask, which must be a filled rectangle."""
    found = []
    for keep in keep_N1HW[:, 0].numpy():
        ys, xs = np.nonzero(keep)
        found.append((ys.min(), xs.min(), np.ptp(ys) + 1, np.ptp(xs) + 1))
        assert len(ys) == found[-1][2] * found[-1][3], "a filled rectangle"
    return np.array(found)


@pytest.mark.parametrize("area", [0.1, 0.5, 0.9])
def test_random_masks_are_points_of_the_asked_share(area):
    keep = masks("random", area, [64, 64], 40)[:, 0].numpy()
    assert keep.shape == (40, 64, 64)
    assert stats.binomtest(int(keep.sum()), keep.size, area).pvalue > 1e-3
    for shift in (keep[:, :, 1:], keep[:, :, :-1]), (keep[:, 1:], keep[:, :-1]), (keep[1:], keep[:-1]):
        assert abs(np.corrcoef(shift[0].ravel(), shift[1].ravel())[0, 1]) < 0.02, "pixels know nothing of each other"


@pytest.mark.parametrize("source", ["random", "rectangle"])
def test_made_masks_change_with_image_epoch_and_view(source):
    recipe, valid = ViewRecipe({"a": SPEC}, mask_source=source), torch.full((2, 2), 64)
    made = [
        make_masks(recipe, Draws(0, epoch, torch.arange(2)), view, valid, 64) for epoch in (0, 1) for view in (0, 1)
    ]
    images = torch.cat(made).flatten(1)
    assert len(images.unique(dim=0)) == 8
    again = make_masks(recipe, Draws(0, 1, torch.arange(2)), 1, valid, 64)
    assert torch.equal(made[3], again)


@pytest.mark.parametrize("valid_hw", [[64, 64], [40, 64], [64, 25]])
@pytest.mark.parametrize("area", [0.1, 0.4, 0.9])
def test_rectangles_have_the_asked_area_inside_the_image(valid_hw, area):
    height, width = valid_hw
    found = boxes(masks("rectangle", area, valid_hw, 300))
    assert (found[:, 0] + found[:, 2] <= height).all() and (found[:, 1] + found[:, 3] <= width).all()
    assert np.abs(found[:, 2] * found[:, 3] / (height * width) - area).max() < 0.5 / min(valid_hw) + 0.01
    ratio = found[:, 3] / found[:, 2]
    lowest, highest = area * width / height, width / (area * height)  # the tallest and the widest that fit
    assert ratio.min() > max(0.5, lowest) * 0.85 and ratio.max() < min(2, highest) * 1.18
    for start, side, room in ((found[:, 0], found[:, 2], height), (found[:, 1], found[:, 3], width)):
        assert (start == 0).any() and (start + side == room).any(), "up to the borders"
    middle = boxes(masks("centered_rectangle", area, valid_hw, 2))
    assert (middle[0] == middle[1]).all()
    top, left, tall, wide = middle[0]
    assert abs(tall * wide / (height * width) - area) < 0.5 / min(valid_hw) + 0.01
    assert abs(tall - height * area**0.5) <= 1 and abs(wide - width * area**0.5) <= 1.5
    assert abs(2 * top + tall - height) <= 1 and abs(2 * left + wide - width) <= 1


def test_rectangles_are_log_uniform_in_shape_and_uniform_in_place():
    found = boxes(masks("rectangle", 0.1, [256, 256], 400, side=256))
    turns = np.log2(found[:, 3] / found[:, 2])
    assert stats.kstest(turns, "uniform", (-1, 2)).pvalue > 1e-3
    for start, side in ((0, 2), (1, 3)):
        assert stats.kstest((found[:, start] + 0.5) / (257 - found[:, side]), "uniform").pvalue > 1e-3
    assert abs(np.corrcoef(found[:, 0], found[:, 1])[0, 1]) < 0.2


@pytest.mark.parametrize("valid_hw", [[1, 1], [1, 64], [64, 1], [2, 3]])
def test_extreme_images_keep_something(valid_hw):
    for source in ("rectangle", "centered_rectangle"):
        for area in (1e-6, 0.3, 1.0):
            keep = masks(source, area, valid_hw, 5)
            inside = keep[:, :, : valid_hw[0], : valid_hw[1]]
            assert (inside.sum((1, 2, 3)) >= 1).all() and inside.sum() == keep.sum()
            assert area < 1 or inside.all()


def test_masks_are_changed_as_asked(masked_batch):
    batch = masked_batch()
    foreground, share, valid_hw = batch["foreground"], batch["foreground_share"], batch["valid_hw"]
    for change in (None, "bounding_box", "add_rectangle", "remove_rectangle"):
        recipe = ViewRecipe({"a": SPEC}, mask_source="saliency", mask_change=change, mask_area=0.6)
        changed = change_masks(recipe, foreground, share, valid_hw)[:, 0].numpy()
        for b, (height, width) in enumerate(valid_hw.tolist()):
            mask = foreground[b, 0, :height, :width].numpy() >= 128
            keep = changed[b, :height, :width]
            assert keep.sum() == changed[b].sum(), "nothing beside the image"
            if change == "bounding_box":
                ys, xs = np.nonzero(mask)
                box = np.zeros_like(mask)
                box[ys.min() : ys.max() + 1, xs.min() : xs.max() + 1] = True
                assert np.array_equal(keep, box)
                continue
            differs = np.nonzero(keep != mask)
            scale = (0.6 * mask.mean()) ** 0.5
            top, left = (1 - scale) / 2 * height - 1, (1 - scale) / 2 * width - 1.5
            assert change is not None or len(differs[0]) == 0
            middle = np.zeros_like(mask)
            middle[
                max(0, round(top) + 2) : round(height - top) - 2, max(0, round(left) + 2) : round(width - left) - 2
            ] = 1
            if change == "add_rectangle":
                assert keep[mask].all() and keep[middle].all()
            elif change == "remove_rectangle":
                assert not keep[~mask].any() and not keep[middle].any()
            for place, start, side in zip(differs, (top, left), (height, width), strict=True):
                assert ((place >= start - 1) & (place <= side - start)).all(), "only in the middle of the image"


def test_the_threshold_judges_the_mask_before_it_is_changed(masked_batch):
    batch = masked_batch()
    spec = replace(PLAIN, size=32)
    untouched = ViewCollator(ViewRecipe({"a": replace(spec, background_p=0.0)}), SEED).make_views(batch)[0]
    maker = collator({"a": spec}, mask_change="remove_rectangle", mask_area=1.0, foreground_threshold=0.1)
    assert ((maker.make_views(batch)[0] == untouched).flatten(1).all(1)).nonzero().tolist() == [[3]]


def test_copies_draw_by_themselves_and_augment_as_takes_the_same_image(masked_batch):
    batch = masked_batch()
    spec = replace(PLAIN, size=48, background_p=0.5)
    views = collator(
        {
            "a": replace(spec, count=2),
            "same": replace(spec, augment_as="a"),
            "masked": replace(spec, augment_as="a", mask_p=1.0, mask_cell=8),
            "whole": replace(spec, augment_as="a", background_p=0.0),
        },
        "rectangle",
    ).make_views(batch)
    removed = [(view != views[4]).flatten(1).any(1) for view in views]
    assert 0 < removed[0].sum() < 14 and not torch.equal(removed[0], removed[1])
    assert torch.equal(views[0], views[2])
    assert torch.equal(views[3][views[3] != 0], views[0][views[3] != 0])


def test_trace_shows_the_background_between_crop_and_colours(masked_batch):
    batch = masked_batch()
    maker = collator({"a": replace(SPEC, jitter_p=1.0), "b": replace(SPEC, background_p=0.0)})
    steps = maker.trace(batch, "a")
    assert [name for name, _ in steps][:3] == ["crop", "background", "jitter"]
    assert torch.equal(steps[-1][1], maker.make_views(batch)[0])
    changed = (steps[1][1] != steps[0][1]).flatten(1).any(1)
    _, expected = by_numpy(batch, 0, 0.5)
    assert sum(expected) > 3 and not (changed & ~torch.tensor(expected)).any()
    assert "background" not in [name for name, _ in maker.trace(batch, "b")]


def test_views_without_background_do_none_of_the_work(photo_batch, monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("no view asked for it")

    batch = photo_batch()
    for name in ("draw_backgrounds", "remove_backgrounds", "make_masks", "change_masks", "foreground_share"):
        monkeypatch.setattr(collator_module, name, refuse)
    spec = replace(SPEC, background_p=0.0)
    with_source = collator({"a": spec}).make_views(batch)
    assert torch.equal(with_source[0], ViewCollator(ViewRecipe({"a": spec}), SEED).make_views(batch)[0])


def test_batches_without_usable_masks_are_refused(masked_batch):
    batch, maker = masked_batch(3 + 1), collator({"a": SPEC})
    plain = {key: value for key, value in batch.items() if key != "foreground"}
    with pytest.raises(
        ValueError, match=r"column 'saliency', but the batch has no 'foreground': open the source with"
    ):
        maker.make_views(plain)
    with pytest.raises(ValueError, match=r"foreground must be uint8 of shape \(4, 1, 96, 96\).* got torch.float32"):
        maker.make_views(batch | {"foreground": batch["foreground"].float()})
    with pytest.raises(ValueError, match=r"foreground must be uint8 of shape .* got torch.uint8 \(4, 96, 96\)"):
        maker.make_views(batch | {"foreground": batch["foreground"][:, 0]})
    with pytest.raises(ValueError, match=r"foreground_share must be of shape \(4,\), got \(3,\)"):
        maker.make_views(batch | {"foreground_share": batch["foreground_share"][:3]})
    collator({"a": SPEC}, "rectangle").make_views(plain)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("source", ["saliency", *MADE_MASKS])
def test_backgrounds_on_cuda_are_those_of_the_cpu(masked_batch, source):
    batch, maker = masked_batch(28), collator({"a": replace(PLAIN, background_p=0.5)}, source)
    errors = (maker.make_views(batch)[0] - maker.make_views(batch, "cuda")[0].cpu()).abs()
    assert errors.mean() < 0.01 and (errors > 0.06).float().mean() < 1e-3
