# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""What reading any checkpoint and writing a folder need: errors, free folders, hashes."""

import hashlib
from pathlib import Path


class CheckpointError(ValueError):
    """A checkpoint that is not converted; the message says why and what to do."""


class UnsafePickleError(ValueError):
    """A pickle that asks for more than plain data; the message says for what."""


def refuse_used_folder(out: str | Path) -> None:
    """Raises FileExistsError if `out` is a file or a folder that holds something."""
    out = Path(out).expanduser()
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise FileExistsError(f"{str(out)!r} exists and is not an empty folder; name a new one")


def sha256(path: Path) -> str:
    """The file's sha256 in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
