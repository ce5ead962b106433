# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Configuration shared by the ResNet encoders of Siamese pre-training (MSCN, ReLICv2)."""

from typing import Any, Literal, TypeVar

from huggingface_hub.dataclasses import strict
from transformers.models.resnet.configuration_resnet import ResNetConfig

from .preprocessing import ImageInputConfig, reject_unknown_fields

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
class SiameseResNetConfig(ImageInputConfig, ResNetConfig):
    """A transformers ResNetConfig with a choice of stem, padding and input filter, and its evaluation preprocessing.

    Args:
        stem: "imagenet" is 7x7 stride 2 and a 3x3 max-pool; "small" is 3x3 stride 1 and no pooling, for small images.
        padding: "symmetric" as in torchvision; "same" as in TensorFlow and Haiku (at stride 2 the odd pixel is padded
            at the bottom right), which weights converted from there need.

    Further keyword arguments are those of ImageInputConfig (input filter, evaluation preprocessing) and ResNetConfig.
    """

    model_type = "siamese_resnet"

    hidden_sizes: list[int] | tuple[int, ...] = (256, 512, 1024, 2048)
    depths: list[int] | tuple[int, ...] = (3, 4, 6, 3)
    stem: Literal["imagenet", "small"] = "imagenet"
    padding: Literal["symmetric", "same"] = "symmetric"

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
        reject_unknown_fields(cls, fields)
        layer_type, depths = RESNET_LAYERS[depth]
        base = 64 if layer_type == "basic" else 256
        standard: dict[str, Any] = {
            "layer_type": layer_type,
            "depths": list(depths),
            "embedding_size": 64 * width,
            "hidden_sizes": [base * width * 2**stage for stage in range(4)],
        }
        return cls(**(standard | fields))

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
