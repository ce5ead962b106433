# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""What a recipe says about views: how many, how large, and how each is changed."""

import dataclasses
import difflib
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

_PROBABILITIES = ("flip_p", "jitter_p", "grayscale_p", "blur_p", "solarize_p", "mask_p", "focal_p", "channel_p")
_STRENGTHS = ("brightness", "contrast", "saturation", "noise_std")
_RANGES = ("crop_scale", "crop_ratio", "blur_sigma")


@dataclass
class ViewSpec:
    """One kind of view. Steps run in the order of the fields; the default is BYOL's first view without masks.

    Args:
        size: side of the view in pixels.
        count: number of views of this kind, each with its own draws (MSCN's multi-masks, multi-crop's small crops).
        crop_scale: least and greatest share of the image's area in the random crop.
        crop_ratio: least and greatest width / height of the random crop.
        flip_p: probability of a horizontal flip.
        jitter_p: probability of the colour jitter, whose four parts run in an order drawn for each image.
        brightness, contrast, saturation: factors are drawn from [max(0, 1 - value), 1 + value].
        hue: shift of the hue is drawn from [-hue, hue], in turns of the colour circle; at most 0.5.
        grayscale_p: probability of grayscale.
        blur_p: probability of the Gaussian blur.
        blur_sigma: least and greatest standard deviation of the blur in pixels.
        blur_kernel: number of taps, odd; None: the odd number nearest size / 10, at least 3 (SimCLR's rule).
        solarize_p: probability of inverting all values >= solarize_threshold.
        solarize_threshold: in [0, 1].
        high_pass_sigma: standard deviation in pixels of MSCN's high-pass filter; None: no filter.
        mask_p: probability that an image of this branch is masked (MSCN's asymmetry: other branches, other values).
        mask_ratio: masked share of the image.
        mask_cell: side of a grid cell in pixels (the paper's 32 at 224 is size / 7).
        focal_p: among masked images, share that keeps one random square and loses the rest; the others get a grid.
        channel_p: among grid-masked images, share with a mask of its own for each colour channel.
        noise_std: standard deviation of the Gaussian noise in the holes, in normalised units; 0 fills with zeros.
        augment_as: name of another view whose crop and photometric draws are reused (copy by copy, round its
            count), so that the two differ in their masks only: the "same view" ablation of MSCN.

    Raises:
        ValueError, TypeError: a value is out of range or of the wrong kind; the message names it.

    Source: MSCN (Jing et al., 2022), sections 4.3 to 4.6; SimCLR and BYOL for the augmentation strengths.
    """

    size: int = 224
    count: int = 1
    crop_scale: tuple[float, float] = (0.08, 1.0)
    crop_ratio: tuple[float, float] = (3 / 4, 4 / 3)
    flip_p: float = 0.5
    jitter_p: float = 0.8
    brightness: float = 0.4
    contrast: float = 0.4
    saturation: float = 0.2
    hue: float = 0.1
    grayscale_p: float = 0.2
    blur_p: float = 0.5
    blur_sigma: tuple[float, float] = (0.1, 2.0)
    blur_kernel: int | None = None
    solarize_p: float = 0.0
    solarize_threshold: float = 0.5
    high_pass_sigma: float | None = None
    mask_p: float = 0.0
    mask_ratio: float = 0.15
    mask_cell: int = 32
    focal_p: float = 0.2
    channel_p: float = 0.7
    noise_std: float = 0.0
    augment_as: str | None = None

    def __post_init__(self) -> None:
        for name in ("size", "count", "mask_cell"):
            _check_integer(name, getattr(self, name))
        for name in _RANGES:
            setattr(self, name, _range(name, getattr(self, name)))
        for name in (*_PROBABILITIES, *_STRENGTHS, "hue", "solarize_threshold", "mask_ratio"):
            _check_number(name, getattr(self, name))
        for name in (*_PROBABILITIES, "solarize_threshold"):
            _check(0 <= getattr(self, name) <= 1, f"{name} must lie in [0, 1]", getattr(self, name))
        for name in _STRENGTHS:
            _check(getattr(self, name) >= 0, f"{name} must not be negative", getattr(self, name))
        _check(self.crop_scale[1] <= 1, "crop_scale must end at 1 (the whole image) or below", self.crop_scale)
        _check(0 <= self.hue <= 0.5, "hue must lie in [0, 0.5]", self.hue)
        _check(0 <= self.mask_ratio < 1, "mask_ratio must lie in [0, 1)", self.mask_ratio)
        if self.blur_kernel is not None:
            _check_integer("blur_kernel", self.blur_kernel)
            _check(self.blur_kernel % 2 == 1, "blur_kernel must be odd", self.blur_kernel)
        if self.augment_as is not None and not isinstance(self.augment_as, str):
            raise TypeError(f"augment_as must be the name of a view or null, got {self.augment_as!r}")
        self._check_filter()
        self._check_grid()

    def _check_filter(self) -> None:
        if self.high_pass_sigma is None:
            return
        _check_number("high_pass_sigma", self.high_pass_sigma)
        _check(self.high_pass_sigma > 0, "high_pass_sigma must be positive (null: no filter)", self.high_pass_sigma)
        if self.size <= math.ceil(self.high_pass_sigma):
            raise ValueError(
                f"size {self.size} is too small for high_pass_sigma {self.high_pass_sigma}: the filter reflects "
                f"ceil(sigma) pixels at each border; scale sigma with the size (5 at 224 pixels)"
            )

    def _check_grid(self) -> None:
        if self.mask_p > 0 and self.focal_p < 1 and self.mask_ratio > 0 and self.masked_cells == 0:
            raise ValueError(
                f"mask_cell {self.mask_cell} cuts size {self.size} into {self.grid**2} cells, of which mask_ratio "
                f"{self.mask_ratio} masks none; make the cells smaller (the paper's 32 at 224 is size / 7 = "
                f"{max(1, round(self.size / 7))})"
            )

    @property
    def blur_taps(self) -> int:
        """Taps of the blur kernel in use."""
        return self.blur_kernel or max(3, 2 * round((self.size / 10 - 1) / 2) + 1)

    @property
    def grid(self) -> int:
        """Cells along a side of the mask's grid, the last one cut off by the border where the cell does not fit."""
        return math.ceil(self.size / self.mask_cell)

    @property
    def masked_cells(self) -> int:
        """Cells that a grid mask takes, int(cells * ratio)."""
        return int(self.grid**2 * self.mask_ratio)

    @property
    def focal_side(self) -> int:
        """Side in pixels of the square that a focal mask keeps: size * sqrt(1 - ratio), at least 1."""
        return max(1, round(self.size * math.sqrt(1 - self.mask_ratio)))


