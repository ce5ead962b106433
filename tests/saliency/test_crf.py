# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Mean field of the fully connected CRF against loops over pixels, and what it does to pictures."""

import math

import pytest
import torch
from torch.nn.functional import adaptive_avg_pool2d, interpolate

from mscn_hf.saliency.crf import cell_kernel, colour_slope, mean_field, to_pixels


def random_input(batch, height, width, seed=0, dtype=torch.float64):
    random = torch.Generator().manual_seed(seed)
    probability_BHW = torch.rand(batch, height, width, generator=random, dtype=dtype)
    # colours near each other, so that all kernels matter
    images_B3HW = torch.randint(100, 140, (batch, 3, height, width), generator=random, dtype=torch.uint8)
    return probability_BHW, images_B3HW


def slow_mean_field(
    probability_HW, image_3HW, iterations=5, gaussian=(3.0, 3.0), bilateral=(80.0, 13.0, 10.0), side=432.0
):
    """Both labels, pixel by pixel, as pydensecrf's: unary -log p, symmetric normalisation, Potts compatibility."""
    height, width = probability_HW.shape
    pixels = [(y, x) for y in range(height) for x in range(width)]
    colour = image_3HW.tolist()

    def kernel(one, other, widths):
        squares = ((one[0] - other[0]) / (widths[0] * height / side)) ** 2
        squares += ((one[1] - other[1]) / (widths[0] * width / side)) ** 2
        if len(widths) > 1:
            squares += sum(((c[one[0]][one[1]] - c[other[0]][other[1]]) / widths[1]) ** 2 for c in colour)
        return math.exp(-squares / 2)

    kernels = []
    for *widths, compat in (gaussian, bilateral):
        table = [[kernel(one, other, widths) for other in pixels] for one in pixels]
        sums = [sum(row) for row in table]
        kernels.append((compat, table, sums))
    unary = []
    for y, x in pixels:
        p = min(max(float(probability_HW[y, x]), 1e-5), 1 - 1e-5)
        unary.append((-math.log(1 - p), -math.log(p)))
    beliefs = [tuple(math.exp(-u) for u in pair) for pair in unary]
    for _ in range(iterations):
        updated = []
        for i in range(len(pixels)):
            energy = list(unary[i])
            for label in (0, 1):
                for compat, table, sums in kernels:
                    heard = sum(
                        table[i][j] * beliefs[j][label] / math.sqrt(sums[i] * sums[j]) for j in range(len(pixels))
                    )
                    energy[label] -= compat * heard
            weights = [math.exp(-(e - min(energy))) for e in energy]
            updated.append(tuple(w / sum(weights) for w in weights))
        beliefs = updated
    return torch.tensor([pair[1] for pair in beliefs], dtype=torch.float64).view(height, width)


@pytest.mark.parametrize("height, width", [(1, 1), (1, 6), (5, 4), (7, 9)])
@pytest.mark.parametrize("iterations", [1, 5])
def test_small_images_exactly(height, width, iterations):
    probability_BHW, images_B3HW = random_input(2, height, width)
    found_BHW = mean_field(probability_BHW, images_B3HW, iterations=iterations)
    for found_HW, probability_HW, image_3HW in zip(found_BHW, probability_BHW, images_B3HW):
        expected_HW = slow_mean_field(probability_HW, image_3HW, iterations)
        torch.testing.assert_close(found_HW, expected_HW, atol=1e-6, rtol=0)


def test_other_constants_exactly():
    """With wide kernels in space and weak messages, so that no probability is near 0 or 1."""
    probability_BHW, images_B3HW = random_input(1, 6, 5, seed=1)
    found_BHW = mean_field(
        probability_BHW,
        images_B3HW,
        iterations=3,
        gaussian_sxy=60,
        gaussian_compat=0.7,
        bilateral_sxy=150,
        bilateral_srgb=20,
        bilateral_compat=1.3,
        side=300,
    )
    expected_HW = slow_mean_field(
        probability_BHW[0], images_B3HW[0], 3, gaussian=(60, 0.7), bilateral=(150, 20, 1.3), side=300
    )
    assert 0.05 < expected_HW.mean() < 0.95 and (found_BHW[0] - probability_BHW[0]).abs().max() > 0.1
    torch.testing.assert_close(found_BHW[0], expected_HW, atol=1e-6, rtol=0)


def test_float32_is_near_float64():
    probability_BHW, images_B3HW = random_input(2, 20, 30)
    found_BHW = mean_field(probability_BHW.float(), images_B3HW)
    assert found_BHW.dtype == torch.float32
    torch.testing.assert_close(found_BHW.double(), mean_field(probability_BHW, images_B3HW), atol=1e-4, rtol=0)
    half_BHW = mean_field(probability_BHW.half(), images_B3HW)
    assert half_BHW.dtype == torch.float32 and bool(half_BHW.isfinite().all())


