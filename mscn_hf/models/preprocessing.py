# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""What an encoder takes in: evaluation preprocessing, its file, and the configuration fields that describe both."""

import dataclasses
import difflib
import json
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from transformers import PreTrainedConfig

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def preprocessor_dict(
    image_size: int,
    crop_ratio: float = 0.875,
    image_mean: Sequence[float] = IMAGENET_MEAN,
    image_std: Sequence[float] = IMAGENET_STD,
    num_channels: int = 3,
) -> dict[str, Any]:
    """Evaluation preprocessing as JSON of transformers' own BitImageProcessor, which needs no remote code.

    Resize the shorter side to image_size / crop_ratio (bicubic), crop the centre, scale to [0, 1], normalise.

    Args:
        image_size: side in pixels of the square crop.
        crop_ratio: image_size divided by the length to which the shorter side is resized, in (0, 1].
        image_mean, image_std: normalisation of images in [0, 1], one value for each channel.
        num_channels: images are converted to RGB where it is 3.

    Returns:
        The content of `preprocessor_config.json`.

    Raises:
        ValueError: a size, ratio or number of values that makes no sense.
    """
    check_preprocessing(image_size, crop_ratio, image_mean, image_std, num_channels)
    return {
        "image_processor_type": "BitImageProcessor",
        "do_convert_rgb": num_channels == 3,
        "do_resize": True,
        "size": {"shortest_edge": round(image_size / crop_ratio)},
        "resample": 3,  # PIL's number for bicubic
        "do_center_crop": True,
        "crop_size": {"height": image_size, "width": image_size},
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": [float(value) for value in image_mean],
        "image_std": [float(value) for value in image_std],
    }


def save_preprocessor(folder: str | os.PathLike, preprocessor: dict[str, Any]) -> None:
    """Write `preprocessor_config.json` of `preprocessor_dict` into a folder, which is made where it is missing."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    (Path(folder) / "preprocessor_config.json").write_text(json.dumps(preprocessor, indent=2) + "\n", encoding="utf-8")


def check_preprocessing(
    image_size: int,
    crop_ratio: float,
    image_mean: Sequence[float] | None,
    image_std: Sequence[float] | None,
    num_channels: int,
) -> None:
    """Raise ValueError for values that `preprocessor_dict` cannot take."""
    if num_channels < 1:
        raise ValueError(f"num_channels must be at least 1, got {num_channels}")
    if image_size < 1:
        raise ValueError(f"image_size must be at least 1 pixel, got {image_size}")
    if not 0 < crop_ratio <= 1:
        raise ValueError(f"crop_ratio must lie in (0, 1], got {crop_ratio}")
    for name, values in (("image_mean", image_mean), ("image_std", image_std)):
        if values is None or len(values) != num_channels:
            raise ValueError(f"{name} must hold one value for each channel, num_channels={num_channels}, got {values}")
    if image_std is not None and min(image_std) <= 0:
        raise ValueError(f"image_std must be positive, got {image_std}")


class ImageInputConfig(PreTrainedConfig):
    """The fields that all encoders of this package share: what is done to an image before the first layer.

    Args:
        num_channels: channels of an image.
        high_pass_sigma: the encoder subtracts a Gaussian blur of this many pixels from its input; None: no filter.
        image_size: side in pixels of the square that is cropped for evaluation.
        crop_ratio: image_size divided by the length to which an image's shorter side is resized before the crop.
        image_mean, image_std: normalisation, one value a channel, of images in [0, 1]. None: ImageNet's values, or
            their average for images that do not have three channels.
    """

    # What config.json's auto_map says: Auto class -> "module.Class". Set by the models that are published.
    remote_classes: ClassVar[dict[str, str]] = {}

    num_channels: int = 3
    high_pass_sigma: float | int | None = None
    image_size: int = 224
    crop_ratio: float | int = 0.875
    image_mean: list[float | int] | tuple[float | int, ...] | None = None
    image_std: list[float | int] | tuple[float | int, ...] | None = None

    def __post_init__(self, **kwargs):
        for name, imagenet in (("image_mean", IMAGENET_MEAN), ("image_std", IMAGENET_STD)):
            values = getattr(self, name)
            if values is None:
                values = imagenet if self.num_channels == 3 else [sum(imagenet) / 3] * self.num_channels
            setattr(self, name, [float(value) for value in values])  # a list, as JSON gives it back
        super().__post_init__(**kwargs)

    def save_pretrained(self, save_directory: str | os.PathLike, push_to_hub: bool = False, **kwargs):
        """Write config.json and, made from the fields image_size to image_std, preprocessor_config.json."""
        save_preprocessor(save_directory, self.preprocessor_dict())
        super().save_pretrained(save_directory, push_to_hub=push_to_hub, **kwargs)

    def preprocessor_dict(self) -> dict[str, Any]:
        """The evaluation preprocessing as JSON of transformers' own BitImageProcessor: it needs no remote code."""
        return preprocessor_dict(
            self.image_size, self.crop_ratio, self.image_mean or (), self.image_std or (), self.num_channels
        )

    def validate_high_pass_sigma(self):
        sigma = self.high_pass_sigma
        if sigma is not None and not (math.isfinite(sigma) and sigma > 0):
            raise ValueError(f"high_pass_sigma must be a positive number of pixels or None (no filter), got {sigma}")

    def validate_preprocessing(self):
        check_preprocessing(self.image_size, self.crop_ratio, self.image_mean, self.image_std, self.num_channels)


def reject_unknown_fields(config_class: type[PreTrainedConfig], fields: dict[str, Any]) -> None:
    """Raise ValueError for a field that a configuration does not have, naming the nearest one.

    PreTrainedConfig keeps any keyword as an attribute, so a misspelt field would be ignored in silence.
    """
    known = {field.name for field in dataclasses.fields(config_class)}
    known |= {"out_features", "out_indices", "num_labels", "output_attentions", "name_or_path"}
    for name in fields:
        if name not in known:
            nearest = difflib.get_close_matches(name, sorted(known), n=1)
            hint = f"; did you mean {nearest[0]!r}?" if nearest else ""
            raise ValueError(f"{config_class.__name__} has no field {name!r}{hint}")
