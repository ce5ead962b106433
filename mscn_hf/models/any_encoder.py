# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Any encoder that AutoModel knows, as one kind of thing: built from a dict, one vector for an image, known sizes."""

from typing import Any

import torch
from torch import Tensor
from transformers import AutoConfig, AutoModel, PreTrainedModel


def build_encoder(fields: dict[str, Any]) -> PreTrainedModel:
    """Build an encoder with new weights, drawn as its own library draws them.

    Args:
        fields: fields of the encoder's config, `model_type` included.
    """
    config = AutoConfig.for_model(**fields)
    if config.model_type == "timm_wrapper":
        # Imported here, since it imports timm, which other encoders do not need.
        from .timm_encoder import TimmEncoder

        return TimmEncoder._from_config(config)
    return AutoModel.from_config(config)


def has_class_token(encoder: PreTrainedModel) -> bool:
    """Tell whether the first token of an encoder's output is a class token."""
    return any(name.endswith("cls_token") for name, _ in encoder.named_parameters())


def pooled_features(output: Any, class_token: bool) -> Tensor:
    """Return one vector for each image, of shape (B, F, 1, 1) as transformers' ResNet gives it.

    It is the encoder's own `pooler_output`; where there is none, the class token; else the mean over positions.

    Args:
        output: of the encoder; last_hidden_state is (B, C, h, w) or (B, tokens, C).
        class_token: what `has_class_token` says of the encoder.
    """
    pooled_BF = getattr(output, "pooler_output", None)
    if pooled_BF is None:
        hidden = output.last_hidden_state
        if hidden.ndim == 4:
            pooled_BF = hidden.mean(dim=(2, 3))
        else:
            pooled_BF = hidden[:, 0] if class_token else hidden.mean(dim=1)
    return pooled_BF.flatten(start_dim=1)[:, :, None, None]


@torch.no_grad()
def measure_encoder(fields: dict[str, Any], num_channels: int, image_size: int) -> tuple[int, list[int] | None]:
    """Find the sizes of an encoder's features without memory or arithmetic, on the meta device.

    Args:
        fields: as in `build_encoder`.
        num_channels, image_size: shape of the image that is passed through.

    Returns:
        The number F of pooled features, and the channels of each map (B, C, h, w) among its hidden states in their
        order, or None where it does not return such maps.

    Raises:
        ValueError: the encoder cannot be built, saved, or does not turn such an image into a vector.
    """
    shape = (1, num_channels, image_size, image_size)
    with torch.device("meta"):
        try:
            encoder = build_encoder(fields).eval()
            images_BCHW = torch.empty(shape)
            output = encoder(images_BCHW)
            pooled_BF11 = pooled_features(output, has_class_token(encoder))
        except Exception as error:
            raise ValueError(
                f"the encoder {fields} gives no features of an image of shape {shape}: {error} "
                "(what it takes depends on image_size and on its own fields)"
            ) from error
        try:
            maps = encoder(images_BCHW, output_hidden_states=True).hidden_states or ()
        except Exception:  # libraries say in many ways that a network does not give its intermediate maps
            maps = ()
    pooled = getattr(output, "pooler_output", None)
    if pooled is not None and pooled.shape[2:].numel() != 1:
        raise ValueError(f"the encoder {fields} does not pool: its features have the shape {tuple(pooled.shape)}")
    if _shares_weights(encoder):
        raise ValueError(f"layers of the encoder {fields} share weights, which a safetensors file cannot hold")
    channels = [feature_map.shape[1] for feature_map in maps if feature_map.ndim == 4]
    return pooled_BF11.shape[1], channels if channels and len(channels) == len(maps) else None


def _shares_weights(encoder: PreTrainedModel) -> bool:
    """Tell whether a weight stands in several places, and transformers does not know which of them it leaves out."""
    places = sum(1 for _ in encoder.named_parameters(remove_duplicate=False))
    return places > sum(1 for _ in encoder.parameters()) and not encoder.all_tied_weights_keys
