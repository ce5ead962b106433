# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""MSN's own checkpoints (vision transformers, named as in DeiT and timm) as transformers' ViTMSNModel."""

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import ViTMSNConfig, ViTMSNModel

from .card import preprocessor, write_converted
from .families import choose_family, refuse_unknown_family
from .files import CheckpointError, refuse_used_folder
from .torch_files import open_torch_file
from .torch_tensors import left_out, read_weights, refuse_empty
from .wording import some

# network -> dictionary in the file; the target encoder is the one that MSN scores.
NETWORKS = {"target": "target_encoder", "anchor": "encoder"}
HEADS = re.compile(r"(?:fc|pred|scaling_module)(?:\..*)?|scaling_bias")
# hidden size -> attention heads of MSN's networks, which no shape tells.
HEADS_OF = {192: 3, 384: 6, 768: 12, 1024: 16, 1280: 16}
BLOCK = {
    "norm1": "layernorm_before",
    "norm2": "layernorm_after",
    "attn.proj": "attention.o_proj",
    "mlp.fc1": "mlp.fc1",
    "mlp.fc2": "mlp.fc2",
}
OUTSIDE = {
    "cls_token": "embeddings.cls_token",
    "pos_embed": "embeddings.position_embeddings",
    "patch_embed.proj.weight": "embeddings.patch_embeddings.projection.weight",
    "patch_embed.proj.bias": "embeddings.patch_embeddings.projection.bias",
    "norm.weight": "layernorm.weight",
    "norm.bias": "layernorm.bias",
}
NOTES = [
    "The number of attention heads and the layer norms' epsilon (1e-6) do not stand in a state dict; they are those "
    "of MSN's code for this width.",
    "MSN's low-shot scores use the class token in front of the last layer norm; ViTMSNModel gives it behind. Its "
    "hidden_states[-1] holds the former.",
]


def convert_msn(
    checkpoint: str | Path,
    out: str | Path,
    *,
    family: str | None = None,
    license: str | None = None,
    source: str | None = None,
    dry_run: bool = False,
    network: str | None = None,
    num_heads: int | None = None,
    check_usage: bool = True,
) -> dict[str, Any]:
    """Writes the encoder of an MSN checkpoint as a folder that `transformers.AutoModel` loads.

    Args:
        checkpoint: as MSN's training saves it, with the dictionaries `target_encoder` and `encoder`.
        out: folder to make; it must not hold anything yet.
        family: "msn", as the file shows without it.
        license, source, dry_run, check_usage: as in `convert_pth`.
        network: "target" (default), which MSN scores, or "anchor".
        num_heads: attention heads, for widths that MSN did not use.

    Returns:
        what conversion.json holds.

    Raises:
        CheckpointError: the file is refused: code in it, another layout, missing, left-over or misshapen tensors; or
            another family is named.
    """
    refuse_unknown_family(family)
    if not dry_run:
        refuse_used_folder(out)
    file = open_torch_file(checkpoint)
    network = network or "target"
    if network not in NETWORKS:
        raise CheckpointError(f"network must be one of {', '.join(NETWORKS)}, got {network!r}")
    group = NETWORKS[network]
    if group not in file.groups:
        raise CheckpointError(
            f"{file.path.name} has no dictionary {group!r}, where MSN's training keeps its {network} encoder; it has "
            f"{', '.join(map(repr, file.groups))}"
        )
    tensors = file.groups[group]
    prefix = "module." if all(key.startswith("module.") for key in tensors) else ""
    try:
        names, config = _plan(tensors, prefix, num_heads)
    except CheckpointError as error:
        raise CheckpointError(f"{file.path.name}, {group}: {error}") from None
    sign = "by its dictionaries and the names of its tensors"
    chosen_family = choose_family(family, "msn", certain=True, checkpoint=file.path.name, sign=sign)
    weights = _split_attention(read_weights(file, group, names))
    with torch.device("meta"):
        model = ViTMSNModel(config)
    model.load_state_dict(weights, assign=True)
    facts: dict[str, Any] = {
        "architecture": (
            f"ViT of width {config.hidden_size}, {config.num_hidden_layers} layers, {config.num_attention_heads} "
            f"heads, patches of {config.patch_size} pixels, images of {config.image_size}"
        ),
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "network": network,
        "place in the file": f"{group}:{prefix}",
        "names": "DeiT's",
        "tensors": len(names),
        **file.facts(),
        "left out": left_out(file, {group: set(names.values())}, prefix),
        "notes": NOTES,
    }
    return write_converted(
        model.eval(),
        out,
        chosen_family,
        source,
        license,
        facts,
        preprocessor=preprocessor(image_size=int(config.image_size)),  # type: ignore[arg-type]
        check_usage=check_usage,
        dry_run=dry_run,
    )