@dataclass
class ViewRecipe:
    """All views of a training run, and the statistics that normalise them.

    Args:
        views: name -> ViewSpec (or a mapping of its fields), in the order the method sees them.
        image_mean, image_std: of the three channels, for images in [0, 1]; ImageNet's by default.

    Raises:
        ValueError, TypeError: an unknown name, a bad value; the message says which view it is about.
    """

    views: dict[str, ViewSpec]
    image_mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    image_std: tuple[float, float, float] = (0.229, 0.224, 0.225)

    def __post_init__(self) -> None:
        if not isinstance(self.views, Mapping) or not self.views:
            raise ValueError(f"views must map at least one name to its settings, got {self.views!r}")
        self.views = {str(name): _spec(str(name), settings) for name, settings in self.views.items()}
        self.image_mean = _three("image_mean", self.image_mean)
        self.image_std = _three("image_std", self.image_std)
        _check(min(self.image_std) > 0, "image_std must be positive", self.image_std)
        for name, spec in self.views.items():
            if spec.augment_as is not None:
                self._check_reference(name, spec.augment_as)

    def _check_reference(self, name: str, target: str) -> None:
        if target not in self.views:
            raise ValueError(f"view {name!r}: augment_as names no view: {target!r}{_nearest(target, self.views)}")
        if target == name or self.views[target].augment_as is not None:
            raise ValueError(
                f"view {name!r}: augment_as must name another view that makes its own draws, got {target!r}"
            )

    @classmethod
    def from_dict(cls, settings: Mapping[str, Any]) -> "ViewRecipe":
        """The recipe of a YAML document's mapping; an unknown key is a ValueError that names the nearest known one."""
        _check_keys(settings, cls, "views")
        return cls(**settings)

    def to_dict(self) -> dict[str, Any]:
        """Plain dicts, lists and numbers, as YAML or JSON takes them; `from_dict` reads them back."""
        return {
            "views": {name: _plain(dataclasses.asdict(spec)) for name, spec in self.views.items()},
            "image_mean": list(self.image_mean),
            "image_std": list(self.image_std),
        }

    def expand(self) -> list[tuple[str, int, ViewSpec]]:
        """(name, copy_index, spec) of every view that is made, in order, `count` copies of each."""
        return [(name, copy, spec) for name, spec in self.views.items() for copy in range(spec.count)]

    def draw_indices(self) -> list[int]:
        """For each expanded view, the index of the expanded view whose crop and photometric draws it uses."""
        first: dict[str, int] = {}
        for index, (name, copy, _) in enumerate(self.expand()):
            if copy == 0:
                first[name] = index
        return [
            index if spec.augment_as is None else first[spec.augment_as] + copy % self.views[spec.augment_as].count
            for index, (_, copy, spec) in enumerate(self.expand())
        ]


