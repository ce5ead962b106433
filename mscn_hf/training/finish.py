# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""After training: final scores, their picture, the card."""

import logging
from pathlib import Path

from accelerate import PartialState

from mscn_hf.data import ImageSource, SourceError
from mscn_hf.evaluation.loading import load_encoder
from mscn_hf.evaluation.probe import ExtractOptions, evaluate_encoder
from mscn_hf.evaluation.protocols import load_protocol
from mscn_hf.evaluation.report import format_table, plot_scores
from mscn_hf.evaluation.results import Result, append_results
from mscn_hf.hub import write_card

from .recipe_file import RunConfig

logger = logging.getLogger(__name__)


def finish_run(config: RunConfig, command: str) -> list[Result]:
    """Scores the encoder of a finished run, appends `results.jsonl`, draws `scores.png`, writes the card.

    Without a `test_split` there are no scores, and the card says so. All processes must call.
    """
    process = PartialState()
    out = Path(str(config.training.output_dir))
    results = score_run(config, command, process)
    if process.is_main_process:
        if results:
            append_results(out / "results.jsonl", results)
            plot_scores(results, out / "scores.png")
            print(format_table(results))
        card = write_card(out, results, license=config.training.license)
        print(f"encoder: {card.parent}  card: {card}")
    process.wait_for_everyone()
    return results


def check_scoring(config: RunConfig) -> None:
    """Finds what would stop the final scores before hours of training rather than after.

    Raises:
        SourceError, FileNotFoundError, ValueError: no such split, no labels, no such protocol.
    """
    if config.data.test_split is not None and config.training.probes:
        for probe in config.training.probes:
            load_protocol(probe)
        _sources(config)


def _sources(config: RunConfig) -> tuple[ImageSource, ImageSource]:
    """The splits to fit and to score probes on."""
    opened = []
    for split in (config.data.train_split, config.data.test_split or ""):
        source = config.data.open(split)
        if source.label_column is None:
            raise SourceError(
                f"dataset {source.name!r}, split {split!r}, has no labels to score with: --test_split none trains "
                "without scores, --label_column names one"
            )
        opened.append(source)
    return opened[0], opened[1]


def score_run(config: RunConfig, command: str, process: PartialState) -> list[Result]:
    """Results of the recipe's probes for the encoder and the recipe's baselines, on the main process."""
    args, data = config.training, config.data
    if data.test_split is None or not args.probes:
        logger.info("no final scores: %s", "test_split is not set" if data.test_split is None else "no probes asked")
        return []

    train, test = _sources(config)
    encoder = str(Path(str(args.output_dir)) / "encoder")
    models = {name: f"{name}:{encoder}" for name in ("random", "unfiltered")} | {encoder: encoder, "pixels": "pixels"}
    options = ExtractOptions(
        batch_size=args.per_device_eval_batch_size,
        num_workers=args.dataloader_num_workers,
        progress=process.is_main_process and not args.disable_tqdm,
    )
    results = []
    for name in (encoder, *args.baselines):
        frozen = load_encoder(models[name], seed=args.seed).to(process.device)
        for probe in args.probes:
            protocol, settings = load_protocol(probe)
            results += evaluate_encoder(
                frozen,
                train,
                test,
                protocol,
                settings,
                options=options,
                seed=args.seed,
                process=process,
                command=command,
            )
    return results
