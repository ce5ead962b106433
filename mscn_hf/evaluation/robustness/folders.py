# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""The published files of ImageNet-C: FOLDER/<corruption>/<severity>/<class>/<image>, read as they are."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mscn_hf.data.source import Chunk, ImageRow, ImageSource

LAYOUT = "FOLDER/<corruption>/<severity>/<class>/<image>.JPEG"
SUFFIXES = (".jpeg", ".jpg", ".png")

# Class folder and file name of an image; the same in all folders.
Place = tuple[str, str]


@dataclass
class OneCorruption(ImageSource):
    """One folder of one corruption and severity as a split of undecoded images. Made by `open_folders`."""

    _dataset: Any = field(default=None, repr=False)  # nothing of `datasets` is behind it
    places: Sequence[Place] = field(default=(), repr=False)

    def read_chunk(self, index: int) -> Iterator[ImageRow]:
        """The images, sorted by class folder and name, the same in all folders."""
        root = os.path.abspath(self.path) + os.sep
        for name, file in self.places:
            yield ImageRow(f"{name}/{file}", None, os.path.join(root, name, file), name, root)


@dataclass
class CorruptedFolders:
    """The folders of the corruptions and severities asked for, which hold the same images.

    Attributes:
        name: path of the whole.
        sources: (corruption, severity) -> its images.
        fingerprint: of names and sizes; it stays when the files are moved.
        modified: of the times they were last written.
    """

    name: str
    sources: dict[tuple[str, int], OneCorruption]
    fingerprint: str
    modified: str


def open_folders(root: str, corruptions: Sequence[str], severities: Sequence[int]) -> CorruptedFolders:
    """Lists the folders of ImageNet-C; reads no image.

    Args:
        root: holds a folder for each corruption; `$NAMES` of the environment are filled in.
        corruptions, severities: which of them.

    Raises:
        ValueError: no such folder, one of a corruption and severity is missing, or they do not hold the same images.
    """
    path = os.path.expandvars(root)
    if "$" in path:
        raise ValueError(f"files: {root!r}: set that variable to the folder of your copy of ImageNet-C")
    if not Path(path).is_dir():
        raise ValueError(f"files: there is no folder {path!r}")
    wanted = [(name, severity) for name in corruptions for severity in severities]
    missing = [f"{name}/{severity}" for name, severity in wanted if not Path(path, name, str(severity)).is_dir()]
    if missing:
        raise ValueError(
            f"files: {path!r} lacks {len(missing)} of {len(wanted)} folders, the first is {missing[0]!r}; expected is "
            f"{LAYOUT}"
        )
    sizes, times = hashlib.sha256(), hashlib.sha256()
    first: list[Place] = []
    for name, severity in wanted:
        found = _list(os.path.join(path, name, str(severity)))
        places = [place for place, _, _ in found]
        first = first or places
        _check_same(path, f"{wanted[0][0]}/{wanted[0][1]}", first, f"{name}/{severity}", places)
        for (kind, file), size, time in found:
            sizes.update(f"{name}/{severity}/{kind}/{file} {size}\n".encode())
            times.update(f"{time}\n".encode())
    fingerprint, modified = sizes.hexdigest()[:16], times.hexdigest()[:16]
    sources = {
        (name, severity): OneCorruption(
            name=path,
            path=os.path.join(path, name, str(severity)),
            config_name=None,
            split=f"{name}/{severity}",
            revision=None,
            image_column="image",
            label_column="class folder",
            mask_column=None,
            label_names=None,
            is_local=True,
            fingerprint=f"{fingerprint}-{name}-{severity}",
            modified=modified,
            chunks=[Chunk(0, len(first))],
            places=first,
        )
        for name, severity in wanted
    }
    return CorruptedFolders(path, sources, fingerprint, modified)


def _list(folder: str) -> list[tuple[Place, int, int]]:
    """(place, size in bytes, time of the last write) of each image, sorted."""
    found = []
    with os.scandir(folder) as classes:
        for kind in classes:
            if kind.is_dir():
                with os.scandir(kind.path) as files:
                    for file in files:
                        if file.name.lower().endswith(SUFFIXES) and not file.name.startswith("."):
                            facts = file.stat()
                            found.append(((kind.name, file.name), facts.st_size, facts.st_mtime_ns))
    return sorted(found)


def _check_same(root: str, first: str, first_places: list[Place], other: str, places: list[Place]) -> None:
    if not places:
        raise ValueError(f"files: {root!r}: {other!r} holds no image; expected is {LAYOUT}")
    if len(places) != len(first_places):
        raise ValueError(
            f"files: {root!r}: {other!r} holds {len(places)} images, {first!r} {len(first_places)}; every folder must "
            "hold the same ones"
        )
    for here, there in zip(places, first_places, strict=True):
        if here != there:
            raise ValueError(
                f"files: {root!r}: {other!r} holds {'/'.join(here)!r} in place of {'/'.join(there)!r} of {first!r}; "
                "every folder must hold the same images"
            )
