# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Names on the command line -> frozen encoders: transformers models, timm models, and the two baselines."""

from __future__ import annotations

import difflib
import importlib.metadata
import logging
import re
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn
from transformers import AutoConfig, AutoImageProcessor, AutoModel, PreTrainedConfig

import mscn_hf.models  # noqa: F401  (registers its classes with AutoModel)

from .encoder import FrozenEncoder, pixel_encoder
from .image_classifier import timm_classifier, transformers_classifier

logger = logging.getLogger(__name__)

# Of a configuration these say where it came from, not what it computes.
ORIGIN_FIELDS = ("_name_or_path", "transformers_version", "dtype", "architectures", "auto_map")


def load_encoder(
    model: str,
    revision: str | None = None,
    trust_remote_code: bool = False,
    *,
    pretrained: bool = False,
    seed: int = 0,
) -> FrozenEncoder:
    """Loads anything that gives a vector for an image.

    Args:
        model: one of
            a folder or Hub id that `AutoModel` can load (MSCN, ReLICv2, filtered timm networks, ResNet, ViT, …);
            a folder or Hub id in timm's own format (`timm/resnet18.a1_in1k`);
            `timm:NAME`, a timm architecture with fresh weights, or timm's published ones if `pretrained`;
            `random:X`, the architecture of any X above with fresh weights drawn from `seed`;
            `unfiltered:X`, the weights of a filtered X without its high-pass filter;
            `pixels`, 16x16 RGB pixels.
        revision: branch, tag or commit of a Hub id.
        trust_remote_code: run the code in the model repository (never needed for models of this package).
        pretrained: of `timm:NAME`, download the published weights.
        seed: of fresh weights.

    Raises:
        ValueError: the model does not exist, lacks weights or an image processor, or does not take images.
    """
    if model == "pixels":
        return pixel_encoder()
    fresh, unfiltered = model.startswith("random:"), model.startswith("unfiltered:")
    name = model.removeprefix("random:").removeprefix("unfiltered:")
    if name.startswith("timm:"):
        return _timm_encoder(model, name.removeprefix("timm:"), pretrained and not fresh, seed)
    settings = _read_config(model, name, revision)
    changes: dict[str, Any] = {}
    if unfiltered:
        if settings.get("high_pass_sigma") is None:
            raise ValueError(f"{model!r}: {name!r} has no high-pass filter to leave out (config.high_pass_sigma)")
        changes["high_pass_sigma"] = None
    if "model_type" not in settings or settings["model_type"] == "timm_wrapper":
        if Path(name).is_dir():
            source = f"local-dir:{name}"
        else:
            source = f"hf-hub:{name}@{revision}" if revision else f"hf-hub:{name}"
        return _timm_encoder(model, source, not fresh, seed)
    return _transformers_encoder(model, name, revision, trust_remote_code, fresh, seed, changes)


def _read_config(model: str, name: str, revision: str | None) -> dict[str, Any]:
    if not Path(name).is_dir() and (name.startswith((".", "/", "~")) or name.count("/") > 1):
        raise ValueError(f"there is no model folder {name!r}")
    try:
        settings, _ = PreTrainedConfig.get_config_dict(name, revision=revision)
    except (OSError, ValueError) as error:
        known = "a folder with a config.json, a Hub id, 'timm:NAME', 'random:MODEL', 'unfiltered:MODEL' or 'pixels'"
        hint = f" (expected {known})"
        raise ValueError(f"cannot load the model {model!r}: {_first_line(error)}{hint}") from error
    if not settings:
        raise ValueError(f"cannot load the model {model!r}: its config.json is empty or missing")
    return settings


def _transformers_encoder(
    model: str,
    name: str,
    revision: str | None,
    trust_remote_code: bool,
    fresh: bool,
    seed: int,
    changes: dict[str, Any],
) -> FrozenEncoder:
    where: dict[str, Any] = {"revision": revision, "trust_remote_code": trust_remote_code}
    try:
        processor = AutoImageProcessor.from_pretrained(name, backend="pil", **where)
    except (OSError, ValueError) as error:
        raise ValueError(
            f"{model!r} has no image processor that can be loaded ({_first_line(error)}); "
            "save one beside the weights (preprocessor_config.json), so that its scores can be made again"
        ) from error
    network: Any
    try:
        if fresh:
            config = AutoConfig.from_pretrained(name, **where)
            network = _seeded(seed, lambda: AutoModel.from_config(config, trust_remote_code=trust_remote_code))
            missing: list[str] = []
        else:
            network, info = AutoModel.from_pretrained(
                name, dtype=torch.float32, output_loading_info=True, **where, **changes
            )
            missing = sorted(info["missing_keys"])
    except (OSError, ValueError) as error:
        raise ValueError(f"cannot load the model {model!r}: {_first_line(error)}") from error
    lost = [key for key in missing if not key.startswith("pooler.")]
    if lost:
        raise ValueError(
            f"{model!r} lacks {len(lost)} tensors of {type(network).__name__}, which would stay random: {lost[:5]}"
        )
    layer = _TransformersFeature(network, use_pooler=not missing)
    inner = getattr(network.config, "encoder", None)
    wraps_timm = isinstance(inner, dict) and inner.get("model_type") == "timm_wrapper"
    libraries = ("transformers", "timm") if wraps_timm else ("transformers",)
    encoder = FrozenEncoder(
        name=model,
        model=network,
        forward=layer,
        preprocess=ProcessorCall(processor),
        feature="",
        architecture={key: value for key, value in network.config.to_dict().items() if key not in ORIGIN_FIELDS},
        preprocessing={"processor": _plain(processor.to_dict()), "backend": "pil", **_versions(*libraries)},
        variant="unfiltered" if changes else "",
        load_classifier=None if fresh else partial(transformers_classifier, network, name, where, changes),
    )
    _try_out(encoder)
    encoder.feature = layer.description
    return encoder


