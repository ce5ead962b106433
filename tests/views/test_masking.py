# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""MSCN's masks: exact shapes one by one, shares and places statistically."""

import pytest
import torch
from scipy import stats

from mscn_hf.views.draws import Draws
from mscn_hf.views.masking import apply_masks, draw_masks, mask_holes, noise_generator
from mscn_hf.views.recipe import ViewSpec


def draws(count: int, seed: int = 0) -> Draws:
    return Draws(seed, 0, torch.arange(count))


@pytest.mark.parametrize("ratio, cells", [(0.15, 7), (0.25, 12), (0.30, 14)])
def test_grid_masks_take_exactly_their_cells(ratio, cells):
    spec = ViewSpec(mask_p=1, focal_p=0, mask_ratio=ratio)
    assert (spec.grid, spec.masked_cells) == (7, cells)
    masks = draw_masks(draws(64), 0, spec)
    holes = mask_holes(masks, spec)
    assert (masks.cells_BCGG.sum((2, 3)) == cells).all()
    assert (holes.sum((2, 3)) == cells * 32**2).all()
    blocks = holes.unfold(2, 32, 32).unfold(3, 32, 32).flatten(4)
    assert torch.equal(blocks.all(-1), masks.cells_BCGG) and torch.equal(blocks.any(-1), masks.cells_BCGG)


def test_every_cell_is_equally_likely():
    spec = ViewSpec(size=70, mask_cell=10, mask_p=1, focal_p=0, mask_ratio=0.25)
    cells = draw_masks(draws(6000), 0, spec).cells_BCGG[:, 1].double().flatten(1)
    share, expected = cells.mean(0), 12 / 49
    assert (share - expected).abs().max() < 4.5 * (expected * (1 - expected) / 6000) ** 0.5
    # without replacement: two cells are taken together with probability 12 * 11 / (49 * 48)
    together = (cells.T @ cells / 6000)[~torch.eye(49, dtype=torch.bool)]
    assert abs(together.mean() - 12 * 11 / (49 * 48)) < 1e-9
    assert together.std() < 0.005


def test_a_cell_that_does_not_divide_the_size_is_cut_at_the_border():
    spec = ViewSpec(size=50, mask_cell=16, mask_p=1, focal_p=0, channel_p=0, mask_ratio=0.5)
    masks = draw_masks(draws(400), 0, spec)
    holes = mask_holes(masks, spec)
    oracle = masks.cells_BCGG.repeat_interleave(16, 2).repeat_interleave(16, 3)[:, :, :50, :50]
    assert spec.grid == 4 and torch.equal(holes, oracle)
    assert abs(holes.double().mean() - 0.5) < 0.02


def test_focal_masks_keep_one_square():
    spec = ViewSpec(mask_p=1, focal_p=1, mask_ratio=0.2)
    assert spec.focal_side == 200
    masks = draw_masks(draws(3000), 0, spec)
    few = ViewSpec(mask_p=1, focal_p=1, mask_ratio=0.2, size=32)
    holes = mask_holes(draw_masks(draws(300), 0, few), few)
    assert few.focal_side == 29
    for hole, top, left in zip(holes, *(c.tolist() for c in _corners(draw_masks(draws(300), 0, few))), strict=True):
        kept = ~hole
        assert kept.sum() == 3 * 29**2 and kept[:, top : top + 29, left : left + 29].all()
    for corner in _corners(masks):
        assert stats.chisquare(corner.bincount(minlength=25).numpy()).pvalue > 1e-3


def _corners(masks):
    return masks.top_B, masks.left_B


def test_shares_follow_the_settings():
    spec = ViewSpec(size=28, mask_cell=4, mask_p=0.6, focal_p=0.3, channel_p=0.7, mask_ratio=0.2)
    count = 20_000
    masks = draw_masks(draws(count), 0, spec)
    holes = mask_holes(masks, spec)
    masked = holes.flatten(1).any(1)
    assert torch.equal(masked, masks.applies_B)
    own = (holes != holes[:, :1]).flatten(1).any(1)
    focal = masked & masks.focal_B
    assert not (own & focal).any(), "a focal mask is shared by the channels"
    grid = masked & ~focal
    equal_by_chance = 1e-9
    for name, hits, among, share in (
        ("masked", masked.sum(), count, 0.6),
        ("focal", focal.sum(), int(masked.sum()), 0.3),
        ("own mask for each channel", own.sum(), int(grid.sum()), 0.7 * (1 - equal_by_chance)),
    ):
        assert abs(hits / among - share) < 4 * (share * (1 - share) / among) ** 0.5, name
    assert abs(holes[grid].double().mean() - 9 / 49) < 1e-9
    assert abs(holes[focal].double().mean() - (1 - 25**2 / 28**2)) < 1e-9


def test_channels_draw_independently_where_each_has_its_own_mask():
    spec = ViewSpec(size=70, mask_cell=10, mask_p=1, focal_p=0, channel_p=1, mask_ratio=0.25)
    cells = draw_masks(draws(4000), 0, spec).cells_BCGG.double()
    for first, second in ((0, 1), (0, 2), (1, 2)):
        both = (cells[:, first] * cells[:, second]).mean()
        assert abs(both - (12 / 49) ** 2) < 4 * 0.25 / (4000 * 49) ** 0.5


def test_masks_are_pure_functions_of_the_sample():
    spec = ViewSpec(size=70, mask_cell=10, mask_p=0.7)
    positions = torch.randperm(200, generator=torch.Generator().manual_seed(0))
    whole = mask_holes(draw_masks(Draws(1, 2, positions), 3, spec), spec)
    parts = [mask_holes(draw_masks(Draws(1, 2, part), 3, spec), spec) for part in positions.split(33)]
    assert torch.equal(whole, torch.cat(parts))
    assert not torch.equal(whole, mask_holes(draw_masks(Draws(1, 3, positions), 3, spec), spec))


def test_holes_are_filled_and_the_rest_is_kept():
    spec = ViewSpec(size=56, mask_cell=8, mask_p=1, noise_std=0.18)
    images = torch.randn(64, 3, 56, 56, generator=torch.Generator().manual_seed(0)) + 5
    holes = mask_holes(draw_masks(draws(64), 0, spec), spec)
    generator = noise_generator(draws(64), 0, "cpu")
    filled = apply_masks(images, holes, spec.noise_std, generator)
    assert torch.equal(filled[~holes], images[~holes])
    noise = filled[holes].double().numpy()
    assert stats.kstest(noise, "norm", (0, 0.18)).pvalue > 1e-3
    assert abs(stats.pearsonr(noise[1:], noise[:-1]).statistic) < 4 / len(noise) ** 0.5
    again = apply_masks(images, holes, spec.noise_std, noise_generator(draws(64), 0, "cpu"))
    other = apply_masks(images, holes, spec.noise_std, noise_generator(draws(64), 1, "cpu"))
    assert torch.equal(filled, again) and not torch.equal(filled, other)
    zeros = apply_masks(images, holes, 0.0, generator)
    assert torch.equal(zeros, torch.where(holes, 0.0, images))
