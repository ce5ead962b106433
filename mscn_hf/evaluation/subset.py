# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Training on few labels: published lists of images, and class-balanced shares of any set."""

from __future__ import annotations

import hashlib
import os
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from .cache import default_cache_dir

MAX_LIST_BYTES = 64 * 2**20
TIMEOUT_SECONDS = 60


def read_list(where: str, sha256: str | None, cache_dir: str | os.PathLike[str] | None = None) -> list[str]:
    """The file names of a list, one a line, from a file or an https address.

    What was fetched is kept below `cache_dir` under its sha256, so that it is fetched once.

    Raises:
        ValueError: no such file, no answer, another sha256 than asked for, or an empty list.
    """
    if "://" in where:
        data = _fetched(where, str(sha256), Path(cache_dir) if cache_dir is not None else default_cache_dir())
    else:
        try:
            data = Path(where).read_bytes()
        except OSError as error:
            raise ValueError(f"the list {where!r} cannot be read ({error.strerror or error})") from error
        _check_hash(data, sha256, where)
    names = [line.strip() for line in data.decode("utf-8", errors="replace").splitlines() if line.strip()]
    if not names:
        raise ValueError(f"the list {where!r} names no image")
    return names


def find_listed(names: Sequence[str], listed: Sequence[str], where: str) -> np.ndarray:
    """Numbers, ascending, of the images of `names` that a list names.

    ImageNet's images are called `n01440764_10026.JPEG` in the lists and on disk, and
    `n01440764_10026_n01440764.JPEG` in the Hub's copy; folders and suffixes do not matter.

    Raises:
        ValueError: the list names an image that is not there: a part of a published list is another experiment.
    """
    wanted = {_stem(name) for name in listed}
    index_N = np.array([n for n, name in enumerate(names) if _stem(name) in wanted], dtype=np.int64)
    missing = wanted - {_stem(names[n]) for n in index_N}
    if missing:
        raise ValueError(
            f"{len(missing)} of the {len(wanted)} images of the list {where!r} are not among the {len(names)} "
            f"training images, for example {min(missing)!r}; these are named like {names[0]!r}"
        )
    if len(index_N) > len(wanted):
        raise ValueError(f"several training images have a name that the list {where!r} gives once")
    return index_N


def balanced_share(classes_N: np.ndarray, share: float, seed: int) -> np.ndarray:
    """Numbers, ascending, of a share of the images: equally many of each class, at least one.

    A class that has fewer images than its due gives all it has.
    """
    random = np.random.default_rng(seed)
    present_K = np.unique(classes_N)
    count = max(1, round(share * len(classes_N) / len(present_K)))
    drawn = [random.permutation(np.flatnonzero(classes_N == label))[:count] for label in present_K]
    return np.sort(np.concatenate(drawn))


def _stem(name: str) -> str:
    stem = name.rsplit("/", 1)[-1].rsplit(".", 1)[0]
    parts = stem.split("_")
    return "_".join(parts[:2]) if len(parts) == 3 and parts[0] == parts[2] else stem


def _fetched(address: str, sha256: str, cache: Path) -> bytes:
    kept = cache / "lists" / f"{sha256}.txt"
    if kept.is_file():
        data = kept.read_bytes()
        if hashlib.sha256(data).hexdigest() == sha256:
            return data
    try:
        with urllib.request.urlopen(address, timeout=TIMEOUT_SECONDS) as answer:
            data = answer.read(MAX_LIST_BYTES + 1)
    except (urllib.error.URLError, OSError) as error:
        raise ValueError(
            f"the list {address} cannot be fetched ({error}); fetch it elsewhere and give its path as subset_list in "
            "a copy of the protocol"
        ) from error
    _check_hash(data, sha256, address)
    kept.parent.mkdir(parents=True, exist_ok=True)
    partial = kept.with_suffix(f".{os.getpid()}.partial")
    partial.write_bytes(data)
    os.replace(partial, kept)
    return data


def _check_hash(data: bytes, sha256: str | None, where: str) -> None:
    if len(data) > MAX_LIST_BYTES:
        raise ValueError(f"the list {where!r} is larger than {MAX_LIST_BYTES} bytes")
    found = hashlib.sha256(data).hexdigest()
    if sha256 is not None and found != sha256:
        raise ValueError(f"the list {where!r} has the sha256 {found}, not {sha256}: it is not the published one")