def _spec(name: str, settings: Any) -> ViewSpec:
    if isinstance(settings, ViewSpec):
        return settings
    if not isinstance(settings, Mapping):
        raise TypeError(f"view {name!r} must be a mapping of settings, got {settings!r}")
    _check_keys(settings, ViewSpec, f"view {name!r}")
    try:
        return ViewSpec(**settings)
    except (ValueError, TypeError) as error:
        raise type(error)(f"view {name!r}: {error}") from error


def _check_keys(settings: Mapping[str, Any], owner: type, where: str) -> None:
    known = [field.name for field in dataclasses.fields(owner)]
    for key in settings:
        if key not in known:
            raise ValueError(f"{where}: unknown key {key!r}{_nearest(str(key), known)}")


def _nearest(word: str, known: Iterable[str]) -> str:
    match = difflib.get_close_matches(word, list(known), n=1, cutoff=0.0)
    return f"; did you mean {match[0]!r}?" if match else ""


def _check(condition: bool, message: str, value: Any) -> None:
    if not condition:
        raise ValueError(f"{message}, got {value}")


def _check_number(name: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        hint = " (YAML reads 1e-1 as text: write 0.1 or 1.0e-1)" if isinstance(value, str) else ""
        raise TypeError(f"{name} must be a number, got {value!r}{hint}")
    _check(math.isfinite(value), f"{name} must be finite", value)


def _check_integer(name: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be an integer, got {value!r}")
    _check(value >= 1, f"{name} must be at least 1", value)


def _range(name: str, value: Any) -> tuple[float, float]:
    if not isinstance(value, list | tuple) or len(value) != 2:
        raise TypeError(f"{name} must be two numbers, least and greatest, got {value!r}")
    for bound in value:
        _check_number(name, bound)
    _check(0 < value[0] <= value[1], f"{name} must be positive and ascending", value)
    return float(value[0]), float(value[1])


def _three(name: str, value: Any) -> tuple[float, float, float]:
    if not isinstance(value, list | tuple) or len(value) != 3:
        raise TypeError(f"{name} must be three numbers, one for each colour channel, got {value!r}")
    for number in value:
        _check_number(name, number)
    red, green, blue = value
    return float(red), float(green), float(blue)


def _plain(settings: dict[str, Any]) -> dict[str, Any]:
    return {key: list(value) if isinstance(value, tuple) else value for key, value in settings.items()}
