# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""`mscn-hf convert FAMILY CHECKPOINT OUT`: which converter reads which family, and what is told of its work."""

import argparse
import textwrap
from collections.abc import Callable
from typing import Any

from .families import FAMILIES

HAIKU = ("relicv2", "byol")
# Options that only some converters know, by the name of the argument.
OPTIONS = {
    "haiku": ("network",),
    "msn": ("network", "num_heads"),
    "pth": ("network", "prefix", "with_head", "drop"),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Defines the options."""
    parser.add_argument(
        "family",
        metavar="FAMILY",
        choices=["pth", *FAMILIES],
        help="whose checkpoint: %(choices)s; pth: a ResNet in a torch file, the family is told by its layout",
    )
    parser.add_argument(
        "checkpoint", metavar="CHECKPOINT", help="file that the authors published; no code in it is run"
    )
    parser.add_argument("out", metavar="OUT", nargs="?", help="folder to write, new or empty")
    parser.add_argument("--license", help="the weights' licence, a Hub identifier such as cc-by-4.0; the family's")
    parser.add_argument("--source", help="where the checkpoint was published; the family's repository")
    parser.add_argument("--network", help="which network of the file: online or target (BYOL), or a family's own name")
    parser.add_argument("--prefix", help="of a torch file: where the encoder stands")
    parser.add_argument("--with-head", action="store_true", help="of a torch file: keep the classifier")
    # Not nargs="+", which would swallow CHECKPOINT and OUT behind it.
    parser.add_argument(
        "--drop",
        action="append",
        metavar="PATTERN",
        help="of a torch file: tensors that may be left out; may be given several times",
    )
    parser.add_argument("--num-heads", type=int, help="of MSN at widths of your own: attention heads")
    parser.add_argument(
        "--dry-run", action="store_true", help="check everything and tell what was found; write nothing"
    )
    parser.add_argument(
        "--check-usage",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="run the card's usage example before the card says that it works",
    )


def run(args: argparse.Namespace) -> int:
    """Converts and tells what was found and written; returns the exit status.

    Raises:
        ValueError: OUT is missing, an option belongs to another converter, or the file is refused.
    """
    if args.out is None and not args.dry_run:
        raise ValueError("name the folder to write, or add --dry-run to see what the checkpoint holds")
    kind = "haiku" if args.family in HAIKU else args.family if args.family == "msn" else "pth"
    options: dict[str, Any] = {}
    for name in dict.fromkeys(name for names in OPTIONS.values() for name in names):
        value = getattr(args, name)
        if value is None or value is False:
            continue
        if name not in OPTIONS[kind]:
            known = ", ".join(_flag(known) for known in OPTIONS[kind])
            raise ValueError(f"{_flag(name)} is no option for {args.family}; it takes {known}")
        options[name] = value
    conversion = _converter(kind)(
        args.checkpoint,
        args.out or "",
        family=None if args.family == "pth" else args.family,
        license=args.license,
        source=args.source,
        dry_run=args.dry_run,
        check_usage=args.check_usage,
        **options,
    )
    print("\n".join(report(conversion)))
    print("dry run: nothing was written" if args.dry_run else f"wrote {args.out}")
    return 0


def report(conversion: dict[str, Any]) -> list[str]:
    """What was found, line by line."""
    facts = dict(conversion["facts"])
    left_out, notes = facts.pop("left out", ()), facts.pop("notes", ())
    if isinstance(left_out, dict):
        left_out = [f"{name} ({count})" if count else name for name, count in left_out.items()]
    rows = {
        "family": conversion["title"],
        **{name: f"{fact:,}" if isinstance(fact, int) else fact for name, fact in facts.items()},
        "left out": ", ".join(left_out) or "nothing",
        "licence": conversion["license"] or "not known: ask the authors, then name it with --license",
        "source": conversion["source"],
    }
    indent = " " * (max(map(len, rows)) + 2)
    lines = [
        line
        for name, value in rows.items()
        for line in textwrap.wrap(str(value), 100, initial_indent=name + indent[len(name) :], subsequent_indent=indent)
    ]
    return lines + [line for note in notes for line in textwrap.wrap(f"- {note}", 100, subsequent_indent="  ")]


def _converter(kind: str) -> Callable[..., dict[str, Any]]:
    # Late: each imports other architectures of transformers.
    if kind == "haiku":
        from .haiku import convert_haiku

        return convert_haiku
    if kind == "msn":
        from .msn import convert_msn

        return convert_msn
    from .pth import convert_pth

    return convert_pth


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")
