# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Trains a saliency network in DeepUSPS' two stages: each round is a run of transformers' Trainer.

`accelerate launch training/train_saliency.py --config FILE [--field value …]`, or `mscn-hf saliency train`.
"""

from __future__ import annotations

import difflib
import json
import logging
import shutil
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from transformers import HfArgumentParser, Trainer, TrainingArguments, set_seed

from mscn_hf.data import open_source
from mscn_hf.resources import find_resource, list_resources
from mscn_hf.saliency.crf import mean_field
from mscn_hf.saliency.labels import LabelSets, read_label_sets
from mscn_hf.saliency.network import SaliencyNetwork
from mscn_hf.saliency.processes import processes
from mscn_hf.saliency.refine import MovingAverage, refinement_loss

from .pretrain import quiet_logs

logger = logging.getLogger(__name__)

# DeepUSPS' code: markov_chain, dense_sparse and robust_background; manifold_ranking, which ReLICv2 puts in the place
# of hierarchical saliency (0.36), has no published value.
_THRESHOLDS = {"robust_background": 0.25, "manifold_ranking": 0.25, "dense_sparse": 0.23, "markov_chain": 0.31}


@dataclass
class SaliencyArguments:
    """A run of both stages. Values are DeepUSPS' where the comment of a recipe does not say otherwise."""

    dataset_name: str = field(metadata={"help": "Dataset with a column for each cue, of `mscn-hf saliency cues`."})
    encoder: str = field(metadata={"help": "Self-supervised encoder to start from: folder or Hub id for AutoModel."})
    output_dir: str = field(metadata={"help": "Gets network/, log.jsonl and the refined maps."})
    dataset_config_name: str | None = field(default=None, metadata={"help": "Configuration of the dataset."})
    train_split: str = field(default="train", metadata={"help": "Split to train on."})
    cues: list[str] = field(default_factory=lambda: list(_THRESHOLDS), metadata={"help": "Columns of the cues' maps."})
    thresholds: list[float] = field(
        default_factory=list,
        metadata={"help": "Foreground of each cue's maps in the first iteration, by default DeepUSPS'; 0.5 later."},
    )
    max_images: int | None = field(default=2500, metadata={"help": "Random part of the split; null: all."})
    image_size: int = field(default=432, metadata={"help": "Side in pixels of the squares."})
    output_stride: int = field(default=8, metadata={"help": "How much coarser the encoder's last map is."})
    iterations: int = field(default=3, metadata={"help": "Rounds of stage 1, each from the encoder anew."})
    refine_epochs: int = field(default=25, metadata={"help": "Of each round of stage 1."})
    refine_lr: float = field(default=1e-6, metadata={"help": "Of the first round; doubled in each further one."})
    refine_beta_squared: float = field(default=1.0, metadata={"help": "Of the F-loss in stage 1."})
    final_epochs: int = field(default=200, metadata={"help": "Of stage 2."})
    final_lr: float = field(default=1e-4, metadata={"help": "Of stage 2."})
    final_beta_squared: float = field(default=4.0, metadata={"help": "Of the F-loss in stage 2."})
    average: float = field(default=0.7, metadata={"help": "Share of the past in the moving average of predictions."})
    crf: bool = field(default=True, metadata={"help": "Clean predictions by a CRF before they are averaged."})
    per_device_train_batch_size: int = field(default=10, metadata={"help": "Images a device and step."})
    dataloader_num_workers: int = field(default=0, metadata={"help": "Processes that read the memory maps."})
    bf16: bool = field(default=False, metadata={"help": "bfloat16 autocast."})
    seed: int = field(default=0, metadata={"help": "Of the draw of images, the head and the order."})

    def __post_init__(self) -> None:
        if not self.thresholds:
            unknown = [cue for cue in self.cues if cue not in _THRESHOLDS]
            if unknown:
                raise ValueError(f"there is no usual threshold of {unknown[0]!r}: give thresholds, one for each cue")
            self.thresholds = [_THRESHOLDS[cue] for cue in self.cues]
        if len(self.cues) != len(self.thresholds) or not self.cues:
            raise ValueError(f"{len(self.cues)} cues have {len(self.thresholds)} thresholds: give one for each")
        if len(set(self.cues)) != len(self.cues):
            raise ValueError(f"cues name one twice: {', '.join(self.cues)}")
        if not all(0 < threshold < 1 for threshold in self.thresholds):
            raise ValueError(f"thresholds must lie in (0, 1), got {self.thresholds}")
        if self.iterations < 0 or self.refine_epochs < 1 or self.final_epochs < 1:
            raise ValueError("iterations must be at least 0, refine_epochs and final_epochs at least 1")


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
            self.average.update(inputs["index"], predicted_BSS)
        loss = refinement_loss(logits_BSS, inputs["targets"], self.threshold, self.beta_squared)
        return (loss, {"logits": logits_BSS}) if return_outputs else loss


def main(argv: list[str] | None = None) -> int:
    """Entry point of the script and of `mscn-hf saliency train`."""
    args = parse(sys.argv[1:] if argv is None else argv)
    quiet_logs(processes().is_main_process)
    network = train(args)
    if processes().is_main_process:
        print(network)
    return 0


