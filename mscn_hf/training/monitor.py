# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Online k-NN and signs of collapse, in the logs while a network trains.

Both use training images only: half of a fixed sample is looked up, the other half asks. The score tells how a run is
doing; it is no result, and the test split stays closed.
"""

import logging
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from transformers import TrainerCallback

from mscn_hf.data import BrokenImage, ImageRow, ImageSource, decode_image
from mscn_hf.evaluation.analysis import rankme
from mscn_hf.evaluation.probes.knn import knn_predict
from mscn_hf.models.any_encoder import has_class_token, pooled_features

logger = logging.getLogger(__name__)

_NEIGHBOURS = 20
_BATCH = 64
# Logs in a row: single batches may lie above by chance, most of all at the start.
_TIMES_ABOVE = 3


def monitor_images(source: ImageSource, processor: Any, count: int, seed: int) -> tuple[Tensor, Tensor | None]:
    """A fixed sample of a source, preprocessed as the published encoder's users will.

    Args:
        source: rows are drawn evenly over chunks, so that sources sorted by label give all classes.
        processor: transformers image processor of the encoder.
        count: images wanted.
        seed: of the draw.

    Returns:
        images (N, 3, H, W) float16, N <= count, in random order; labels (N,) int64, or None without class labels.
    """
    random = np.random.default_rng([seed, 0x6D6F6E])
    chunks = random.permutation(len(source.chunks))
    # Reading whole chunks is what a stream can do; as many as hold four times the wanted number are enough.
    rows: list[ImageRow] = []
    for index in chunks:
        rows.extend(source.read_chunk(int(index)))
        if len(rows) >= 4 * count and len(rows) >= 4 * source.chunks[int(index)].rows:  # type: ignore[operator]
            break
    images: list[Tensor] = []
    labels: list[int] = []
    for number in random.permutation(len(rows)):
        if len(images) == count:
            break
        try:
            pixels = decode_image(rows[int(number)].read())
        except BrokenImage:
            continue
        batch = processor(Image.fromarray(pixels), return_tensors="pt")["pixel_values"]
        images.append(batch[0].half())
        label = rows[int(number)].label
        labels.append(label if isinstance(label, int) else -1)
    stacked = torch.stack(images)
    return stacked, None if min(labels) < 0 or len(set(labels)) < 2 else torch.tensor(labels)


class UninformedWatch(TrainerCallback):
    """Warns of a loss that stays above that of a network which tells no images apart.

    Args:
        bounds: values of the loss's terms, from `Objective.uninformed`.
    """

    def __init__(self, bounds: dict[str, float]):
        self.bounds, self.times = bounds, dict.fromkeys(bounds, 0)

    def on_log(self, args, state, control, logs=None, **kwargs):  # type: ignore[no-untyped-def]
        for name, bound in self.bounds.items():
            value = (logs or {}).get(f"loss_{name}")
            if value is None:
                continue
            self.times[name] = self.times[name] + 1 if value > bound else 0
            if self.times[name] == _TIMES_ABOVE and state.is_world_process_zero:
                logger.warning(
                    "step %d: loss_%s is %.3f, and was above %.3f in the last %d logs: a network that tells no images "
                    "apart would do better. Lower base_learning_rate or ema; ReLIC: or set "
                    "objective_params.stop_gradient to reference",
                    *(state.global_step, name, value, bound, _TIMES_ABOVE),
                )


class OnlineMonitor(TrainerCallback):
    """Adds `knn_top1` (where there are labels) and `rankme` to the log every so many steps.

    Args:
        images, labels: from `monitor_images`; needed on the main process only.
        every: optimizer steps between two measurements; the last step is always measured.
    """

    def __init__(self, images: Tensor, labels: Tensor | None, every: int):
        self.images, self.labels, self.every = images, labels, max(every, 1)
        self.pending: dict[str, float] = {}

    def on_train_begin(self, args, state, control, model=None, **kwargs):  # type: ignore[no-untyped-def]
        if state.global_step == 0 and state.is_world_process_zero:
            state.log_history.append({"step": 0, "epoch": 0.0, **self._measure(model)})

    def on_step_end(self, args, state, control, model=None, **kwargs):  # type: ignore[no-untyped-def]
        if state.global_step % self.every == 0 or state.global_step == state.max_steps:
            if state.is_world_process_zero:
                self.pending = self._measure(model)
            # On every process: writing the log joins their losses.
            control.should_log = True
        return control

    def take(self) -> dict[str, float]:
        """What was measured since the last call, for the trainer's next line of the log."""
        taken, self.pending = self.pending, {}
        return taken

    @torch.no_grad()
    def _measure(self, model: Any) -> dict[str, float]:
        encoder = model.published_encoder
        was_training = encoder.training
        encoder.eval()
        try:
            device, class_token = next(encoder.parameters()).device, has_class_token(encoder)
            parts = []
            for start in range(0, len(self.images), _BATCH):
                batch = self.images[start : start + _BATCH].to(device=device, dtype=torch.float32)
                parts.append(pooled_features(encoder(batch), class_token).flatten(1).float().cpu())
            features = torch.cat(parts)
        finally:
            encoder.train(was_training)
        logs = {"rankme": round(rankme(features), 3)}
        if self.labels is not None:
            half = len(features) // 2
            classes = int(self.labels.max()) + 1
            k = min(_NEIGHBOURS, half)
            scores = knn_predict(features[:half], self.labels[:half], features[half:], k, num_classes=classes)
            logs["knn_top1"] = round(float((scores.argmax(1) == self.labels[half:]).double().mean()), 4)
        return logs
