# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import transforms
from transformers import AutoImageProcessor

from mscn_hf.models.preprocessing import preprocessor_dict, save_preprocessor


def test_a_written_file_is_torchvisions_usual_evaluation(tmp_path):
    save_preprocessor(tmp_path / "new", preprocessor_dict(24, 0.8, [0.1, 0.2, 0.3], [0.5, 0.6, 0.7]))
    processor = AutoImageProcessor.from_pretrained(tmp_path / "new", backend="pil")
    photo = Image.fromarray(np.random.default_rng(0).integers(0, 256, (70, 50, 3), dtype=np.uint8))
    expected = transforms.Compose(
        [
            transforms.Resize(30, transforms.InterpolationMode.BICUBIC),
            transforms.CenterCrop(24),
            transforms.ToTensor(),
            transforms.Normalize([0.1, 0.2, 0.3], [0.5, 0.6, 0.7]),
        ]
    )(photo)
    torch.testing.assert_close(processor(photo, return_tensors="pt").pixel_values[0], expected)


@pytest.mark.parametrize(
    "arguments,message",
    [
        ({"image_size": 0}, "image_size must be at least 1 pixel, got 0"),
        ({"crop_ratio": 1.5}, r"crop_ratio must lie in \(0, 1\], got 1.5"),
        ({"num_channels": 1}, "image_mean must hold one value for each channel, num_channels=1"),
        ({"image_std": [1.0, 1.0, 0.0]}, "image_std must be positive"),
    ],
)
def test_bad_values_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        preprocessor_dict(**{"image_size": 32} | arguments)
