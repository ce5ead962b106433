# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Which classes of a classifier answer to a class of a test set: by WordNet id, by name, by number, or by a map.

ImageNet's classes have a WordNet id (n01440764), a description ("tench, Tinca tinca") and a number in the order of the
ids. Test sets name their folders by any of the three.
"""

from __future__ import annotations

import functools
import importlib.resources
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

WORDNET_ID = re.compile(r"n\d{8}")
IMAGENET_CLASSES = 1000
# Lists of the classes of these test sets that timm carries.
TIMM_LISTS = {"imagenet-a": "imagenet_a_synsets.txt", "imagenet-r": "imagenet_r_synsets.txt"}


@functools.cache
def imagenet_names() -> tuple[list[str], dict[str, frozenset[str]], dict[str, frozenset[str]]]:
    """WordNet ids of ImageNet-1k in the usual order; description -> ids; each word of a description -> ids."""
    from timm.data import ImageNetInfo

    info = ImageNetInfo("imagenet-1k")
    whole: dict[str, set[str]] = {}
    words: dict[str, set[str]] = {}
    for number, wordnet_id in enumerate(info.label_names()):
        description = info.index_to_description(number)
        whole.setdefault(_plain(description), set()).add(wordnet_id)
        for word in description.split(","):
            words.setdefault(_plain(word), set()).add(wordnet_id)
    frozen = ({name: frozenset(ids) for name, ids in table.items()} for table in (whole, words))
    return info.label_names(), *frozen  # type: ignore[return-value]


def class_key(name: str, number: int | None = None) -> str:
    """What two names of one class have in common: the WordNet id where the name tells an ImageNet class, else itself.

    Two classes are called "crane": with `number`, the class's place in a list of all 1000, the name tells which.
    """
    name = str(name).strip()
    if WORDNET_ID.fullmatch(name):
        return name
    order, whole, words = imagenet_names()
    found = whole.get(_plain(name))
    if found is None:
        known = [words[_plain(word)] for word in name.split(",") if _plain(word) in words]
        found = frozenset.intersection(*known) if known else frozenset()
    if number is not None and order[number] in found:
        return order[number]
    return next(iter(found)) if len(found) == 1 else _plain(name)


def class_keys(names: Sequence[str]) -> list[str]:
    """`class_key` of a whole list. Of 1000 names, nine in ten of which are in ImageNet's order, the others are too."""
    if len(names) != IMAGENET_CLASSES:
        return [class_key(name) for name in names]
    order = imagenet_names()[0]
    keys = [class_key(name, number) for number, name in enumerate(names)]
    agreed = sum(key == wordnet_id for key, wordnet_id in zip(keys, order, strict=True))
    return list(order) if agreed >= 0.9 * IMAGENET_CLASSES else keys


def _plain(name: str) -> str:
    return " ".join(str(name).replace("_", " ").lower().split())


