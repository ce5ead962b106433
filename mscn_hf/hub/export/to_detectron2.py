# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""detectron2: backbone weights that its DetectionCheckpointer matches by name, and the configuration they need."""

from pathlib import Path

import torch
import yaml

from .capability import depth_and_width
from .names import detectron2_name
from .preprocessing import read_normalization
from .source import Source
from .written import Written


def write(source: Source, folder: Path, check: bool) -> Written:
    """Writes resnetN.pth and detectron2.yaml. Nothing is run: detectron2 is not among this package's requirements.

    DetectionCheckpointer takes `model` from a .pth file. Its detectors call the backbone's tensors
    `backbone.stem.conv1.weight` or `backbone.bottom_up.stem.conv1.weight`, so `matching_heuristics`, which compares
    the ends of names, has to be true (detectron2/checkpoint/detection_checkpoint.py).
    """
    config = source.config
    depth, width = depth_and_width(config)
    mean, std = read_normalization(source.preprocessor)
    weights = {
        detectron2_name(name): tensor.clone()
        for name, tensor in source.encoder.state_dict().items()
        if not name.endswith("num_batches_tracked")  # frozen batch norm has no such buffer
    }
    # A plain dict: batch norm's version, which a state dict carries, would make detectron2 change running_var.
    checkpoint = {"model": weights, "__author__": "mscn-hf", "matching_heuristics": True}
    torch.save(checkpoint, folder / f"resnet{depth}.pth")
    settings = {
        "MODEL": {
            "PIXEL_MEAN": [round(255 * value, 4) for value in mean],
            "PIXEL_STD": [round(255 * value, 4) for value in std],
            "RESNETS": {
                "DEPTH": depth,
                "STRIDE_IN_1X1": config.downsample_in_bottleneck,
                "STEM_OUT_CHANNELS": config.embedding_size,
                "RES2_OUT_CHANNELS": config.hidden_sizes[0],
                "WIDTH_PER_GROUP": 64 * width,
            },
        },
        "INPUT": {"FORMAT": "RGB"},
    }
    text = "# Merge this after the detector's own file: cfg.merge_from_file(...)\n" + yaml.safe_dump(settings)
    (folder / "detectron2.yaml").write_text(text, encoding="utf-8")
    notes = [
        "The detector's cfg must be merged with detectron2.yaml: images in RGB, this mean and deviation, strides in "
        "the 3x3 convolutions; detectron2's defaults (BGR, STRIDE_IN_1X1) would give other features without a word.",
        "Built from detectron2's definition of its ResNet; detectron2 itself was not run.",
    ]
    if source.head is not None:
        notes.append("The classifier is left out: detectors have none.")
    return Written(
        load='cfg.merge_from_file("{folder}/detectron2.yaml"); '
        f'cfg.MODEL.WEIGHTS = "{{folder}}/resnet{depth}.pth"; '
        "model = detectron2.modeling.build_model(cfg); "
        "detectron2.checkpoint.DetectionCheckpointer(model).load(cfg.MODEL.WEIGHTS)",
        library="detectron2",
        notes=tuple(notes),
    )
