# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
import math

import numpy as np
import pytest
import torch
from torchvision.transforms.functional import gaussian_blur

from mscn_hf.models import HighPassFilter, high_pass, high_pass_kernel


def high_pass_loop(image_HW, sigma):
    """x - G_sigma * x pixel by pixel in float64, the two-dimensional kernel written out, borders reflected."""
    radius = math.ceil(sigma)
    offsets = range(-radius, radius + 1)
    weight = {(a, b): math.exp(-(a * a + b * b) / (2 * sigma**2)) for a in offsets for b in offsets}
    total = sum(weight.values())
    height, width = image_HW.shape

    def reflect(i, n):
        return -i if i < 0 else 2 * (n - 1) - i if i >= n else i

    result = np.empty((height, width))
    for y in range(height):
        for x in range(width):
            blurred = sum(w * image_HW[reflect(y + a, height), reflect(x + b, width)] for (a, b), w in weight.items())
            result[y, x] = image_HW[y, x] - blurred / total
    return result


@pytest.mark.parametrize("sigma", [0.8, 2.0, 5.0])
def test_equals_a_float64_loop(sigma):
    images = torch.randn(2, 3, 13, 9, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    expected = np.stack([[high_pass_loop(channel.numpy(), sigma) for channel in image] for image in images])
    np.testing.assert_allclose(high_pass(images, sigma).numpy(), expected, rtol=0, atol=1e-12)
    np.testing.assert_allclose(high_pass(images.float(), sigma).numpy(), expected, rtol=0, atol=1e-6)


def test_equals_torchvisions_blur_at_the_papers_setting():
    images = torch.randn(2, 3, 64, 48, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    torch.testing.assert_close(high_pass(images, 5.0), images - gaussian_blur(images, [11, 11], [5.0, 5.0]))


@pytest.mark.parametrize("sigma,length", [(0.5, 3), (1, 3), (5.0, 11), (5.1, 13), (9, 19)])
def test_kernel_length_sum_and_symmetry(sigma, length):
    kernel = high_pass_kernel(sigma)
    assert kernel.shape == (length,)
    assert kernel.sum().item() == pytest.approx(1, abs=1e-6)
    assert torch.equal(kernel, kernel.flip(0))
    assert kernel.argmax().item() == length // 2


@pytest.mark.parametrize("dtype,tolerance", [(torch.float32, 2e-6), (torch.bfloat16, 2e-6), (torch.float64, 1e-14)])
def test_constant_image_becomes_zero(dtype, tolerance):
    images = torch.tensor([2.25, -1.5, 0.5], dtype=dtype).view(1, 3, 1, 1).expand(1, 3, 32, 32)
    assert high_pass(images, 5.0).abs().max().item() <= tolerance


def test_bfloat16_is_rounded_only_once_also_under_autocast():
    images = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(0)).bfloat16()
    expected = high_pass(images.double(), 5.0).float().bfloat16()
    once = high_pass(images, 5.0)
    assert once.dtype == torch.bfloat16
    torch.testing.assert_close(once, expected, rtol=2**-8, atol=1e-6)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(high_pass(images.float(), 5.0), high_pass(images.float().contiguous(), 5.0))
        assert high_pass(images.float(), 5.0).dtype == torch.float32
    assert torch.equal(high_pass(images.float(), 5.0).bfloat16(), once)


def test_input_is_left_alone_and_gradient_is_right():
    images = torch.randn(1, 1, 8, 9, dtype=torch.float64, requires_grad=True)
    before = images.detach().clone()
    assert torch.autograd.gradcheck(lambda x: high_pass(x, 1.5), images)
    assert torch.equal(images.detach(), before)


def test_module_has_no_state():
    module = HighPassFilter(5)
    images = torch.randn(1, 3, 16, 16)
    assert not module.state_dict() and not list(module.buffers())
    assert torch.equal(module(images), high_pass(images, 5.0))


@pytest.mark.parametrize("sigma", [0, -1.0, math.inf, math.nan, "5"])
def test_bad_sigma(sigma):
    with pytest.raises(ValueError, match="positive number of pixels"):
        HighPassFilter(sigma)


@pytest.mark.parametrize(
    "images,message",
    [
        (torch.zeros(1, 3, 32, 5), "32x5"),
        (torch.zeros(3, 32, 32), r"\(3, 32, 32\)"),
        (torch.zeros(1, 3, 32, 32, dtype=torch.uint8), "torch.uint8"),
    ],
)
def test_bad_images(images, message):
    with pytest.raises(ValueError, match=message):
        high_pass(images, 5.0)