def parse(words: list[str]) -> SaliencyArguments:
    """Arguments from `--config FILE`, a path or a name that ships here, and `--field value`, which wins.

    Raises:
        ValueError: no file, a key that is not known, or a value that does not fit.
    """
    parser = HfArgumentParser(SaliencyArguments, prog="mscn-hf saliency train", allow_abbrev=False)  # type: ignore[arg-type]
    parser.add_argument("--config", help=f"YAML file, or one of {', '.join(list_resources('saliency'))}")
    known = {action.dest for action in parser._actions} - {"help", "config"}
    words = [part for word in words for part in (word.split("=", 1) if word.startswith("--config=") else [word])]
    position = words.index("--config") + 1 if "--config" in words else len(words)
    document: dict[str, Any] = {}
    if position < len(words):
        document = yaml.safe_load(find_resource("saliency", words[position]).read_text(encoding="utf-8")) or {}
    unknown = [key for key in document if key not in known]
    if unknown:
        near = difflib.get_close_matches(unknown[0], known, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"{words[position]} has an unknown key {unknown[0]!r}{hint}")
    parser.set_defaults(**document)
    for action in parser._actions:
        if action.dest in document:
            action.required = False
    args, _ = parser.parse_args_into_dataclasses(words)  # the second is what is no field: --config
    return args


def train(args: SaliencyArguments) -> Path:
    """Both stages; rounds that a former run with the same arguments finished are not repeated.

    The last round, of the network itself, is always trained from its beginning.

    Returns:
        The folder of the network.

    Raises:
        ValueError: the output folder holds another run, or what `read_label_sets` refuses.
    """
    process = processes()
    set_seed(args.seed)
    out = Path(args.output_dir)
    with process.main_process_first():
        _claim(out, args)
        source = open_source(
            args.dataset_name, config_name=args.dataset_config_name, split=args.train_split, all_columns=True
        )
        _claim_data(out, source.fingerprint, source.modified)
        labels = read_label_sets(source, args.cues, args.image_size, out / "labels", args.max_images, args.seed)
    logger.info("%d images, %d left out", len(labels), labels.skipped)
    refined = {}
    for cue, threshold in zip(args.cues, args.thresholds, strict=True):
        maps = labels.maps[cue]
        for iteration in range(args.iterations):
            settings = {"threshold": threshold if iteration == 0 else 0.5, "beta_squared": args.refine_beta_squared}
            maps = _refine(
                args, labels.only({cue: maps}), f"{cue}-{iteration + 1}", args.refine_lr * 2**iteration, settings
            )
        refined[cue] = maps
    threshold = 0.5 if args.iterations else float(np.mean(args.thresholds))
    set_seed(args.seed)
    network = SaliencyNetwork.from_encoder(args.encoder, args.output_stride, args.image_size)
    trainer = _trainer(
        args,
        network,
        labels.only(refined),
        "final",
        args.final_epochs,
        args.final_lr,
        {"threshold": threshold, "beta_squared": args.final_beta_squared, "average": None},
    )
    trainer.train()
    if process.is_main_process:
        network.save_pretrained(out / "network")
        _log(out, "final", trainer)
    process.wait_for_everyone()
    return out / "network"


def _claim(out: Path, args: SaliencyArguments) -> None:
    notes = out / "arguments.json"
    wanted = {
        name: value for name, value in asdict(args).items() if name not in ("output_dir", "dataloader_num_workers")
    }
    if notes.exists():
        known = json.loads(notes.read_text(encoding="utf-8"))
        differing = [name for name in wanted if known.get(name) != wanted[name]]
        if differing:
            raise ValueError(f"{out} holds a run with another {differing[0]}: give another output_dir")
    else:  # written once, by the first process: the others only read
        out.mkdir(parents=True, exist_ok=True)
        notes.write_text(json.dumps(wanted, indent=1) + "\n", encoding="utf-8")


def _claim_data(out: Path, *identity: str) -> None:
    """Maps that were refined from other images must not be gone on with."""
    notes = out / "data.json"
    if notes.exists() and json.loads(notes.read_text(encoding="utf-8")) != list(identity):
        raise ValueError(f"{out} holds a run on other data: the dataset has changed; give another output_dir")
    if not notes.exists():
        notes.write_text(json.dumps(identity), encoding="utf-8")


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
        if process.is_main_process:
            _log(out, name, trainer)
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
        save_strategy="no",
        report_to="none",
        remove_unused_columns=False,
        label_names=["targets"],
    )
    return RefinementTrainer(model=network, args=arguments, train_dataset=labels, crf=args.crf, **settings)


def _log(out: Path, name: str, trainer: Trainer) -> None:
    with open(out / "log.jsonl", "a", encoding="utf-8") as stream:
        for entry in trainer.state.log_history:
            stream.write(json.dumps({"round": name, **entry}) + "\n")
    shutil.rmtree(out / "rounds" / name, ignore_errors=True)
