# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Configuration shared by the ResNet encoders of Siamese pre-training (MSCN, ReLICv2)."""

import dataclasses
import difflib
import json
import math
import os
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeVar

from huggingface_hub.dataclasses import strict
from transformers.models.resnet.configuration_resnet import ResNetConfig

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

# depth -> (layer type, layers in each of the four stages)
RESNET_LAYERS: dict[int, tuple[str, list[int]]] = {
    18: ("basic", [2, 2, 2, 2]),
    34: ("basic", [3, 4, 6, 3]),
    50: ("bottleneck", [3, 4, 6, 3]),
    101: ("bottleneck", [3, 4, 23, 3]),
    152: ("bottleneck", [3, 8, 36, 3]),
    200: ("bottleneck", [3, 24, 36, 3]),
}

# Not typing.Self, which Python 3.10 lacks: this file also runs as remote code.
ConfigType = TypeVar("ConfigType", bound="SiameseResNetConfig")


@strict
class SiameseResNetConfig(ResNetConfig):
    """A transformers ResNetConfig with a choice of stem, padding and input filter, and its evaluation preprocessing.

    Args:
        stem: "imagenet" is 7x7 stride 2 and a 3x3 max-pool; "small" is 3x3 stride 1 and no pooling, for small images.
        padding: "symmetric" as in torchvision; "same" as in TensorFlow and Haiku (at stride 2 the odd pixel is padded
            at the bottom right), which weights converted from there need.
        high_pass_sigma: the encoder subtracts a Gaussian blur of this many pixels from its input; None: no filter.
        image_size: side in pixels of the square that is cropped for evaluation.
        crop_ratio: image_size divided by the length to which an image's shorter side is resized before the crop.
        image_mean, image_std: normalisation, one value a channel, of images in [0, 1]. None: ImageNet's values, or
            their average for images that do not have three channels.

    Further keyword arguments are ResNetConfig's.
    """

    model_type = "siamese_resnet"
    # What config.json's auto_map says: Auto class -> "module.Class". Set by the models that are published.
    remote_classes: ClassVar[dict[str, str]] = {}

    hidden_sizes: list[int] | tuple[int, ...] = (256, 512, 1024, 2048)
    depths: list[int] | tuple[int, ...] = (3, 4, 6, 3)
    stem: Literal["imagenet", "small"] = "imagenet"
    padding: Literal["symmetric", "same"] = "symmetric"
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

    @classmethod
    def resnet(cls: type[ConfigType], depth: int, width: int = 1, **fields: Any) -> ConfigType:
        """The configuration of a standard ResNet at a true width multiplier (stem and every layer are widened).

        Args:
            depth: 18, 34, 50, 101, 152 or 200.
            width: multiplies all channel numbers; SimCLR, BYOL and ReLICv2 use 1, 2 and 4.
            fields: any field of the configuration; depths, hidden_sizes and embedding_size given here win.

        Raises:
            ValueError: an unknown depth, a width below 1 or an unknown field.

        Parameters without a head, in millions: 50: 23.5 (2x 93.9, 4x 375.4), 101: 42.5, 152: 58.1,
        200: 62.6 (2x 250.1).
        """
        if depth not in RESNET_LAYERS:
            raise ValueError(f"depth must be one of {', '.join(map(str, RESNET_LAYERS))}, got {depth!r}")
        if not isinstance(width, int) or width < 1:
            raise ValueError(f"width must be a whole number of at least 1, got {width!r}")
        _reject_unknown_fields(cls, fields)
        layer_type, depths = RESNET_LAYERS[depth]
        base = 64 if layer_type == "basic" else 256
        standard: dict[str, Any] = {
            "layer_type": layer_type,
            "depths": list(depths),
            "embedding_size": 64 * width,
            "hidden_sizes": [base * width * 2**stage for stage in range(4)],
        }
        return cls(**(standard | fields))

    def save_pretrained(self, save_directory: str | os.PathLike, push_to_hub: bool = False, **kwargs):
        """Write config.json and, made from the fields image_size to image_std, preprocessor_config.json."""
        Path(save_directory).mkdir(parents=True, exist_ok=True)
        preprocessor = json.dumps(self.preprocessor_dict(), indent=2) + "\n"
        (Path(save_directory) / "preprocessor_config.json").write_text(preprocessor, encoding="utf-8")
        super().save_pretrained(save_directory, push_to_hub=push_to_hub, **kwargs)

    def preprocessor_dict(self) -> dict[str, Any]:
        """The evaluation preprocessing as JSON of transformers' own BitImageProcessor: it needs no remote code."""
        return {
            "image_processor_type": "BitImageProcessor",
            "do_convert_rgb": self.num_channels == 3,
            "do_resize": True,
            "size": {"shortest_edge": round(self.image_size / self.crop_ratio)},
            "resample": 3,  # PIL's number for bicubic
            "do_center_crop": True,
            "crop_size": {"height": self.image_size, "width": self.image_size},
            "do_rescale": True,
            "rescale_factor": 1 / 255,
            "do_normalize": True,
            "image_mean": self.image_mean,
            "image_std": self.image_std,
        }

    def validate_high_pass_sigma(self):
        sigma = self.high_pass_sigma
        if sigma is not None and not (math.isfinite(sigma) and sigma > 0):
            raise ValueError(f"high_pass_sigma must be a positive number of pixels or None (no filter), got {sigma}")

    def validate_preprocessing(self):
        if self.image_size < 1:
            raise ValueError(f"image_size must be at least 1 pixel, got {self.image_size}")
        if not 0 < self.crop_ratio <= 1:
            raise ValueError(f"crop_ratio must lie in (0, 1], got {self.crop_ratio}")
        for name, values in (("image_mean", self.image_mean), ("image_std", self.image_std)):
            if values is None or len(values) != self.num_channels:
                raise ValueError(
                    f"{name} must hold one value for each channel, num_channels={self.num_channels}, got {values}"
                )
        if self.image_std is not None and min(self.image_std) <= 0:
            raise ValueError(f"image_std must be positive, got {self.image_std}")

    def validate_layers(self):
        sizes = {"num_channels": [self.num_channels], "embedding_size": [self.embedding_size]}
        sizes |= {"hidden_sizes": list(self.hidden_sizes), "depths": list(self.depths)}
        for name, values in sizes.items():
            if not values or min(values) < 1:
                raise ValueError(f"{name} must be at least 1 everywhere, got {getattr(self, name)}")
        if len(self.hidden_sizes) != len(self.depths):
            raise ValueError(
                "hidden_sizes and depths must name the same number of stages, "
                f"got hidden_sizes={self.hidden_sizes} and depths={self.depths}"
            )
        if self.layer_type == "bottleneck" and any(size % 4 for size in self.hidden_sizes):
            raise ValueError(f"hidden_sizes of bottleneck layers must be multiples of 4, got {self.hidden_sizes}")


def _reject_unknown_fields(config_class: type[SiameseResNetConfig], fields: dict[str, Any]) -> None:
    """PreTrainedConfig keeps any keyword as an attribute, so a misspelt field would be ignored in silence."""
    known = {field.name for field in dataclasses.fields(config_class)}
    known |= {"out_features", "out_indices", "num_labels", "output_attentions", "name_or_path"}
    for name in fields:
        if name not in known:
            nearest = difflib.get_close_matches(name, sorted(known), n=1)
            hint = f"; did you mean {nearest[0]!r}?" if nearest else ""
            raise ValueError(f"{config_class.__name__} has no field {name!r}{hint}")
