# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
import copy

import pytest
import torch

from mscn_hf.models import MSCNConfig


@pytest.fixture
def tiny_fields():
    """Fields of a three-stage network of about 10,000 parameters, for any of the configurations."""
    return {"layer_type": "basic", "embedding_size": 4, "hidden_sizes": [8, 12, 16], "depths": [1, 2, 1]}


@pytest.fixture
def tiny_config(tiny_fields):
    return MSCNConfig(num_labels=3, **tiny_fields)


@pytest.fixture
def images_BCHW():
    return torch.randn(2, 3, 48, 40, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def randomise():
    """A function that gives all weights and batch-norm statistics values that are nothing like their start."""

    def fill(model, seed=1):
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for name, tensor in model.state_dict().items():
                if name.endswith("running_var"):
                    tensor.uniform_(0.5, 2.0, generator=generator)
                elif tensor.is_floating_point():
                    tensor.add_(torch.randn(tensor.shape, generator=generator, dtype=tensor.dtype), alpha=0.1)
        return model.eval()

    return fill


@pytest.fixture
def aligned():
    """A function that copies a model to fresh memory, for comparisons to the bit.

    Weights mapped from a safetensors file start at any address, and some CPU kernels round otherwise there.
    """
    return copy.deepcopy


@pytest.fixture
def from_torchvision():
    """A function from the state dict of torchvision's ResNet to the one of the encoder."""

    def rename(name):
        parts = name.split(".")
        kind = {"c": "convolution", "b": "normalization"}
        if parts[0] in ("conv1", "bn1"):
            return ".".join(["embedder.embedder", kind[parts[0][0]], *parts[1:]])
        stage = f"encoder.stages.{int(parts[0].removeprefix('layer')) - 1}.layers.{parts[1]}"
        if parts[2] == "downsample":
            return ".".join([stage, "shortcut", "convolution" if parts[3] == "0" else "normalization", *parts[4:]])
        return ".".join([stage, "layer", str(int(parts[2][-1]) - 1), kind[parts[2][0]], *parts[3:]])

    return lambda state: {rename(name): value for name, value in state.items() if not name.startswith("fc.")}
