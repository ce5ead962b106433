# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""One pre-training run, from a recipe to a folder with a published encoder, its scores, card and pictures."""

import dataclasses
import json
import logging
import shlex
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from timm.layers import convert_sync_batchnorm
from transformers import AutoImageProcessor, set_seed
from transformers.trainer_utils import TrainOutput

from mscn_hf.data import CanvasCollate, ExactLoader, ImageSource, Share, SourceError, open_order
from mscn_hf.evaluation.results import environment
from mscn_hf.methods.objectives import OBJECTIVES
from mscn_hf.methods.siamese import SiameseForPreTraining
from mscn_hf.models.preprocessing import save_preprocessor
from mscn_hf.saliency.masker import CanvasMasker
from mscn_hf.views import ViewCollator, draw_contact_sheet

from .checkpoints import RECIPE, choose_start, remove_half_written
from .checks import check_run
from .curves import draw_curves
from .monitor import OnlineMonitor, monitor_images
from .recipe_file import RunConfig, parse_run
from .trainer import SiameseTrainer

logger = logging.getLogger(__name__)

# What, with another value in the middle of a run, would make another run of it. Its length may change: a run that was
# shortened goes on.
_OPTIMIZATION = (
    "adam_beta1", "adam_beta2", "adam_epsilon", "bf16", "ema_schedule", "fp16", "lr_end_ratio", "lr_scheduler_type",
    "lr_start_ratio", "max_grad_norm", "momentum", "optim", "schedule_stretch", "trust_coefficient", "warmup_epochs",
    "weight_decay_end",
)  # fmt: skip


def main(argv: list[str] | None = None) -> int:
    """`training/pretrain.py` and `mscn-hf pretrain`: trains, then scores and describes the encoder."""
    from .finish import check_scoring, finish_run

    arguments = sys.argv[1:] if argv is None else argv
    config = parse_run(arguments)
    quiet_logs(config.training.should_log)
    many = config.training.world_size
    launcher = "mscn-hf pretrain" if many == 1 else f"accelerate launch --num_processes {many} training/pretrain.py"
    command = f"{launcher} {shlex.join(arguments)}"
    check_run(config)
    check_scoring(config)
    pretrain(config, command)
    finish_run(config, command)
    return 0


