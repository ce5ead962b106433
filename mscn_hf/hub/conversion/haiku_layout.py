# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""How DeepMind's ResNets in Haiku name and shape their arrays, and what that tells of the network.

`res_net101/~/block_group_2/~/block_10/~/conv_1` is `encoder.stages.2.layers.10.layer.1.convolution` here. The part in
front, "res_net101/", is another for every depth; the "~" of constructors are left out of all names.
"""

import re
from collections.abc import Iterable, Mapping

from mscn_hf.models.configuration_relicv2 import ReLICv2Config
from mscn_hf.models.configuration_siamese_resnet import RESNET_LAYERS

from ..safe_text import plain
from .unpickle import PickledArray
from .wording import some

_BLOCK = re.compile(r"block_group_(\d+)/block_(\d+)/.+")
_SIZES = ("layer_type", "depths", "embedding_size", "hidden_sizes")
_NORM = {
    "weight": "scale",
    "bias": "offset",
    "running_mean": "mean_ema/average",
    "running_var": "var_ema/average",
    "num_batches_tracked": "mean_ema/counter",
}


def find_prefix(arrays: Iterable[str]) -> str:
    """What precedes `initial_conv` in the names: the network's own name and a slash.

    Raises:
        ValueError: there is no such stem, or more than one.
    """
    stems = [name.removesuffix("initial_conv/w") for name in arrays if f"/{name}".endswith("/initial_conv/w")]
    if len(stems) != 1:
        found = f"{len(stems)} of them" if stems else f"none among {some(sorted(arrays))}"
        raise ValueError(f"a ResNet has one stem, initial_conv/w; found {found}")
    return stems[0]


def split_encoder(arrays: Mapping[str, PickledArray], prefix: str) -> tuple[dict[str, PickledArray], dict[str, int]]:
    """The encoder's arrays by their name past the prefix, and how many arrays each other module has (the heads)."""
    encoder: dict[str, PickledArray] = {}
    heads: dict[str, int] = {}
    for path, array in arrays.items():
        name = path.removeprefix(prefix)
        layer = name.split("/")[0]
        if prefix:
            inside = path.startswith(prefix) and layer != "logits"
        else:
            inside = layer.startswith(("initial_", "final_", "block_group_"))
        if inside:
            encoder[name] = array
        else:
            module = f"{prefix}logits" if path.startswith(f"{prefix}logits/") else path.split("/")[0]
            heads[module] = heads.get(module, 0) + 1
    return encoder, heads


def find_config(encoder: Mapping[str, PickledArray]) -> ReLICv2Config:
    """Depths and widths of a ResNet, read off the names and shapes of its kernels (names without prefix).

    Raises:
        ValueError: blocks are missing, or the shapes are none of a ResNet's convolutions.
    """
    if any(name.startswith("final_batchnorm/") for name in encoder):
        raise ValueError("final_batchnorm: this is a ResNet v2 (pre-activation); only v1 can be converted")
    blocks: dict[int, set[int]] = {}
    for name in encoder:
        if match := _BLOCK.fullmatch(name):
            blocks.setdefault(int(match[1]), set()).add(int(match[2]))
    # Counted before anything is built: one misnumbered block must not make a network of a million layers.
    _check_numbered("block_group", blocks)
    for group, found in blocks.items():
        _check_numbered(f"block_group_{group}/block", found)
    stem = _kernel(encoder, "initial_conv")
    if stem[:2] != (7, 7):
        raise ValueError(f"initial_conv/w: expected a kernel of 7 x 7 pixels, found the shape {stem}")
    bottleneck = "block_group_0/block_0/conv_2/w" in encoder
    last = "conv_2" if bottleneck else "conv_1"
    return ReLICv2Config(
        num_channels=stem[2],
        embedding_size=stem[3],
        hidden_sizes=[_kernel(encoder, f"block_group_{group}/block_0/{last}")[3] for group in range(len(blocks))],
        depths=[len(blocks[group]) for group in range(len(blocks))],
        layer_type="bottleneck" if bottleneck else "basic",
        padding="same",
    )


def describe(config: ReLICv2Config) -> str:
    """`ResNet-50 2x` for the standard networks, the sizes for others."""
    width = max(config.embedding_size // 64, 1)
    for depth in RESNET_LAYERS:
        standard = ReLICv2Config.resnet(depth, width)
        if all(getattr(config, name) == getattr(standard, name) for name in _SIZES):
            return f"ResNet-{depth} {width}x"
    return f"ResNet of {config.layer_type} layers {list(config.depths)}, widths {list(config.hidden_sizes)}"


def haiku_name(key: str) -> str:
    """Haiku's "module/name", without the net's prefix, of a tensor in our state dict.

    `encoder.stages.1.layers.10.layer.2.convolution.weight` is `block_group_1/block_10/conv_2/w`.
    """
    *module, kind, name = key.split(".")
    if module[0] == "embedder":
        place, index = "initial_", ""
    else:
        place, index = f"block_group_{module[2]}/block_{module[4]}/", ""
        if module[5] == "shortcut":
            place += "shortcut_"
        else:
            index = f"_{module[6]}"
    return f"{place}conv{index}/w" if kind == "convolution" else f"{place}batchnorm{index}/{_NORM[name]}"


def haiku_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Haiku's shape of a tensor of ours: kernels (height, width, in, out), batch norm (1, 1, 1, C), counters ()."""
    if len(shape) == 4:
        return (*shape[2:], shape[1], shape[0])
    return (1, 1, 1, *shape) if shape else ()


def _check_numbered(name: str, found: Iterable[int]) -> None:
    numbers = sorted(found)
    if numbers != list(range(len(numbers))) or not numbers:
        raise ValueError(f"expected {name}_0, {name}_1 and so on, found {plain(numbers, 100) if numbers else 'none'}")


def _kernel(encoder: Mapping[str, PickledArray], layer: str) -> tuple[int, ...]:
    """(height, width, in, out) of a convolution, without the axis of replicas."""
    if f"{layer}/w" not in encoder:
        raise ValueError(f"the checkpoint lacks {layer}/w")
    shape = encoder[f"{layer}/w"].shape
    if len(shape) not in (4, 5) or 0 in shape:
        raise ValueError(f"{layer}/w: expected (height, width, in, out), found the shape {shape}")
    return shape[-4:]
