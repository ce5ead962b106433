# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Weights for the backbone of a detector or segmenter: transformers builds backbones from a configuration alone."""

import dataclasses
import os
from typing import Any

from torch import nn
from transformers import AutoModel, PreTrainedConfig
from transformers.backbone_utils import BackboneMixin

# Fields that do not change what the network computes from normalised images.
_PREPROCESSING = {"image_size", "crop_ratio", "image_mean", "image_std"}


def load_backbone_weights(detector: nn.Module, repo_or_dir: str | os.PathLike, **kwargs: Any) -> None:
    """Copy a pre-trained encoder into the backbone of a DETR, Mask2Former, UperNet or other transformers model.

    ```python
    config = DetrConfig(backbone_config=AutoConfig.from_pretrained(repo), use_timm_backbone=False)
    detector = DetrForObjectDetection(config)
    load_backbone_weights(detector, repo)
    ```

    Args:
        detector: a model with one transformers backbone, or a backbone itself. Its weights are overwritten in place
            and keep their dtype and device.
        repo_or_dir: Hub id or local folder of an encoder or classifier whose architecture is the backbone's.
        kwargs: further arguments of `AutoModel.from_pretrained`, such as revision, token or trust_remote_code.

    Raises:
        ValueError: no backbone or several; an architecture, filter or padding other than the checkpoint's; weights
            that the checkpoint lacks; activations that the detector removed. The detector is then unchanged.
    """
    backbone = _find_backbone(detector)
    encoder, info = AutoModel.from_pretrained(repo_or_dir, output_loading_info=True, **kwargs)
    source = f"{type(encoder).__name__} of {os.fspath(repo_or_dir)!r}"
    _check_same_network(backbone.config, encoder.config, source)
    _check_activations(backbone, encoder)
    if info["missing_keys"]:
        raise ValueError(f"{source} lacks the weights {_some(info['missing_keys'])}: it is not a complete encoder")

    weights = encoder.state_dict()
    expected = backbone.state_dict()
    missing = expected.keys() - weights.keys()
    # Frozen batch norms, DETR's for one, do not count batches.
    surplus = {name for name in weights.keys() - expected.keys() if not name.endswith("num_batches_tracked")}
    if missing or surplus:
        raise ValueError(
            f"{source} does not fit the detector's {type(backbone).__name__}: "
            f"missing {_some(missing)}, not expected {_some(surplus)}"
        )
    backbone.load_state_dict(weights, strict=True)


def _find_backbone(detector: nn.Module) -> Any:
    backbones = [(name, module) for name, module in detector.named_modules() if isinstance(module, BackboneMixin)]
    if len(backbones) != 1:
        found = _some(f"{name} ({type(module).__name__})" for name, module in backbones)
        raise ValueError(
            f"{type(detector).__name__} must hold exactly one transformers backbone, found {found}; "
            "build it with backbone_config=AutoConfig.from_pretrained(...) or pass the backbone itself"
        )
    return backbones[0][1]


def _check_same_network(built: PreTrainedConfig, saved: PreTrainedConfig, source: str) -> None:
    """Compare fields, not only shapes: with another filter, padding or activation all weights would still fit."""
    common = {field.name for field in dataclasses.fields(PreTrainedConfig)}
    names = {field.name for field in dataclasses.fields(saved)} - common - _PREPROCESSING
    differing = [
        f"{name}={getattr(built, name, None)!r} where the checkpoint has {getattr(saved, name, None)!r}"
        for name in ["model_type", *sorted(names)]
        if _plain(getattr(built, name, None)) != _plain(getattr(saved, name, None))
    ]
    if differing:
        raise ValueError(
            f"the detector's backbone is not the network of {source}: it was built with {'; '.join(differing)}. "
            "Build it with backbone_config=AutoConfig.from_pretrained(...) of the same checkpoint"
        )


def _check_activations(backbone: nn.Module, encoder: nn.Module) -> None:
    """Compare layers that normalise and activate at once: DETR puts plain frozen batch norms in their place.

    Weights would still fit, and every activation of a timm EfficientNet or RegNet would be gone.
    """
    modules = dict(backbone.named_modules())
    for name, module in encoder.named_modules():
        there = modules.get(name)
        activates = isinstance(module, nn.BatchNorm2d) and not isinstance(
            getattr(module, "act", nn.Identity()), nn.Identity
        )
        if activates and not hasattr(there, "act"):
            raise ValueError(
                f"the detector replaced {name}, a {type(module).__name__} with an activation, by a "
                f"{type(there).__name__} without one. Take an encoder whose batch norms stand alone, such as timm's "
                "resnet50, or one without batch norm, such as convnext_tiny"
            )


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _some(names: Any, limit: int = 5) -> str:
    names = sorted(names)
    rest = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + rest if names else "none"
