# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Gaussian blur with a sigma for each image, against torchvision one image at a time."""

import pytest
import torch
from scipy import stats
from torchvision.transforms.v2 import functional as tv

from mscn_hf.views.blur import Blurs, apply_blurs, convolve_separable, draw_blurs, gaussian_kernels
from mscn_hf.views.draws import Draws
from mscn_hf.views.recipe import ViewSpec


@pytest.mark.parametrize("taps", [3, 5, 23])
def test_blur_equals_torchvision(photo_images, taps):
    spec = ViewSpec(size=64, blur_kernel=taps)
    blurs = draw_blurs(Draws(0, 0, torch.arange(14)), 0, spec)
    blurred = apply_blurs(photo_images, blurs)
    assert blurs.taps == taps and blurs.applies_B.any() and not blurs.applies_B.all()
    for image, ours, applies, sigma in zip(photo_images, blurred, blurs.applies_B, blurs.sigma_B, strict=True):
        oracle = tv.gaussian_blur(image.double(), [taps, taps], [float(sigma)] * 2) if applies else image.double()
        torch.testing.assert_close(ours.double(), oracle, rtol=0, atol=1e-6)


def test_images_smaller_than_the_kernel():
    for height, width in ((1, 1), (1, 9), (3, 2)):
        images = torch.rand(4, 3, height, width, generator=torch.Generator().manual_seed(0))
        kernels = gaussian_kernels(torch.tensor([0.1, 0.5, 2.0, 50.0]), 23)
        blurred = convolve_separable(images, kernels)
        assert blurred.shape == images.shape and blurred.isfinite().all()
        torch.testing.assert_close(blurred[0], images[0], rtol=0, atol=1e-6)  # sigma 0.1 keeps the centre tap alone
        assert blurred[3].std() <= images[3].std() + 1e-6 or height * width == 1
        flat = convolve_separable(torch.full_like(images, 0.3), kernels)
        torch.testing.assert_close(flat, torch.full_like(images, 0.3))


def test_draws_follow_the_settings():
    blurs = draw_blurs(Draws(0, 0, torch.arange(20_000)), 0, ViewSpec(blur_p=0.3, blur_sigma=(0.5, 1.5)))
    assert abs(blurs.applies_B.double().mean() - 0.3) < 4 * (0.3 * 0.7 / 20_000) ** 0.5
    assert stats.kstest(blurs.sigma_B.double().numpy(), "uniform", (0.5, 1.0)).pvalue > 1e-3


def test_kernel_length_follows_the_size():
    assert {size: ViewSpec(size=size).blur_taps for size in (16, 32, 40, 48, 64, 96, 128, 224)} == {
        16: 3, 32: 3, 40: 5, 48: 5, 64: 7, 96: 9, 128: 13, 224: 23,
    }  # fmt: skip


def test_images_that_drew_nothing_are_untouched(photo_images):
    none = Blurs(torch.zeros(14, dtype=torch.bool), torch.ones(14), 5)
    assert torch.equal(apply_blurs(photo_images, none), photo_images)
