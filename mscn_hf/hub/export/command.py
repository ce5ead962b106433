# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""`mscn-hf export DIR --to TARGET OUT`."""

import argparse

from .capability import TARGETS
from .exporting import export_model


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Defines the options."""
    parser.add_argument("model", metavar="DIR", help="folder of a model, of the run around it, or a Hub id")
    parser.add_argument("out", metavar="OUT", help="folder to write, new or empty")
    parser.add_argument("--to", required=True, choices=TARGETS, help="format; onnx holds everything, filter included")
    parser.add_argument("--revision", help="branch, tag or commit of a Hub id")
    parser.add_argument(
        "--check",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="load what was written and compare its features with the source's (not for detectron2)",
    )


def run(args: argparse.Namespace) -> int:
    """Exports and tells what was written; returns the exit status."""
    done = export_model(args.model, args.to, args.out, revision=args.revision, check=args.check)
    print(f"wrote {done.folder}")
    for name, size in done.files.items():
        print(f"  {name:<28} {size:>15,} bytes")
    if done.difference is not None:
        print(f"compared: features differ from the source's by at most {done.difference:.1e} of the largest feature")
    else:
        print("not compared with the source")
    for note in done.notes:
        print(f"note: {note}")
    print(f"load it:\n  {done.load}")
    return 0
