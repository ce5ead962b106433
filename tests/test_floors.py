# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Imports run downwards only, and what travels to the Hub imports nothing of this package but its siblings."""

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "mscn_hf"
FLOORS = {"models": 1, "views": 2, "methods": 3, "data": 3, "evaluation": 4, "saliency": 4, "hub": 5, "training": 6}
TRAVEL = [p for p in (PACKAGE / "models").glob("*.py") if p.name not in ("__init__.py", "backbone_weights.py")]


def imported_modules(path: Path) -> set[str]:
    """Absolute names of everything a file imports, relative imports resolved, inside functions too."""
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = parts[: len(parts) - node.level] if node.level else ()
            module = ".".join([*base, *([node.module] if node.module else [])])
            names |= {module, *(f"{module}.{alias.name}" for alias in node.names)}
    return names


@pytest.mark.parametrize("path", sorted(PACKAGE.glob("*/**/*.py")), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_no_import_runs_up(path):
    floor = FLOORS[path.relative_to(PACKAGE).parts[0]]
    for name in imported_modules(path):
        parts = name.split(".")
        if parts[0] == "mscn_hf" and len(parts) > 1 and parts[1] != "resources":
            above = FLOORS.get(parts[1], 7)
            assert above < floor or parts[1] == path.relative_to(PACKAGE).parts[0], f"{path.name} imports {name}"


def test_no_circle_of_imports():
    def module(path):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)

    files = {module(path): path for path in PACKAGE.glob("**/*.py")}
    # Within a package its __init__ stands above its files: it imports them, and Python runs it first anyway.
    graph = {
        name: {n for n in imported_modules(path) & files.keys() if n != name and not name.startswith(f"{n}.")}
        for name, path in files.items()
    }
    assert len(graph) > 100
    TopologicalSorter(graph).prepare()  # raises CycleError, which names the circle


@pytest.mark.parametrize("path", sorted(TRAVEL), ids=lambda p: p.name)
def test_published_files_need_only_torch_and_transformers(path):
    standard = {"__future__", "collections", "dataclasses", "difflib", "json", "math", "os", "pathlib", "typing"}
    for name in imported_modules(path):
        if name.startswith("mscn_hf.models."):
            continue
        assert name.split(".")[0] in {"torch", "transformers", "huggingface_hub", *standard}, name
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level:
            # `from . import x` and sub-packages are not found by the code that copies files to the Hub
            assert node.level == 1
            assert node.module
            assert "." not in node.module
