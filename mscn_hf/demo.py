# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""`mscn-hf demo`: the whole trip on two cores: pre-train, score, describe, load back."""

import argparse
import sys
import time
from pathlib import Path

RECIPE = "embedded_mscn_simclr_cpu"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `mscn-hf demo`; further `--field value` pairs override the recipe."""
    parser.add_argument(
        "--out", default="demo-run", help="folder for everything; a finished demo in it is scored again"
    )
    parser.add_argument("--data", help="Hub id or folder of own images (default: photographs inside scikit-image)")
    parser.add_argument("--config", default=RECIPE, help="recipe (default: %(default)s)")


def run(args: argparse.Namespace, overrides: list[str]) -> int:
    """Runs the demo; returns the exit status."""
    import torch

    from mscn_hf.data import SourceError, open_source
    from mscn_hf.training.finish import finish_run
    from mscn_hf.training.pretrain import pretrain, quiet_logs
    from mscn_hf.training.recipe_file import parse_run

    quiet_logs()
    words = ["--config", args.config, "--output_dir", args.out, "--resume", "auto", *overrides]
    if args.data:
        words += ["--dataset_name", args.data]
        words += ["--test_split", _test_split(args.data)]
    started = time.time()
    config = parse_run(words)
    command = f"mscn-hf demo --out {args.out}" + (f" --data {args.data}" if args.data else "")
    pretrain(config, command)
    trained = time.time()
    if config.data.test_split and open_source(config.data.dataset_name).label_column is None:
        print(f"{args.data} has no labels: the encoder is published without scores")
        config.data.test_split = None
    finish_run(config, command)

    # Load it back as a user would.
    from transformers import AutoImageProcessor, AutoModel

    folder = Path(args.out) / "encoder"
    model = AutoModel.from_pretrained(folder)
    processor = AutoImageProcessor.from_pretrained(folder)
    try:
        row = next(open_source(config.data.dataset_name, split=config.data.train_split).rows())
    except SourceError as error:
        print(error, file=sys.stderr)
        return 2
    from PIL import Image

    from mscn_hf.data import decode_image

    with torch.no_grad():
        inputs = processor(Image.fromarray(decode_image(row.read())), return_tensors="pt")
        features = model(**inputs).pooler_output.flatten(1)
    print(f"AutoModel.from_pretrained({str(folder)!r}) -> {type(model).__name__}, features {tuple(features.shape)}")
    print(f"pre-training {trained - started:.0f} s, scores and card {time.time() - trained:.0f} s")
    for name, what in (
        ("views.png", "what the network saw"),
        ("curves.png", "how it trained"),
        ("scores.png", "how it compares"),
        ("encoder/README.md", "the model card"),
        ("encoder/", f"what `mscn-hf push {args.out} org/name` publishes"),
    ):
        if (Path(args.out) / name).exists():
            print(f"  {Path(args.out) / name}  {what}")
    return 0


def _test_split(data: str) -> str:
    """The split of own images that is kept for scores: test, else validation, else none."""
    import logging

    from mscn_hf.data import SourceError, open_source

    for split in ("test", "validation"):
        try:
            open_source(data, split=split)
            return split
        except SourceError as error:
            if "has no split" not in str(error):
                raise
    logging.getLogger(__name__).info("%s has neither a test nor a validation split: no scores", data)
    return "none"
