# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Whole views: replayed step by step, and what they may and may not depend on."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms.v2 import functional as tv

import mscn_hf.views.collator as collator_module
from mscn_hf.views import Draws, ViewCollator, ViewRecipe, ViewSpec
from mscn_hf.views.blur import draw_blurs
from mscn_hf.views.masking import draw_masks, mask_holes
from mscn_hf.views.photometric import draw_grayscale, draw_jitters, draw_solarize
from mscn_hf.views.resample import draw_crops

MSCN = ViewSpec(size=48, high_pass_sigma=1.1, mask_cell=7, mask_p=1.0, noise_std=0.0, solarize_p=0.2)
MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


def collator(seed: int = 5, **views: ViewSpec) -> ViewCollator:
    return ViewCollator(ViewRecipe(views or {"a": MSCN, "b": replace(MSCN, mask_p=0.5)}), seed)


def rows(batch: dict, index) -> dict:
    return {key: value if key == "epoch" else value[index] for key, value in batch.items()}


def replay(batch: dict, seed: int, view: int, spec: ViewSpec, b: int) -> torch.Tensor:
    """One image's view in float64, by PIL and torchvision."""
    draws = Draws(seed, batch["epoch"], batch["position"])
    crops = draw_crops(draws, view, spec, batch["valid_hw"])
    top, left = int(crops.top_B[b]), int(crops.left_B[b])
    picture = Image.fromarray(batch["canvas"][b].permute(1, 2, 0).contiguous().numpy())
    picture = picture.crop((left, top, left + int(crops.width_B[b]), top + int(crops.height_B[b])))
    picture = picture.resize((spec.size, spec.size), Image.Resampling.BICUBIC)
    image = torch.from_numpy(np.array(picture)).permute(2, 0, 1).double() / 255
    if crops.flip_B[b]:
        image = tv.horizontal_flip(image)
    jitters = draw_jitters(draws, view, spec)
    if jitters.applies_B[b]:
        parts = (tv.adjust_brightness, tv.adjust_contrast, tv.adjust_saturation, tv.adjust_hue)
        for part in jitters.order_B4[b].tolist():
            image = parts[part](image, float(jitters.factors_B4[b, part]))
    if draw_grayscale(draws, view, spec)[b]:
        image = tv.rgb_to_grayscale(image, 3)
    blurs = draw_blurs(draws, view, spec)
    if blurs.applies_B[b]:
        image = tv.gaussian_blur(image, [blurs.taps] * 2, [float(blurs.sigma_B[b])] * 2)
    if draw_solarize(draws, view, spec)[b]:
        image = tv.solarize(image, spec.solarize_threshold)
    image = tv.normalize(image, MEAN, STD)
    if spec.high_pass_sigma is not None:
        taps = 2 * int(np.ceil(spec.high_pass_sigma)) + 1
        image = image - tv.gaussian_blur(image, [taps] * 2, [spec.high_pass_sigma] * 2)
    if spec.mask_p > 0:
        image = image.masked_fill(mask_holes(draw_masks(draws, view, spec), spec)[b], 0)
    return image


def test_whole_views_equal_a_replay_by_pil_and_torchvision(photo_batch):
    batch = photo_batch(count=28)
    specs = {"a": MSCN, "b": replace(MSCN, mask_p=0.5, solarize_p=0.0), "plain": ViewSpec(size=40)}
    views = collator(**specs).make_views(batch)
    for view, (spec, images) in enumerate(zip(specs.values(), views, strict=True)):
        errors = torch.stack([(images[b].double() - replay(batch, 5, view, spec, b)).abs() for b in range(28)])
        # A step of uint8 in the crop is 1/255/0.225 = 0.017 here; solarising turns it at the threshold, jitter may
        # double it: hence few values may be far off and the mean hardly at all.
        assert errors.mean() < 2e-4, view
        assert (errors > 0.04).double().mean() < 2e-4, view


def test_views_do_not_depend_on_the_rest_of_the_batch(photo_batch):
    batch = photo_batch(count=21)
    whole = collator().make_views(batch)
    order = torch.randperm(21, generator=torch.Generator().manual_seed(1))
    shuffled = collator().make_views(rows(batch, order))
    halves = [collator().make_views(rows(batch, part)) for part in (slice(0, 9), slice(9, 21))]
    for view in range(2):
        # images of one chunk share vectorised sums: equal draws, float32 apart in the last bits at most
        torch.testing.assert_close(shuffled[view], whole[view][order], rtol=0, atol=2e-5)
        torch.testing.assert_close(torch.cat([half[view] for half in halves]), whole[view], rtol=0, atol=2e-5)


def test_views_do_not_depend_on_chunks(photo_batch, monkeypatch):
    batch = photo_batch(count=14)
    noisy = {"a": replace(MSCN, noise_std=0.2)}
    whole = collator(**noisy).make_views(batch)[0]
    monkeypatch.setattr(collator_module, "_CPU_CHUNK_VALUES", 3 * 3 * 48**2)
    torch.testing.assert_close(collator(**noisy).make_views(batch)[0], whole, rtol=0, atol=2e-5)


