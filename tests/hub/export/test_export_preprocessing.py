# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Preprocessing in other libraries' terms: the same pixels, or an error."""

import math

import numpy as np
import pytest
import timm
import torch
import torchvision.transforms as T
from PIL import Image
from transformers import AutoImageProcessor, BitImageProcessor, ConvNextImageProcessor

from mscn_hf.hub.export import ExportError
from mscn_hf.hub.export.preprocessing import Preprocessing, read_normalization, read_preprocessing
from mscn_hf.models.preprocessing import preprocessor_dict, save_preprocessor

OURS = preprocessor_dict(64, crop_ratio=0.865, image_mean=[0.4, 0.5, 0.6], image_std=[0.2, 0.3, 0.1])


def picture(width, height):
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC)


# The last one is 74 of 111 pixels wide after resizing: torchvision's crop begins at 24, transformers' at 23.
@pytest.mark.parametrize(("size", "shift"), [((81, 130), 0), ((152, 100), 0), ((150, 100), 1)])
def test_timm_and_torchvision_give_the_processors_pixels(size, shift, tmp_path):
    found = read_preprocessing(OURS)
    assert found == Preprocessing(74, 64, "bicubic", (0.4, 0.5, 0.6), (0.2, 0.3, 0.1))
    save_preprocessor(tmp_path, OURS)
    processor = AutoImageProcessor.from_pretrained(tmp_path, backend="pil")
    image = picture(*size)
    expected = processor(image, return_tensors="pt")["pixel_values"][0]
    ours = eval(found.torchvision_code, {"T": T})
    settings = {"input_size": (3, 64, 64), "crop_pct": found.crop_pct, "crop_mode": "center"}
    settings |= {"interpolation": found.interpolation, "mean": found.mean, "std": found.std}
    for transform in (ours, timm.data.create_transform(**settings, is_training=False)):
        got = transform(image)
        assert got.shape == expected.shape
        overlap = (got[..., : 64 - shift], expected[..., shift:])
        torch.testing.assert_close(*overlap, rtol=0, atol=1e-5)


def test_timms_ratio_gives_the_resized_side_exactly():
    assert Preprocessing(256, 224, "bicubic", (), ()).crop_pct == 0.875
    for side in range(16, 400, 3):
        for resized in range(side, 2 * side):
            assert math.floor(side / Preprocessing(resized, side, "bicubic", (), ()).crop_pct) == resized


def test_processors_that_are_not_ours(tmp_path):
    bilinear = BitImageProcessor(size={"shortest_edge": 40}, crop_size={"height": 32, "width": 32}, resample=2)
    found = read_preprocessing(bilinear.to_dict())
    assert (found.resized, found.side, found.interpolation) == (40, 32, "bilinear")
    # microsoft/resnet-50's
    convnext = ConvNextImageProcessor(size={"shortest_edge": 64}, crop_pct=0.865)
    found = read_preprocessing({"image_processor_type": "ConvNextImageProcessor", **convnext.to_dict()})
    processed = convnext(picture(150, 100), return_tensors="pt")["pixel_values"]
    assert processed.shape[-2:] == (found.side, found.side)
    assert found.resized == int(64 / 0.865)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"do_resize": False}, "no resizing"),
        ({"size": {"height": 64, "width": 64}}, "no resizing"),
        ({"do_center_crop": False}, "no square crop"),
        ({"crop_size": {"height": 64, "width": 48}}, "no square crop"),
        ({"resample": 1}, "resample=1"),
        ({"do_normalize": False}, "not scaled"),
        ({"rescale_factor": 1 / 127.5}, "not scaled"),
        ({"image_mean": None}, "no list of numbers"),
        ({"image_processor_type": "ConvNextImageProcessor", "size": {"shortest_edge": 384}}, "squeezed whole"),
    ],
)
def test_what_cannot_be_said(change, named):
    with pytest.raises(ExportError, match=f"{named}.*which this format cannot say; use --to resnet or --to onnx"):
        read_preprocessing(OURS | change)


def test_normalization_alone():
    assert read_normalization(OURS | {"do_resize": False, "crop_size": None}) == ((0.4, 0.5, 0.6), (0.2, 0.3, 0.1))
