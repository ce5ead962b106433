# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""torchvision: a state dict for torchvision.models.resnet18 to resnet152, and for its ResNet class at depth 200."""

from pathlib import Path

import torch
import torchvision
from safetensors.torch import save_file
from torch import Tensor, nn
from torchvision.models.resnet import Bottleneck, ResNet

from mscn_hf.models.configuration_siamese_resnet import RESNET_LAYERS

from .capability import depth_and_width
from .names import torchvision_name
from .preprocessing import CROP_NOTE, read_preprocessing
from .source import Source
from .written import Written, refuse_difference, relative_difference, try_images


def torchvision_weights(source: Source) -> dict[str, Tensor]:
    """The source's tensors under torchvision's names, a classifier as `fc`; values are not touched."""
    # Copies: torch.save writes the whole storage that a view looks at.
    weights = {torchvision_name(name): tensor.clone() for name, tensor in source.encoder.state_dict().items()}
    if source.head is not None:
        weights |= {f"fc.{name}": tensor.clone() for name, tensor in source.head.state_dict().items()}
    return weights


def write(source: Source, folder: Path, check: bool) -> Written:
    """Writes resnetN.pth (plain tensors, for torch.load with weights_only) and the same as resnetN.safetensors."""
    depth, _ = depth_and_width(source.config)
    preprocessing = read_preprocessing(source.preprocessor)
    weights = torchvision_weights(source)
    torch.save(weights, folder / f"resnet{depth}.pth")
    save_file(weights, folder / f"resnet{depth}.safetensors", metadata={"format": "pt"})

    classes = source.head.out_features if source.head is not None else 0
    difference = None
    if check:
        images_BCHW = try_images(3, 64)
        with torch.device("meta"):  # the weights are read, so none are drawn
            network = _build(depth, classes)
        read = torch.load(folder / f"resnet{depth}.pth", weights_only=True)
        network.load_state_dict(read, strict=True, assign=True)
        with torch.no_grad():
            difference = relative_difference(network.eval()(images_BCHW), source.features(images_BCHW))
        refuse_difference(difference, 1e-5)

    arguments = f"num_classes={classes}" if classes else ""
    if depth == 200:
        layers = f"torchvision.models.resnet.Bottleneck, {RESNET_LAYERS[200][1]}"
        build = f"torchvision.models.ResNet({layers}{', ' + arguments if arguments else ''})"
    else:
        build = f"torchvision.models.resnet{depth}({arguments})"
    no_head = "" if classes else " model.fc = torch.nn.Identity();"
    notes = ["Call model.eval() before features are taken."]
    if not classes:
        notes.append("There is no classifier (fc); with one of your own, load with strict=False.")
    if depth == 200:
        notes.append("torchvision has no function for ResNet-200; its ResNet class builds it.")
    notes.append(CROP_NOTE)
    return Written(
        load=f"import torch, torchvision; model = {build};{no_head} "
        f'model.load_state_dict(torch.load("{{folder}}/resnet{depth}.pth", weights_only=True))',
        library="torchvision",
        notes=tuple(notes),
        usage=(
            "import torchvision.transforms as T",
            f"preprocess = {preprocessing.torchvision_code}",
            "features = model.eval()(preprocess(image)[None])",
        ),
        difference=difference,
    )


def _build(depth: int, classes: int) -> nn.Module:
    if depth == 200:
        network: nn.Module = ResNet(Bottleneck, RESNET_LAYERS[200][1], num_classes=classes or 1)
    else:
        network = getattr(torchvision.models, f"resnet{depth}")(num_classes=classes or 1)
    if not classes:
        network.fc = nn.Identity()
    return network
