# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""DeepMind's ResNets in Haiku (ReLICv2, BYOL) as ReLICv2 models of this package.

Both methods train the same network: a ResNet v1 with SAME padding, a projection in the first block of every group, and
batch norm with eps 1e-5 (google-deepmind/relicv2, utils/networks.py). Any depth and width is read off the file.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mscn_hf.models.modeling_relicv2 import ReLICv2Model

from .card import write_converted
from .families import choose_family, refuse_unknown_family
from .files import refuse_used_folder, sha256
from .haiku_checkpoint import read_network
from .haiku_layout import describe, find_config, find_prefix, haiku_name, haiku_shape, split_encoder
from .unpickle import PickledArray
from .wording import some

# The sum behind an average before zero-debiasing, and the second of two equal counters.
_UNUSED = ("/mean_ema/hidden", "/var_ema/hidden", "/var_ema/counter")
_NOTES = (
    "Strides, padding, activation and the epsilon of batch norm do not stand in the file. They are those of the "
    "authors' code: stride in the 3x3 convolution, SAME padding, ReLU, 1e-5.",
    "The authors evaluate on the middle 224/256 of an image, cut out first and then resized without antialiasing; the "
    "image processor here resizes first, with antialiasing.",
)


def convert_haiku(
    checkpoint: str | Path,
    out: str | Path,
    *,
    family: str | None = None,
    license: str | None = None,
    source: str | None = None,
    dry_run: bool = False,
    network: str | None = None,
    check_usage: bool = True,
) -> dict[str, Any]:
    """Writes the encoder of a ReLICv2 or BYOL checkpoint as a folder that `transformers.AutoModel` loads.

    Args:
        checkpoint: the pickle that the authors published; nothing in it is run.
        out: folder to make; it must not hold anything yet.
        family: "byol" or "relicv2"; None: as the file tells, of which BYOL's holds a target network.
        license: the weights' licence by the Hub's identifier; None: the family's.
        source: where the checkpoint was published; None: the family's repository.
        dry_run: check everything, write nothing.
        network: "online" (default), or "target" for the averaged network, which BYOL's files hold too.
        check_usage: run the card's usage example.

    Returns:
        what conversion.json holds.

    Raises:
        UnsafePickleError: the file asks for more than plain data.
        ValueError: the file is no such checkpoint (see `read_encoder`), or of another family than the one named.
        FileExistsError: `out` is in use.
    """
    refuse_unknown_family(family)
    if not dry_run:
        refuse_used_folder(out)
    model, facts = read_encoder(checkpoint, network or "online")
    sign = f"it holds {'' if facts['layout'] == 'byol' else 'no '}target_params"
    chosen = choose_family(family, facts["layout"], certain=True, checkpoint=facts["checkpoint"], sign=sign)
    return write_converted(model, out, chosen, source, license, facts, check_usage=check_usage, dry_run=dry_run)


