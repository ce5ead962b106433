# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Random resized crops: torchvision's sampling rule, PIL's pixels."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from scipy import stats
from torchvision.transforms import v2

from mscn_hf.views.draws import Draws, Stream
from mscn_hf.views.recipe import ViewSpec
from mscn_hf.views.resample import apply_crops, bicubic_weights, crop_by_image, crop_by_matmul, draw_crops

VALID = torch.tensor([[96, 96], [64, 96], [96, 40], [7, 90], [96, 5], [1, 1], [1, 3000], [3000, 1], [2, 3]])


def rule(numbers: list[float], height: int, width: int, spec: ViewSpec) -> tuple[int, int, int, int]:
    """torchvision's RandomResizedCrop with given random numbers, in plain Python."""
    for k in range(10):
        area = height * width * (spec.crop_scale[0] + (spec.crop_scale[1] - spec.crop_scale[0]) * numbers[k])
        low, high = (math.log(bound) for bound in spec.crop_ratio)
        ratio = math.exp(low + (high - low) * numbers[10 + k])
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            return int(numbers[20] * (height - h + 1)), int(numbers[21] * (width - w + 1)), h, w
    w, h = width, height
    if width / height < min(spec.crop_ratio):
        h = round(w / min(spec.crop_ratio))
    elif width / height > max(spec.crop_ratio):
        w = round(h * max(spec.crop_ratio))
    return (height - h) // 2, (width - w) // 2, h, w


@pytest.mark.parametrize("scale", [(0.08, 1.0), (0.9, 1.0), (0.2, 0.2)])
def test_rectangles_follow_the_rule(scale):
    spec = ViewSpec(crop_scale=scale)
    valid = VALID.repeat(200, 1)
    draws = Draws(0, 0, torch.arange(len(valid)))
    crops = draw_crops(draws, 1, spec, valid)
    numbers = draws.uniform(1, Stream.CROP, 22).double().tolist()
    boxes = torch.stack([crops.top_B, crops.left_B, crops.height_B, crops.width_B], 1).tolist()
    assert [tuple(box) for box in boxes] == [rule(n, *hw, spec) for n, hw in zip(numbers, valid.tolist(), strict=True)]
    assert (crops.top_B >= 0).all() and (crops.top_B + crops.height_B <= valid[:, 0]).all()
    assert (crops.left_B >= 0).all() and (crops.left_B + crops.width_B <= valid[:, 1]).all()
    assert min(crops.height_B.min(), crops.width_B.min()) >= 1


def test_rectangles_are_distributed_as_torchvisions():
    crops = draw_crops(Draws(0, 0, torch.arange(4000)), 0, ViewSpec(), torch.tensor([[75, 120]]).repeat(4000, 1))
    image = torch.empty(3, 75, 120)
    torch.manual_seed(0)
    transform = v2.RandomResizedCrop(10)
    reference = [transform.make_params([image]) for _ in range(4000)]
    for name, ours in (
        ("top", crops.top_B),
        ("left", crops.left_B),
        ("height", crops.height_B),
        ("width", crops.width_B),
    ):
        assert stats.ks_2samp(ours.numpy(), [params[name] for params in reference]).pvalue > 1e-3, name
    assert abs(crops.flip_B.double().mean() - 0.5) < 4 * 0.5 / 4000**0.5


@pytest.mark.parametrize("size", [40, 96, 224])
def test_pixels_are_those_of_pil_one_image_at_a_time(photo_batch, size):
    batch = photo_batch(side=256, count=21)
    crops = draw_crops(Draws(1, 0, batch["position"]), 0, ViewSpec(), batch["valid_hw"])
    by_image, by_matmul = crop_by_image(batch["canvas"], crops, size), crop_by_matmul(batch["canvas"], crops, size)
    for b in range(21):
        top, left = int(crops.top_B[b]), int(crops.left_B[b])
        box = (left, top, left + int(crops.width_B[b]), top + int(crops.height_B[b]))
        view = Image.fromarray(batch["canvas"][b].permute(1, 2, 0).numpy()).crop(box)
        view = view.resize((size, size), Image.Resampling.BICUBIC)
        if crops.flip_B[b]:
            view = view.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        oracle = torch.from_numpy(np.array(view)).permute(2, 0, 1).float()
        # torch rounds its weights to 16 bits by a rule of its own: nearly all values are PIL's to the bit
        assert (by_image[b] * 255 - oracle).abs().max() <= 2.001
        assert (by_image[b] * 255 - oracle).abs().mean() < 0.03
        # not rounded to uint8 at all: two roundings of half a step, and little else
        assert (by_matmul[b] * 255 - oracle).abs().max() <= 1.5
        assert (by_matmul[b] * 255 - oracle).abs().mean() < 0.35
    assert crops.flip_B.any() and not crops.flip_B.all()


def test_the_two_forms_agree_on_noise_and_where_the_crop_is_enlarged():
    canvas = torch.randint(0, 256, (8, 3, 50, 50), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    valid = torch.tensor([[50, 50], [3, 50], [50, 3], [1, 1], [2, 2], [1, 50], [50, 1], [4, 4]])
    crops = draw_crops(Draws(0, 0, torch.arange(8)), 0, ViewSpec(), valid)
    for size in (1, 2, 31, 64):
        difference = (crop_by_image(canvas, crops, size) - crop_by_matmul(canvas, crops, size)).abs().max()
        assert difference <= 1.5 / 255


def test_weights_equal_float64_interpolation():
    source, size = 60, 24
    line = torch.rand(1, 1, source, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for start, length in ((0, 60), (13, 40), (50, 10), (59, 1), (7, 24)):
        weights = bicubic_weights(torch.tensor([start]), torch.tensor([length]), source, size)[0].double()
        ours = weights @ line[0, 0]
        # several equal columns: torch 2.14 resamples a float line of shape (1, 1, N, 1) wrongly
        stretch = line[:, :, start : start + length].expand(1, 1, length, 5).contiguous()
        oracle = F.interpolate(stretch, (size, 5), mode="bicubic", antialias=True)[0, 0, :, :1]
        torch.testing.assert_close(ours, oracle, rtol=0, atol=2e-6)


def test_canvas_padding_and_memory_layout_never_reach_a_view(photo_batch):
    batch = photo_batch(side=80, count=7)
    crops = draw_crops(Draws(0, 0, batch["position"]), 0, ViewSpec(), batch["valid_hw"])
    views = apply_crops(batch["canvas"], crops, 48)
    dirty = batch["canvas"].clone()
    for canvas, (height, width) in zip(dirty, batch["valid_hw"].tolist(), strict=True):
        canvas[:, height:], canvas[:, :, width:] = 255, 255
    assert torch.equal(views, apply_crops(dirty, crops, 48))
    assert torch.equal(views, apply_crops(batch["canvas"].contiguous(), crops, 48))
    assert torch.equal(crop_by_matmul(batch["canvas"], crops, 48), crop_by_matmul(dirty, crops, 48))
    assert views.dtype == torch.float32 and views.is_contiguous()
