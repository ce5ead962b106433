# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Writes docs/protocols.md from the protocol files: python -m mscn_hf.evaluation.protocol_page docs/protocols.md"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from mscn_hf.resources import find_resource, list_resources

from .published import source_of
from .score_table import SHORT_METRIC
from .settings import DATASET
from .suite_file import load_suite

_MARK = (
    "<!-- Written by `python -m mscn_hf.evaluation.protocol_page docs/protocols.md`; edit the YAML files instead. -->"
)
LABELS = ("Expect", "Time", "Command")


@dataclass
class ProtocolHead:
    """What the comment at the head of a protocol file says, and its fields.

    Attributes:
        text: what it is, and which paper's.
        labelled: what follows `Expect:`, `Time:` and `Command:`.
        fields: of the document.
    """

    name: str
    text: str
    labelled: dict[str, str] = field(default_factory=dict)
    fields: dict[str, Any] = field(default_factory=dict)


def read_head(name: str) -> ProtocolHead:
    """Reads the head of a protocol that ships. What a label says ends with the line that ends in a full stop.

    Raises:
        ValueError: the head says nothing, or lacks one of `LABELS`.
    """
    content = find_resource("protocols", name).read_text(encoding="utf-8")
    lines = []
    for line in content.splitlines()[1:]:
        if not line.startswith("#"):
            break
        lines.append(line.removeprefix("#").strip())
    head = ProtocolHead(name, "", fields=yaml.safe_load(content))
    label = ""
    for line in lines:
        start = re.match(rf"({'|'.join(LABELS)}):\s*(.*)", line)
        if start:
            label, line = start.groups()
            head.labelled[label] = line
        elif label and not head.labelled[label].endswith("."):
            head.labelled[label] = f"{head.labelled[label]} {line}".strip()
        else:
            head.text = f"{head.text} {line}".strip()
    missing = [label for label in LABELS if not head.labelled.get(label)]
    if not head.text or missing:
        raise ValueError(f"the head of protocol {name!r} lacks {missing or ['what it is']}")
    return head


def protocol_page() -> str:
    """The page as Markdown: a table of all protocols, then each with its settings and published scores."""
    heads = [read_head(name) for name in list_resources("protocols")]
    budgets = {name: {entry.document for entry in load_suite(name)} for name in list_resources("suites")}
    table = [["protocol", "kind", "metrics", "budgets", "published scores"]]
    for head in heads:
        link = f"[{head.name}](#{head.name})"
        suites = ", ".join(name for name, names in budgets.items() if head.name in names) or "-"
        metrics = ", ".join(_metric(metric) for metric in _listed(head.fields.get("metrics", [])))
        table.append(
            [link, head.fields["kind"], metrics or "-", suites, str(len(head.fields.get("papers") or []) or "-")]
        )
    lines = ["# Protocols", "", _MARK, "", *_opening(), "", *_markdown_table(table), ""]
    for head in heads:
        lines += [f"## {head.name}", "", head.text, ""]
        lines += [f"- {label}: {text}" for label, text in head.labelled.items() if label != "Command"]
        lines += ["", "```", head.labelled["Command"], "```", "", f"`{_settings(head.fields)}`", ""]
        lines += _papers(head.fields.get("papers") or [])
    return "\n".join(lines).rstrip() + "\n"


def _opening() -> list[str]:
    return [
        "`mscn-hf evaluate NAME …` runs one of these, `mscn-hf evaluate all --budget small …` those of a budget; a",
        "YAML file of your own works as well. Every choice is made on train or its validation split; test is read",
        "once, after it. `mscn-hf report results.jsonl` shows own scores beside the published ones. Data sets,",
        "caches, several processes and what intervals mean: [evaluation.md](evaluation.md).",
    ]


def _settings(fields: dict[str, Any]) -> str:
    shown = {key: value for key, value in fields.items() if key not in ("papers", "metrics")}
    return yaml.safe_dump(shown, default_flow_style=True, sort_keys=False, width=10**6).strip()


def _papers(rows: Sequence[dict[str, Any]]) -> list[str]:
    if not rows:
        return []
    table = [["model", "data set", "metric", "%", "from"]]
    for row in rows:
        table.append(
            [
                row["model"],
                row["dataset"],
                _metric(row["metric"]),
                f"{row['value']:.1f}",
                source_of(row),
            ]
        )
    return [*_markdown_table(table), ""]


def _markdown_table(lines: Sequence[Sequence[Any]]) -> list[str]:
    head, *rows = ([str(cell).replace("|", "\\|") for cell in line] for line in lines)
    return [f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows)]


def _metric(name: str) -> str:
    return "the data set's own" if name == DATASET else SHORT_METRIC.get(name, name)


def _listed(value: Any) -> list[str]:
    return value if isinstance(value, list) else [value]


if __name__ == "__main__":
    Path(sys.argv[1] if len(sys.argv) > 1 else "docs/protocols.md").write_text(protocol_page(), encoding="utf-8")
