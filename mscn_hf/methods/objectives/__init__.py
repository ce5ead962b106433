# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Objectives by name. A new one is a file here and a line in `OBJECTIVES`."""

import inspect
from collections.abc import Iterable, Mapping
from typing import Any

from mscn_hf.methods.objectives.barlow_twins import BarlowTwins
from mscn_hf.methods.objectives.byol import BYOL
from mscn_hf.methods.objectives.cross_entropy import CrossEntropy
from mscn_hf.methods.objectives.info_nce import InfoNCE
from mscn_hf.methods.objectives.msn import MSN
from mscn_hf.methods.objectives.objective import PAIRINGS, Objective, ViewEmbeddings, view_directions, view_pairs
from mscn_hf.methods.objectives.relic import ReLIC
from mscn_hf.methods.objectives.vicreg import VICReg
from mscn_hf.views.checks import nearest

OBJECTIVES: dict[str, type[Objective]] = {
    "info_nce": InfoNCE,
    "byol": BYOL,
    "relic": ReLIC,
    "msn": MSN,
    "vicreg": VICReg,
    "barlow_twins": BarlowTwins,
    "cross_entropy": CrossEntropy,
}


def build_objective(name: str, params: Mapping[str, Any], size: int) -> Objective:
    """Build the objective `name` with its settings, for embeddings (B, `size`).

    Raises:
        ValueError: for an unknown name or setting, naming the nearest known one, or a value out of range.
    """
    if name not in OBJECTIVES:
        raise ValueError(f"unknown objective {name!r}{_nearest(name, OBJECTIVES)}")
    known = [key for key in inspect.signature(OBJECTIVES[name].__init__).parameters if key not in ("self", "size")]
    if OBJECTIVES[name].__init__ is Objective.__init__:
        known = []
    for key in params:
        if key not in known:
            raise ValueError(f"unknown setting {key!r} in objective_params of {name!r}{_nearest(key, known)}")
    sized = {"size": size} if OBJECTIVES[name].takes_size else {}
    return OBJECTIVES[name](**sized, **params)


def _nearest(name: str, known: Iterable[str]) -> str:
    known = list(known)
    return f"{nearest(name, known)} Known: {', '.join(known)}" if known else "; it takes none"


__all__ = [
    "BYOL",
    "MSN",
    "OBJECTIVES",
    "PAIRINGS",
    "BarlowTwins",
    "CrossEntropy",
    "InfoNCE",
    "Objective",
    "ReLIC",
    "VICReg",
    "ViewEmbeddings",
    "build_objective",
    "view_directions",
    "view_pairs",
]
