# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Random numbers that belong to a sample, not to a batch: a counter-based hash in int64 tensor arithmetic.

What is drawn for an image depends on (seed, epoch, sample position, view) alone, so the views of a sample are the same
in any batch, on any rank and after any resume, and no generator state has to be kept in a checkpoint.
"""

from enum import IntEnum

import torch
from torch import Tensor


class Stream(IntEnum):
    """What a random number is for. Numbers are part of the file format of a run: append, never renumber."""

    CROP = 0
    FLIP = 1
    JITTER = 2
    GRAYSCALE = 3
    BLUR = 4
    SOLARIZE = 5
    MASK = 6
    MASK_CELLS = 7
    MASK_NOISE = 8
    BACKGROUND = 9
    GREY = 10
    MASK_SHAPE = 11
    PATCHES = 12
    NEGATIVES = 13


def _signed(word: int) -> int:
    """A 64-bit word as the two's-complement integer that an int64 tensor holds."""
    word &= (1 << 64) - 1
    return word - (1 << 64) if word >> 63 else word


_GOLDEN = _signed(0x9E3779B97F4A7C15)
_MULTIPLIERS = (_signed(0xBF58476D1CE4E5B9), _signed(0x94D049BB133111EB))


def _mix(words: Tensor) -> Tensor:
    """SplitMix64's finaliser (Stafford's variant 13), a bijection of 64-bit words; int64 products wrap around."""
    for shift, multiplier in zip((30, 27), _MULTIPLIERS, strict=True):
        # `>>` of int64 copies the sign bit: the mask makes the shift logical
        words = (words ^ ((words >> shift) & ((1 << (64 - shift)) - 1))) * multiplier
    return words ^ ((words >> 31) & ((1 << 33) - 1))


def _absorb(state: Tensor, word: Tensor | int) -> Tensor:
    """Next state after one more word of the key: one SplitMix64 generator for each state, `word` is its counter."""
    step = _GOLDEN * (word + 1)
    return _mix(state + (step if isinstance(step, Tensor) else _signed(step)))


class Draws:
    """Uniform random numbers for each sample of a batch.

    Args:
        seed: any integer; the run's seed.
        epoch: number of the pass over the data.
        positions_B: int64 (B,), what tells the samples of one pass apart (the row's number in its source).
    """

    def __init__(self, seed: int, epoch: int, positions_B: Tensor):
        if positions_B.dtype != torch.int64 or positions_B.ndim != 1:
            raise ValueError(
                f"positions must be int64 of shape (batch,), got {positions_B.dtype} {tuple(positions_B.shape)}"
            )
        start = torch.zeros((), dtype=torch.int64, device=positions_B.device)
        self._sample_keys_B = _absorb(_absorb(_absorb(start, int(seed)), int(epoch)), positions_B)

    def uniform(self, view: int, stream: int, n: int) -> Tensor:
        """`n` numbers in [0, 1) for each sample: float32 (B, n), multiples of 2^-24.

        A pure function of (seed, epoch, position, view, stream, column): asking for more columns, other samples or
        another order of calls changes none of them.
        """
        keys_B1 = _absorb(_absorb(self._sample_keys_B, view), stream)[:, None]
        words_BN = _absorb(keys_B1, torch.arange(n, device=keys_B1.device))
        return ((words_BN >> 40) & ((1 << 24) - 1)).float() * 2.0**-24

    @property
    def keys_B(self) -> Tensor:
        """int64 (B,): all that the draws depend on, mixed from seed, epoch and position. `from_keys` takes it back."""
        return self._sample_keys_B

    @classmethod
    def from_keys(cls, keys_B: Tensor) -> "Draws":
        """The draws whose `keys_B` are given, on their device."""
        draws = object.__new__(cls)
        draws._sample_keys_B = keys_B
        return draws

    def part(self, rows: slice | Tensor) -> "Draws":
        """The draws of some samples of the batch."""
        return Draws.from_keys(self._sample_keys_B[rows])

    def generator_seed(self, view: int, stream: int) -> int:
        """A seed for a torch generator, from (seed, epoch, position of the first sample, view, stream)."""
        return int(_absorb(_absorb(self._sample_keys_B[0], view), stream)) & ((1 << 63) - 1)


def uniform_between(uniform: Tensor, low: float, high: float) -> Tensor:
    """Numbers of [0, 1) spread over [low, high)."""
    return low + (high - low) * uniform


def integer_below(uniform: Tensor, count: Tensor | int) -> Tensor:
    """Numbers of [0, 1) as int64 in 0 .. count-1, all equally likely for counts far below 2^24."""
    limit = count if isinstance(count, Tensor) else torch.tensor(count, device=uniform.device)
    # float64: a float32 product may round up to `count` itself
    return (uniform.double() * limit).long()


def chosen_rows(applies_B: Tensor) -> Tensor:
    """Indices, int64 (N,), of the images that drew a step."""
    return applies_B.nonzero(as_tuple=True)[0]
