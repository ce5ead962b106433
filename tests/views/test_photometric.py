# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Colour steps with the drawn parameters replayed through torchvision and PIL, one image at a time."""

import colorsys
import itertools

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance, ImageOps
from scipy import stats
from torchvision.transforms import functional as tv_pil
from torchvision.transforms.v2 import functional as tv

from mscn_hf.views.draws import Draws
from mscn_hf.views.photometric import (
    JITTER_PARTS,
    adjust_hue,
    apply_grayscale,
    apply_jitters,
    apply_solarize,
    draw_grayscale,
    draw_jitters,
    draw_solarize,
    normalize,
)
from mscn_hf.views.recipe import ViewSpec

TORCHVISION_PARTS = (tv.adjust_brightness, tv.adjust_contrast, tv.adjust_saturation, tv.adjust_hue)


def draws(count: int = 14, seed: int = 0) -> Draws:
    return Draws(seed, 0, torch.arange(count))


def as_pil(image_CHW: torch.Tensor) -> Image.Image:
    return Image.fromarray((image_CHW * 255).round().byte().permute(1, 2, 0).contiguous().numpy())


def from_pil(picture: Image.Image) -> torch.Tensor:
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1).float() / 255


@pytest.mark.parametrize("part", range(4))
def test_each_part_equals_torchvision_and_is_near_pil(photo_images, part):
    low, high = ((0.0, 2.0), (0.0, 2.0), (0.0, 2.0), (-0.5, 0.5))[part]
    factors = torch.linspace(low, high, 14)
    ours = JITTER_PARTS[part](photo_images, factors)
    for image, changed, factor in zip(photo_images, ours, factors.tolist(), strict=True):
        oracle = TORCHVISION_PARTS[part](image.double(), factor)
        torch.testing.assert_close(changed.double(), oracle, rtol=0, atol=3e-6)
        # PIL works in uint8, its hue in 255 steps of the circle: judged by the mean
        enhance = (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color)
        pil = enhance[part](as_pil(image)).enhance(factor) if part < 3 else tv_pil.adjust_hue(as_pil(image), factor)
        assert (changed - from_pil(pil)).abs().mean() < (0.01 if part == 3 else 0.004)


def test_hue_equals_the_standard_librarys_hsv():
    levels = (0.0, 0.2, 0.5, 1.0)
    colours = torch.tensor(list(itertools.product(levels, repeat=3)), dtype=torch.float64)
    for turn in (-0.5, -0.1, 0.0, 1 / 6, 0.37, 0.5):
        ours = adjust_hue(colours.T[None, :, :, None], torch.tensor([turn], dtype=torch.float64))[0, :, :, 0].T
        for colour, shifted in zip(colours.tolist(), ours.tolist(), strict=True):
            hue, saturation, value = colorsys.rgb_to_hsv(*colour)
            assert shifted == pytest.approx(colorsys.hsv_to_rgb((hue + turn) % 1, saturation, value), abs=1e-12)


def test_jitter_runs_in_the_drawn_order(photo_images):
    spec = ViewSpec(jitter_p=0.7, brightness=0.8, contrast=0.8, saturation=0.8, hue=0.2)
    images = photo_images.repeat(8, 1, 1, 1)
    jitters = draw_jitters(draws(len(images)), 0, spec)
    before = images.clone()
    ours = apply_jitters(images, jitters)
    assert torch.equal(images, before), "the argument must not be changed"
    reversed_differs = 0
    for b, image in enumerate(images):
        oracle, other = image.double(), image.double()
        if jitters.applies_B[b]:
            order = jitters.order_B4[b].tolist()
            for part in order:
                oracle = TORCHVISION_PARTS[part](oracle, float(jitters.factors_B4[b, part]))
            for part in reversed(order):
                other = TORCHVISION_PARTS[part](other, float(jitters.factors_B4[b, part]))
        # the image's mean luma enters contrast, and a saturated channel may turn hue: tolerance above one operation's
        torch.testing.assert_close(ours[b].double(), oracle, rtol=0, atol=2e-5)
        reversed_differs += int((oracle - other).abs().max() > 0.01)
    assert reversed_differs > len(images) // 3, "the order must matter for this test to mean anything"


def test_jitter_draws_follow_the_settings():
    spec = ViewSpec(jitter_p=0.8, brightness=0.4, contrast=1.5, saturation=0.2, hue=0.1)
    jitters = draw_jitters(draws(24_000), 0, spec)
    assert abs(jitters.applies_B.double().mean() - 0.8) < 4 * (0.16 / 24_000) ** 0.5
    for part, (low, high) in enumerate(((0.6, 1.4), (0.0, 2.5), (0.8, 1.2), (-0.1, 0.1))):
        factors = jitters.factors_B4[:, part].double().numpy()
        assert stats.kstest(factors, "uniform", (low, high - low)).pvalue > 1e-3
    orders = (jitters.order_B4 * torch.tensor([64, 16, 4, 1])).sum(1).bincount()
    assert (orders > 0).sum() == 24
    assert stats.chisquare(orders[orders > 0].numpy()).pvalue > 1e-3


def test_parts_with_neutral_factors_change_nothing(photo_images):
    jitters = draw_jitters(draws(), 0, ViewSpec(jitter_p=1, brightness=0, contrast=0, saturation=0, hue=0))
    assert torch.equal(apply_jitters(photo_images, jitters), photo_images)


def test_grayscale_equals_torchvision(photo_images):
    applies = draw_grayscale(draws(), 0, ViewSpec(grayscale_p=0.5))
    ours = apply_grayscale(photo_images, applies)
    assert applies.any() and not applies.all()
    for image, changed, chosen in zip(photo_images, ours, applies, strict=True):
        oracle = tv.rgb_to_grayscale(image.double(), 3) if chosen else image.double()
        torch.testing.assert_close(changed.double(), oracle, rtol=0, atol=1e-6)
        if chosen:
            pil = from_pil(ImageOps.grayscale(as_pil(image)).convert("RGB"))
            assert (changed - pil).abs().max() < 1.5 / 255


def test_solarize_equals_torchvision_and_pil(photo_images):
    applies = draw_solarize(draws(), 0, ViewSpec(solarize_p=0.5))
    threshold = 128 / 255
    images = (photo_images * 255).round() / 255
    ours = apply_solarize(images, applies, threshold)
    assert applies.any() and not applies.all()
    for image, changed, chosen in zip(images, ours, applies, strict=True):
        oracle = tv.solarize(image, threshold) if chosen else image
        torch.testing.assert_close(changed, oracle, rtol=0, atol=1e-7)
        if chosen:
            assert (changed - from_pil(ImageOps.solarize(as_pil(image), 128))).abs().max() < 1e-6


def test_normalize_equals_torchvision(photo_images):
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    oracle = tv.normalize(photo_images.double(), list(mean), list(std))
    torch.testing.assert_close(normalize(photo_images, mean, std).double(), oracle, rtol=0, atol=2e-6)


@pytest.mark.parametrize("draw, field", [(draw_grayscale, "grayscale_p"), (draw_solarize, "solarize_p")])
def test_shares_of_single_steps(draw, field):
    for share in (0.0, 0.2, 1.0):
        applies = draw(draws(20_000), 3, ViewSpec(**{field: share})).double()
        assert abs(applies.mean() - share) <= 4 * (share * (1 - share) / 20_000) ** 0.5