def test_cells_hear_the_mean_of_their_pixels():
    """A picture of equal blocks: its cells compute what all its pixels would if those of a block had one q."""
    cells, points, sigma = 5, 3, 0.4
    expected = torch.zeros(cells, cells, dtype=torch.float64)
    for one in range(cells * points):
        for other in range(cells * points):
            value = math.exp(-(((one - other) / (sigma * points)) ** 2) / 2)
            expected[one // points, other // points] += value / points**2
    torch.testing.assert_close(cell_kernel(cells, points, sigma), expected, atol=1e-12, rtol=0)

    probability_Bhw, images_B3hw = random_input(1, 4, 4)
    probability_BHW, images_B3HW = (
        x.repeat_interleave(3, -1).repeat_interleave(3, -2) for x in (probability_Bhw, images_B3hw)
    )
    constants = {
        "gaussian_sxy": 20,
        "gaussian_compat": 1,
        "bilateral_sxy": 200,
        "bilateral_compat": 2,
        "iterations": 1,
    }
    # after one iteration all pixels of a block agree but for what each hears from its place in it
    exact_BHW = mean_field(probability_BHW, images_B3HW, **constants)
    exact_Bhw = torch.logit(exact_BHW).unfold(1, 3, 3).unfold(2, 3, 3).mean((3, 4))
    coarse_BHW = mean_field(probability_BHW, images_B3HW, grid=4, **constants)
    assert coarse_BHW.shape == probability_BHW.shape
    # the middle pixel of a block lies at the middle of its cell, so that its messages are the cell's
    coarse_Bhw = torch.logit(coarse_BHW[:, 1::3, 1::3])
    torch.testing.assert_close(coarse_Bhw, exact_Bhw, atol=0.02, rtol=0)
    assert (exact_Bhw - torch.logit(probability_Bhw)).abs().mean() > 0.5


def test_no_iterations_clip_only():
    probability_BHW, images_B3HW = random_input(1, 3, 3)
    probability_BHW[0, 0, :2] = torch.tensor([0.0, 1.0])
    expected_BHW = probability_BHW.clamp(1e-5, 1 - 1e-5)
    torch.testing.assert_close(mean_field(probability_BHW, images_B3HW, iterations=0), expected_BHW)


@pytest.mark.parametrize("size", [(1, 1), (1, 200), (9, 9), (60, 70), (200, 3)])
@pytest.mark.parametrize("kind", ["zeros", "ones", "certain", "halves"])
@pytest.mark.parametrize("plain", [True, False])
def test_finite_whatever_comes(size, kind, plain):
    probability_BHW, images_B3HW = random_input(2, *size, dtype=torch.float32)
    if plain:
        images_B3HW[:] = 77
    if kind == "zeros":
        probability_BHW[:] = 0
    elif kind == "ones":
        probability_BHW[:] = 1
    elif kind == "halves":
        probability_BHW[:] = 0.5
    else:
        probability_BHW = probability_BHW.round()
    found_BHW = mean_field(probability_BHW, images_B3HW, grid=20)
    assert bool(found_BHW.isfinite().all()) and found_BHW.min() >= 0 and found_BHW.max() <= 1
    if kind in ("zeros", "ones"):  # agreement makes certain
        assert (found_BHW - probability_BHW).abs().max() < 1e-5
    if kind == "halves":  # nothing speaks for either label
        assert (found_BHW - 0.5).abs().max() < 1e-5


@pytest.mark.parametrize("size", [(30, 40), (90, 70)])
def test_batch_is_the_same_as_single_images(size):
    probability_BHW, images_B3HW = random_input(3, *size, dtype=torch.float32)
    together_BHW = mean_field(probability_BHW, images_B3HW)
    for one in range(3):
        single_BHW = mean_field(probability_BHW[one : one + 1], images_B3HW[one : one + 1])
        torch.testing.assert_close(single_BHW[0], together_BHW[one], atol=1e-5, rtol=0)


@pytest.mark.parametrize("size", [(30, 40), (90, 120)])
def test_labels_are_alike(size):
    """Background in place of foreground gives 1 - q; a mirrored image gives a mirrored q."""
    probability_BHW, images_B3HW = random_input(1, *size)
    found_BHW = mean_field(probability_BHW, images_B3HW, grid=30)
    torch.testing.assert_close(mean_field(1 - probability_BHW, images_B3HW, grid=30), 1 - found_BHW)
    mirrored_BHW = mean_field(probability_BHW.flip(2), images_B3HW.flip(3), grid=30)
    torch.testing.assert_close(mirrored_BHW.flip(2), found_BHW)


def noisy_disc(height, width, noise=0.25):
    random = torch.Generator().manual_seed(0)
    rows_HW, columns_HW = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    inside_HW = (rows_HW - height / 2) ** 2 + (columns_HW - width * 0.4) ** 2 < (height * 0.3) ** 2
    colours = torch.where(
        inside_HW, torch.tensor([200, 60, 40])[:, None, None], torch.tensor([60, 90, 120])[:, None, None]
    )
    colours = (colours + 6 * torch.randn(3, height, width, generator=random)).clamp(0, 255).round()
    probability_HW = 0.35 + 0.3 * inside_HW + noise * torch.randn(height, width, generator=random)
    return probability_HW.clamp(0, 1)[None], colours.to(torch.uint8)[None], inside_HW[None]


@pytest.mark.parametrize("size", [(50, 54), (108, 108), (150, 200)])
def test_a_noisy_disc_gets_cleaner(size):
    probability_BHW, images_B3HW, inside_BHW = noisy_disc(*size)
    before = (probability_BHW - inside_BHW.float()).abs().mean()
    after = (mean_field(probability_BHW, images_B3HW) - inside_BHW.float()).abs().mean()
    assert before > 0.3 and after < 0.01


def test_the_grid_is_near_the_exact_result():
    probability_BHW, images_B3HW, _ = noisy_disc(60, 80)
    exact_BHW = mean_field(probability_BHW, images_B3HW, grid=80)
    coarse_BHW = mean_field(probability_BHW, images_B3HW, grid=30)
    assert ((exact_BHW > 0.5) == (coarse_BHW > 0.5)).double().mean() > 0.99


def test_messages_follow_colour_between_cells():
    """Cells of two colours with one message each: pixels get that of their colour, not of where they lie."""
    edge_HW = torch.arange(64)[None].expand(64, 64) + torch.arange(64)[:, None] / 4 > 40  # a slanting edge
    colour_B3HW = torch.where(edge_HW, 10.0, 2.0).expand(1, 3, 64, 64)
    message_BHW = torch.where(edge_HW, 8.0, -8.0)[None]
    cell_B3hw, message_Bhw = (adaptive_avg_pool2d(x, (16, 16)) for x in (colour_B3HW, message_BHW))
    found_BHW = to_pixels(message_Bhw, cell_B3hw, colour_B3HW)
    bilinear_BHW = interpolate(message_Bhw[None], (64, 64), mode="bilinear")[0]
    assert (found_BHW - message_BHW).abs().mean() < 0.1
    assert (found_BHW - message_BHW).abs().mean() < 0.2 * (bilinear_BHW - message_BHW).abs().mean()


def test_colour_slope_is_ridge_regression():
    random = torch.Generator().manual_seed(0)
    message_Bhw = torch.randn(1, 7, 8, generator=random, dtype=torch.float64)
    cell_B3hw = 5 * torch.randn(1, 3, 7, 8, generator=random, dtype=torch.float64)
    slope_B3hw = colour_slope(message_Bhw, cell_B3hw)
    for y, x in ((0, 0), (3, 4), (6, 1)):
        part = slice(max(y - 2, 0), y + 3), slice(max(x - 2, 0), x + 3)
        colours_3n, messages_n = cell_B3hw[0, :, *part].flatten(1), message_Bhw[0, *part].flatten()
        # least squares with the penalty |slope|^2 per cell, the constant unpenalised
        count = len(messages_n)
        rows = torch.cat([torch.cat([colours_3n.T, torch.ones(count, 1)], 1), math.sqrt(count) * torch.eye(4)[:3]])
        values = torch.cat([messages_n, torch.zeros(3)])
        expected_4 = torch.linalg.lstsq(rows.double(), values.double()[:, None]).solution[:, 0]
        torch.testing.assert_close(slope_B3hw[0, :, y, x], expected_4[:3], atol=1e-9, rtol=0)


def test_what_does_not_fit_is_refused():
    probability_BHW, images_B3HW = random_input(2, 4, 5)
    with pytest.raises(ValueError, match="floating point"):
        mean_field(probability_BHW[0], images_B3HW)
    with pytest.raises(ValueError, match="uint8"):
        mean_field(probability_BHW, images_B3HW.float())
    with pytest.raises(ValueError, match=r"\(2, 3, 4, 5\)"):
        mean_field(probability_BHW, images_B3HW[:1])
    with pytest.raises(ValueError, match="grid"):
        mean_field(probability_BHW, images_B3HW, grid=0)


def test_autocast_changes_nothing():
    probability_BHW, images_B3HW = random_input(1, 12, 12, dtype=torch.float32)
    expected_BHW = mean_field(probability_BHW, images_B3HW)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(mean_field(probability_BHW, images_B3HW), expected_BHW)
    assert not mean_field(probability_BHW.requires_grad_(), images_B3HW).requires_grad
