# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""The contact sheet shows the views that training sees."""

from dataclasses import replace

import numpy as np
import torch
from PIL import Image

from mscn_hf.views import ViewCollator, ViewRecipe, ViewSpec, draw_contact_sheet

SPEC = ViewSpec(size=48, high_pass_sigma=1.1, mask_cell=7, mask_p=1.0, noise_std=0.13)


def test_the_final_tiles_are_on_the_sheet(photo_batch, tmp_path):
    batch = photo_batch(count=7)
    collator = ViewCollator(ViewRecipe({"a": SPEC, "b": replace(SPEC, count=2, mask_p=0.5)}), seed=0)
    path = draw_contact_sheet(collator, batch, tmp_path / "new" / "views.png", max_images=3)
    sheet = np.asarray(Image.open(path).convert("RGB"))
    small = {key: value if key == "epoch" else value[:3] for key, value in batch.items()}
    for view in collator.make_views(small):
        for image in view:
            pixels = (0.5 + 0.5 * image).clamp(0, 1).mul(255).round().byte().permute(1, 2, 0).numpy()
            assert _contains(sheet, pixels.repeat(3, 0).repeat(3, 1)), "every view, three pixels a pixel"
    assert not _contains(sheet, np.flip(pixels, 0).repeat(3, 0).repeat(3, 1))


def test_removed_backgrounds_are_on_the_sheet(photo_batch, tmp_path):
    batch = photo_batch(count=4)
    foreground = torch.zeros(4, 1, 96, 96, dtype=torch.uint8)
    foreground[:, :, 20:50, 20:50] = 255
    batch |= {"foreground": foreground, "foreground_share": torch.tensor([0.2, 0.2, 0.01, 0.2])}
    views = {"a": ViewSpec(size=48, background_p=1.0, crop_scale=(0.5, 1))}
    collator = ViewCollator(ViewRecipe(views, mask_source="saliency"), seed=0)
    sheet = Image.open(draw_contact_sheet(collator, batch, tmp_path / "views.png", max_images=3)).convert("RGB")
    background = dict(collator.trace(batch, "a"))["background"]
    pixels = background.mul(255).round().byte().permute(0, 2, 3, 1).numpy().repeat(3, 1).repeat(3, 2)
    assert [_contains(np.asarray(sheet), tile) for tile in pixels] == [True, True, True, False], "three are shown"
    crop = dict(collator.trace(batch, "a"))["crop"]
    assert torch.equal(background[2], crop[2]) and not torch.equal(background[0], crop[0])


def test_sheets_grow_with_images_and_views_and_take_plain_views(photo_batch, tmp_path):
    batch = photo_batch(count=7)
    sizes = {}
    for name, views, images in (
        ("one", {"a": ViewSpec(size=40, jitter_p=0, grayscale_p=0, blur_p=0)}, 1),
        ("more images", {"a": ViewSpec(size=40)}, 2),
        ("more views", {"a": ViewSpec(size=40), "b": ViewSpec(size=224, solarize_p=1.0)}, 2),
        ("all there are", {"a": ViewSpec(size=40)}, 100),
    ):
        path = draw_contact_sheet(ViewCollator(ViewRecipe(views), 0), batch, tmp_path / f"{name}.png", images)
        sizes[name] = Image.open(path).size
    assert sizes["one"][1] < sizes["more images"][1] < sizes["more views"][1] < sizes["all there are"][1]
    assert sizes["more images"][0] < sizes["more views"][0]


def _contains(sheet: np.ndarray, tile: np.ndarray) -> bool:
    """Whether `tile` occurs in `sheet`, found by its first row."""
    height, width = tile.shape[:2]
    rows = np.lib.stride_tricks.sliding_window_view(sheet, (width, 3), axis=(1, 2))[:, :, 0]
    for top, left in zip(*np.nonzero((rows[..., :8, :] == tile[0, :8]).all((-1, -2))), strict=True):
        if np.array_equal(sheet[top : top + height, left : left + width], tile):
            return True
    return False