def quiet_logs(main_process: bool = True) -> None:
    """Plain lines from this package on the main process; only warnings from the libraries below."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    logging.getLogger("mscn_hf").setLevel(logging.INFO if main_process else logging.WARNING)


def pretrain(config: RunConfig, command: str = "") -> TrainOutput:
    """Trains as the recipe says and leaves `encoder/`, `views.png`, `curves.png`, `recipe.yaml` in the output folder.

    Raises:
        ValueError, TypeError: settings that do not fit together.
        SourceError: data that cannot be opened, or fewer rows than one batch a process.
        FileExistsError: the output folder holds a run and `resume` was not given.
        BrokenImagesError: too many images cannot be decoded.
    """
    check_run(config)
    args, out = config.training, Path(str(config.training.output_dir))
    if args.num_threads:
        torch.set_num_threads(args.num_threads)
    source = config.data.open(config.data.train_split, config.views.mask_column)
    if OBJECTIVES[config.model.objective].uses_labels and source.label_column is None:
        raise SourceError(
            f"{config.model.objective} needs labels, and dataset {source.name!r}, split {source.split!r}, has no "
            "label column: name it with --label_column"
        )
    loader, collator = make_loader(config, source)
    checkpoint = choose_start(out, args.resume, _identity(config, source))
    # Nobody writes into the folder before everybody has looked at it.
    PartialState().wait_for_everyone()
    steps_per_epoch = len(loader) // args.gradient_accumulation_steps
    batch = args.per_device_train_batch_size * args.world_size * args.gradient_accumulation_steps
    if args.base_learning_rate is not None:
        args.learning_rate = args.base_learning_rate * batch / 256
    total_steps = args.max_steps if args.max_steps > 0 else int(args.num_train_epochs * steps_per_epoch)
    # A run shortened on the command line keeps the shape of its schedule.
    args.warmup_steps = min(round(args.warmup_epochs * steps_per_epoch), total_steps // 2)

    set_seed(args.seed)
    model = make_model(config)
    rows = source.num_rows
    logger.info(
        "%s: %s rows of %s, split %s; %d samples a pass in %d steps of %d (%s left out of each pass)",
        config.model.method,
        rows if rows is not None else "an unknown number of",
        source.name,
        source.split,
        steps_per_epoch * batch,
        steps_per_epoch,
        batch,
        rows - steps_per_epoch * batch if rows is not None else "unknown",
    )
    if args.world_size > 1 and not (args.device.type == "cuda" and args.sync_batch_norm):
        logger.info("batch norm uses the statistics of each process")

    out.mkdir(parents=True, exist_ok=True)
    monitor = make_monitor(config, source, model, steps_per_epoch)
    trainer = SiameseTrainer(
        model,
        args,
        loader,
        collator,
        max_broken_share=config.data.max_broken_share,
        identity=_identity(config, source),
        monitor=monitor,
    )
    if args.should_save:
        remove_half_written(out)
        config.write(out / RECIPE)
        draw_views(config, out / "views.png", source=source)
    result = _train(trainer, checkpoint, total_steps)
    if args.should_save:
        model.published_encoder.save_pretrained(out / "encoder")
        write_preprocessor(config, out / "encoder")
        facts = _facts(config, source, trainer, command)
        facts["resumed"] = checkpoint is not None
        path = out / "encoder" / "training.json"
        if not path.exists() or checkpoint is None or trainer.state.global_step > _step_of(checkpoint):
            path.write_text(json.dumps(facts, indent=1, ensure_ascii=False))
        (out / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in trainer.state.log_history))
        draw_curves(
            trainer.state.log_history, out / "curves.png", f"{config.model.method} on {Path(source.name).name}"
        )
    trainer.accelerator.wait_for_everyone()
    return result


def _train(trainer: SiameseTrainer, checkpoint: Path | None, total_steps: int) -> TrainOutput:
    """Trains from the checkpoint on; a run that has reached its last step is only loaded.

    Trainer itself would take one step more: it looks whether it is done after a step, not before.
    """
    if checkpoint is None or _step_of(checkpoint) < total_steps:
        return trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    logger.info("%s is the last step of this run: nothing is left to train", checkpoint.name)
    return trainer.load_finished(checkpoint)


def make_loader(config: RunConfig, source: ImageSource) -> tuple[ExactLoader, ViewCollator]:
    """This process's batches and the collator that makes their views."""
    args, data = config.training, config.data
    batch = args.per_device_train_batch_size
    share = Share(args.seed, args.process_index, args.world_size, batch * args.gradient_accumulation_steps)
    order = open_order(source, share, window_bytes=data.window_mb * 2**20, samples_per_epoch=data.samples_per_epoch)
    collator = make_collator(config)
    loader = ExactLoader(
        order,
        collator,
        batch,
        num_workers=args.dataloader_num_workers,
        pin_memory=args.dataloader_pin_memory and args.device.type == "cuda",
        prefetch_factor=args.dataloader_prefetch_factor or 2,
    )
    return loader, collator


def make_collator(config: RunConfig) -> ViewCollator:
    """What turns samples into batches and batches into views, with masks of a column or a network where named."""
    with_masks = config.views.mask_column is not None
    collate = CanvasCollate(config.data.canvas_size, with_masks=with_masks)
    network = config.views.mask_network
    masker = None if network is None else CanvasMasker(network)
    return ViewCollator(config.views, config.training.seed, collate, masker)


def make_model(config: RunConfig) -> SiameseForPreTraining:
    """The pre-training network with new weights, in the memory format and with the batch norm of the run."""
    model = SiameseForPreTraining(check_run(config))
    args = config.training
    if args.channels_last:
        model = model.to(memory_format=torch.channels_last)  # type: ignore[call-arg]
    if args.world_size > 1 and args.device.type == "cuda" and args.sync_batch_norm:
        model = convert_sync_batchnorm(model)  # timm's, as torch's drops activations that are fused with the norm
    return model