@dataclass
class ClassMatcher:
    """Columns of a classifier's scores that count as right for a class of the test set.

    Args:
        names: of the classifier's K classes; None stands for ImageNet-1k in its usual order where K is 1000, and else
            for the numbers 0..K-1.
        count: K.
        listed: names of the test set's classes by number, or None where it names none.
        class_map: name of a test class -> what it is called in the classifier: a name, a WordNet id, a number, a text
            with several of them between semicolons, or a list. Classes that it lacks are out of scope.
        folder_map: name of a folder -> name of a test class, looked up first.
        strangers: what a test class without a counterpart is: `error`, or `wrong` (its images count as errors).
    """

    names: list[str] | None
    count: int
    listed: list[str] | None = None
    class_map: dict[str, Any] | None = None
    folder_map: dict[str, str] | None = None
    strangers: str = "error"
    _columns_of_name: dict[str, list[int]] = field(default_factory=dict)
    _columns_of_key: dict[str, list[int]] = field(default_factory=dict)
    _found: dict[tuple[str, int | None], list[int] | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.names is None:
            numbers = [str(number) for number in range(self.count)]
            self.names = list(imagenet_names()[0]) if self.count == IMAGENET_CLASSES else numbers
        if len(self.names) != self.count:
            raise ValueError(f"the classifier has {self.count} classes but {len(self.names)} names")
        for column, (name, key) in enumerate(zip(self.names, class_keys(self.names), strict=True)):
            self._columns_of_name.setdefault(name, []).append(column)
            self._columns_of_key.setdefault(key, []).append(column)
        self._listed_keys = class_keys(self.listed) if self.listed is not None else None
        if self.class_map is not None:
            self.class_map = {_plain(name): value for name, value in self.class_map.items()}

    def columns(self, name: str, number: int | None = None) -> list[int] | None:
        """Columns of a test class; [] where none is right, None where the class is out of scope.

        Args:
            name: of the class, or of its folder.
            number: its place in `listed`.

        Raises:
            ValueError: no class of the classifier goes by that name.
        """
        if (name, number) not in self._found:
            self._found[name, number] = self._look_up(name, number)
        return self._found[name, number]

    def _look_up(self, name: str, number: int | None) -> list[int] | None:
        if self.class_map is not None:
            value = self.class_map.get(_plain((self.folder_map or {}).get(name, name)))
            if value is None:
                return None
            items = value if isinstance(value, list) else str(value).split(";")
            found = sorted({column for item in items for column in self._one(str(item).strip(), None)})
            if not found:
                raise ValueError(f"class {name!r} is mapped to {value!r}, which the classifier does not know")
            return found
        found = self._one(name, number)
        if found or self.strangers == "wrong":
            return found
        raise ValueError(
            f"no class of the classifier, or more than one, is called {name!r} (its first are "
            f"{(self.names or [])[:3]}): name the folders by WordNet id, or give a class_map"
        )

    def _one(self, name: str, number: int | None) -> list[int]:
        key = class_key(name) if number is None or self._listed_keys is None else self._listed_keys[number]
        found = self._columns_of_key.get(key, [])
        same = self._columns_of_name.get(name, [])
        # Two classes of another set may mean one of ImageNet's (cougar, mountain lion): there the very name counts.
        if len(same) == 1 and self.count != IMAGENET_CLASSES:
            return same
        # Folders 0, 1, 10, 100 lie in the order of text, so a label's number says nothing: the folder's name does.
        if not found and name.isdigit() and self.count == IMAGENET_CLASSES and int(name) < self.count:
            return [int(name)]
        return found

    def all_of(self, names: Sequence[str]) -> list[int]:
        """Columns of a list of classes, sorted; those out of scope left out."""
        own = names if self.listed is not None and list(names) == self.listed else None
        found = (self.columns(name, number if own is not None else None) for number, name in enumerate(names))
        return sorted({column for columns in found for column in columns or ()})


def read_class_list(name: str) -> list[str]:
    """Classes one a line from a file, or the list of `imagenet-a` or `imagenet-r`.

    Raises:
        ValueError: there is no such file.
    """
    if name in TIMM_LISTS:
        text = (importlib.resources.files("timm.data") / "_info" / TIMM_LISTS[name]).read_text(encoding="utf-8")
    else:
        text = _read(name)
    return [line.split()[0] if WORDNET_ID.match(line) else line for line in map(str.strip, text.splitlines()) if line]


def read_map(path: str) -> dict[str, Any]:
    """A JSON object from names to names or numbers.

    Raises:
        ValueError: no such file, or no JSON object in it.
    """
    try:
        found = json.loads(_read(path))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is not JSON: {error}") from error
    if not isinstance(found, dict):
        raise ValueError(f"{path} must hold a JSON object from class to class, got {type(found).__name__}")
    return found


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise ValueError(f"cannot read {path!r}: {error.strerror or error}") from error
