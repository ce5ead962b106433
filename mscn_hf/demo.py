# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""`mscn-hf demo`: the whole trip on two cores: pre-train, score, describe, load back."""

import argparse
import contextlib
import shlex
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

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
    from mscn_hf.training.finish import check_scoring, finish_run
    from mscn_hf.training.pretrain import pretrain, quiet_logs
    from mscn_hf.training.recipe_file import parse_run

    quiet_logs()
    words = ["--config", args.config, "--output_dir", args.out, "--resume", "auto"]
    if args.data:
        words += ["--dataset_name", args.data, "--test_split", _test_split(args.data, overrides)]
    words += overrides
    started = time.time()
    config = parse_run(words)
    command = shlex.join(["mscn-hf", "pretrain", *words])
    check_scoring(config)
    pretrain(config, command)
    trained = time.time()
    finish_run(config, command)

    folder = Path(args.out) / "encoder"
    print(load_back(folder, _first_image(config.data.open(config.data.train_split))))
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


def load_back(folder: str | Path, image: Any) -> str:
    """Loads an encoder as a user would and says what it makes of one image (PIL): features (1, F)."""
    import torch
    from transformers import AutoImageProcessor, AutoModel

    from mscn_hf.models.any_encoder import has_class_token, pooled_features

    model = AutoModel.from_pretrained(folder).eval()
    pixels = AutoImageProcessor.from_pretrained(folder)(image, return_tensors="pt")
    with torch.no_grad():
        features_BF = pooled_features(model(**pixels), has_class_token(model)).flatten(1)
    return f"AutoModel.from_pretrained({str(folder)!r}) -> {type(model).__name__}, features {tuple(features_BF.shape)}"


def _test_split(data: str, overrides: list[str]) -> str:
    """The split of own images that is kept for scores: a labelled test, else validation, else none."""
    from mscn_hf.data import SourceError, open_source

    config_name = dict(pairwise(overrides)).get("--dataset_config_name")
    for split in ("test", "validation"):
        try:
            if open_source(data, config_name=config_name, split=split).label_column is not None:
                return split
        except SourceError as error:
            if "has no split" not in str(error):
                raise
    print(f"{data} has no labelled test or validation split: the encoder is published without scores")
    return "none"


def _first_image(source: Any) -> Any:
    from PIL import Image

    from mscn_hf.data import BrokenImage, decode_image

    for row in source.rows():
        with contextlib.suppress(BrokenImage):
            return Image.fromarray(decode_image(row.read()))
    raise BrokenImage(f"{source.name} holds no image that can be decoded")
