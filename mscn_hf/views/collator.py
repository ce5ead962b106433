# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""From canvases to training views: a host half for DataLoader workers, a device half for the accelerator."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mscn_hf.models.high_pass import high_pass

from .background import (
    Backgrounds,
    change_masks,
    draw_backgrounds,
    draw_removals,
    foreground_share,
    make_masks,
    remove_backgrounds,
)
from .blur import apply_blurs, draw_blurs
from .draws import Draws, chosen_rows
from .masking import apply_masks, draw_masks, mask_holes, noise_generator
from .photometric import (
    apply_grayscale,
    apply_jitters,
    apply_solarize,
    draw_grayscale,
    draw_jitters,
    draw_solarize,
    normalize,
)
from .recipe import ViewRecipe, ViewSpec
from .resample import Crops, apply_crops, draw_crops

# uint8 canvases (N, 3, S, S) and the height and width of each image in its canvas, (N, 2) -> uint8 masks (N, 1, S, S)
PredictMasks = Callable[[Tensor, Tensor], Tensor]

# On CPU a view is made for as many images at a time as fit into the caches: 2^20 values are 4 MiB.
_CPU_CHUNK_VALUES = 2**20
_MASK_FIELDS = {"count", "mask_p", "mask_ratio", "mask_cell", "focal_p", "channel_p", "noise_std", "augment_as"}


@dataclass
class _Canvases:
    """What views are made from: canvases and foregrounds on the device of the views, all else on the CPU."""

    canvas_BCHW: Tensor
    valid_hw_B2: Tensor
    draws: Draws
    foreground_B1HW: Tensor | None = None
    share_B: Tensor | None = None

    def part(self, rows: slice) -> "_Canvases":
        return _Canvases(
            self.canvas_BCHW[rows],
            self.valid_hw_B2[rows],
            self.draws.part(rows),
            None if self.foreground_B1HW is None else self.foreground_B1HW[rows],
            None if self.share_B is None else self.share_B[rows],
        )


