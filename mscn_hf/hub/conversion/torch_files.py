# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Checkpoint files of torch and safetensors as tensors by their place and name, without running code from them."""

import json
import pickle
import re
import warnings
from collections import OrderedDict, deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from .files import CheckpointError, sha256
from .wording import first_line, key_text

MAX_NESTING = 8
ZIP_MAGIC = b"PK\x03\x04"

# What training scripts leave beside the weights. These classes are never imported: an `_Inert` takes their place.
INERT_GLOBALS = (
    "argparse.Namespace",
    *("pathlib.PosixPath", "pathlib.WindowsPath", "pathlib._local.PosixPath", "pathlib._local.WindowsPath"),
    *("numpy.dtype", "numpy.ndarray"),
    *(f"numpy.{core}.multiarray.{name}" for core in ("core", "_core") for name in ("scalar", "_reconstruct")),
    *("omegaconf.dictconfig.DictConfig", "omegaconf.listconfig.ListConfig", "omegaconf.nodes.AnyNode"),
    *("omegaconf.base.ContainerMetadata", "omegaconf.base.Metadata"),
    *("typing.Any", "builtins.int", "builtins.list"),
)
DICT_GLOBALS = ("collections.defaultdict", "builtins.dict")
# Subclasses of dict, of which pickles ask for the class itself.
DICT_CLASSES = (
    "pytorch_lightning.utilities.parsing.AttributeDict",
    "lightning_fabric.utilities.data.AttributeDict",
    "lightning.fabric.utilities.data.AttributeDict",
)


SAFETENSORS_TYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}


class _Inert:
    """Stands for an object of a training script: it takes whatever the file gives, keeps nothing and does nothing."""

    def __new__(cls, *args: Any, **kwargs: Any) -> "_Inert":
        return super().__new__(cls)

    def __init__(self, *args: Any, **kwargs: Any) -> None: ...

    def __setstate__(self, state: Any) -> None: ...


def _empty_dict(*args: Any) -> OrderedDict:
    return OrderedDict()


