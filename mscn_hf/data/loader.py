# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Batches of an `Order`, decoded in worker processes. One reader fixes the order; workers only decode."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

from .stream import Order, Sample


class _Rows(Dataset):
    """What workers see: a batch of undecoded samples arrives as the "index" of a batch and is handed on."""

    def __getitem__(self, sample: Sample) -> Sample:
        return sample

    def __getitems__(self, samples: list[Sample]) -> list[Sample]:
        return samples


class _Batches:
    """The DataLoader's batch sampler: draws the samples themselves, in order, from the current position on."""

    def __init__(self, order: Order, batch_size: int):
        self.order, self.batch_size = order, batch_size
        self.epoch = self.start = 0

    def __iter__(self) -> Iterator[list[Sample]]:
        batch: list[Sample] = []
        for sample in self.order.samples(self.epoch, self.start * self.batch_size):
            batch.append(sample)
            if len(batch) == self.batch_size:
                yield batch
                batch = []

    def __len__(self) -> int:
        return self.order.per_pass // self.batch_size - self.start


class ExactLoader:
    """Iterates over one pass in batches; `seek` and `set_epoch` choose where the next iteration begins.

    Args:
        order: this rank's samples (`open_order`).
        collate: list of Sample -> batch, run in the workers.
        batch_size: samples a batch; `order` was opened with a multiple of it.
        num_workers: decoding processes; their number changes nothing but the speed.
    """

    def __init__(
        self,
        order: Order,
        collate: Callable[[list[Sample]], Any],
        batch_size: int,
        num_workers: int = 0,
        pin_memory: bool = False,
        prefetch_factor: int = 2,
    ):
        if batch_size < 1 or order.per_pass % batch_size:
            raise ValueError(f"batch_size must divide the {order.per_pass} samples of a pass, got {batch_size}")
        self._batches = _Batches(order, batch_size)
        self._per_pass = order.per_pass // batch_size
        self._seek = 0
        self._loader = DataLoader(
            _Rows(),
            batch_sampler=self._batches,  # type: ignore[arg-type]
            collate_fn=collate,
            num_workers=num_workers,
            pin_memory=pin_memory,
            persistent_workers=num_workers > 0,
            prefetch_factor=prefetch_factor if num_workers else None,
            # A generator of its own: iterating must not draw from the global random state that checkpoints carry.
            generator=torch.Generator(),
        )

    def __len__(self) -> int:
        return self._per_pass

    def set_epoch(self, epoch: int) -> None:
        """Chooses the pass that the next iteration shows."""
        self._batches.epoch = epoch

    def seek(self, batches: int) -> None:
        """Lets the next iteration, and only that one, begin after `batches` batches of its pass."""
        if not 0 <= batches <= self._per_pass:
            raise ValueError(f"a pass has {self._per_pass} batches, cannot begin after {batches}")
        self._seek = batches

    def __iter__(self) -> Iterator[Any]:
        self._batches.start, self._seek = self._seek, 0
        return iter(self._loader)
