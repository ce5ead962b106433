# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""transformers' Trainer for Siamese networks: views on the device, an exact data position, counted broken images."""

import json
import logging
import os
import time
from pathlib import Path
from typing import Any, NoReturn

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR, LRScheduler
from transformers import Trainer, TrainerCallback, TrainerState
from transformers.trainer_utils import TrainOutput

from mscn_hf.data import ExactLoader
from mscn_hf.evaluation.analysis import feature_std
from mscn_hf.methods.siamese import SiameseForPreTraining, SiameseOutput
from mscn_hf.views.collator import ViewCollator
from mscn_hf.views.draws import Draws

from .arguments import PretrainingArguments
from .checkpoints import MARKER, mark_complete
from .checks import check_memory_flat
from .monitor import OnlineMonitor, UninformedWatch
from .optimizer import build_optimizer, decay_exempt
from .schedules import cosine_between, cosine_ema, linear_ema, warmup_cosine

logger = logging.getLogger(__name__)

# A share is judged against at least this many images, so that one broken file among the first ten ends nothing.
_FEWEST_IMAGES_JUDGED = 1000
# Several ranks join their counts only now and then: it makes the device wait.
_BATCHES_BETWEEN_COUNTS = 10


class BrokenImagesError(RuntimeError):
    """More images could not be decoded than the run allows."""


class NonFiniteLossError(RuntimeError):
    """The loss became NaN or infinite."""


class TargetUpdate(TrainerCallback):
    """Moves the target network after every optimizer step, before logs and checkpoints of that step."""

    def __init__(self, base: float, schedule: str, stretch: float = 1.0):
        self.base, self.schedule, self.stretch = base, schedule, stretch

    def on_step_end(self, args, state, control, model=None, **kwargs):  # type: ignore[no-untyped-def]
        total = stretched(state.max_steps, self.stretch)
        rate = {"cosine": cosine_ema, "linear": linear_ema}.get(self.schedule)
        model.update_target(self.base if rate is None else rate(state.global_step, total, self.base))


class WeightDecaySchedule(TrainerCallback):
    """Moves the weight decay of the groups that have one from its first to its last value, along a cosine."""

    def __init__(self, first: float, last: float, stretch: float = 1.0):
        self.first, self.last, self.stretch = first, last, stretch

    def on_step_begin(self, args, state, control, optimizer=None, **kwargs):  # type: ignore[no-untyped-def]
        value = cosine_between(state.global_step, stretched(state.max_steps, self.stretch), self.first, self.last)
        for group in optimizer.param_groups:
            if group["weight_decay"] > 0:
                group["weight_decay"] = value


class Position(TrainerCallback):
    """Keeps `state.epoch` true in a resumed pass, where Trainer counts the steps of the pass from zero."""

    def __init__(self, steps_per_epoch: int):
        self.steps_per_epoch = steps_per_epoch

    def on_step_end(self, args, state, control, **kwargs):  # type: ignore[no-untyped-def]
        state.epoch = state.global_step / self.steps_per_epoch


def stretched(steps: int, stretch: float) -> int:
    """Length of a schedule that is cut off by the end of training (MSN: a quarter longer than it)."""
    return max(round(steps * stretch), 1)