def read_encoder(checkpoint: str | Path, network: str = "online") -> tuple[ReLICv2Model, dict[str, Any]]:
    """Rebuilds the encoder of a checkpoint of google-deepmind/relicv2 or of deepmind-research/byol.

    Returns:
        the encoder in float32 (`padding="same"`, no filter, ImageNet mean and deviation, 224 of 256 pixels), and what
        there is to say of it, as `write_converted` takes it.

    Raises:
        UnsafePickleError: the file asks for more than plain data.
        ValueError: it is no such checkpoint; or a tensor is missing, not part of a ResNet, of another shape than the
            network needs, or not finite.
    """
    checkpoint = Path(checkpoint).expanduser()
    if not checkpoint.is_file():
        raise FileNotFoundError(
            f"there is no file {str(checkpoint)!r}; give the checkpoint that the authors published"
        )
    saved = read_network(checkpoint, network)
    prefix = find_prefix(saved.arrays)
    encoder, heads = split_encoder(saved.arrays, prefix)
    config = find_config(encoder)
    # No memory yet: the file's shapes are compared with the network's before anything is made.
    with torch.device("meta"):
        model = ReLICv2Model(config)
    shapes = {key: tuple(tensor.shape) for key, tensor in model.state_dict().items()}
    replicas = _check(encoder, shapes, describe(config), checkpoint.stat().st_size)
    state_dict, unequal = {}, []
    for key in shapes:
        name = haiku_name(key)
        numbers = encoder[name].array()
        if replicas:
            unequal += [name] if (numbers[1:] != numbers[:1]).any() else []
            numbers = numbers[0]
        state_dict[key] = _tensor(key, name, numbers)
    model.load_state_dict(state_dict, strict=True, assign=True)

    notes = list(_NOTES)
    if replicas:
        how = f"they differ in {some(sorted(unequal))}" if unequal else "all are equal"
        notes.append(f"The file holds {replicas} replicas of every tensor; the first was taken, {how}.")
    facts = {
        "architecture": describe(config),
        "padding": config.padding,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "network": network,
        **({} if saved.step is None else {"training steps": saved.step}),
        "place in the file": saved.place,
        "names": f"Haiku, {prefix or 'no name in front'}",
        "layout": "byol" if saved.has_target else "relicv2",
        "tensors": len(state_dict),
        "checkpoint": checkpoint.name,
        "checkpoint bytes": checkpoint.stat().st_size,
        "checkpoint sha256": sha256(checkpoint),
        "left out": heads | dict.fromkeys(saved.beside, 0),
        "notes": notes,
    }
    return model.eval(), facts


def _check(
    encoder: Mapping[str, PickledArray], shapes: Mapping[str, tuple[int, ...]], what: str, file_size: int
) -> int:
    """Compares names and shapes with the network's; returns the length of the axis of replicas, 0 without one.

    pmap gives every array such an axis; the official loader takes its first entry.
    """
    needed = {haiku_name(key): haiku_shape(shape) for key, shape in shapes.items()}
    if missing := needed.keys() - encoder.keys():
        raise ValueError(f"the checkpoint lacks {some(sorted(missing))}, which a {what} has")
    if surplus := {name for name in encoder.keys() - needed.keys() if not name.endswith(_UNUSED)}:
        raise ValueError(f"the checkpoint has {some(sorted(surplus))}, for which there is no place in a {what}")
    stem = encoder["initial_conv/w"].shape
    replicas = stem[0] if len(stem) == 5 else 0
    for name, shape in needed.items():
        if encoder[name].shape != (*stem[: len(stem) - 4], *shape):
            axis = f" after an axis of {replicas} replicas" if replicas else ""
            raise ValueError(f"{name} has the shape {encoder[name].shape}, a {what} needs {shape}{axis}")
    if sum(encoder[name].nbytes for name in needed) > file_size:
        raise ValueError("the checkpoint uses the same numbers for several tensors, which training does not do")
    return replicas


def _tensor(key: str, name: str, numbers: np.ndarray) -> torch.Tensor:
    """The array as a tensor in our layout, after its values were looked at."""
    if key.endswith("num_batches_tracked"):
        if numbers.dtype.kind not in "iu" or numbers < 1:
            raise ValueError(f"{name} is {numbers}: no batch statistics were collected, so nothing was trained")
        return torch.tensor(int(numbers))
    if numbers.dtype.kind != "f":
        raise ValueError(f"{name} holds numbers of type {numbers.dtype}, expected floating point")
    ours = numbers.transpose(3, 2, 0, 1) if key.endswith("convolution.weight") else numbers.reshape(-1)
    with np.errstate(over="ignore"):  # what is too large for float32 is found below
        values = np.array(ours, np.float32, order="C")  # a copy: the file's bytes can be let go
    if not np.isfinite(values).all():
        raise ValueError(f"{name} holds values that are not finite")
    if key.endswith("running_var") and values.min() < 0:
        raise ValueError(f"{name} holds a negative variance, {values.min()}")
    return torch.from_numpy(values)
