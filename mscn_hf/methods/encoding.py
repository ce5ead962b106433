# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""One vector for an image from any encoder that AutoModel builds, past its filter and with patches left out."""

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedConfig, PreTrainedModel
from transformers import initialization as init

from mscn_hf.models import any_encoder
from mscn_hf.views.draws import Draws, Stream


def build_encoder(fields: dict[str, Any] | None) -> PreTrainedModel:
    """Build an encoder with new weights from its config's `to_dict()`, `model_type` included."""
    if not fields or "model_type" not in fields:
        raise ValueError(f"encoder must be an encoder config's to_dict() with its model_type, got {fields or None}")
    # dtype: the encoder takes that of the network around it.
    encoder = any_encoder.build_encoder({name: value for name, value in fields.items() if name != "dtype"})
    _draw_positions(encoder)
    return encoder


@torch.no_grad()
def _draw_positions(encoder: PreTrainedModel) -> None:
    """Draw a ViT's class token and position embeddings from N(0, 0.02^2), as MSN does, where they are all 0."""
    embeddings = getattr(encoder, "embeddings", None)
    for name in ("cls_token", "position_embeddings"):
        parameter = getattr(embeddings, name, None)
        if isinstance(parameter, nn.Parameter) and not parameter.is_meta and not parameter.any():
            init.trunc_normal_(parameter, std=0.02)


class PooledEncoder:
    """Images (B, C, H, W) to pooled features (B, F) of one kind of encoder, called past its high-pass filter.

    Holds no weights: the encoder is passed to every call, so that the online and the target network share it.
    """

    def __init__(self, encoder: PreTrainedModel) -> None:
        known = inspect.signature(encoder.forward).parameters
        self.options: dict[str, Any] = {}
        if "apply_filter" in known:
            self.options["apply_filter"] = False
        if "interpolate_pos_encoding" in known:
            # Views are smaller than the images that the position embeddings were made for.
            self.options["interpolate_pos_encoding"] = True
        self.size = feature_size(encoder.config)
        self.class_token = any_encoder.has_class_token(encoder)

    def __call__(self, encoder: PreTrainedModel, images_BCHW: Tensor, kept_BK: Tensor | None = None) -> Tensor:
        """Return features (B, F).

        Args:
            encoder: the network, of the kind this was made for.
            images_BCHW: its input.
            kept_BK: int64, the patches that a ViT sees of each image, from `keep_patches`; None: all.
        """
        with _patches(encoder, kept_BK):
            output = encoder(images_BCHW, **self.options)
        return any_encoder.pooled_features(output, self.class_token).flatten(start_dim=1)


def keep_patches(encoder: PreTrainedModel, images_BCHW: Tensor, ratio: float, keys: Tensor, view: int) -> Tensor:
    """Draw the patches that stay when a share of them is dropped at random, for each image by itself.

    MSN (Assran et al. 2022) drops the same patches for a whole batch; here the choice is a function of the image's
    key and the view alone, as all draws are.

    Args:
        encoder: a ViT, whose patches these are.
        images_BCHW: the view.
        ratio: share that is dropped, in [0, 1); int(P * (1 - ratio)) of P patches stay, at least one.
        keys: int64 (B,), see `Draws.from_keys`.
        view: number of the view.

    Returns:
        int64 (B, K), ascending patch numbers, on the images' device.
    """
    side = getattr(encoder.config, "patch_size", None)
    if not isinstance(side, int) or not hasattr(encoder, "embeddings"):
        raise ValueError(f"patch_drop needs a vision transformer, got a {encoder.config.model_type!r} encoder")
    patches = (images_BCHW.shape[-2] // side) * (images_BCHW.shape[-1] // side)
    kept = max(1, int(patches * (1.0 - ratio)))
    order = Draws.from_keys(keys).uniform(view, Stream.PATCHES, patches).argsort(dim=1, stable=True)
    return order[:, :kept].sort(dim=1).values.to(images_BCHW.device)


@contextmanager
def _patches(encoder: PreTrainedModel, kept_BK: Tensor | None) -> Iterator[None]:
    """Let the layers behind the embeddings see the class token and the kept patches only."""
    if kept_BK is None:
        yield
        return

    def select(module: nn.Module, inputs: Any, tokens_BTD: Tensor) -> Tensor:
        rows = (kept_BK + 1)[:, :, None].expand(-1, -1, tokens_BTD.shape[-1])
        return torch.cat([tokens_BTD[:, :1], tokens_BTD.gather(1, rows)], dim=1)

    embeddings = encoder.embeddings
    assert isinstance(embeddings, nn.Module)
    handle = embeddings.register_forward_hook(select)
    try:
        yield
    finally:
        handle.remove()


def feature_size(config: PreTrainedConfig) -> int:
    """Return the size F of an encoder's pooled features, under the names that transformers' configs use."""
    if getattr(config, "hidden_sizes", None):
        return config.hidden_sizes[-1]
    for name in ("hidden_size", "hidden_dim", "num_features"):
        if isinstance(getattr(config, name, None), int):
            return getattr(config, name)
    raise ValueError(
        f"cannot tell the feature size of a {config.model_type!r} encoder: its config has no hidden_sizes, "
        "hidden_size, hidden_dim or num_features"
    )