def test_views_repeat_to_the_bit_and_change_with_seed_epoch_position_and_view(photo_batch):
    batch = photo_batch()
    noisy = {"a": replace(MSCN, noise_std=0.2), "b": replace(MSCN, noise_std=0.1)}
    first, again = collator(**noisy).make_views(batch), collator(**noisy).make_views(batch)
    assert all(torch.equal(x, y) for x, y in zip(first, again, strict=True))
    torch.manual_seed(99)
    assert torch.equal(first[0], collator(**noisy).make_views(batch)[0]), "the global generator plays no part"
    for other in (
        collator(seed=6, **noisy).make_views(batch)[0],
        collator(**noisy).make_views(batch | {"epoch": 1})[0],
        collator(**noisy).make_views(batch | {"position": batch["position"] + 1})[0],
        first[1],
    ):
        assert ((other - first[0]).flatten(1).abs().amax(1) > 0.1).all()


def test_autocast_and_default_dtype_change_nothing(photo_batch):
    batch = photo_batch(count=7)
    plain = collator().make_views(batch)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = collator().make_views(batch)
    for x, y in zip(plain, inside, strict=True):
        assert y.dtype == torch.float32 and torch.equal(x, y) and not y.requires_grad


def test_multi_masks_differ(photo_batch):
    batch = photo_batch()
    views = collator(a=MSCN, b=replace(MSCN, count=3, augment_as="a")).make_views(batch)
    assert len(views) == 4
    kept = [view != 0 for view in views]
    for i in range(4):
        for j in range(i):
            assert (kept[i] != kept[j]).flatten(1).any(1).all(), "every copy draws a mask of its own"
            both = kept[i] & kept[j]
            assert torch.equal(views[i][both], views[j][both]), "and shares the augmented image"


def test_same_view_ablation_shares_draws_even_with_other_settings(photo_batch):
    batch = photo_batch()
    plain = replace(MSCN, mask_p=0.0, high_pass_sigma=None)
    other, same, softer = (
        {"augment_as": None},
        {"augment_as": "a"},
        {"augment_as": "a", "blur_p": 0.0, "jitter_p": 0.0, "grayscale_p": 0.0, "solarize_p": 0.0},
    )
    views = collator(
        a=plain, b=replace(plain, **other), c=replace(plain, **same), d=replace(plain, **softer)
    ).make_views(batch)
    assert torch.equal(views[0], views[2]) and not torch.equal(views[0], views[1])
    cropped = collator(a=replace(plain, **(softer | {"augment_as": None}))).make_views(batch)[0]
    assert torch.equal(views[3], cropped), "the crop is view a's"


def test_trace_shows_the_steps_of_make_views(photo_batch):
    batch = photo_batch(count=7)
    noisy = replace(MSCN, noise_std=0.2, count=2)
    maker = collator(a=noisy, plain=ViewSpec(size=32, jitter_p=0.0))
    views = maker.make_views(batch)
    for copy in (0, 1):
        steps = maker.trace(batch, "a", copy)
        assert [name for name, _ in steps] == [
            "crop", "jitter", "grayscale", "blur", "solarize", "normalize", "high-pass", "mask",
        ]  # fmt: skip
        assert torch.equal(steps[-1][1], views[copy])
        assert all(images.min() >= 0 and images.max() <= 1 for _, images in steps[:5])
    assert [name for name, _ in maker.trace(batch, "plain")] == ["crop", "grayscale", "blur", "normalize"]
    with pytest.raises(
        ValueError, match="no view 'b' copy 0; the recipe makes 'a' copy 0, 'a' copy 1, 'plain' copy 0"
    ):
        maker.trace(batch, "b")


@pytest.mark.parametrize("size", [2, 17])
def test_extreme_images_give_finite_views(size):
    valid = torch.tensor([[1, 3000], [3000, 1], [1, 1], [2, 2], [1, 2], [3000, 3000]], dtype=torch.int32)
    canvas = torch.randint(0, 256, (6, 3, 3000, 3000), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    batch = {"canvas": canvas, "valid_hw": valid, "position": torch.arange(6), "epoch": 0}
    spec = ViewSpec(
        size=size, blur_p=1, blur_kernel=23, solarize_p=0.5, mask_p=1, mask_cell=1, mask_ratio=0.3, high_pass_sigma=1.0
    )
    for images in collator(a=spec, b=replace(spec, crop_scale=(1e-6, 1e-6))).make_views(batch):
        assert images.shape == (6, 3, size, size) and images.isfinite().all()


def test_wrong_batches_are_refused(photo_batch):
    batch = photo_batch(count=3)
    with pytest.raises(ValueError, match=r"canvas must be uint8 of shape .* got torch\.float32"):
        collator().make_views(batch | {"canvas": batch["canvas"].float()})
    with pytest.raises(ValueError, match="got 3, 2 and 3"):
        collator().make_views(batch | {"valid_hw": batch["valid_hw"][:2]})
    with pytest.raises(ValueError, match="made without `collate`"):
        collator()([{}])
    assert ViewCollator(ViewRecipe({"a": MSCN}), 0, collate=lambda records: {"n": len(records)})([1, 2]) == {"n": 2}


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_views_on_cuda_are_those_of_the_cpu(photo_batch):
    batch = photo_batch(count=28)
    for on_cpu, on_cuda in zip(collator().make_views(batch), collator().make_views(batch, "cuda"), strict=True):
        assert on_cuda.device.type == "cuda"
        assert (
            torch.equal(on_cpu == 0, on_cuda.cpu() == 0)
            or ((on_cpu == 0) != (on_cuda.cpu() == 0)).float().mean() < 1e-3
        )
        errors = (on_cpu - on_cuda.cpu()).abs()  # the CPU's crops are rounded to uint8, 0.017 in normalised units
        assert errors.mean() < 0.01 and (errors > 0.06).float().mean() < 1e-3
