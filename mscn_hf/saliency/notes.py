# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Notes in a folder of what its content was made from, so that a later run goes on only with its own."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def read_notes(path: Path) -> dict[str, Any]:
    """What the file says; nothing where there is none."""
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def write_notes(path: Path, content: Mapping[str, Any]) -> None:
    """Writes the file whole or not at all, since other processes read it; makes its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    unfinished.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    put_in_place(unfinished, path)


def put_in_place(unfinished: Path, path: Path) -> None:
    """Renames a file once it has reached the disk, so that no half of it is ever found under its name."""
    descriptor = os.open(unfinished, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    os.replace(unfinished, path)


def first_difference(known: Mapping[str, Any], wanted: Mapping[str, Any]) -> str | None:
    """The first key of `wanted` whose value in `known`, which comes from a file, is another."""
    read_back = json.loads(json.dumps(wanted))
    return next((name for name, value in read_back.items() if known.get(name) != value), None)
