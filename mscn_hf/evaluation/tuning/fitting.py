# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Trains linear heads, or an encoder with its head, by transformers' Trainer on augmented images."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from accelerate.utils import gather_object
from torch import Tensor, nn
from torch.optim import SGD, AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR
from transformers import (
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from mscn_hf.data import CanvasCollate, ExactLoader, Share
from mscn_hf.views.collator import ViewCollator

from ..task import Task
from .classifier import LinearHeads
from .images import Pool
from .settings import REFERENCE_BATCH, TuningSettings
from .view import input_format, training_view

# A canvas of 512 pixels for views of 224, as in pre-training.
CANVAS_PER_INPUT = 512 / 224

# Steps between two looks at whether the heads have diverged; each look waits for the device.
CHECK_STEPS = 50


@dataclass
class Fit:
    """What a training run did.

    Attributes:
        images: that it was given.
        steps: taken; fewer than planned where every head diverged.
        batch_size: images a step, over all ranks.
        loss: mean over the steps, of the sum over heads.
        broken: images that could not be decoded, each counted once.
        canvas_size: longer side in pixels that images were shrunk to.
    """

    images: int
    steps: int
    batch_size: int
    loss: float
    broken: int
    canvas_size: int


class HeadsTrainer(Trainer):
    """Trainer on the batches of an `ExactLoader`; the loss is the sum over heads of the mean cross-entropy.

    The gradient of a sum reaches each head from its own term alone, so heads with other learning rates, even ones
    that diverge, do not disturb one another.
    """

    def __init__(
        self,
        model: LinearHeads,
        args: TrainingArguments,
        loader: ExactLoader,
        views: ViewCollator,
        optimizer: Optimizer,
        scheduler: LambdaLR,
    ) -> None:
        self.loader, self.views = loader, views
        self.broken: set[str] = set()
        super().__init__(model=model, args=args, optimizers=(optimizer, scheduler))
        self.remove_callback(PrinterCallback)
        self.add_callback(_StopWhenLost(model))

    def get_train_dataloader(self) -> ExactLoader:  # type: ignore[override]
        return self.loader

    def floating_point_ops(self, inputs: dict[str, Any]) -> int:
        return 0  # Trainer's estimate counts tokens

    def _get_grad_norm(self, *args: Any, **kwargs: Any) -> None:
        # With max_grad_norm=0 Trainer still clips, at infinity, which multiplies all gradients by NaN once one head's
        # are not finite, or their squares overflow.
        return None

    def _prepare_inputs(self, inputs: dict[str, Any]) -> dict[str, Any]:
        self.broken.update(name for name, _ in inputs["broken"])
        if len(inputs["broken"]) == len(inputs["ids"]):
            name, reason = inputs["broken"][0]
            raise ValueError(f"not one image of a training batch can be decoded, the first is {name} ({reason})")
        images_BCHW = self.views.make_views(inputs, self.args.device)[0]
        return {"images": images_BCHW, "labels": inputs["labels"].to(self.args.device)}

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):  # type: ignore[no-untyped-def]
        logits_BGK = model(inputs["images"])
        loss = heads_loss(logits_BGK, inputs["labels"])
        return (loss, {"logits": logits_BGK}) if return_outputs else loss


class _StopWhenLost(TrainerCallback):
    """Ends a run once every head has diverged.

    The heads' weights are looked at, not the loss: they are the same on all ranks, which must stop at the same step.
    """

    def __init__(self, model: LinearHeads) -> None:
        self._model = model

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if state.global_step % CHECK_STEPS == 0:
            self._look(control)

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self._look(control)

    def _look(self, control: TrainerControl) -> None:
        if not any(self._model.finite()):
            control.should_training_stop = True


def heads_loss(logits_BGK: Tensor, labels_B: Tensor) -> Tensor:
    """Sum over the G heads of the mean cross-entropy over the batch."""
    labels_BG = labels_B[:, None].expand(-1, logits_BGK.shape[1])
    loss = nn.functional.cross_entropy(logits_BGK.flatten(0, 1), labels_BG.flatten(), reduction="none")
    return loss.view(labels_BG.shape).mean(dim=0).sum()


