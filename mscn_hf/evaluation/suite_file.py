# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Suites as documents: `evaluation/suites/*.yaml` -> protocols with their settings, in order."""

from __future__ import annotations

import dataclasses
from typing import Any

import yaml

from mscn_hf.resources import find_resource

from .protocols import load_protocol
from .settings import Protocol, nearest

_ENTRY_KEYS = ("name", "protocol", "set", "datasets")


@dataclasses.dataclass(frozen=True)
class SuiteEntry:
    """A protocol of a suite.

    Attributes:
        name: under which its Results go.
        settings: checked.
        document: the protocol file that it is, or was made from.
        datasets: sets of its own, as `--dataset` takes them; none: the set of the command.
    """

    name: str
    settings: Protocol
    document: str
    datasets: list[str] = dataclasses.field(default_factory=list)


def load_suite(name: str) -> list[SuiteEntry]:
    """Reads a suite by its name (`small`, `full`) or from a YAML file of one's own.

    The file has one key, `protocols`, a list of protocol names; or of mappings with `protocol` and, where wanted,
    `datasets` (a list, in place of the command's `--dataset`), `set` (settings that are changed) and `name`: under
    other settings a score must not carry the name that papers are compared by.

    Raises:
        FileNotFoundError: no such suite, or no such protocol; names the nearest.
        ValueError: unknown key (names the nearest), a changed protocol without a name of its own, a name that occurs
            twice, or settings that the protocol refuses; names the file.
    """
    path = find_resource("suites", name)
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
        if not isinstance(document, dict) or set(document) != {"protocols"}:
            raise ValueError("expected the one key 'protocols' with a list")
        if not isinstance(document["protocols"], list) or not document["protocols"]:
            raise ValueError(f"protocols must be a list with at least one name, got {document['protocols']!r}")
        entries = [_entry(item) for item in document["protocols"]]
        names = [entry.name for entry in entries]
        for repeated in names:
            if names.count(repeated) > 1:
                raise ValueError(f"{repeated!r} occurs twice")
        return entries
    except (ValueError, TypeError, yaml.YAMLError) as error:
        raise ValueError(f"{path}: {error}") from error


def _entry(item: Any) -> SuiteEntry:
    if isinstance(item, str):
        name, settings = load_protocol(item)
        return SuiteEntry(name, settings, item)
    if not isinstance(item, dict) or "protocol" not in item:
        raise ValueError(f"an entry is a protocol's name or has the keys {list(_ENTRY_KEYS)}, got {item!r}")
    for key in item:
        if key not in _ENTRY_KEYS:
            raise ValueError(f"unknown key {key!r}{nearest(key, _ENTRY_KEYS)}")
    original, settings = load_protocol(item["protocol"])
    changes = item.get("set") or {}
    known = [field.name for field in dataclasses.fields(settings)]
    for key in changes:
        if key not in known:
            raise ValueError(f"unknown key {key!r} in set of {original!r}{nearest(key, known)}")
    name = item.get("name", original)
    if not isinstance(name, str) or not name.strip():
        raise ValueError(f"name must be text, got {name!r}")
    if changes and name == original:
        raise ValueError(f"{original!r} with other settings needs a name of its own, for example '{original}-small'")
    datasets = item.get("datasets", [])
    if not isinstance(datasets, list) or not all(isinstance(value, str) and value for value in datasets):
        raise ValueError(f"datasets must be a list of names, got {datasets!r}")
    if changes:  # the papers' scores are of the settings as they were
        settings = dataclasses.replace(settings, **{"papers": [], **changes})
    return SuiteEntry(name, settings, item["protocol"], datasets)