class ProcessorCall:
    """An image processor of transformers as a plain function PIL images -> images_BCHW."""

    def __init__(self, processor: Any) -> None:
        self.processor = processor

    def __call__(self, images: Sequence[Image.Image]) -> Tensor:
        return self.processor(images=list(images), return_tensors="pt")["pixel_values"]


class _TransformersFeature:
    """pooler_output where the checkpoint holds one; else the class token; else the mean over positions."""

    def __init__(self, network: Any, use_pooler: bool) -> None:
        self.network = network
        self.use_pooler = use_pooler
        self.has_class_token = any(name.endswith("cls_token") for name, _ in network.named_parameters())
        self.description = ""

    def __call__(self, images_BCHW: Tensor) -> Tensor:
        output = self.network(pixel_values=images_BCHW)
        pooled = getattr(output, "pooler_output", None)
        if pooled is not None and self.use_pooler:
            self.description = "pooler_output"
            return pooled
        hidden = output.last_hidden_state
        if hidden.ndim == 4:
            self.description = "last_hidden_state, mean over positions"
            return hidden.mean(dim=(2, 3))
        if self.has_class_token:
            self.description = "last_hidden_state, class token"
            return hidden[:, 0]
        self.description = "last_hidden_state, mean over tokens"
        return hidden.mean(dim=1)


def _timm_encoder(model: str, source: str, pretrained: bool, seed: int) -> FrozenEncoder:
    import timm

    if ":" not in source and not timm.is_model(source.split(".")[0]):
        near = difflib.get_close_matches(source, timm.list_models(), n=1)
        raise ValueError(f"timm has no model {source!r}" + (f"; did you mean {near[0]!r}?" if near else ""))
    try:
        network = _seeded(seed, lambda: timm.create_model(source, pretrained=pretrained, num_classes=0))
    except (OSError, RuntimeError, ValueError) as error:
        raise ValueError(f"timm cannot load the model {model!r}: {_first_line(error)}") from error
    settings = timm.data.resolve_model_data_config(network)
    transform = timm.data.create_transform(**settings, is_training=False)
    encoder = FrozenEncoder(
        name=model,
        model=network,
        forward=network,
        preprocess=TimmTransform(transform),
        feature="timm pooled features (num_classes=0)",
        # Addresses of functions in a repr differ from run to run.
        architecture=re.sub(r" at 0x[0-9a-f]+", "", str(network)),
        preprocessing={
            "data_config": _plain(settings),
            "transform": str(transform),
            **_versions("timm", "torchvision"),
        },
        load_classifier=partial(timm_classifier, network, source) if pretrained else None,
    )
    _try_out(encoder)
    return encoder


class TimmTransform:
    """timm's evaluation transform for one image as a function of several."""

    def __init__(self, transform: Callable[[Image.Image], Tensor]) -> None:
        self.transform = transform

    def __call__(self, images: Sequence[Image.Image]) -> Tensor:
        return torch.stack([self.transform(image) for image in images])


def _try_out(encoder: FrozenEncoder) -> None:
    """One grey image through the whole path: what does not take images should fail here, not after decoding."""
    images_BCHW = encoder.preprocess([Image.new("RGB", (64, 48), (128, 128, 128))])
    try:
        features = encoder.features(images_BCHW)
    except Exception as error:
        raise ValueError(
            f"{encoder.name!r} ({type(encoder.model).__name__}) gives no features for an image of shape "
            f"{tuple(images_BCHW.shape)}: {_first_line(error)}"
        ) from error
    if features.ndim != 2 or features.shape[1] == 0:
        raise ValueError(f"{encoder.name!r} gives features of shape {tuple(features.shape)}, expected (B, D)")


def _seeded(seed: int, make: Callable[[], nn.Module]) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make()


def _versions(*packages: str) -> dict[str, str]:
    """Resizing is done by these, so another version may give other pixels."""
    return {package: importlib.metadata.version(package) for package in ("pillow", *packages)}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items() if not callable(item)}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value if isinstance(value, str | int | float | bool | None) else str(value)


def _first_line(error: BaseException) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
