# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""transformers' own ResNet: a folder that `AutoModel.from_pretrained` loads without this package or its code."""

import shutil
from pathlib import Path
from typing import Any

import torch
from transformers import ResNetConfig, ResNetForImageClassification, ResNetModel

from .source import Source
from .written import Written, refuse_difference, relative_difference, try_images

# Fields that fix what the network computes. The rest of an encoder's own fields are refused or preprocessing.
FIELDS = (
    *("num_channels", "embedding_size", "hidden_sizes", "depths", "layer_type", "hidden_act"),
    *("downsample_in_first_stage", "downsample_in_bottleneck", "out_features"),
)
LABELS = ("id2label", "label2id", "problem_type")


def write(source: Source, folder: Path, check: bool) -> Written:
    """Writes config.json, model.safetensors and preprocessor_config.json.

    The tensors' names and values are the source's own; features are compared with the source's.
    """
    fields = {name: getattr(source.config, name) for name in (*FIELDS, *(LABELS if source.is_classifier else ()))}
    network_class: Any = ResNetForImageClassification if source.is_classifier else ResNetModel
    with torch.device("meta"):
        network = network_class(ResNetConfig(**fields))
    network.load_state_dict(source.network.state_dict(), strict=True, assign=True)
    network.save_pretrained(folder)
    shutil.copyfile(source.folder / "preprocessor_config.json", folder / "preprocessor_config.json")
    difference = None
    if check:
        images_BCHW = try_images(source.config.num_channels, 64)
        read = network_class.from_pretrained(folder)
        with torch.no_grad():
            outputs = read(images_BCHW)
        features = outputs.logits if source.is_classifier else outputs.pooler_output.flatten(1)
        difference = relative_difference(features, source.features(images_BCHW))
        refuse_difference(difference, 1e-5)
    auto_class = "AutoModelForImageClassification" if source.is_classifier else "AutoModel"
    return Written(
        load=f'from transformers import {auto_class}; model = {auto_class}.from_pretrained("{{folder}}")',
        library="transformers",
        notes=("transformers alone loads it: no remote code, no further package.",),
        usage=(
            "from transformers import AutoImageProcessor",
            'processor = AutoImageProcessor.from_pretrained(".")',
            'outputs = model(**processor(image, return_tensors="pt"))',
        ),
        difference=difference,
    )
