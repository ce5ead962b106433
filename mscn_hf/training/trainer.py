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
from transformers import Trainer, TrainerCallback, TrainerState
from transformers.trainer_utils import TrainOutput

from mscn_hf.data import ExactLoader
from mscn_hf.evaluation.analysis import feature_std
from mscn_hf.methods.siamese import SiameseForPreTraining
from mscn_hf.views.collator import ViewCollator

from .arguments import PretrainingArguments
from .checkpoints import MARKER, mark_complete
from .monitor import OnlineMonitor
from .optimizer import build_optimizer
from .schedules import cosine_ema

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

    def __init__(self, base: float, schedule: str):
        self.base, self.schedule = base, schedule

    def on_step_end(self, args, state, control, model=None, **kwargs):  # type: ignore[no-untyped-def]
        rate = self.base
        if self.schedule == "cosine":
            rate = cosine_ema(state.global_step, max(state.max_steps, 1), self.base)
        model.update_target(rate)


class Position(TrainerCallback):
    """Keeps `state.epoch` true in a resumed pass, where Trainer counts the steps of the pass from zero."""

    def __init__(self, steps_per_epoch: int):
        self.steps_per_epoch = steps_per_epoch

    def on_step_end(self, args, state, control, **kwargs):  # type: ignore[no-untyped-def]
        state.epoch = state.global_step / self.steps_per_epoch


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
            own.append(TargetUpdate(model.config.ema, args.ema_schedule))
        if monitor is not None:
            own.append(monitor)
        self.loader, self.collator, self.monitor = loader, collator, monitor
        self.max_broken_share, self.identity = max_broken_share, identity or {}
        self.output_dir = Path(str(args.output_dir))
        self.broken = self.seen = 0
        self.samples_per_step = args.per_device_train_batch_size * args.world_size * args.gradient_accumulation_steps
        self._uncounted = torch.zeros(3, dtype=torch.int64)
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

    def get_decay_parameter_names(self, model: nn.Module) -> list[str]:
        # Trainer's rule goes by name and misses ResNet's `normalization` layers.
        return [name for name, parameter in model.named_parameters() if parameter.ndim > 1]

    def floating_point_ops(self, inputs: dict[str, Any]) -> int:
        return 0  # Trainer's estimate counts tokens

    def _prepare_inputs(self, inputs: dict[str, Any]) -> dict[str, Any]:
        self._count(inputs["broken"], len(inputs["ids"]))
        self._record_samples(inputs["ids"])
        views = self.collator.make_views(inputs, self.args.device)
        if self.args.channels_last:
            views = [images_BCHW.contiguous(memory_format=torch.channels_last) for images_BCHW in views]
        return {"views": views}

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):  # type: ignore[no-untyped-def]
        output = model(**inputs)
        loss = output["loss"]
        # On CUDA a look at every loss would stop the device each step; there it is done when the log is written.
        if loss.device.type == "cpu" and not torch.isfinite(loss):
            self._not_finite(float(loss.detach()))
        self._loss = loss.detach()
        self._terms = output["losses"] or {}
        self._features = output["embeddings"][0]
        return (loss, output) if return_outputs else loss

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
            counts = {"broken": self.broken, "seen": self.seen, "seconds": self.seconds}
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

    def _count(self, broken: list[tuple[str, str]], images: int) -> None:
        """Counts broken images over all ranks and ends the run on all of them beyond the allowed share."""
        if broken:
            with open(self.output_dir / "broken_images.jsonl", "a", encoding="utf-8") as stream:
                for name, reason in broken:
                    logger.warning("image %s is broken: %s; another one of its batch stands in", name, reason)
                    stream.write(json.dumps({"id": name, "reason": reason}) + "\n")
        self._uncounted += torch.tensor([len(broken), images, int(len(broken) == images)])
        self._micro_batches += 1
        if self.args.world_size == 1 or self._micro_batches % _BATCHES_BETWEEN_COUNTS == 0:
            self._join_counts()

    def _join_counts(self) -> None:
        counts = self._uncounted
        if self.args.world_size > 1:
            counts = counts.to(self.args.device)
            dist.all_reduce(counts)
        broken, seen, useless_batches = counts.tolist()
        self._uncounted.zero_()
        self.broken += broken
        self.seen += seen
        where = f"see {self.args.output_dir}/broken_images.jsonl"
        if useless_batches:
            raise BrokenImagesError(f"a whole batch of images cannot be decoded; {where}")
        per_pass = len(self.loader) * self.args.per_device_train_batch_size * self.args.world_size
        judged = max(self.seen, min(_FEWEST_IMAGES_JUDGED, per_pass))
        if self.broken > self.max_broken_share * judged:
            raise BrokenImagesError(
                f"{self.broken} of {self.seen} images cannot be decoded, more than max_broken_share="
                f"{self.max_broken_share:g} allows; {where}"
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
