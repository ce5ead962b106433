# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""From canvases to training views: a host half for DataLoader workers, a device half for the accelerator."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from mscn_hf.models.high_pass import high_pass

from .blur import apply_blurs, draw_blurs
from .draws import Draws
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
from .resample import apply_crops, draw_crops

# On CPU a view is made for as many images at a time as fit into the caches: 2^20 values are 4 MiB.
_CPU_CHUNK_VALUES = 2**20
_MASK_FIELDS = {"count", "mask_p", "mask_ratio", "mask_cell", "focal_p", "channel_p", "noise_std", "augment_as"}


class ViewCollator:
    """Turns records into batches of canvases (host half) and batches into views (device half).

    Args:
        recipe: the views to make.
        seed: of all draws.
        collate: list of records -> batch with `canvas` uint8 (B, 3, S, S), `valid_hw` integer (B, 2), `position`
            int64 (B,), `epoch` int; further keys pass through. Runs in DataLoader workers.
    """

    def __init__(
        self, recipe: ViewRecipe, seed: int, collate: Callable[[Sequence[Any]], dict[str, Any]] | None = None
    ):
        self.recipe = recipe
        self.seed = seed
        self.collate = collate
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
        `position` and `valid_hw` on the CPU to spare a wait. Autocast is off inside.

        Args:
            batch: as `collate` makes it.
            device: where the views are made; None: where the canvas is.
        """
        canvas, draws, valid_hw = self._open(batch, device)
        augmented: dict[tuple[Any, ...], Tensor] = {}
        views = []
        with torch.autocast(canvas.device.type, enabled=False):
            for index, (_, _, spec) in enumerate(self._expanded):
                drawn = self._draw_indices[index]
                key = (drawn, *_augmentation(spec))
                if key in augmented:
                    images = augmented[key]
                else:
                    images = self._augment_in_chunks(canvas, valid_hw, draws, drawn, spec)
                    if self._draw_indices.count(drawn) > 1:
                        augmented[key] = images
                views.append(self._mask(images, draws, index, spec))
        return views

    @torch.no_grad()
    def trace(self, batch: Mapping[str, Any], name: str, copy: int = 0) -> list[tuple[str, Tensor]]:
        """Every step of one view by name, for pictures: [(step, images_BCHW)]; the last is what `make_views` returns.

        Steps whose probability is 0 are left out. Images are in [0, 1] up to `solarize`, then normalised.

        Raises:
            ValueError: the recipe has no such view.
        """
        indices = [i for i, (known, k, _) in enumerate(self._expanded) if (known, k) == (name, copy)]
        if not indices:
            known_views = ", ".join(f"{known!r} copy {k}" for known, k, _ in self._expanded)
            raise ValueError(f"no view {name!r} copy {copy}; the recipe makes {known_views}")
        index, spec = indices[0], self._expanded[indices[0]][2]
        canvas, draws, valid_hw = self._open(batch, None)
        steps = []
        with torch.autocast(canvas.device.type, enabled=False):
            for step, images in self._augment(canvas, valid_hw, draws, self._draw_indices[index], spec):
                steps.append((step, images.clone()))
            if spec.mask_p > 0:
                steps.append(("mask", self._mask(steps[-1][1], draws, index, spec)))
        return steps

    def _open(self, batch: Mapping[str, Any], device: torch.device | str | None) -> tuple[Tensor, Draws, Tensor]:
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
        return canvas, Draws(self.seed, int(batch["epoch"]), position.cpu()), valid_hw.cpu()

    def _augment_in_chunks(self, canvas: Tensor, valid_hw: Tensor, draws: Draws, drawn: int, spec: ViewSpec) -> Tensor:
        batch = len(canvas)
        chunk = batch if canvas.device.type != "cpu" else max(1, _CPU_CHUNK_VALUES // (3 * spec.size**2))
        if chunk >= batch:
            return _last(self._augment(canvas, valid_hw, draws, drawn, spec))
        images = torch.empty(batch, 3, spec.size, spec.size, device=canvas.device)
        for start in range(0, batch, chunk):
            part = slice(start, start + chunk)
            images[part] = _last(self._augment(canvas[part], valid_hw[part], draws.part(part), drawn, spec))
        return images

    def _augment(
        self, canvas: Tensor, valid_hw: Tensor, draws: Draws, drawn: int, spec: ViewSpec
    ) -> Iterator[tuple[str, Tensor]]:
        """Everything before the mask: (step, images after it)."""
        images = apply_crops(canvas, draw_crops(draws, drawn, spec, valid_hw), spec.size)
        yield "crop", images
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
