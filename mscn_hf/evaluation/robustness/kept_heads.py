# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Fitted linear heads on disk, beside the features they were fitted on: one for all test sets of an encoder.

An entry is `heads/<hash of its key>.safetensors`: the tensors, and as metadata the key, the facts and a sha256. It is
written beside its place and renamed into it, so a reader sees a whole entry or none.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import importlib.metadata
import json
import logging
import os
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from mscn_hf.data import decode
from mscn_hf.data.source import ImageSource

from ..cache import default_cache_dir
from ..encoder import text_hash
from ..probes.linear import LinearProbe, LinearSettings
from ..task import Task

logger = logging.getLogger(__name__)

FORMAT = 1
TENSORS = ("mean_D", "std_D", "weight_DK", "bias_K")


@dataclass
class FittedHead:
    """A linear probe on features of a train split, and what Results say of it.

    Attributes:
        probe: its tensors on one device.
        names: of the K classes.
        selection: how it was chosen.
        facts: about the fit, as JSON types.
        num_train, skipped_train: images it was fitted on, and those that could not be decoded.
    """

    probe: LinearProbe
    names: list[str]
    selection: str
    facts: dict[str, Any]
    num_train: int
    skipped_train: int

    def to(self, device: torch.device | str) -> FittedHead:
        """The same head with its tensors on `device`."""
        moved = {name: getattr(self.probe, name).to(device) for name in TENSORS}
        return dataclasses.replace(self, probe=dataclasses.replace(self.probe, **moved))


def head_identity(task: Task, train: ImageSource, settings: LinearSettings) -> dict[str, Any]:
    """Everything that fixes the head of the task's encoder on `train`, as JSON types: the key of its entry."""
    return {
        "format": FORMAT,
        "mscn_hf": importlib.metadata.version("mscn_hf"),  # a later one may fit in another way
        "encoder": task.encoder.identity(),
        "train": {
            "fingerprint": train.fingerprint,
            "modified": train.modified,
            "split": train.split,
            "config": train.config_name,
            "label_column": train.label_column,
            "max_images": task.options.max_train_images,
            "decoder": "PIL" if decode.simplejpeg is None else "simplejpeg",
        },
        "settings": settings.facts(),
        "seed": task.seed,
    }


def head_path(cache_dir: str | os.PathLike[str] | None, identity: dict[str, Any]) -> Path:
    """Where the entry of this key lies or will lie."""
    root = Path(cache_dir) if cache_dir is not None else default_cache_dir()
    return root / "heads" / f"{text_hash(identity)[:32]}.safetensors"


def write_head(path: Path, identity: dict[str, Any], head: FittedHead) -> None:
    """Keeps a head; a disk that takes no more costs another fit, no score."""
    tensors = {name: getattr(head.probe, name).cpu().contiguous() for name in TENSORS}
    facts = {
        "selection": head.selection,
        "names": head.names,
        "facts": head.facts,
        "num_train": head.num_train,
        "skipped_train": head.skipped_train,
    }
    metadata = {"identity": json.dumps(identity, default=str), "head": json.dumps(facts)}
    metadata["sha256"] = _digest(tensors, metadata["head"])
    partial = path.with_name(f".partial-{uuid.uuid4().hex}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(save(tensors, metadata=metadata))
        os.replace(partial, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            partial.unlink()
        logger.warning("the fitted head cannot be kept in %s (%s)", path, error)


def read_head(path: Path, identity: dict[str, Any]) -> FittedHead | None:
    """The head on the CPU if it is there and whole, else None; what cannot be used is named in the log."""
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in TENSORS}
        if json.loads(metadata["identity"]) != json.loads(json.dumps(identity, default=str)):
            raise ValueError("it was made for something else")
        if metadata["sha256"] != _digest(tensors, metadata["head"]):
            raise ValueError("its sha256 does not match")
        fields = json.loads(metadata["head"])
        return FittedHead(LinearProbe(**tensors), **fields)
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        logger.warning("the kept head %s is not usable (%s); fitting again", path, error)
        return None


def _digest(tensors: dict[str, Tensor], text: str) -> str:
    digest = hashlib.sha256(text.encode())
    for name in TENSORS:
        digest.update(f"{name} {tensors[name].dtype} {tuple(tensors[name].shape)}\n".encode())
        digest.update(tensors[name].contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
