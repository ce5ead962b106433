# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Saved models to export, with weights and statistics that are nothing like their start."""

import copy
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from mscn_hf.models import (
    MSCNConfig,
    MSCNModel,
    ReLICv2Config,
    ReLICv2ForImageClassification,
    ReLICv2Model,
)

TINY = {"layer_type": "basic", "embedding_size": 4, "hidden_sizes": [8, 12], "depths": [1, 1], "image_size": 64}
CARD = "---\nlicense: cc-by-4.0\n---\n\n# Somebody's encoder\n"


def randomise(model, seed=0):
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if name.endswith("running_var"):
                tensor.uniform_(0.5, 2.0, generator=generator)
            elif tensor.is_floating_point() and tensor.ndim < 2:
                tensor.add_(torch.randn(tensor.shape, generator=generator), alpha=0.1)
            elif not tensor.is_floating_point():
                tensor.fill_(7)
    return model.eval()


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Tiny networks run no faster on several threads, and much slower where others use the cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def save(tmp_path_factory):
    """A function that saves a model with random statistics and gives its folder."""

    def write(name, model, card=CARD) -> Path:
        folder = tmp_path_factory.mktemp("models") / name
        randomise(model).save_pretrained(folder)
        (folder / "README.md").write_text(card)
        return folder

    return write


@pytest.fixture
def without_weights(tmp_path):
    """A function that saves a configuration beside a weights file that does not fit it."""

    def write(config) -> Path:
        folder = tmp_path / "configured"
        config.save_pretrained(folder)
        save_file({"other": torch.zeros(1)}, folder / "model.safetensors")
        return folder

    return write


@pytest.fixture
def tiny_fields():
    return dict(TINY)


@pytest.fixture(scope="session")
def filtered_run(save):
    """The run's folder around a tiny MSCN encoder."""
    return save("encoder", MSCNModel(MSCNConfig(high_pass_sigma=1.0, **TINY))).parent


@pytest.fixture(scope="session")
def same_padded(save):
    return save("same", ReLICv2Model(ReLICv2Config(padding="same", **TINY)))


@pytest.fixture(scope="session")
def resnet18(save):
    # 64 / 0.865 pixels are 74: a float's quotient falls below a whole number on the way back
    return save("resnet18", ReLICv2Model(ReLICv2Config.resnet(18, image_size=64, crop_ratio=0.865)))


@pytest.fixture(scope="session")
def classifier18(save):
    config = ReLICv2Config.resnet(18, num_labels=3, image_size=64)
    config.id2label = {0: "tench", 1: "church", 2: "parachute"}
    config.label2id = {name: number for number, name in config.id2label.items()}
    return save("classifier18", ReLICv2ForImageClassification(config))


@pytest.fixture(scope="session")
def resnet50(save):
    return save("resnet50", ReLICv2Model(ReLICv2Config.resnet(50)))


@pytest.fixture
def images_BCHW():
    return torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(5))


@pytest.fixture
def aligned():
    """A function that copies a model to fresh memory, for comparisons to the bit.

    Weights mapped from a safetensors file start at any address, and some CPU kernels round otherwise there.
    """
    return copy.deepcopy
