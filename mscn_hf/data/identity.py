# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""By what a source is known again: its files' names and sizes, and when they were written."""

import hashlib
import json
import os
from collections.abc import Sequence
from typing import Any


def fingerprint(settings: Sequence[Any], path: str, files: list[str], counts: Sequence[Any]) -> str:
    """A hash of how a source is read, its files' names and sizes, and its pieces' rows and bytes."""
    # Where the files lie is left out: a run may go on after they were moved.
    described = [
        (os.path.relpath(f, path), os.stat(f).st_size) if os.path.isfile(f) else f for f in _all_files(path, files)
    ]
    return _hash(json.dumps([list(settings), described, list(counts)], default=str))


def last_written(path: str, files: list[str]) -> str:
    """A hash of when the local files were written."""
    return _hash(json.dumps([os.stat(f).st_mtime_ns for f in _all_files(path, files) if os.path.isfile(f)]))


def _all_files(path: str, files: list[str]) -> list[str]:
    if not files and os.path.isdir(path):  # an image folder: datasets streams it as one list without file sizes
        files = [os.path.join(folder, f) for folder, _, names in os.walk(path) for f in names]
    return sorted(set(files))


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
