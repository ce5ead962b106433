# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""`mscn-hf demo | views | pretrain | sweep | evaluate | analyze | report | saliency | convert | export | push`.

Modules are imported when their command is called. Wrong input ends with one line and status 2; MSCN_HF_TRACEBACK=1
shows where it was found.
"""

import argparse
import os
import sys
from typing import Any

from huggingface_hub.errors import StrictDataclassError

_COMMANDS = {
    "demo": "pre-train, score, describe and load back a small encoder on this machine",
    "views": "draw what the network of a recipe will see",
    "pretrain": "pre-train as a recipe says: --config RECIPE [--field value …]",
    "sweep": "make the runs of an ablation and compare them: SWEEP [--small] [--field value …]",
    "evaluate": "score an encoder: knn, linear, …, a protocol of your own, or all of a --budget",
    "analyze": "draw what an encoder's features look like: spread, classes, neighbours, first layer",
    "report": "table and picture of a results file, beside the papers' scores",
    "saliency": "find what stands out in images: cues, train, predict, show, score",
    "convert": "rewrite a published checkpoint (ReLICv2, BYOL, MoCo, MSN, …) as a model of transformers",
    "export": "write a model in the format of timm, torchvision, detectron2, plain transformers or ONNX",
    "push": "publish a run or an encoder on the Hub",
}


def main(argv: list[str] | None = None) -> int:
    """Entry point of the command line; returns the exit status."""
    words = sys.argv[1:] if argv is None else argv
    if not words or words[0] in ("-h", "--help"):
        print("usage: mscn-hf COMMAND …   (mscn-hf COMMAND --help tells its options)\n")
        for name, what in _COMMANDS.items():
            print(f"  {name:<9} {what}")
        return 0 if words else 2
    if words[0] == "--version":
        from importlib.metadata import version

        print(version("mscn-hf"))
        return 0
    command, rest = words[0], words[1:]
    if command not in _COMMANDS:
        import difflib

        near = difflib.get_close_matches(command, _COMMANDS, n=1)
        print(
            f"mscn-hf: unknown command {command!r}" + (f"; did you mean {near[0]!r}?" if near else ""), file=sys.stderr
        )
        return 2
    try:
        return globals()[f"_{command}"](rest)
    except (ValueError, OSError, StrictDataclassError, RuntimeError) as error:
        # What a user can mend is said in one line; a fault of the code keeps its traceback.
        ours = not isinstance(error, RuntimeError) or type(error).__module__.startswith("mscn_hf")
        if not ours or os.environ.get("MSCN_HF_TRACEBACK"):
            raise
        print(f"mscn-hf {command}: {error}", file=sys.stderr)
        return 2


def _parser(command: str) -> argparse.ArgumentParser:
    return argparse.ArgumentParser(f"mscn-hf {command}", description=_COMMANDS[command])


def _run(name: str, command: Any, words: list[str]) -> int:
    """Runs a module that has `add_arguments(parser)` and `run(args)`."""
    parser = _parser(name)
    command.add_arguments(parser)
    return command.run(parser.parse_args(words))


def _demo(words: list[str]) -> int:
    from . import demo

    parser = _parser("demo")
    demo.add_arguments(parser)
    args, overrides = parser.parse_known_args(words)
    return demo.run(args, overrides)


def _views(words: list[str]) -> int:
    parser = _parser("views")
    parser.usage = "mscn-hf views --config RECIPE [--out PNG] [--images N] [--field value …]"
    if not words or words[0] in ("-h", "--help"):
        from .resources import list_resources

        parser.epilog = f"RECIPE is a YAML file or one of {', '.join(list_resources('recipes'))}"
    parser.add_argument("--out", default="views.png", help="PNG to write (default: %(default)s)")
    parser.add_argument("--images", type=int, help="images shown (default: 3 to 8, fewer if there are many views)")
    args, rest = parser.parse_known_args(words)
    from .training.pretrain import draw_views
    from .training.recipe_file import parse_run

    print(draw_views(parse_run(rest), args.out, args.images))
    return 0


def _pretrain(words: list[str]) -> int:
    if not words or words[0] in ("-h", "--help"):
        from .resources import list_resources

        print("usage: mscn-hf pretrain --config RECIPE [--field value …] [--views.NAME.FIELD value …]\n\nrecipes:")
        print("\n".join(f"  {name}" for name in list_resources("recipes")))
        return 0 if words else 2
    from .training.pretrain import main as pretrain

    return pretrain(words)


def _sweep(words: list[str]) -> int:
    parser = _parser("sweep")
    if not words or words[0] in ("-h", "--help"):
        from .resources import list_resources

        parser.epilog = f"sweeps: {', '.join(list_resources('sweeps'))}"
    from .training import sweep

    sweep.add_arguments(parser)
    args, overrides = parser.parse_known_args(words)
    return sweep.run(args, overrides)


def _evaluate(words: list[str]) -> int:
    from .evaluation import command

    return _run("evaluate", command, words)


def _analyze(words: list[str]) -> int:
    from .evaluation.analysis import command

    return _run("analyze", command, words)


def _report(words: list[str]) -> int:
    from .hub import report

    return _run("report", report, words)


def _saliency(words: list[str]) -> int:
    if words[:1] == ["train"]:
        from .training.train_saliency import main as train

        return train(words[1:])
    from .saliency import command

    return _run("saliency", command, words)


def _convert(words: list[str]) -> int:
    from .hub.conversion import command

    return _run("convert", command, words)


def _export(words: list[str]) -> int:
    from .hub.export import command

    return _run("export", command, words)


def _push(words: list[str]) -> int:
    from .hub import publish

    return _run("push", publish, words)


if __name__ == "__main__":
    sys.exit(main())
