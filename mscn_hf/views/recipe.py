# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""What a recipe says about views: how many, how large, and how each is changed."""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .checks import WrongType, as_range, as_three, check, check_integer, check_number, listed, nearest

MADE_MASKS = ("random", "rectangle", "centered_rectangle")
NETWORK = "network:"
MASK_CHANGES = ("bounding_box", "add_rectangle", "remove_rectangle")
_PROBABILITIES = (
    "background_p", "flip_p", "jitter_p", "grayscale_p", "blur_p", "solarize_p", "mask_p", "focal_p", "channel_p",
)  # fmt: skip
_STRENGTHS = ("brightness", "contrast", "saturation", "noise_std")
_RANGES = ("crop_scale", "crop_ratio", "blur_sigma")
_MASK_KEYS = ("mask_source", "mask_change", "mask_area", "foreground_threshold")


@dataclass
class ViewSpec:
    """One kind of view. Steps run in the order of the fields; the default is BYOL's first view without masks.

    Args:
        size: side of the view in pixels.
        count: number of views of this kind, each with its own draws (MSCN's multi-masks, multi-crop's small crops).
        background_p: probability that the image with its background removed is taken in the image's place
            (ReLICv2's saliency masking; `ViewRecipe.mask_source` says where the masks come from).
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
            count), so that the two differ in their masks only: the "same view" ablation of MSCN. Which image is
            taken is part of these draws: with equal `background_p` both lose their background or neither does.

    Raises:
        ValueError, TypeError: a value is out of range or of the wrong kind; the message names it.

    Source: MSCN (Jing et al., 2022), sections 4.3 to 4.6; SimCLR and BYOL for the augmentation strengths; ReLICv2
    (Tomasev et al., 2022), appendix F.2, for the background.
    """

    size: int = 224
    count: int = 1
    background_p: float = 0.0
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
            check_integer(name, getattr(self, name))
        for name in _RANGES:
            setattr(self, name, as_range(name, getattr(self, name)))
        for name in (*_PROBABILITIES, *_STRENGTHS, "hue", "solarize_threshold", "mask_ratio"):
            check_number(name, getattr(self, name))
        for name in (*_PROBABILITIES, "solarize_threshold"):
            check(0 <= getattr(self, name) <= 1, f"{name} must lie in [0, 1]", getattr(self, name))
        for name in _STRENGTHS:
            check(getattr(self, name) >= 0, f"{name} must not be negative", getattr(self, name))
        check(self.crop_scale[1] <= 1, "crop_scale must end at 1 (the whole image) or below", self.crop_scale)
        check(0 <= self.hue <= 0.5, "hue must lie in [0, 0.5]", self.hue)
        check(0 <= self.mask_ratio < 1, "mask_ratio must lie in [0, 1)", self.mask_ratio)
        if self.blur_kernel is not None:
            check_integer("blur_kernel", self.blur_kernel)
            check(self.blur_kernel % 2 == 1, "blur_kernel must be odd", self.blur_kernel)
        if self.augment_as is not None and not isinstance(self.augment_as, str):
            raise WrongType(f"augment_as must be the name of a view or null, got {self.augment_as!r}")
        self._check_filter()
        self._check_grid()

    def _check_filter(self) -> None:
        if self.high_pass_sigma is None:
            return
        check_number("high_pass_sigma", self.high_pass_sigma)
        check(self.high_pass_sigma > 0, "high_pass_sigma must be positive (null: no filter)", self.high_pass_sigma)
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
        mask_source: where views with `background_p` take the foreground from: the name of a dataset column with
            saliency masks; or "network:NAME", folder or Hub id of a saliency network, which predicts the masks of
            the images that lose their background as they come; or masks made without looking at the image: "random"
            (each pixel is foreground with probability `mask_area`), "rectangle" (one at a random place, width /
            height log-uniform in [1/2, 2] as far as the image allows), "centered_rectangle" (in the middle, with the
            image's own proportions).
        mask_change: what is done to a column's masks: None; "bounding_box" (the filled box around the foreground);
            "add_rectangle", "remove_rectangle" (joined with or less a rectangle in the middle of the image, which
            has the image's proportions and `mask_area` times the area of the mask).
        mask_area: in (0, 1], for made masks the share of the image that is foreground, for added and removed
            rectangles their area divided by the mask's.
        foreground_threshold: in [0, 1], a mask is used only where its foreground, before any change, covers at least
            this share of the image.

    Raises:
        ValueError, TypeError: an unknown name, a bad value; the message says which view it is about.

    Source: ReLICv2 (Tomasev et al., 2022), appendix F.2 and G.2, tables 18 to 20. The threshold's value is lost in
    the published text; 0.05 is a recollection.
    """

    views: dict[str, ViewSpec]
    image_mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    image_std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    mask_source: str | None = None
    mask_change: str | None = None
    mask_area: float = 0.5
    foreground_threshold: float = 0.05

    def __post_init__(self) -> None:
        if not isinstance(self.views, Mapping) or not self.views:
            raise ValueError(f"views must map at least one name to its settings, got {self.views!r}")
        self.views = {str(name): _spec(str(name), settings) for name, settings in self.views.items()}
        self.image_mean = as_three("image_mean", self.image_mean)
        self.image_std = as_three("image_std", self.image_std)
        check(min(self.image_std) > 0, "image_std must be positive", self.image_std)
        for name, spec in self.views.items():
            if spec.augment_as is not None:
                self._check_reference(name, spec.augment_as)
        self._check_masks()

    def _check_reference(self, name: str, target: str) -> None:
        if target not in self.views:
            raise ValueError(f"view {name!r}: augment_as names no view: {target!r}{nearest(target, self.views)}")
        if target == name or self.views[target].augment_as is not None:
            raise ValueError(
                f"view {name!r}: augment_as must name another view that makes its own draws, got {target!r}"
            )

    def _check_masks(self) -> None:
        known = isinstance(self.mask_source, str) and self.mask_source not in ("", NETWORK)
        if self.mask_source is not None and not known:
            raise WrongType(
                f"mask_source must be the name of a column, {NETWORK}NAME, one of {listed(MADE_MASKS)}, or null, "
                f"got {self.mask_source!r}"
            )
        if self.mask_change is not None and self.mask_change not in MASK_CHANGES:
            raise ValueError(
                f"mask_change must be one of {listed(MASK_CHANGES)}, or null, got {self.mask_change!r}"
                f"{nearest(str(self.mask_change), MASK_CHANGES)}"
            )
        for name in ("mask_area", "foreground_threshold"):
            check_number(name, getattr(self, name))
        check(0 < self.mask_area <= 1, "mask_area must lie in (0, 1]", self.mask_area)
        check(
            0 <= self.foreground_threshold <= 1, "foreground_threshold must lie in [0, 1]", self.foreground_threshold
        )
        if self.mask_change is not None and (self.mask_source is None or self.mask_source in MADE_MASKS):
            raise ValueError(
                f"mask_change {self.mask_change!r} changes the masks of a dataset column, but mask_source is "
                f"{self.mask_source!r}; name the column (or a network) there"
            )
        if self.mask_source in MADE_MASKS and self.mask_area < self.foreground_threshold:
            raise ValueError(
                f"mask_area {self.mask_area} is below foreground_threshold {self.foreground_threshold}, so no "
                f"{self.mask_source!r} mask would ever be used; lower the threshold"
            )
        for name, spec in self.views.items():
            if spec.background_p > 0 and self.mask_source is None:
                raise ValueError(
                    f"view {name!r}: background_p {spec.background_p} needs masks; set mask_source to a column of the "
                    f"dataset with saliency masks, or to one of {listed(MADE_MASKS)}"
                )

    @property
    def mask_column(self) -> str | None:
        """The dataset column whose masks have to be read, or None: no view uses masks, or they are made."""
        wanted = any(spec.background_p > 0 for spec in self.views.values())
        made = self.mask_source in MADE_MASKS or self.mask_network is not None
        return self.mask_source if wanted and not made else None

    @property
    def mask_network(self) -> str | None:
        """Folder or Hub id of the network that predicts masks, or None: they come from elsewhere."""
        source = self.mask_source or ""
        return source.removeprefix(NETWORK) if source.startswith(NETWORK) else None

    @classmethod
    def from_dict(cls, settings: Mapping[str, Any]) -> "ViewRecipe":
        """The recipe of a YAML document's mapping; an unknown key is a ValueError that names the nearest known one."""
        _check_keys(settings, cls, "views")
        return cls(**settings)

    def to_dict(self) -> dict[str, Any]:
        """Plain dicts, lists and numbers, as YAML or JSON takes them; `from_dict` reads them back.

        The settings of masks are left out as long as all of them are the defaults.
        """
        defaults = {name: getattr(ViewRecipe, name) for name in _MASK_KEYS}
        masks = {name: getattr(self, name) for name in _MASK_KEYS}
        return {
            "views": {name: _plain(dataclasses.asdict(spec)) for name, spec in self.views.items()},
            "image_mean": list(self.image_mean),
            "image_std": list(self.image_std),
            **(masks if masks != defaults else {}),
        }

    def expand(self) -> list[tuple[str, int, ViewSpec]]:
        """(name, copy_index, spec) of every view that is made, in order, `count` copies of each."""
        return [(name, copy, spec) for name, spec in self.views.items() for copy in range(spec.count)]

    def draw_indices(self) -> list[int]:
        """For each expanded view, the index of the expanded view whose background, crop and colour draws it uses."""
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
        raise WrongType(f"view {name!r} must be a mapping of settings, got {settings!r}")
    _check_keys(settings, ViewSpec, f"view {name!r}")
    try:
        return ViewSpec(**settings)
    except (ValueError, TypeError) as error:
        raise type(error)(f"view {name!r}: {error}") from error


def _check_keys(settings: Mapping[str, Any], owner: type, where: str) -> None:
    known = [field.name for field in dataclasses.fields(owner)]
    for key in settings:
        if key not in known:
            raise ValueError(f"{where}: unknown key {key!r}{nearest(str(key), known)}")


def _plain(settings: dict[str, Any]) -> dict[str, Any]:
    return {key: list(value) if isinstance(value, tuple) else value for key, value in settings.items()}
