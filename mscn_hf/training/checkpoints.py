# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Which checkpoint is good, which run lies in a folder, and whether it may be continued."""

import json
import logging
import os
import re
import shutil
from pathlib import Path
from typing import Any

logger = logging.getLogger(__name__)

MARKER = "COMPLETE.json"
RECIPE = "recipe.yaml"


def mark_complete(checkpoint: Path, facts: dict[str, Any]) -> None:
    """Writes the marker that makes a checkpoint good: last, and after all else has reached the disk."""
    for file in checkpoint.rglob("*"):
        if file.is_file():
            _sync(file)
    temporary = checkpoint / f".{MARKER}.tmp"
    temporary.write_text(json.dumps(facts, indent=1, sort_keys=True))
    _sync(temporary)
    os.replace(temporary, checkpoint / MARKER)
    _sync(checkpoint)


def newest_good_checkpoint(folder: Path) -> Path | None:
    """The complete checkpoint with the highest step, or None; half-written ones are passed over."""
    steps = []
    for path in folder.glob("checkpoint-*"):
        match = re.fullmatch(r"checkpoint-(\d+)", path.name)
        if match and (path / MARKER).is_file():
            steps.append((int(match[1]), path))
    return max(steps)[1] if steps else None


def holds_run(folder: Path) -> bool:
    """Whether a pre-training run has written here before."""
    return (folder / RECIPE).exists() or any(folder.glob("checkpoint-*")) or (folder / "encoder").exists()


def choose_start(folder: Path, resume: str | None, identity: dict[str, Any]) -> Path | None:
    """The checkpoint a run starts from; None: from the beginning.

    Args:
        folder: the run's output folder.
        resume: None, "auto", or a checkpoint's folder.
        identity: what the continuation must share with the run, such as data and number of processes.

    Raises:
        FileExistsError: the folder holds a run and nothing was said about it.
        FileNotFoundError: the named checkpoint is absent or was not written to its end.
        ValueError: the checkpoint belongs to a run that differs from this one; the field and both values are named.
    """
    if resume is None:
        if holds_run(folder):
            raise FileExistsError(
                f"output_dir {str(folder)!r} holds a run already: choose another folder, "
                "or --resume auto to continue it"
            )
        return None
    if resume == "auto":
        checkpoint = newest_good_checkpoint(folder)
        if checkpoint is None:
            if (folder / "encoder").exists():
                raise FileExistsError(
                    f"output_dir {str(folder)!r} holds an encoder but no good checkpoint to continue from: "
                    "choose another folder"
                )
            return None
    else:
        checkpoint = Path(resume)
        if not (checkpoint / MARKER).is_file():
            raise FileNotFoundError(f"{resume!r} is not a complete checkpoint: it has no {MARKER}")
        if holds_run(folder) and checkpoint.resolve().parent != folder.resolve():
            raise FileExistsError(
                f"output_dir {str(folder)!r} holds another run than checkpoint {resume!r}: choose another folder"
            )
    saved = json.loads((checkpoint / MARKER).read_text())
    for name, value in identity.items():
        if name in saved and saved[name] != json.loads(json.dumps(value)):
            raise ValueError(
                f"cannot continue {str(checkpoint)!r} exactly: {name} was {saved[name]!r} there and is {value!r} now"
            )
    return checkpoint


def remove_half_written(folder: Path) -> None:
    """Deletes checkpoints that were not written to their end, lest rotation keep them in place of good ones."""
    for path in folder.glob("checkpoint-*"):
        if path.is_dir() and not (path / MARKER).is_file():
            logger.warning("removing %s: it was not written to its end", path)
            shutil.rmtree(path)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
