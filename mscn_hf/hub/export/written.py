# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""What a target has to say of the files that it wrote, and how they are compared with their source."""

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from .source import ExportError


@dataclass(frozen=True)
class Written:
    """What a target says of its files.

    Args:
        load: one line of Python that makes `model`; `{folder}` stands for the folder.
        library: the library that reads the files, by the Hub's name.
        notes: what else the user has to know, a sentence each.
        usage: lines of Python that go on from `model`, for the README.
        difference: largest difference of the features, relative to the largest feature; None: not compared.
    """

    load: str
    library: str
    notes: tuple[str, ...] = ()
    usage: tuple[str, ...] = ()
    difference: float | None = None

    def load_from(self, folder: Path | str) -> str:
        """The line of Python for a folder."""
        # As inside a string of Python, whatever the path holds.
        return self.load.replace("{folder}", json.dumps(str(folder), ensure_ascii=False)[1:-1])


def try_images(channels: int, side: int, batch: int = 2, width: int | None = None) -> Tensor:
    """Images (batch, channels, side, width or side) of noise, always the same."""
    generator = torch.Generator().manual_seed(0)
    return torch.randn(batch, channels, side, width or side, generator=generator)


def relative_difference(got: Tensor, expected: Tensor) -> float:
    """Largest absolute difference, as a share of the largest absolute value expected."""
    if got.shape != expected.shape:
        raise ExportError(f"the export gives features of shape {tuple(got.shape)}, its source {tuple(expected.shape)}")
    scale = expected.abs().max().item()
    return (got - expected).abs().max().item() / scale if scale else got.abs().max().item()


def refuse_difference(difference: float, tolerance: float) -> None:
    """Raises ExportError if what was written does not give its source's features."""
    if not difference <= tolerance:  # also where it is not a number
        raise ExportError(
            f"the exported model's features differ from its source's by {difference:.1e} of the largest feature, more "
            f"than {tolerance:.0e}, so nothing was written; please report this with the model's config.json"
        )