def make_monitor(
    config: RunConfig, source: ImageSource, model: SiameseForPreTraining, steps_per_epoch: int
) -> OnlineMonitor | None:
    """The online k-NN and RankMe, or None where the run wants none."""
    args = config.training
    if args.monitor_epochs == 0 or args.monitor_images < 4:
        return None
    every = max(1, round(args.monitor_epochs * steps_per_epoch))
    if not args.should_log:
        return OnlineMonitor(torch.empty(0), None, every)
    images, labels = monitor_images(source, image_processor(config), args.monitor_images, args.seed)
    return OnlineMonitor(images, labels, every)


def write_preprocessor(config: RunConfig, folder: str | Path) -> None:
    """Writes preprocessor_config.json, which a native encoder's own `save_pretrained` does not."""
    save_preprocessor(folder, config.model.preprocessor(config.views.image_mean, config.views.image_std))


def image_processor(config: RunConfig) -> Any:
    """The published encoder's image processor, as its users will get it."""
    with tempfile.TemporaryDirectory() as folder:
        write_preprocessor(config, folder)
        return AutoImageProcessor.from_pretrained(folder, backend="pil")


def draw_views(
    config: RunConfig, path: str | Path, images: int | None = None, source: ImageSource | None = None
) -> Path:
    """A contact sheet of the recipe's views of the first images of a run; by default as many as a page holds."""
    images = images or min(8, max(3, 24 // len(config.views.expand())))
    source = source or config.data.open(config.data.train_split, config.views.mask_column)
    count = min(images, source.num_rows or images)
    order = open_order(
        source,
        Share(config.training.seed, batch_size=count),
        window_bytes=config.data.window_mb * 2**20,
        samples_per_epoch=config.data.samples_per_epoch,
    )
    collator = make_collator(config)
    return draw_contact_sheet(collator, next(iter(ExactLoader(order, collator, count))), path, count)


def _identity(config: RunConfig, source: ImageSource) -> dict[str, Any]:
    args = config.training
    return {
        "data": source.fingerprint,
        "seed": args.seed,
        "processes": args.world_size,
        "per_device_train_batch_size": args.per_device_train_batch_size,
        "gradient_accumulation_steps": args.gradient_accumulation_steps,
        "views": config.views.to_dict(),
        "canvas_size": config.data.canvas_size,
        "window_mb": config.data.window_mb,
        "samples_per_epoch": config.data.samples_per_epoch,
        "optimizer": args.optimizer,
        "base_learning_rate": args.base_learning_rate,
        "weight_decay": args.weight_decay,
        "learning_rate": args.learning_rate if args.base_learning_rate is None else None,
        **{name: getattr(getattr(args, name), "value", getattr(args, name)) for name in _OPTIMIZATION},
        "network": {name: value for name, value in dataclasses.asdict(config.model).items() if name != "method"},
    }


def _first_and_last(name: str, log: list[dict[str, Any]]) -> list[float] | None:
    """A logged figure before training and at its end; None where it was not measured."""
    values = [line[name] for line in log if name in line]
    return [values[0], values[-1]] if values else None


def _step_of(checkpoint: Path) -> int:
    return int(checkpoint.name.rsplit("-", 1)[1])


def _facts(config: RunConfig, source: ImageSource, trainer: SiameseTrainer, command: str) -> dict[str, Any]:
    return {
        "method": config.model.method,
        "recipe": config.document,
        "dataset": {
            "name": source.name,
            "config": source.config_name,
            "split": source.split,
            "revision": source.revision,
            "rows": source.num_rows,
        },
        "environment": environment(),
        "samples_seen": trainer.state.global_step * trainer.samples_per_step,
        "steps": trainer.state.global_step,
        "epochs": trainer.state.epoch,
        "batch_size": trainer.samples_per_step,
        "seconds": round(trainer.seconds, 1),
        "skipped_images": trainer.broken,
        **({"masks": trainer.masks} if config.views.mask_column or config.views.mask_network else {}),
        "rankme": _first_and_last("rankme", trainer.state.log_history),
        "command": command,
        "license": config.training.license,
    }
