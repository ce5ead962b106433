# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""`mscn-hf saliency cues | predict | show | score`: maps of a dataset's images, written back, drawn or scored."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from tqdm.auto import tqdm

from mscn_hf.data import BrokenImage, ImageRow, ImageSource, decode_image, open_source
from mscn_hf.data.columns import check_image_feature
from mscn_hf.data.decode import decode_mask
from mscn_hf.views.background import FOREGROUND
from mscn_hf.views.checks import as_device

from .baselines import baseline_maps
from .column import ROWS_PER_SHARD, MaskCounts, write_masks
from .contact_sheet import draw_saliency
from .cues import CUES, LONG_SIDE, CueMasker, to_bytes
from .masker import NetworkMasker
from .metrics import SaliencyScores
from .network import load_network
from .processes import processes
from .score_table import INTERVAL, plot_scores, score_table, written_out

TRUTH, NO_CUES = "mask", "none"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Sub-commands of `mscn-hf saliency`, `train` apart."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="cues | train | predict | show | score")
    cues = actions.add_parser(
        "cues", help="write a dataset again with a column for each handcrafted cue and their mean"
    )
    predict = actions.add_parser("predict", help="write a dataset again with the masks of a trained network")
    show = actions.add_parser("show", help="draw images, the cues' maps, their mean, a network's and the truth")
    score = actions.add_parser("score", help="F-measure, MAE and S-measure of maps against masks that people drew")
    actions.add_parser("train", help="train a network on the cues' maps: --config FILE [--field value …]")
    for action in (cues, predict, show, score):
        action.add_argument("dataset", help="Hub id, local folder, one Parquet or tar file, or `embedded`")
        action.add_argument("--config_name", help="configuration of the dataset")
        action.add_argument("--split", default="test" if action is score else "train", help="default: %(default)s")
        action.add_argument("--revision", help="branch, tag or commit of the dataset on the Hub")
        action.add_argument("--image_column", help="found by type where not given")
    for action in (cues, predict):
        action.add_argument("out", help="folder; a run that was stopped goes on where it was")
        action.add_argument("--max_images", type=int, help="only the first so many; all by default")
        action.add_argument("--rows_per_shard", type=int, default=ROWS_PER_SHARD, help="default: %(default)s")
        action.add_argument("--threshold", type=float, default=0.05, help="counted as small below this share")
    cores = max(1, (os.cpu_count() or 1) // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))
    for action in (cues, show, score):
        none = "" if action is cues else f"; {NO_CUES}: only columns and a network"
        action.add_argument("--cues", nargs="+", default=list(CUES), metavar="CUE", help=f"of {', '.join(CUES)}{none}")
        action.add_argument(
            "--workers", type=int, default=cores, help="processes of each rank (default: its share of the cores)"
        )
        action.add_argument(
            "--long_side", type=int, default=LONG_SIDE, help="shrink to this first (%(default)s pixels)"
        )
    for action in (show, score):
        action.add_argument("--truth", default=TRUTH, help="column of true masks, or of any (default: %(default)s)")
        action.add_argument("--images", type=int, default=8 if action is show else None, help="the first so many")
    for action in (predict, show, score):
        action.add_argument("--network", required=action is predict, help="folder or Hub id of a saliency network")
        action.add_argument("--no_crf", action="store_true", help="leave the network's maps as they are")
        action.add_argument("--device", help="cuda, cuda:1, cpu, …; cuda where there is one by default")
    show.add_argument("--out", default="saliency.png", help="PNG to write (default: %(default)s)")
    score.add_argument("--json", type=Path, help="also write the scores to this file")
    score.add_argument("--plot", type=Path, help="also draw them, with their curves, to this PNG")


def run(args: argparse.Namespace) -> int:
    """Runs one sub-command; returns the exit status."""
    return {"cues": _cues, "predict": _predict, "show": _show, "score": _score}[args.action](args)


def _open(args: argparse.Namespace) -> ImageSource:
    return open_source(
        args.dataset,
        config_name=args.config_name,
        split=args.split,
        revision=args.revision,
        image_column=args.image_column,
        all_columns=True,
    )


def _cues(args: argparse.Namespace) -> int:
    masker = CueMasker(args.cues, args.workers if args.workers > 1 else 0, args.long_side)
    try:
        _write(args, masker)
    finally:
        masker.close()
    return 0


def _predict(args: argparse.Namespace) -> int:
    _write(args, _network(args))
    return 0


def _write(args: argparse.Namespace, masker: CueMasker | NetworkMasker) -> None:
    counts = write_masks(
        _open(args),
        masker,
        args.out,
        threshold=args.threshold,
        rows_per_shard=args.rows_per_shard,
        max_images=args.max_images,
    )
    if processes().is_main_process:
        print(_told(counts, args.threshold))
        print(args.out)


def _told(counts: MaskCounts, threshold: float) -> str:
    return (
        f"{counts.images} images: {counts.broken} broken, {counts.empty} without any foreground, "
        f"{counts.small} with less than {100 * threshold:g} % of it"
    )


def _network(args: argparse.Namespace) -> NetworkMasker:
    state = processes()
    device = as_device("--device", args.device) if args.device else state.device
    network = load_network(args.network)
    network.to(device)  # type: ignore[arg-type]
    return NetworkMasker(network, args.network, not args.no_crf)


@dataclass
class _Picture:
    """An image that could be read, uint8 (H, W, 3), its maps by name, and its true mask if it has one, bool (H, W)."""

    id: str
    pixels_HW3: np.ndarray
    maps: dict[str, np.ndarray]
    truth_HW: np.ndarray | None


def _pictures(args: argparse.Namespace, baselines: bool) -> Iterator[_Picture]:
    """The images with their maps; those that cannot be read are named and left out."""
    source = _open(args)
    if args.images is not None and args.images < 1:
        raise ValueError(f"images must be at least 1, got {args.images}")
    if args.truth not in source.features and (baselines or args.truth != TRUTH):
        raise ValueError(
            f"dataset {args.dataset!r} has no column {args.truth!r}; its columns are {sorted(source.features)}"
        )
    if args.truth in source.features:
        check_image_feature(source.features[args.truth], args.truth, args.dataset)
    names = [] if args.cues == [NO_CUES] else args.cues
    masker = CueMasker(names, args.workers if args.workers > 1 else 0, args.long_side) if names else None
    network = _network(args) if args.network else None
    records = islice((pair for chunk in source.chunks for pair in source.read_records(chunk.index)), args.images)
    try:
        with tqdm(total=args.images or source.num_rows, unit="img") as bar:
            while batch := list(islice(records, 16)):
                read = [_read(source, row, record, args.truth) for row, record in batch]
                good = [picture for picture in read if picture is not None]
                images = [picture.pixels_HW3 for picture in good]
                nothing: list[dict[str, np.ndarray]] = [{}] * len(good)
                found = masker(images) if masker else nothing
                predicted = network(images) if network else nothing
                for picture, maps, more in zip(good, found, predicted, strict=True):
                    known = baseline_maps(picture.pixels_HW3) if baselines else {}
                    picture.maps |= {name: to_bytes(map_HW) for name, map_HW in known.items()}
                    picture.maps |= _renamed(maps)
                    if more:
                        picture.maps["network"] = more["saliency"]
                    yield picture
                bar.update(len(batch))
    finally:
        if masker:
            masker.close()


def _read(source: ImageSource, row: ImageRow, record: dict[str, Any], truth: str) -> _Picture | None:
    what = "image"
    try:
        pixels_HW3, what = decode_image(row.read()), f"mask in column {truth!r}"
        mask = source.read_cell(record, truth)
        return _Picture(row.id, pixels_HW3, {}, None if mask is None else decode_mask(mask) >= FOREGROUND)
    except BrokenImage as error:
        tqdm.write(f"{row.id}, {what}: {error}")
        return None


def _renamed(maps: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Cues by name, then, of several, their mean as `fused`."""
    cues = {name: map_HW for name, map_HW in maps.items() if name != "saliency"}
    return {**cues, "fused": maps["saliency"]} if len(cues) > 1 else cues


def _show(args: argparse.Namespace) -> int:
    rows = []
    for picture in _pictures(args, baselines=False):
        # masks in the usual column were drawn by people; what a column of another name holds is not known here
        name = "truth" if args.truth == TRUTH else f"column {args.truth}"
        truth = {} if picture.truth_HW is None else {name: to_bytes(picture.truth_HW)}
        rows.append({"image": picture.pixels_HW3, **picture.maps, **truth})
    if not rows:
        raise ValueError(f"dataset {args.dataset!r}: not one image could be read")
    print(draw_saliency(rows, args.out))
    return 0


def _score(args: argparse.Namespace) -> int:
    scores: dict[str, SaliencyScores] = {}
    for picture in _pictures(args, baselines=True):
        truth_HW = picture.truth_HW
        if truth_HW is None or truth_HW.shape != picture.pixels_HW3.shape[:2]:
            raise ValueError(f"{picture.id} has no mask of its size in column {args.truth!r}")
        for name, map_HW in picture.maps.items():
            scores.setdefault(name, SaliencyScores()).add(map_HW, truth_HW)
    if not scores:
        raise ValueError(f"dataset {args.dataset!r}: not one image could be read")
    reference = next(name for name in ("fused", *args.cues, "network", *scores) if name in scores)
    table = score_table(scores, reference)
    print(written_out(table, reference))
    dataset, count = Path(args.dataset).name, len(scores[reference])
    if args.json:
        document = {"dataset": dataset, "split": args.split, "images": count, "interval": INTERVAL, "scores": table}
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    if args.plot:
        print(plot_scores(scores, table, args.plot, f"{dataset}, {args.split}: {count} images"))
    return 0