def fit_heads(
    model: LinearHeads, groups: Sequence[dict[str, Any]], pool: Pool, settings: TuningSettings, task: Task
) -> Fit:
    """Trains in place on all ranks, which hold the same weights and buffers afterwards.

    A run in which every head has diverged is ended early; see `LinearHeads.finite`.

    Args:
        model: on the encoder's device.
        groups: parameter groups with `params`, `lr` for a batch of 256, and `weight_decay`.
        pool: the training images.
        settings: see `TuningSettings`.
        task: for the encoder's preprocessing, the options, the seed and the processes.

    Raises:
        ValueError: a batch size that the processes cannot share, fewer images than processes, a device that Trainer
            would not use, a batch without one good image, or features of a frozen encoder that are not finite.
    """
    process, options = task.process, task.options
    rank, ranks = (process.process_index, process.num_processes) if process is not None else (0, 1)
    per_rank = _batch_of_rank(settings.batch_size, len(pool), ranks)
    form = input_format(task.encoder.preprocess)
    canvas_size = settings.canvas_size or round(CANVAS_PER_INPUT * form.size)
    recipe = training_view(form, settings.crop_scale, settings.crop_ratio, settings.flip_p)
    views = ViewCollator(recipe, task.seed, CanvasCollate(canvas_size))
    loader = ExactLoader(
        pool.order(Share(task.seed, rank, ranks, per_rank)),
        views,
        per_rank,
        num_workers=options.num_workers,
        pin_memory=task.encoder.device.type == "cuda",
    )
    scale = per_rank * ranks / REFERENCE_BATCH
    optimizer = make_optimizer([{**group, "lr": group["lr"] * scale} for group in groups], settings)
    rates, steps_per_epoch = settings.rates(), len(loader)
    scheduler = LambdaLR(optimizer, lambda step: rates.share(step, steps_per_epoch))
    # Trainer seeds torch's global generators; what comes after this run must not depend on it.
    devices = [task.encoder.device] if task.encoder.device.type == "cuda" else []
    with tempfile.TemporaryDirectory() as folder, torch.random.fork_rng(devices=devices):
        args = _arguments(folder, settings, task, per_rank, model.frozen)
        trainer = HeadsTrainer(model, args, loader, views, optimizer, scheduler)
        output = trainer.train()
    if ranks > 1:
        _share_buffers(model)
    broken = gather_object([trainer.broken]) if ranks > 1 else [trainer.broken]
    broken_ids = set().union(*broken)
    steps, loss = output.global_step, output.training_loss
    return Fit(len(pool), steps, per_rank * ranks, loss, len(broken_ids), canvas_size)


def _share_buffers(model: LinearHeads) -> None:
    """Gives all ranks the buffers of rank 0.

    DistributedDataParallel does so before every step, in which each rank's batch norm then takes up its own batch.
    """
    for buffer in model.buffers():
        sent = buffer.contiguous()
        torch.distributed.broadcast(sent, src=0)
        buffer.copy_(sent)


def make_optimizer(groups: Sequence[dict[str, Any]], settings: TuningSettings) -> Optimizer:
    """torch's SGD or AdamW over parameter groups that bring `lr` and `weight_decay`."""
    if settings.optimizer == "adamw":
        return AdamW(list(groups))
    return SGD(list(groups), momentum=settings.momentum, nesterov=settings.nesterov)


def _batch_of_rank(batch_size: int, images: int, ranks: int) -> int:
    if batch_size % ranks:
        raise ValueError(f"a batch of {batch_size} cannot be shared equally by {ranks} processes")
    per_rank = min(batch_size // ranks, images // ranks)
    if per_rank == 0:
        raise ValueError(f"{images} training images are fewer than the {ranks} processes")
    return per_rank


def _arguments(folder: str, settings: TuningSettings, task: Task, per_rank: int, frozen: bool) -> TrainingArguments:
    device = task.encoder.device
    args = TrainingArguments(
        output_dir=folder,
        per_device_train_batch_size=per_rank,
        num_train_epochs=settings.epochs,
        max_grad_norm=0.0,
        save_strategy="no",
        logging_strategy="epoch",
        logging_nan_inf_filter=False,
        report_to=[],
        remove_unused_columns=False,
        disable_tqdm=not (task.options.progress and task.is_main),
        use_cpu=device.type == "cpu",
        ddp_timeout=43200,
        # Encoders may have parameters that their features do not depend on (a pooler); heads are all used.
        ddp_find_unused_parameters=not frozen,
        seed=task.seed,
    )
    # Of several GPUs in one process Trainer would take all, by DataParallel, and split each batch.
    args._n_gpu = min(args.n_gpu, 1)
    if _place(device) != _place(args.device):
        raise ValueError(
            f"the encoder is on {device}, but training would run on {args.device}: choose the GPU by "
            "CUDA_VISIBLE_DEVICES instead of --device"
        )
    return args


def _place(device: torch.device) -> tuple[str, int]:
    """Kind and number of a device; plain `cuda` is the current one."""
    if device.type == "cuda" and device.index is None:
        return device.type, torch.cuda.current_device()
    return device.type, device.index or 0
