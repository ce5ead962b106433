# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""The processes that `accelerate launch` or torchrun started, on GPUs or without."""

from datetime import timedelta

import torch
from accelerate import PartialState

# One process may have many more images to look at than another, and all wait for the last.
WAIT = timedelta(days=2)


def processes() -> PartialState:
    """The state of all processes; to be called before anything else makes one, as the first decides for all."""
    return PartialState(cpu=not torch.cuda.is_available(), timeout=WAIT)
