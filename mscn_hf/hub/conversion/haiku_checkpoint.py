# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Where the networks lie in the checkpoints of DeepMind's ReLICv2 and BYOL programs."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..safe_text import plain
from .unpickle import PickledArray, Record, load_plain_pickle
from .wording import key_text

NETWORKS = ("online", "target")


@dataclass(frozen=True)
class HaikuNetwork:
    """One network of a checkpoint, as Haiku keeps it.

    Args:
        arrays: "module/name" -> array, parameters and batch statistics together; the "~" that Haiku puts into module
            names for layers made in a constructor are left out.
        step: training step, None where the file does not say.
        place: where the parameters stand in the file.
        has_target: whether the file holds a target network too, as every file of BYOL's program does, and none that
            was published for ReLICv2.
        beside: names of what else stands there.
    """

    arrays: dict[str, PickledArray]
    step: int | None
    place: str
    has_target: bool
    beside: tuple[str, ...]


def read_network(checkpoint: Path, network: str = "online") -> HaikuNetwork:
    """Reads the parameters and batch statistics of one network from a pickle, without running anything in it.

    The official programs write {experiment_state, step, rng}; the state is a named tuple (BYOL) or a dict (ReLICv2)
    with online_params and online_state, and in BYOL's files target_params and target_state. A file that holds the
    state alone is read too.

    Raises:
        UnsafePickleError: the file asks for more than plain data.
        ValueError: the file holds no such network.
    """
    if network not in NETWORKS:
        raise ValueError(f"network must be one of {', '.join(NETWORKS)}, got {network!r}")
    saved = _fields(load_plain_pickle(checkpoint))
    nested = "experiment_state" in saved
    experiment = _fields(saved["experiment_state"]) if nested else saved
    arrays: dict[str, PickledArray] = {}
    wanted = (f"{network}_params", f"{network}_state")
    for name in wanted:
        if name not in experiment:
            other = [other for other in NETWORKS if other != network and f"{other}_params" in experiment]
            remedy = f"; it holds the {other[0]} network, ask for that" if other else ""
            found = plain(", ".join(map(key_text, experiment)) or "nothing")
            raise ValueError(f"{checkpoint} holds no {name}{remedy}. Found: {found}")
        for path, array in _flatten(experiment[name], name).items():
            if path in arrays:
                raise ValueError(f"{checkpoint} holds {plain(path)} twice")
            arrays[path] = array
    step = saved.get("step")
    if isinstance(step, PickledArray) and step.dtype.kind in "iu" and step.nbytes == step.dtype.itemsize:
        step = int(step.array().reshape(()))
    beside = tuple(plain(key_text(name)) for name in [*experiment, *(saved if nested else ())])
    return HaikuNetwork(
        arrays,
        step if type(step) is int else None,
        f"experiment_state.{wanted[0]}" if nested else wanted[0],
        "target_params" in experiment,
        tuple(name for name in beside if name not in (*wanted, "experiment_state", "step")),
    )


def _fields(value: Any) -> dict[Any, Any]:
    if isinstance(value, Record):
        return value.as_dict()
    return value if isinstance(value, dict) else {}


def _flatten(tree: Any, name: str) -> dict[str, PickledArray]:
    arrays: dict[str, PickledArray] = {}
    for module, leaves in _fields(tree).items():
        for leaf, array in _fields(leaves).items():
            path = "/".join(part for part in f"{key_text(module)}/{key_text(leaf)}".split("/") if part != "~")
            if not isinstance(array, PickledArray):
                raise ValueError(f"{name}: {plain(path)} is a {type(array).__name__}, not an array")
            if path in arrays:
                raise ValueError(f"{name}: {plain(path)} stands there twice")
            arrays[path] = array
    if not arrays:
        raise ValueError(f"{name} is empty, or no Haiku tree: module names, then names of arrays")
    return arrays
