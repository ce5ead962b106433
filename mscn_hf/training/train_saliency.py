# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Trains a saliency network in DeepUSPS' two stages: each round is a run of transformers' Trainer.

`accelerate launch training/train_saliency.py --config FILE [--field value …]`, or `mscn-hf saliency train`.
"""

from __future__ import annotations

import json
import logging
import shutil
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import Trainer, TrainingArguments, set_seed

from mscn_hf.data import ImageSource, open_source
from mscn_hf.saliency.crf import mean_field
from mscn_hf.saliency.labels import LabelSets, check_columns, read_label_sets
from mscn_hf.saliency.network import SaliencyNetwork, weights_digest
from mscn_hf.saliency.notes import first_difference, read_notes, write_notes
from mscn_hf.saliency.processes import processes
from mscn_hf.saliency.refine import MovingAverage, refinement_loss

from .checkpoints import mark_complete, newest_good_checkpoint, remove_half_written
from .pretrain import quiet_logs
from .saliency_arguments import SaliencyArguments, parse

logger = logging.getLogger(__name__)

# What counts as foreground in maps that a network made.
LATER_THRESHOLD = 0.5
# A round whose maps cover more than this has most likely lost the objects.
TOO_MUCH = 0.8


class RefinementTrainer(Trainer):
    """Trainer with `refinement_loss`; predictions go into a moving average before the step, where there is one.

    Args:
        threshold, beta_squared: see `refinement_loss`.
        average: of the training images' predictions.
        crf: clean them first.
    """

    def __init__(
        self,
        *args: Any,
        threshold: float,
        beta_squared: float,
        average: MovingAverage | None,
        crf: bool,
        **kwargs: Any,
    ):
        super().__init__(*args, **kwargs)
        self.threshold = threshold
        self.beta_squared = beta_squared
        self.average = average
        self.crf = crf

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """See `Trainer.compute_loss`."""
        logits_BSS = model(inputs["images"])
        if self.average is not None and model.training:
            predicted_BSS = logits_BSS.detach().float().sigmoid()
            if self.crf:
                predicted_BSS = mean_field(predicted_BSS, inputs["images"])
            # one process writes: the file is one, and which images came twice can be told only from all
            index_B, predicted_BSS = self.accelerator.gather((inputs["index"], predicted_BSS))
            if self.accelerator.is_main_process:
                self.average.update(index_B, predicted_BSS)
        loss = refinement_loss(logits_BSS, inputs["targets"], self.threshold, self.beta_squared)
        return (loss, {"logits": logits_BSS}) if return_outputs else loss

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        super()._save_checkpoint(model, trial)
        self.accelerator.wait_for_everyone()
        if self.args.should_save:
            mark_complete(Path(self._get_output_dir(trial)) / f"checkpoint-{self.state.global_step}", {})
        self.accelerator.wait_for_everyone()


def main(argv: list[str] | None = None) -> int:
    """Entry point of the script and of `mscn-hf saliency train`."""
    args = parse(sys.argv[1:] if argv is None else argv)
    quiet_logs(processes().is_main_process)
    network = train(args)
    if processes().is_main_process:
        print(network)
    return 0


def train(args: SaliencyArguments) -> Path:
    """Both stages. What a former run with the same arguments finished is not repeated.

    A round of stage 1 that was stopped begins anew, stage 2 goes on from its last checkpoint.

    Returns:
        The folder of the network.

    Raises:
        ValueError: the output folder holds another run or something else, or what `read_label_sets` refuses.
    """
    out = Path(args.output_dir)
    with processes().main_process_first():
        source = open_source(
            args.dataset_name, config_name=args.dataset_config_name, split=args.train_split, all_columns=True
        )
        check_columns(source, args.cues)
        _claim(out, args, source)
        labels = read_label_sets(source, args.cues, args.image_size, out / "labels", args.max_images, args.seed)
    logger.info("%d images, %d left out", len(labels), labels.skipped)
    refined = {}
    for cue, threshold in zip(args.cues, args.thresholds, strict=True):
        maps = labels.maps[cue]
        for iteration in range(args.iterations):
            settings = {
                "threshold": threshold if iteration == 0 else LATER_THRESHOLD,
                "beta_squared": args.refine_beta_squared,
            }
            maps = _refine(
                args, labels.only({cue: maps}), f"{cue}-{iteration + 1}", args.refine_lr * 2**iteration, settings
            )
        refined[cue] = maps
    return _final(args, labels.only(refined))


def _claim(out: Path, args: SaliencyArguments, source: ImageSource) -> None:
    """Notes what the folder is made from; refuses one that was made from something else."""
    settings = {
        name: value for name, value in asdict(args).items() if name not in ("output_dir", "dataloader_num_workers")
    }
    encoder = SaliencyNetwork.from_encoder(args.encoder, args.output_stride, args.image_size).encoder
    wanted = {
        **settings,
        "content of the dataset": f"{source.fingerprint}, {source.modified}",
        "weights of the encoder": weights_digest(encoder),
        "number of processes": processes().num_processes,
    }
    path = out / "run.json"
    known = read_notes(path)
    if not known:
        if out.exists() and any(out.iterdir()):
            raise ValueError(f"{out} is not empty and holds no run of this command: give another output_dir")
        write_notes(path, wanted)
    elif differing := first_difference(known, wanted):
        raise ValueError(f"{out} holds a run with another {differing}: give another output_dir")


def _final(args: SaliencyArguments, labels: LabelSets) -> Path:
    """Stage 2: the network that all refined sets train together."""
    out = Path(args.output_dir)
    finished = out / "network"
    process = processes()
    if finished.exists():
        logger.info("%s is there already", finished)
        return finished
    set_seed(args.seed)
    network = SaliencyNetwork.from_encoder(args.encoder, args.output_stride, args.image_size)
    threshold = LATER_THRESHOLD if args.iterations else float(np.mean(args.thresholds))
    settings = {"threshold": threshold, "beta_squared": args.final_beta_squared, "average": None}
    trainer = _trainer(args, network, labels, "final", args.final_epochs, args.final_lr, settings)
    folder = out / "rounds" / "final"
    if process.is_main_process:
        remove_half_written(folder)
    process.wait_for_everyone()
    checkpoint = newest_good_checkpoint(folder)
    trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
    if process.is_main_process:
        unfinished = out / ".network.part"
        network.save_pretrained(unfinished)
        unfinished.rename(finished)
        _log(out, "final", trainer)
    process.wait_for_everyone()
    return finished


def _refine(args: SaliencyArguments, labels: LabelSets, name: str, lr: float, settings: dict[str, Any]) -> np.ndarray:
    """One round of stage 1: the moving average of its predictions, float16 (N, S, S)."""
    out = Path(args.output_dir)
    path, unfinished = out / "refined" / f"{name}.f16", out / "refined" / f"{name}.f16.part"
    shape = labels.images_NSS3.shape[:3]
    process = processes()
    if not path.exists():
        if process.is_main_process:
            path.parent.mkdir(parents=True, exist_ok=True)
            np.memmap(unfinished, np.float16, "w+", shape=shape).flush()
        process.wait_for_everyone()
        maps = np.memmap(unfinished, np.float16, "r+", shape=shape)
        set_seed(args.seed)  # a head does not depend on the rounds before, which another run may have made
        network = SaliencyNetwork.from_encoder(args.encoder, args.output_stride, args.image_size)
        average = MovingAverage(maps, args.average)
        trainer = _trainer(args, network, labels, name, args.refine_epochs, lr, {**settings, "average": average})
        trainer.train()
        maps.flush()
        process.wait_for_everyone()
        if not all(np.isfinite(map_SS).all() for map_SS in maps):
            raise ValueError(f"round {name} made maps that are not finite: a smaller refine_lr may help")
        share = float(np.mean([(map_SS > LATER_THRESHOLD).mean() for map_SS in maps]))
        if share == 0:
            raise ValueError(f"round {name} found no foreground in any image: more refine_epochs may help")
        if process.is_main_process:
            if share > TOO_MUCH:
                logger.warning(
                    "round %s took %.0f %% of the images for foreground: a smaller refine_lr may help, and "
                    "`mscn-hf saliency show` shows whether the cue's maps are already so",
                    name,
                    100 * share,
                )
            _log(out, name, trainer, {"foreground": share})
            unfinished.replace(path)
        process.wait_for_everyone()
    return np.memmap(path, np.float16, "r", shape=shape)


def _trainer(
    args: SaliencyArguments,
    network: SaliencyNetwork,
    labels: LabelSets,
    name: str,
    epochs: int,
    lr: float,
    settings: dict[str, Any],
) -> RefinementTrainer:
    batch = args.per_device_train_batch_size * processes().num_processes
    steps = -(-len(labels) // batch) * epochs
    arguments = TrainingArguments(
        output_dir=str(Path(args.output_dir) / "rounds" / name),
        # Without a GPU several processes talk through gloo, which the Trainer takes only where it is told so.
        use_cpu=not torch.cuda.is_available(),
        run_name=f"saliency-{name}",
        num_train_epochs=epochs,
        per_device_train_batch_size=args.per_device_train_batch_size,
        learning_rate=lr,
        # Adam: there is no decay
        optim="adamw_torch",
        weight_decay=0.0,
        max_grad_norm=0.0,
        lr_scheduler_type="polynomial",
        lr_scheduler_kwargs={"power": 0.9, "lr_end": 0.0},
        dataloader_num_workers=args.dataloader_num_workers,
        bf16=args.bf16,
        seed=args.seed,
        logging_strategy="epoch",
        # a moving average has no place in a checkpoint, and a round of stage 1 is short
        save_strategy="no" if settings["average"] is not None else "steps",
        save_steps=max(1, steps // 20),
        save_total_limit=2,  # one that is whole beside the one that is being written
        report_to="none",
        remove_unused_columns=False,
        label_names=["targets"],
    )
    if arguments.n_gpu > 1:
        # Trainer would split each batch by DataParallel: other batch statistics.
        logger.warning("one process uses one of the %d GPUs; `accelerate launch` uses them all", arguments.n_gpu)
        arguments._n_gpu = 1
    return RefinementTrainer(model=network, args=arguments, train_dataset=labels, crf=args.crf, **settings)


def _log(out: Path, name: str, trainer: Trainer, more: dict[str, float] | None = None) -> None:
    with open(out / "log.jsonl", "a", encoding="utf-8") as stream:
        for entry in [*trainer.state.log_history, *([more] if more else [])]:
            stream.write(json.dumps({"round": name, **entry}) + "\n")
    shutil.rmtree(out / "rounds" / name, ignore_errors=True)
