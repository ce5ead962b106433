# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Small images, sources and models that the tests of this folder share."""

import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from datasets import ClassLabel, Features, Image
from PIL import Image as PILImage
from transformers import BitImageProcessor, ResNetConfig, ResNetModel

from mscn_hf.data.source import ImageRow

COLOURS = np.array([[200, 60, 60], [60, 200, 60], [60, 60, 200]])


def png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    PILImage.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def noisy_images(count: int, seed: int, classes: int = 3, side: int = 20) -> tuple[list[bytes], list[int]]:
    """Images whose mean colour tells the class, under strong noise, in no order of class."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, classes, count)
    images = []
    for label in labels:
        tint = COLOURS[label] + random.normal(0, 45, 3)
        images.append(png(np.clip(tint + random.normal(0, 40, (side, side, 3)), 0, 255).astype(np.uint8)))
    return images, labels.tolist()


def write_parquet(path, images, labels, names=("red", "green", "blue"), label_type=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    columns = {"image": [{"bytes": data, "path": None} for data in images]}
    kinds = {"image": Image()}
    if labels is not None:
        columns["label"] = labels
        kinds["label"] = label_type or ClassLabel(names=list(names))
    features = Features(kinds)
    table = pa.table(columns, schema=features.arrow_schema)
    pq.write_table(table, path)


def save_tiny_resnet(folder, seed=0, image_size=24, **fields):
    torch.manual_seed(seed)
    config = ResNetConfig(embedding_size=8, hidden_sizes=[8, 12], depths=[1, 1], layer_type="basic", **fields)
    ResNetModel(config).save_pretrained(folder)
    BitImageProcessor(
        size={"shortest_edge": image_size}, crop_size={"height": image_size, "width": image_size}
    ).save_pretrained(folder)
    return folder


class ListSource:
    """A source with rows in memory that counts how often it is read, and may forbid a second time."""

    def __init__(self, images, labels, *, split="train", once=False, name="list", label_names=None, fingerprint=None):
        self.name, self.split, self.config_name, self.revision = name, split, None, None
        self.label_column, self.label_names, self.is_local = "label", label_names, True
        self.fingerprint, self.modified = fingerprint or f"{name}-{split}", ""
        self.num_rows = len(images)
        self._rows = [ImageRow(str(n), data, None, label) for n, (data, label) in enumerate(zip(images, labels))]
        self.once, self.times_read = once, 0

    def rows(self):
        self.times_read += 1
        if self.once and self.times_read > 1:
            raise AssertionError(f"{self.name}/{self.split} was read twice")
        yield from self._rows


def clusters(count, dim, classes, seed):
    random = np.random.default_rng(seed)
    centres = np.random.default_rng(99).normal(size=(classes, dim))
    labels = random.integers(0, classes, count)
    return (centres[labels] + 2.5 * random.normal(size=(count, dim))).astype(np.float32), labels