def _plan(tensors: Mapping[str, Tensor], prefix: str, num_heads: int | None) -> tuple[dict[str, str], ViTMSNConfig]:
    """New name -> name in the file (attention still joined, as `attention.qkv`), and the architecture."""
    names: dict[str, str] = {}
    left = []
    for key in tensors:
        rest = key.removeprefix(prefix)
        if new := _translate(rest):
            names[new] = key
        elif rest.startswith("patch_embed.stem."):
            raise CheckpointError(f"its patches come from a stem of convolutions ({rest}); ViTMSNModel has one")
        elif not HEADS.fullmatch(rest):
            left.append(key)
    shapes = {new: tuple(tensors[key].shape) for new, key in names.items()}
    refuse_empty({name: tensors[name] for name in names.values()})
    config = _config(shapes, num_heads)
    with torch.device("meta"):
        expected = {name: tuple(tensor.shape) for name, tensor in _joined(ViTMSNModel(config).state_dict()).items()}
    if missing := [name for name in expected if name not in names]:
        raise CheckpointError(f"{len(missing)} tensors are missing, in transformers' names: {some(missing)}")
    left += [key for new, key in names.items() if new not in expected]
    if left:
        raise CheckpointError(f"{len(left)} tensors have no place in ViTMSNModel: {some(left)}")
    for name, shape in expected.items():
        if shapes[name] != shape:
            raise CheckpointError(f"{names[name]} has the shape {shapes[name]}, expected {shape}")
    return names, config


def _translate(name: str) -> str | None:
    if name in OUTSIDE:
        return OUTSIDE[name]
    match = re.fullmatch(r"blocks\.(\d+)\.(.+)\.(weight|bias)", name)
    if match and match[2] == "attn.qkv":
        return f"layers.{match[1]}.attention.qkv.{match[3]}"
    return f"layers.{match[1]}.{BLOCK[match[2]]}.{match[3]}" if match and match[2] in BLOCK else None


def _config(shapes: Mapping[str, tuple[int, ...]], num_heads: int | None) -> ViTMSNConfig:
    """Width, depth, patch and image size by the shapes."""
    patches = shapes.get("embeddings.patch_embeddings.projection.weight", ())
    positions = shapes.get("embeddings.position_embeddings", ())
    inner = shapes.get("layers.0.mlp.fc1.weight", ())
    if len(patches) != 4 or len(positions) != 3 or len(inner) != 2:
        raise CheckpointError("patch_embed.proj.weight, pos_embed or blocks.0.mlp.fc1.weight is missing or misshapen")
    width, channels, side, other_side = patches
    if channels != 3 or side != other_side:
        raise CheckpointError(f"its patches have the shape {patches[1:]}, expected square ones of 3 channels")
    grid = math.isqrt(positions[1] - 1)
    if grid * grid != positions[1] - 1:
        raise CheckpointError(f"pos_embed has {positions[1] - 1} positions beside the class token, which is no square")
    heads = HEADS_OF.get(width) if num_heads is None else num_heads
    if heads is None or heads < 1 or width % heads:
        known = ", ".join(map(str, HEADS_OF))
        raise CheckpointError(
            f"how many attention heads a network of width {width} has does not stand in the file (known: {known}); "
            "give num_heads, a divisor of the width"
        )
    layers = sorted({int(name.split(".")[1]) for name in shapes if name.startswith("layers.")})
    if layers != list(range(len(layers))):
        raise CheckpointError(f"it has {len(layers)} blocks, of which some between 0 and {layers[-1]} are missing")
    return ViTMSNConfig(
        hidden_size=width,
        num_hidden_layers=len(layers),
        num_attention_heads=heads,
        intermediate_size=inner[0],
        image_size=grid * side,
        patch_size=side,
        layer_norm_eps=1e-6,
        qkv_bias="layers.0.attention.qkv.bias" in shapes,
    )


def _split_attention(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Queries, keys and values, which stand below each other in one matrix, as three."""
    split = {}
    for name, tensor in weights.items():
        if ".attention.qkv." in name:
            for letter, part in zip("qkv", tensor.chunk(3)):
                split[name.replace("qkv", f"{letter}_proj")] = part.clone()
        else:
            split[name] = tensor
    return split


def _joined(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The inverse of `_split_attention`."""
    joined = {}
    for name, tensor in weights.items():
        if ".attention.q_proj." in name:
            parts = [weights[name.replace("q_proj", f"{letter}_proj")] for letter in "qkv"]
            joined[name.replace("q_proj", "qkv")] = torch.cat(parts)
        elif not re.search(r"\.attention\.[kv]_proj\.", name):
            joined[name] = tensor
    return joined
