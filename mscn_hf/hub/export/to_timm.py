# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""timm's own folder: config.json and model.safetensors for `timm.create_model("local-dir:…")` or "hf-hub:…"."""

import json
from pathlib import Path
from typing import Any

import timm
import torch
from safetensors.torch import save_file

from .capability import depth_and_width
from .preprocessing import CROP_NOTE, Preprocessing, read_preprocessing
from .source import Source
from .to_torchvision import torchvision_weights
from .written import Written, refuse_difference, relative_difference, try_images


def write(source: Source, folder: Path, check: bool) -> Written:
    """Writes config.json with the preprocessing in timm's terms, and model.safetensors."""
    preprocessing = read_preprocessing(source.preprocessor)
    config = json.dumps(timm_config(source, preprocessing), indent=2) + "\n"
    (folder / "config.json").write_text(config, encoding="utf-8")
    save_file(torchvision_weights(source), folder / "model.safetensors", metadata={"format": "pt"})
    difference = None
    if check:
        images_BCHW = try_images(source.config.num_channels, 64)
        network = timm.create_model(f"local-dir:{folder}", pretrained=True)
        with torch.no_grad():
            difference = relative_difference(network.eval()(images_BCHW), source.features(images_BCHW))
        refuse_difference(difference, 1e-5)
    return Written(
        load='import timm; model = timm.create_model("local-dir:{folder}", pretrained=True)',
        library="timm",
        notes=(
            "Call model.eval() before features are taken.",
            'Pushed to the Hub, `timm.create_model("hf-hub:org/name", pretrained=True)` loads it.',
            CROP_NOTE,
        ),
        usage=(
            "transform = timm.data.create_transform(**timm.data.resolve_model_data_config(model))",
            "features = model.eval()(transform(image)[None])",
        ),
        difference=difference,
    )


def timm_config(source: Source, preprocessing: Preprocessing) -> dict[str, Any]:
    """timm's config.json: architecture, and under `pretrained_cfg` what belongs to the weights."""
    depth, _ = depth_and_width(source.config)
    classes = source.head.out_features if source.head is not None else 0
    channels = source.config.num_channels
    config: dict[str, Any] = {
        "architecture": f"resnet{depth}",
        "num_classes": classes,
        "num_features": source.config.hidden_sizes[-1],
        "global_pool": "avg",
        "pretrained_cfg": {
            "custom_load": False,
            "input_size": [channels, preprocessing.side, preprocessing.side],
            "fixed_input_size": False,
            "interpolation": preprocessing.interpolation,
            "crop_pct": preprocessing.crop_pct,
            "crop_mode": "center",
            "mean": list(preprocessing.mean),
            "std": list(preprocessing.std),
            "num_classes": classes,
            "pool_size": [-(-preprocessing.side // 32)] * 2,
            "first_conv": "conv1",
            "classifier": "fc",
            **({"license": source.license} if source.license else {}),
        },
    }
    if classes:
        config["label_names"] = [str(source.config.id2label[number]) for number in range(classes)]
    if channels != 3:
        config["model_args"] = {"in_chans": channels}
    return config
