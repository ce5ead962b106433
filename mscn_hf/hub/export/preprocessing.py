# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""The image preprocessing of a model, read from preprocessor_config.json for formats that write it in another way."""

import math
from dataclasses import dataclass
from typing import Any

from ..model_folder import INTERPOLATIONS
from .source import ExportError

CROP_NOTE = (
    "torchvision rounds the corner of a centre crop to even numbers, transformers down: where the margins of a "
    "resized image are odd, the crop may lie one pixel further right or down than with the source's processor."
)
CONVNEXT_WHOLE_IMAGE = 384  # from this size on ConvNextImageProcessor squeezes the image and crops nothing


@dataclass(frozen=True)
class Preprocessing:
    """Resize the shorter side, crop the centre, scale to [0, 1], normalise.

    Args:
        resized: shorter side in pixels after resizing.
        side: side of the square crop in pixels.
        interpolation: nearest, bilinear or bicubic.
        mean, std: one value a channel, for images in [0, 1].
    """

    resized: int
    side: int
    interpolation: str
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @property
    def crop_pct(self) -> float:
        """timm's ratio of crop to resized image, such that floor(side / ratio) is exactly `resized`."""
        ratio = self.side / self.resized
        while math.floor(self.side / ratio) < self.resized:
            ratio = math.nextafter(ratio, 0.0)
        return ratio

    @property
    def torchvision_code(self) -> str:
        """The same as an expression of torchvision's transforms, `T` being torchvision.transforms."""
        return (
            f"T.Compose([T.Resize({self.resized}, T.InterpolationMode.{self.interpolation.upper()}), "
            f"T.CenterCrop({self.side}), T.ToTensor(), T.Normalize({list(self.mean)}, {list(self.std)})])"
        )


def read_normalization(preprocessor: dict[str, Any]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation, one value a channel, for images in [0, 1].

    Raises:
        ExportError: another scale than 1/255, or no normalisation.
    """
    scaled = preprocessor.get("do_rescale", True) and preprocessor.get("do_normalize", True)
    if not scaled or not math.isclose(preprocessor.get("rescale_factor", 1 / 255), 1 / 255, rel_tol=1e-4):
        raise _unsaid("images that are not scaled by 1/255 and normalised", preprocessor)
    try:
        mean, std = (tuple(float(value) for value in preprocessor[name]) for name in ("image_mean", "image_std"))
    except (KeyError, TypeError, ValueError) as error:
        raise _unsaid(f"no list of numbers for {error}", preprocessor) from error
    return mean, std


def read_preprocessing(preprocessor: dict[str, Any]) -> Preprocessing:
    """The preprocessing that a preprocessor_config.json of BitImageProcessor or ConvNextImageProcessor describes.

    Raises:
        ExportError: a step that is not resize, centre crop and normalisation.
    """
    mean, std = read_normalization(preprocessor)
    size = preprocessor.get("size")
    resized = size.get("shortest_edge") if isinstance(size, dict) else size
    if not preprocessor.get("do_resize", True) or not isinstance(resized, int):
        raise _unsaid("no resizing of the shorter side", preprocessor)
    kind = str(preprocessor.get("image_processor_type") or preprocessor.get("feature_extractor_type"))
    if kind.startswith("ConvNext"):
        if resized >= CONVNEXT_WHOLE_IMAGE:
            raise _unsaid(f"images of {resized} pixels squeezed whole", preprocessor)
        side, resized = resized, int(resized / preprocessor.get("crop_pct", 224 / 256))
    else:
        crop = preprocessor.get("crop_size")
        sides = {crop} if isinstance(crop, int) else set(crop.values()) if isinstance(crop, dict) else set()
        if not preprocessor.get("do_center_crop", True) or len(sides) != 1:
            raise _unsaid("no square crop of the centre", preprocessor)
        side = sides.pop()
    interpolation = INTERPOLATIONS.get(preprocessor.get("resample", 3))
    if interpolation is None:
        raise _unsaid(f"resample={preprocessor.get('resample')!r}", preprocessor)
    return Preprocessing(resized, side, interpolation, mean, std)


def _unsaid(what: str, preprocessor: dict[str, Any]) -> ExportError:
    kind = preprocessor.get("image_processor_type") or preprocessor.get("feature_extractor_type") or "it"
    return ExportError(
        f"preprocessor_config.json ({kind}) asks for {what}, which this format cannot say; "
        "use --to resnet or --to onnx, which keep the file as it is"
    )