@dataclass
class TorchFile:
    """The tensors of a checkpoint.

    Args:
        path: the file.
        groups: place in the file -> tensors by name. The place is the keys on the way to a dictionary of tensors,
            joined by "/": "" for a plain state dict, "state_dict", "classy_state_dict/base_model/model/trunk".
            Tensors of a safetensors file are on the meta device: read them by `read`.
        other: names at the top of the file that lead to no dictionary of tensors (epoch, args, …).
    """

    path: Path
    groups: dict[str, dict[str, Tensor]]
    other: list[str] = field(default_factory=list)

    def read(self, place: str, names: Mapping[str, str]) -> Iterator[tuple[str, Tensor]]:
        """Pairs of new name and tensor, in memory of their own, for `names`: new name -> name at the place."""
        if not self._is_safetensors:
            yield from ((new, self.groups[place][old].detach().clone()) for new, old in names.items())
            return
        with safe_open(self.path, framework="pt") as tensors:
            yield from ((new, tensors.get_tensor(old)) for new, old in names.items())

    def config(self) -> dict[str, Any]:
        """config.json beside the file, as the Hub's repositories have it; empty where there is none."""
        try:
            value = json.loads((self.path.parent / "config.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return value if isinstance(value, dict) else {}

    def facts(self) -> dict[str, Any]:
        """Name, size in bytes and sha256 of the file."""
        return {
            "checkpoint": self.path.name,
            "checkpoint bytes": self.path.stat().st_size,
            "checkpoint sha256": sha256(self.path),
        }

    @property
    def _is_safetensors(self) -> bool:
        return self.path.suffix == ".safetensors"


def open_torch_file(path: str | Path) -> TorchFile:
    """Opens .pth, .pth.tar, .pt, .bin, .ckpt (torch.save) or .safetensors.

    Nothing in the file is run: pickles are read by torch's weights-only unpickler, and what training scripts commonly
    leave beside the weights (arguments, paths, numpy numbers, OmegaConf settings) is replaced by empty objects.

    Raises:
        CheckpointError: the file is missing or damaged, holds no tensors, or asks for other code than that.
    """
    path = Path(path).expanduser()
    if path.is_dir():
        raise CheckpointError(f"{str(path)!r} is a folder; give the checkpoint file in it")
    if not path.is_file():
        raise CheckpointError(f"there is no file {str(path)!r}")
    if path.suffix == ".safetensors":
        return TorchFile(path, {"": _safetensors_header(path)})
    content = _load(path)
    groups = _groups(content) if isinstance(content, Mapping) else {}
    if not groups:
        raise CheckpointError(f"{path.name} holds no state dict, but {_kind(content)}")
    tops = {place.partition("/")[0] for place in groups} | set(groups.get("", ()))
    other = [key_text(name) for name in content if name not in tops] if isinstance(content, Mapping) else []
    for place, tensors in groups.items():
        for name, tensor in tensors.items():
            _check_storage(path, f"{place}: {name}" if place else name, tensor)
    return TorchFile(path, groups, other)


def _load(path: Path) -> Any:
    safe: list[Any] = [(_Inert, name) for name in INERT_GLOBALS]
    safe += [(_empty_dict, name) for name in DICT_GLOBALS] + [(OrderedDict, name) for name in DICT_CLASSES]
    with path.open("rb") as file:
        is_zip = file.read(len(ZIP_MAGIC)) == ZIP_MAGIC  # only these can be mapped into memory
    try:
        with warnings.catch_warnings(), torch.serialization.safe_globals(safe):
            warnings.simplefilter("ignore")  # on pickle protocols
            return torch.load(path, map_location="cpu", weights_only=True, mmap=is_zip)
    except Exception as error:  # a damaged or hostile file may fail anywhere in the unpickler
        if isinstance(error, pickle.UnpicklingError) and (wanted := re.search(r"GLOBAL ([\w.]+)", str(error))):
            raise CheckpointError(
                f"{path.name} asks for {wanted[1]}, which is code and not weights, so it is not opened. If you trust "
                "it, open it where nothing can be harmed with torch.load(…, weights_only=False), torch.save its state "
                "dict alone, and convert that file"
            ) from None
        raise CheckpointError(f"{path.name} cannot be read as a checkpoint of torch: {first_line(error)}") from error


def _groups(content: Mapping) -> dict[str, dict[str, Tensor]]:
    """Every dictionary with tensors under text keys, by its place; an optimizer's state has numbers for keys.

    A dictionary that stands at several places is listed at the one with the fewest keys on the way: small files can
    nest the same dictionaries so that there are more places than a computer can count.
    """
    groups: dict[str, dict[str, Tensor]] = {}
    seen = {id(content)}
    waiting: deque[tuple[Mapping, tuple[str, ...]]] = deque([(content, ())])
    while waiting:
        found, way = waiting.popleft()
        named = {name: value for name, value in found.items() if isinstance(name, str)}
        if tensors := {name: value for name, value in named.items() if isinstance(value, Tensor)}:
            groups["/".join(way)] = tensors
        for name, value in named.items():
            if isinstance(value, Mapping) and id(value) not in seen and len(way) < MAX_NESTING:
                seen.add(id(value))
                waiting.append((value, (*way, name)))
    return groups


def _check_storage(path: Path, name: str, tensor: Tensor) -> None:
    """Refuses tensors that are larger than what the file holds of them: strides of 0 make bytes into gigabytes."""
    if tensor.layout != torch.strided or tensor.is_quantized or tensor.device.type != "cpu":
        kind = f"{tensor.layout}, {tensor.dtype}, on {tensor.device}"
        raise CheckpointError(f"{path.name}: {name} is not an ordinary tensor ({kind})")
    if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        raise CheckpointError(f"{path.name}: {name} has the shape {tuple(tensor.shape)} but not that many numbers")


def _safetensors_header(path: Path) -> dict[str, Tensor]:
    """Shapes and types of all tensors, on the meta device: nothing is allocated before they are checked."""
    found = {}
    try:
        with safe_open(path, framework="pt") as tensors:
            for name in tensors.keys():  # noqa: SIM118  (not a dict)
                part = tensors.get_slice(name)
                dtype = SAFETENSORS_TYPES.get(part.get_dtype())
                if dtype is None:
                    raise CheckpointError(f"{path.name}: {name} is of type {part.get_dtype()}, which no weight has")
                found[name] = torch.empty(part.get_shape(), dtype=dtype, device="meta")
    except SafetensorError as error:
        raise CheckpointError(f"{path.name} cannot be read as safetensors: {first_line(error)}") from error
    return found


def _kind(content: Any) -> str:
    if isinstance(content, Mapping):
        return f"the entries {[key_text(name)[:100] for name in islice(content, 8)]}"
    return f"a {type(content).__name__}"