class SiameseTrainer(Trainer):
    """Pre-trains a `SiameseForPreTraining` on the batches of an `ExactLoader`.

    Args:
        model: the network.
        args: the run's arguments; `learning_rate` and `warmup_steps` already computed.
        loader: this rank's batches of canvases.
        collator: makes the views on the device.
        max_broken_share: share of images, over all ranks, that may be broken.
        monitor: online k-NN and signs of collapse; its figures join the log.
        identity: facts that must not change between a run and its continuation; written into every checkpoint.
    """

    model: SiameseForPreTraining
    args: PretrainingArguments

    def __init__(
        self,
        model: SiameseForPreTraining,
        args: PretrainingArguments,
        loader: ExactLoader,
        collator: ViewCollator,
        *,
        max_broken_share: float = 0.01,
        monitor: OnlineMonitor | None = None,
        identity: dict[str, Any] | None = None,
    ):
        steps_per_epoch = len(loader) // args.gradient_accumulation_steps
        own: list[TrainerCallback] = [Position(steps_per_epoch)]
        if model.config.ema is not None:
            own.append(TargetUpdate(model.config.ema, args.ema_schedule, args.schedule_stretch))
        if args.weight_decay_end is not None:
            own.append(WeightDecaySchedule(args.weight_decay, args.weight_decay_end, args.schedule_stretch))
        check_memory_flat(args, model.config)
        if bounds := model.objective.uninformed(args.per_device_train_batch_size * args.world_size):
            own.append(UninformedWatch(bounds))
        if monitor is not None:
            own.append(monitor)
        self.loader, self.collator, self.monitor = loader, collator, monitor
        self.max_broken_share, self.identity = max_broken_share, identity or {}
        self.output_dir = Path(str(args.output_dir))
        self.broken = self.seen = 0
        # Of saliency masks: those that could not be decoded, and those drawn whose foreground was too small.
        self.masks = {"broken": 0, "too_small": 0}
        self.samples_per_step = args.per_device_train_batch_size * args.world_size * args.gradient_accumulation_steps
        self._uncounted = torch.zeros(5, dtype=torch.int64)
        self._masks_seen_unused = 0
        self._micro_batches = 0
        self._seconds_before, self._started = 0.0, 0.0
        self._loss: Tensor | None = None
        self._terms: dict[str, Tensor] = {}
        self._features: Tensor | None = None
        super().__init__(model=model, args=args, callbacks=own)

    def get_train_dataloader(self) -> ExactLoader:  # type: ignore[override]
        return self.loader

    def train(self, resume_from_checkpoint: str | None = None, **kwargs: Any) -> Any:  # type: ignore[override]
        if resume_from_checkpoint is not None:
            state = json.loads((Path(resume_from_checkpoint) / "trainer_state.json").read_text())
            micro_batches = state["global_step"] * self.args.gradient_accumulation_steps
            self.loader.seek(micro_batches % len(self.loader))
            self._take_counts(Path(resume_from_checkpoint))
        self._started = time.time()
        self._open_sample_record(resume_from_checkpoint)
        return super().train(resume_from_checkpoint=resume_from_checkpoint, **kwargs)

    def load_finished(self, checkpoint: Path) -> TrainOutput:
        """Takes weights, log and counts from a checkpoint without training."""
        self._load_from_checkpoint(str(checkpoint))
        self.state = TrainerState.load_from_json(str(checkpoint / "trainer_state.json"))
        self._take_counts(checkpoint)
        return TrainOutput(self.state.global_step, float("nan"), {})

    def _take_counts(self, checkpoint: Path) -> None:
        counts = json.loads((checkpoint / "images.json").read_text())
        self.broken, self.seen, self._seconds_before = counts["broken"], counts["seen"], counts["seconds"]
        self.masks = counts.get("masks", self.masks)

    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        args = self.args
        if args.optimizer == "trainer":
            return super().create_optimizer(model)
        if self.optimizer is None:
            self.optimizer = build_optimizer(
                self.model if model is None else model,
                args.optimizer,
                args.learning_rate,
                args.weight_decay,
                args.momentum,
                args.trust_coefficient,
            )
        return self.optimizer

    def create_scheduler(self, num_training_steps: int, optimizer: torch.optim.Optimizer | None = None) -> LRScheduler:
        args = self.args
        if (args.lr_start_ratio, args.lr_end_ratio, args.schedule_stretch) == (0.0, 0.0, 1.0):
            return super().create_scheduler(num_training_steps, optimizer)
        if self.lr_scheduler is None:
            total, warmup = stretched(num_training_steps, args.schedule_stretch), int(args.warmup_steps)
            self.lr_scheduler = LambdaLR(
                optimizer or self.optimizer,  # type: ignore[arg-type]
                lambda step: warmup_cosine(step, total, warmup, args.lr_start_ratio, args.lr_end_ratio),
            )
            self._created_lr_scheduler = True
        return self.lr_scheduler

    def get_decay_parameter_names(self, model: nn.Module) -> list[str]:
        # Trainer's rule goes by name and misses ResNet's `normalization` layers.
        exempt = decay_exempt(model)
        return [name for name, parameter in model.named_parameters() if parameter.ndim > 1 and name not in exempt]

    def floating_point_ops(self, inputs: dict[str, Any]) -> int:
        return 0  # Trainer's estimate counts tokens

    def _prepare_inputs(self, inputs: dict[str, Any]) -> dict[str, Any]:
        self._record_samples(inputs["ids"])
        views = self.collator.make_views(inputs, self.args.device)
        self._count(inputs["broken"], len(inputs["ids"]), inputs.get("broken_masks", []))
        if self.args.channels_last:
            views = [images_BCHW.contiguous(memory_format=torch.channels_last) for images_BCHW in views]
        prepared = {"views": views, "keys": Draws(self.args.seed, inputs["epoch"], inputs["position"]).keys_B}
        if self.model.objective.uses_labels:
            # On the CPU: the loss looks at their range, which makes no device wait there.
            prepared["labels"] = inputs["labels"]
        return prepared

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):  # type: ignore[no-untyped-def]
        output = self._view_by_view(model, inputs) if self.args.memory_flat else model(**inputs)
        loss = output["loss"]
        # On CUDA a look at every loss would stop the device each step; there it is done when the log is written.
        if loss.device.type == "cpu" and not torch.isfinite(loss):
            self._not_finite(float(loss.detach()))
        self._loss = loss.detach()
        self._terms = output["losses"] or {}
        self._features = output["embeddings"][0]
        return (loss, output) if return_outputs else loss

    def _view_by_view(self, model: Any, inputs: dict[str, Any]) -> SiameseOutput:
        """The loss of all views, with the gradients of all but the last one already computed.

        Each view's activations are freed by its own backward pass; Trainer does the last view's. Processes exchange
        gradients with the last one only, when those of the others have been added up.
        """
        with self.accelerator.autocast():
            targets = self.model.encode_targets(inputs["views"])
        *others, last = self.model.config.online_views_of(len(inputs["views"]))
        parts = []
        for view in others:
            with self.accelerator.no_sync(model):
                part = model(**inputs, targets=targets, only=view)
                self.accelerator.backward(part["loss"] / self.current_gradient_accumulation_steps)
            parts.append(part)
            part["loss"] = part["loss"].detach()
        output = model(**inputs, targets=targets, only=last)
        losses = {name: sum((part["losses"][name] for part in parts), term) for name, term in output["losses"].items()}
        loss = sum((part["loss"] for part in parts), output["loss"])
        first = parts[0]["embeddings"] if parts else output["embeddings"]
        return SiameseOutput(loss=loss, embeddings=first, losses=losses)

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        if "loss" in logs:
            if not torch.isfinite(torch.tensor(logs["loss"])):
                self._not_finite(logs["loss"])
            logs["samples_seen"] = self.state.global_step * self.samples_per_step
            if len(self._terms) > 1:
                logs.update({f"loss_{name}": round(float(term), 5) for name, term in self._terms.items()})
            if self._features is not None:
                logs["feature_std"] = round(feature_std(self._features.float()), 5)
            if self.monitor is not None:
                logs.update(self.monitor.take())
            if self.broken:
                logs["broken_images"] = self.broken
            logs.update({f"masks_{name}": count for name, count in self.masks.items() if count})
        super().log(logs, *args, **kwargs)

    def _not_finite(self, loss: float) -> NoReturn:
        raise NonFiniteLossError(
            f"the loss is {loss} at step {self.state.global_step + 1}; lower base_learning_rate, "
            "or lengthen warmup_epochs"
        )

    # ---- checkpoints

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        self._join_counts()
        self._refuse_bad_weights()
        folder = Path(self._get_output_dir(trial)) / f"checkpoint-{self.state.global_step}"
        if self.args.should_save:
            (folder / MARKER).unlink(missing_ok=True)  # an older run's: what is written now is not good yet
        super()._save_checkpoint(model, trial)
        self.accelerator.wait_for_everyone()
        if self.args.should_save:
            counts = {"broken": self.broken, "seen": self.seen, "seconds": self.seconds, "masks": self.masks}
            (folder / "images.json").write_text(json.dumps(counts))
            mark_complete(folder, {**self.identity, "global_step": self.state.global_step})
        self.accelerator.wait_for_everyone()

    @property
    def seconds(self) -> float:
        """Wall time of training up to now, over all processes that continued one another."""
        return self._seconds_before + (time.time() - self._started if self._started else 0.0)

    def _refuse_bad_weights(self) -> None:
        """Ends the run on all ranks rather than mark a checkpoint good whose last loss was not finite on any."""
        if self._loss is None:
            return
        bad = (~torch.isfinite(self._loss)).to(torch.int64)
        if self.args.world_size > 1:
            dist.all_reduce(bad)
        if bad.item():
            self._not_finite(float(self._loss))

    # ---- broken images

    def _count(self, broken: list[tuple[str, str]], images: int, broken_masks: list[tuple[str, str]]) -> None:
        """Counts broken images over all ranks and ends the run on all of them beyond the allowed share."""
        self._write_broken("broken_images.jsonl", "image", broken, "another one of its batch stands in")
        self._write_broken("broken_masks.jsonl", "mask of image", broken_masks, "the image keeps its background")
        unused = self.collator.unmasked - self._masks_seen_unused
        self._masks_seen_unused = self.collator.unmasked
        useless = int(len(broken) == images)
        self._uncounted += torch.tensor([len(broken), images, useless, len(broken_masks), unused])
        self._micro_batches += 1
        if self.args.world_size == 1 or self._micro_batches % _BATCHES_BETWEEN_COUNTS == 0:
            self._join_counts()

    def _write_broken(self, file_name: str, what: str, broken: list[tuple[str, str]], remedy: str) -> None:
        if broken:
            with open(self.output_dir / file_name, "a", encoding="utf-8") as stream:
                for name, reason in broken:
                    logger.warning("%s %s is broken: %s; %s", what, name, reason, remedy)
                    stream.write(json.dumps({"id": name, "reason": reason}) + "\n")

    def _join_counts(self) -> None:
        counts = self._uncounted
        if self.args.world_size > 1:
            counts = counts.to(self.args.device)
            dist.all_reduce(counts)
        broken, seen, useless_batches, broken_masks, unused = counts.tolist()
        self._uncounted.zero_()
        self.masks = {
            "broken": self.masks["broken"] + broken_masks,
            "too_small": self.masks["too_small"] + unused,
        }
        self.broken += broken
        self.seen += seen
        if useless_batches:
            where = f"see {self.args.output_dir}/broken_images.jsonl"
            raise BrokenImagesError(f"a whole batch of images cannot be decoded; {where}")
        per_pass = len(self.loader) * self.args.per_device_train_batch_size * self.args.world_size
        judged = max(self.seen, min(_FEWEST_IMAGES_JUDGED, per_pass))
        for what, count in (("images", self.broken), ("masks", self.masks["broken"])):
            if count > self.max_broken_share * judged:
                raise BrokenImagesError(
                    f"{count} of {self.seen} {what} cannot be decoded, more than max_broken_share="
                    f"{self.max_broken_share:g} allows; see {self.args.output_dir}/broken_{what}.jsonl"
                )

    # ---- record of consumed samples

    def _record_path(self) -> Path:
        return self.output_dir / f"samples.rank{self.args.process_index}.txt"

    def _open_sample_record(self, resumed_from: str | None) -> None:
        """Cuts the record back to the checkpoint: what was consumed after it will be consumed again."""
        if not self.args.record_samples:
            return
        path = self._record_path()
        kept: list[str] = []
        if resumed_from is not None and path.is_file():
            step = int(os.path.basename(os.path.normpath(resumed_from)).rsplit("-", 1)[1])
            complete = [line for line in path.read_text().splitlines(keepends=True) if line.endswith("\n")]
            kept = [line for line in complete if int(line.split(" ", 1)[0]) < step]
        path.write_text("".join(kept))

    def _record_samples(self, ids: list[str]) -> None:
        if self.args.record_samples:
            with open(self._record_path(), "a", encoding="utf-8") as stream:
                stream.write(f"{self.state.global_step} {' '.join(ids)}\n")
