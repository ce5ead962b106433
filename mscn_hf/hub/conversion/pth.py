# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""ResNets from torch checkpoints (torchvision, timm, MoCo, SwAV, DINO, VICReg, VISSL, …) as transformers' own ResNet.

Their padding is torchvision's and nothing filters their input, so the result is `model_type: resnet`, which plain
transformers loads without any code of this package.
"""

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel, ResNetForImageClassification, ResNetModel

from ..model_folder import INTERPOLATIONS
from .card import preprocessor, write_converted
from .families import choose_family, refuse_unknown_family
from .files import CheckpointError, refuse_used_folder
from .torch_files import TorchFile, open_torch_file
from .torch_keys import LAYOUTS, PREPROCESSING, Layout
from .torch_resnet import Place, Plan, find_resnets, plan_resnet
from .torch_tensors import left_out, read_weights
from .wording import first_line

UNKNOWN = "resnet"  # the family of a file that does not show who trained it
CLASSES = 1000
RESAMPLE = {name: number for number, name in INTERPOLATIONS.items()}
PLAIN_TIMM = re.compile(r"(?:tv_)?resnet(?:10|14|18|26|34|50|101|152|200)")
NOT_IN_THE_FILE = (
    "Strides, padding, pooling, activation and the epsilon of batch norm do not stand in a state dict. They are "
    "torchvision's here: stride in the 3x3 convolution (ResNet v1.5), symmetric padding, ReLU, 1e-5."
)


def convert_pth(
    checkpoint: str | Path,
    out: str | Path,
    *,
    family: str | None = None,
    license: str | None = None,
    source: str | None = None,
    dry_run: bool = False,
    prefix: str | None = None,
    network: str | None = None,
    with_head: bool = False,
    drop: Sequence[str] = (),
    check_usage: bool = True,
) -> dict[str, Any]:
    """Writes the ResNet of a checkpoint as a folder that `transformers.AutoModel` loads.

    Args:
        checkpoint: .pth, .pth.tar, .pt, .bin, .ckpt or .safetensors.
        out: folder to make; it must not hold anything yet.
        family: key in FAMILIES; None: as the layout of the file tells. Needed only where the layout is nobody's own.
        license: the weights' licence by the Hub's identifier; None: the family's.
        source: where the checkpoint was published; None: the family's repository.
        dry_run: check everything, write nothing.
        prefix: where the encoder stands, "prefix" or "dictionary:prefix"; None: found by its names.
        network: which of a family's networks, for example "key" or "student"; None: the one that the family scores.
        with_head: keep a classifier `fc` of 1000 classes (ResNetForImageClassification).
        drop: patterns of names under the prefix that may be left out beside the usual heads.
        check_usage: run the card's usage example.

    Returns:
        what conversion.json holds: family, place in the file, architecture, dropped tensors, hashes.

    Raises:
        CheckpointError: the file is refused (code in it, no or several complete ResNets, missing or left-over
            tensors, an architecture that transformers' ResNet does not have), or its layout shows another family than
            the one named.
    """
    refuse_unknown_family(family)
    if not dry_run:
        refuse_used_folder(out)
    file = open_torch_file(checkpoint)
    fields = _fields_beside(file)
    place, layout, chosen, plan = _choose(file, fields, prefix, network, drop)
    chosen_family = choose_family(
        family,
        layout.family if layout else UNKNOWN,
        certain=layout is not None and not layout.any_method,
        checkpoint=file.path.name,
        sign="by the names of its tensors",
    )
    model, classifier = _build(file, place, plan, with_head)
    used = {place.group: {*plan.names.values(), *classifier}}
    facts: dict[str, Any] = {
        "architecture": f"ResNet-{plan.depth} {plan.width:g}x",
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        **({"network": chosen} if chosen else {}),
        "place in the file": str(place) if place.group or place.prefix else "top level",
        "names": place.naming,
        "layout": layout.family if layout else "of no known family",
        "tensors": len(plan.names) + len(classifier),
        **file.facts(),
        "left out": left_out(file, used, place.prefix),
        "notes": [NOT_IN_THE_FILE, *_notes(plan, with_head)],
    }
    settings = {**PREPROCESSING.get(chosen_family.name, {}), **_timm_preprocessing(file)}
    return write_converted(
        model,
        out,
        chosen_family,
        source,
        license,
        facts,
        preprocessor=preprocessor(**settings),  # type: ignore[arg-type]
        check_usage=check_usage,
        dry_run=dry_run,
    )


def _choose(
    file: TorchFile, fields: Mapping[str, Any], prefix: str | None, network: str | None, drop: Sequence[str]
) -> tuple[Place, Layout | None, str | None, Plan]:
    """The encoder to convert: place, family's layout, name of the network, and the plan for its tensors."""
    places = find_resnets(file.groups)
    if not places:
        raise CheckpointError(
            f"{file.path.name} holds no ResNet in a layout known here. Its tensors stand at: {_prefixes(file)}"
        )
    plans: dict[Place, Plan | CheckpointError] = {}
    for place in places:
        try:
            plans[place] = plan_resnet(file.groups[place.group], place, places, drop, fields)
        except CheckpointError as error:
            plans[place] = error
    layout = _layout(file, places)
    networks = _networks(layout, places) if layout else {}
    if prefix is not None:
        place = _at(prefix, places, file)
    elif network is not None:
        if network not in networks:
            known = f"has the networks {', '.join(networks)}" if networks else "is of no family with named networks"
            raise CheckpointError(f"{file.path.name} {known}; there is no {network!r}")
        place = networks[network]
    elif networks:
        place = next(iter(networks.values()))
    else:
        complete = [place for place, plan in plans.items() if isinstance(plan, Plan)]
        if len(complete) > 1:
            raise CheckpointError(
                f"{file.path.name} holds {len(complete)} complete ResNets; choose one with --prefix: "
                f"{', '.join(map(repr, map(str, complete)))}"
            )
        place = (complete or places)[0]
    plan = plans[place]
    if isinstance(plan, CheckpointError):
        raise CheckpointError(f"{file.path.name}, ResNet at {str(place)!r}: {plan}")
    return place, layout, next((name for name, other in networks.items() if other == place), None), plan


def _layout(file: TorchFile, places: Sequence[Place]) -> Layout | None:
    """The first family whose places and marks are there."""
    for layout in LAYOUTS:
        if _networks(layout, places) and all(
            any(re.fullmatch(mark, f"{group}:{name}") for group, tensors in file.groups.items() for name in tensors)
            for mark in layout.marks
        ):
            return layout
    return None


def _networks(layout: Layout, places: Sequence[Place]) -> dict[str, Place]:
    found = {}
    for name, pattern in layout.networks.items():
        for place in places:
            if name not in found and re.fullmatch(pattern, str(place)):
                found[name] = place
    return found if next(iter(layout.networks)) in found else {}


def _at(prefix: str, places: Sequence[Place], file: TorchFile) -> Place:
    wanted = {prefix, f"{prefix}."}
    found = [place for place in places if wanted & {str(place), place.prefix}]
    if len(found) != 1:
        raise CheckpointError(
            f"{file.path.name} holds {len(found)} ResNets at {prefix!r}; there are "
            f"{', '.join(map(repr, map(str, places)))}"
        )
    return found[0]


def _prefixes(file: TorchFile) -> str:
    seen: dict[str, None] = {}
    for group, tensors in file.groups.items():
        for name in tensors:
            seen[f"{group}:{'.'.join(name.split('.')[:2])}"] = None
    return ", ".join(map(repr, list(seen)[:12])) + (" …" if len(seen) > 12 else "")


def _build(file: TorchFile, place: Place, plan: Plan, with_head: bool) -> tuple[PreTrainedModel, tuple[str, ...]]:
    weights = read_weights(file, place.group, plan.names)
    weights |= {name: torch.zeros((), dtype=torch.int64) for name in plan.filled}
    model: PreTrainedModel
    if not with_head:
        with torch.device("meta"):
            model = ResNetModel(plan.config)
        model.load_state_dict(weights, assign=True)
        return model.eval(), ()
    shape = tuple(file.groups[place.group][plan.classifier[0]].shape) if plan.classifier else None
    features = plan.config.hidden_sizes[-1]  # type: ignore[index]
    if plan.classifier is None or shape != (CLASSES, features):
        what = f"fc has the shape {shape}, a projector's" if shape else "there is no fc with weight and bias"
        raise CheckpointError(
            f"{what}: a classifier of {CLASSES} classes has ({CLASSES}, {features}). Omit --with-head"
        )
    head = read_weights(file, place.group, dict(zip(("classifier.1.weight", "classifier.1.bias"), plan.classifier)))
    plan.config.num_labels = CLASSES
    with torch.device("meta"):
        model = ResNetForImageClassification(plan.config)
    model.load_state_dict({f"resnet.{name}": tensor for name, tensor in weights.items()} | head, assign=True)
    return model.eval(), plan.classifier


def _notes(plan: Plan, with_head: bool) -> list[str]:
    notes = []
    if plan.classifier and not with_head:
        notes.append("The file also holds a last linear layer, fc, which was left out.")
    if plan.filled:
        notes.append(f"{len(plan.filled)} counters of batches are not in the file and are 0; they change no output.")
    return notes


def _fields_beside(file: TorchFile) -> dict[str, Any]:
    """What a config.json beside the file tells of the architecture, where the Hub's folder was downloaded whole.

    Raises:
        CheckpointError: the configuration is of another network: equal shapes, but other features.
    """
    config = file.config()
    if "model_type" in config:
        if config["model_type"] != "resnet":
            raise CheckpointError(
                f"the config.json beside {file.path.name} says that it is a {config['model_type']!r} of transformers; "
                "load it with AutoModel, there is nothing to convert"
            )
        names = ("downsample_in_first_stage", "downsample_in_bottleneck", "hidden_act")
        return {name: config[name] for name in names if name in config}
    architecture = config.get("architecture")
    if architecture is not None and not PLAIN_TIMM.fullmatch(str(architecture)):
        raise CheckpointError(
            f"the config.json beside {file.path.name} says that it is timm's {architecture!r}, which differs from "
            "transformers' ResNet even where all shapes agree; load it with timm"
        )
    return {}


def _timm_preprocessing(file: TorchFile) -> dict[str, Any]:
    """Evaluation preprocessing from timm's config.json beside the file; what it does not say is left out.

    Raises:
        CheckpointError: a size, share or value in it is none.
    """
    timm = file.config().get("pretrained_cfg")
    if not isinstance(timm, dict):
        return {}
    try:
        size = int(timm.get("input_size", (3, 224, 224))[-1])
        settings: dict[str, Any] = {
            "image_size": size,
            "resize": math.floor(size / float(timm.get("crop_pct", 0.875))),
            "resample": RESAMPLE.get(timm.get("interpolation", "bilinear"), 2),
        }
        for name in ("mean", "std"):
            if name in timm:
                settings[f"image_{name}"] = [float(value) for value in timm[name]]
                if len(timm[name]) != 3:
                    raise ValueError(f"{name} has {len(timm[name])} values, expected 3")
        if min(settings["image_size"], settings["resize"]) < 1:
            raise ValueError(f"images of {size} pixels, out of {settings['resize']}")
    except (TypeError, ValueError, ArithmeticError, LookupError) as error:
        raise CheckpointError(
            f"the config.json beside {file.path.name} has a pretrained_cfg that gives no preprocessing "
            f"({first_line(error)}); correct it, or move the checkpoint to a folder of its own"
        ) from error
    return settings