class ViewCollator:
    """Turns records into batches of canvases (host half) and batches into views (device half).

    Args:
        recipe: the views to make.
        seed: of all draws.
        collate: list of records -> batch with `canvas` uint8 (B, 3, S, S), `valid_hw` integer (B, 2), `position`
            int64 (B,), `epoch` int; further keys pass through. Runs in DataLoader workers. Where the recipe takes
            masks from a column (`recipe.mask_column`) also `foreground` uint8 (B, 1, S, S), >= 128 in the
            foreground, and if the masks are not to be looked at again, `foreground_share` float (B,): what share of
            the image that is, NaN where the image has no usable mask and keeps its background.
        masker: predicts the masks of canvases where the recipe names a network (`recipe.mask_network`); called on the
            device of the views, for those images alone that lose their background in some view.

    Attributes:
        unmasked: how many masks were drawn in `make_views`, but not used since the foreground covers less than
            `recipe.foreground_threshold` of the image; counted for each image and view, in this process only.
    """

    def __init__(
        self,
        recipe: ViewRecipe,
        seed: int,
        collate: Callable[[Sequence[Any]], dict[str, Any]] | None = None,
        masker: PredictMasks | None = None,
    ):
        if recipe.mask_network is not None and masker is None:
            raise ValueError(f"the recipe takes masks from {recipe.mask_source!r}: give a masker")
        self.recipe = recipe
        self.seed = seed
        self.collate = collate
        self.masker = masker
        self.unmasked = 0
        self._expanded = recipe.expand()
        self._draw_indices = recipe.draw_indices()

    def __call__(self, records: Sequence[Any]) -> dict[str, Any]:
        """Host half: decode and stack, nothing random."""
        if self.collate is None:
            raise ValueError("this ViewCollator was made without `collate`: it can make views but not read records")
        return self.collate(records)

    @torch.no_grad()
    def make_views(self, batch: Mapping[str, Any], device: torch.device | str | None = None) -> list[Tensor]:
        """Device half: one float32 (B, 3, size, size) tensor for each expanded view, normalised, filtered, masked.

        Draws are made on the host from (seed, epoch, position, view), so they are the same on every device; keep
        `position`, `valid_hw` and `foreground_share` on the CPU to spare a wait. Autocast is off inside.

        Args:
            batch: as `collate` makes it.
            device: where the views are made; None: where the canvas is.

        Raises:
            ValueError: the batch lacks something or has it in a wrong shape.
        """
        canvases = self._open(batch, device)
        augmented: dict[tuple[Any, ...], Tensor] = {}
        views = []
        with torch.autocast(canvases.canvas_BCHW.device.type, enabled=False):
            for index, (_, _, spec) in enumerate(self._expanded):
                drawn = self._draw_indices[index]
                if spec.background_p > 0:
                    self.unmasked += self._backgrounds(canvases, drawn, spec).unmasked
                key = (drawn, *_augmentation(spec))
                if key in augmented:
                    images = augmented[key]
                else:
                    images = self._augment_in_chunks(canvases, drawn, spec)
                    if self._draw_indices.count(drawn) > 1:
                        augmented[key] = images
                views.append(self._mask(images, canvases.draws, index, spec))
        return views

    @torch.no_grad()
    def trace(self, batch: Mapping[str, Any], name: str, copy: int = 0) -> list[tuple[str, Tensor]]:
        """Every step of one view by name, for pictures: [(step, images_BCHW)]; the last is what `make_views` returns.

        Steps whose probability is 0 are left out. Images are in [0, 1] up to `solarize`, then normalised. The
        background is removed before the crop, but shown after it: `crop` is cut from the image itself, `background`
        the same cut of the image that was taken.

        Raises:
            ValueError: the recipe has no such view, or the batch lacks something.
        """
        indices = [i for i, (known, k, _) in enumerate(self._expanded) if (known, k) == (name, copy)]
        if not indices:
            known_views = ", ".join(f"{known!r} copy {k}" for known, k, _ in self._expanded)
            raise ValueError(f"no view {name!r} copy {copy}; the recipe makes {known_views}")
        index, spec = indices[0], self._expanded[indices[0]][2]
        canvases = self._open(batch, None)
        steps = []
        with torch.autocast(canvases.canvas_BCHW.device.type, enabled=False):
            for step, images in self._augment(canvases, self._draw_indices[index], spec):
                steps.append((step, images.clone()))
            if spec.mask_p > 0:
                steps.append(("mask", self._mask(steps[-1][1], canvases.draws, index, spec)))
        return steps

    def _open(self, batch: Mapping[str, Any], device: torch.device | str | None) -> _Canvases:
        canvas, valid_hw, position = batch["canvas"], batch["valid_hw"], batch["position"]
        if canvas.dtype != torch.uint8 or canvas.ndim != 4 or canvas.shape[1] != 3:
            raise ValueError(
                f"canvas must be uint8 of shape (batch, 3, side, side), got {canvas.dtype} {tuple(canvas.shape)}"
            )
        if not len(canvas) == len(valid_hw) == len(position) > 0:
            raise ValueError(
                f"canvas, valid_hw and position must have one entry for each image of a batch that is not empty, "
                f"got {len(canvas)}, {len(valid_hw)} and {len(position)}"
            )
        if device is not None:
            canvas = canvas.to(device, non_blocking=True)
        if canvas.device.type == "cpu":
            canvas = canvas.contiguous(memory_format=torch.channels_last)
        canvases = _Canvases(canvas, valid_hw.cpu(), Draws(self.seed, int(batch["epoch"]), position.cpu()))
        if self.recipe.mask_column is not None:
            self._open_masks(canvases, batch)
        elif self.recipe.mask_network is not None:
            self._predict_masks(canvases)
        return canvases

    def _predict_masks(self, canvases: _Canvases) -> None:
        """Adds masks of the images that lose their background in some view; the others' stay empty and unused."""
        assert self.masker is not None
        drawn_B = torch.zeros(len(canvases.canvas_BCHW), dtype=torch.bool)
        for index, (_, _, spec) in enumerate(self._expanded):
            if spec.background_p > 0:
                drawn_B |= draw_removals(canvases.draws, self._draw_indices[index], spec)
        rows_N = chosen_rows(drawn_B)
        canvases.foreground_B1HW = torch.zeros_like(canvases.canvas_BCHW[:, :1])
        canvases.share_B = torch.full((len(drawn_B),), torch.nan)
        if len(rows_N):
            valid_hw_N2 = canvases.valid_hw_B2[rows_N]
            on_device_N = rows_N.to(canvases.canvas_BCHW.device)
            mask_N1HW = self.masker(canvases.canvas_BCHW[on_device_N], valid_hw_N2)
            canvases.foreground_B1HW[on_device_N] = mask_N1HW
            canvases.share_B[rows_N] = foreground_share(mask_N1HW, valid_hw_N2)

    def _open_masks(self, canvases: _Canvases, batch: Mapping[str, Any]) -> None:
        """Adds the masks of the recipe's column."""
        canvas = canvases.canvas_BCHW
        if "foreground" not in batch:
            raise ValueError(
                f"the recipe takes masks from column {self.recipe.mask_column!r}, but the batch has no 'foreground': "
                "open the source with that mask_column and make the batch by CanvasCollate(..., with_masks=True)"
            )
        foreground, share = batch["foreground"], batch.get("foreground_share")
        expected = (len(canvas), 1, *canvas.shape[2:])
        if foreground.dtype != torch.uint8 or foreground.shape != expected:
            raise ValueError(
                f"foreground must be uint8 of shape {expected}, as the canvas, "
                f"got {foreground.dtype} {tuple(foreground.shape)}"
            )
        if share is not None and share.shape != (len(canvas),):
            raise ValueError(f"foreground_share must be of shape {(len(canvas),)}, got {tuple(share.shape)}")
        canvases.share_B = foreground_share(foreground, canvases.valid_hw_B2) if share is None else share.cpu()
        canvases.foreground_B1HW = foreground.to(canvas.device, non_blocking=True)

    def _augment_in_chunks(self, canvases: _Canvases, drawn: int, spec: ViewSpec) -> Tensor:
        canvas = canvases.canvas_BCHW
        batch = len(canvas)
        chunk = batch if canvas.device.type != "cpu" else max(1, _CPU_CHUNK_VALUES // (3 * spec.size**2))
        if chunk >= batch:
            return _last(self._augment(canvases, drawn, spec))
        images = torch.empty(batch, 3, spec.size, spec.size, device=canvas.device)
        for start in range(0, batch, chunk):
            part = slice(start, start + chunk)
            images[part] = _last(self._augment(canvases.part(part), drawn, spec))
        return images

    def _augment(self, canvases: _Canvases, drawn: int, spec: ViewSpec) -> Iterator[tuple[str, Tensor]]:
        draws = canvases.draws
        crops = draw_crops(draws, drawn, spec, canvases.valid_hw_B2)
        images = apply_crops(canvases.canvas_BCHW, crops, spec.size)
        yield "crop", images
        if spec.background_p > 0:
            images = self._remove_backgrounds(images, canvases, crops, drawn, spec)
            yield "background", images
        if spec.jitter_p > 0:
            images = apply_jitters(images, draw_jitters(draws, drawn, spec))
            yield "jitter", images
        if spec.grayscale_p > 0:
            images = apply_grayscale(images, draw_grayscale(draws, drawn, spec))
            yield "grayscale", images
        if spec.blur_p > 0:
            images = apply_blurs(images, draw_blurs(draws, drawn, spec))
            yield "blur", images
        if spec.solarize_p > 0:
            images = apply_solarize(images, draw_solarize(draws, drawn, spec), spec.solarize_threshold)
            yield "solarize", images
        images = normalize(images, self.recipe.image_mean, self.recipe.image_std)
        yield "normalize", images
        if spec.high_pass_sigma is not None:
            images = high_pass(images, spec.high_pass_sigma)
            yield "high-pass", images

    def _backgrounds(self, canvases: _Canvases, drawn: int, spec: ViewSpec) -> Backgrounds:
        return draw_backgrounds(
            canvases.draws, drawn, spec, canvases.share_B, threshold=self.recipe.foreground_threshold
        )

    def _remove_backgrounds(
        self, images: Tensor, canvases: _Canvases, crops: Crops, drawn: int, spec: ViewSpec
    ) -> Tensor:
        """Cuts the images that lose their background anew, from canvases without it; the others are left alone."""
        backgrounds = self._backgrounds(canvases, drawn, spec)
        rows_N = backgrounds.rows_N
        if len(rows_N) == 0:
            return images
        valid_hw_N2, device = canvases.valid_hw_B2[rows_N], images.device
        on_device_N = rows_N.to(device, non_blocking=True)
        if canvases.foreground_B1HW is None:
            side = canvases.canvas_BCHW.shape[-1]
            keep_N1HW = make_masks(self.recipe, canvases.draws.part(rows_N), drawn, valid_hw_N2, side, device)
        else:
            assert canvases.share_B is not None
            foreground_N1HW = canvases.foreground_B1HW.index_select(0, on_device_N)
            keep_N1HW = change_masks(self.recipe, foreground_N1HW, canvases.share_B[rows_N], valid_hw_N2)
        # by [], not index_select, which would lose channels_last
        canvas_NCHW = remove_backgrounds(canvases.canvas_BCHW[on_device_N], keep_N1HW, backgrounds.grey_N)
        return images.index_copy(0, on_device_N, apply_crops(canvas_NCHW, crops.part(rows_N), spec.size))

    def _mask(self, images: Tensor, draws: Draws, index: int, spec: ViewSpec) -> Tensor:
        if spec.mask_p == 0:
            return images
        holes = mask_holes(draw_masks(draws, index, spec), spec, images.device)
        return apply_masks(images, holes, spec.noise_std, noise_generator(draws, index, images.device))


def _augmentation(spec: ViewSpec) -> tuple[Any, ...]:
    """The settings that an augmented image depends on, its draws apart."""
    return tuple(getattr(spec, f.name) for f in dataclasses.fields(spec) if f.name not in _MASK_FIELDS)


def _last(steps: Iterator[tuple[str, Tensor]]) -> Tensor:
    *_, (_, images) = steps
    return images
