# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""A saved folder or Hub repository in a fresh process: with the package, and as remote code where it cannot be had."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from transformers import ConvNextConfig

from mscn_hf.models import (
    FilteredConfig,
    FilteredModel,
    MSCNConfig,
    MSCNForImageClassification,
    MSCNModel,
    ReLICv2Config,
    ReLICv2Model,
)

PACKAGE_PARENT = Path(__file__).parents[2]

WITHOUT_PACKAGE = """
import copy, sys, torch

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "mscn_hf":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Refuse())  # also where the package is installed
from safetensors.torch import load_file
from transformers import AutoBackbone, AutoConfig, AutoImageProcessor, AutoModel, AutoModelForImageClassification
from transformers.dynamic_module_utils import get_class_from_dynamic_module

images, out, fresh = torch.load("images.pt"), {}, copy.deepcopy  # fresh, that is aligned, memory for the weights
trust = {"trust_remote_code": True}
for repo in ("encoder", "relicv2", "org/mscn-tiny", "filtered convnext"):
    out[repo] = fresh(AutoModel.from_pretrained(repo, **trust))(images).pooler_output
assert "timm" not in sys.modules  # which only encoders of timm need
out["filtered timm"] = fresh(AutoModel.from_pretrained("filtered timm", **trust))(images).pooler_output
filtered = AutoModelForImageClassification.from_pretrained("filtered timm", num_labels=2, **trust)
filtered.save_pretrained("filtered again")
assert filtered(images).logits.shape == (2, 2)
backbone_class = get_class_from_dynamic_module("filtered.FilteredBackbone", "filtered timm")
backbone = backbone_class.from_pretrained("filtered timm", out_features=["stage1", "stage2"])
out["filtered backbone"] = fresh(backbone)(images).feature_maps
out["unfiltered"] = fresh(AutoModel.from_pretrained("encoder", **trust))(images, apply_filter=False).pooler_output
classifier = AutoModelForImageClassification.from_pretrained("classifier", **trust)
out["classifier"] = fresh(classifier)(images).logits

config = AutoConfig.from_pretrained("encoder", **trust)
config.out_features = ["stage1", "stage3"]
backbone = AutoBackbone.from_config(config, **trust).eval()
backbone.load_state_dict(load_file("encoder/model.safetensors"))
out["backbone"] = backbone(images).feature_maps
backbone_class = get_class_from_dynamic_module("modeling_mscn.MSCNBackbone", "encoder")
backbone = backbone_class.from_pretrained("encoder", out_features=["stage1", "stage3"])
out["backbone from_pretrained"] = fresh(backbone)(images).feature_maps
out["processor"] = type(AutoImageProcessor.from_pretrained("encoder")).__name__

classifier.save_pretrained("saved again")
try:
    AutoModel.from_pretrained("encoder", trust_remote_code=False)
except ValueError as error:
    out["without trust"] = str(error)
assert not any(name.split(".")[0] == "mscn_hf" for name in sys.modules)
torch.save(out, "out.pt")
"""

WITH_PACKAGE = """
import copy, torch
import mscn_hf
from transformers import AutoBackbone, AutoConfig, AutoModel, AutoModelForImageClassification, UperNetConfig
from transformers import UperNetForSemanticSegmentation

images, out, fresh = torch.load("images.pt"), {}, copy.deepcopy  # fresh, that is aligned, memory for the weights
for repo in ("encoder", "relicv2", "org/mscn-tiny", "filtered convnext", "filtered timm"):
    model = AutoModel.from_pretrained(repo)
    assert type(model).__module__.startswith("mscn_hf.models."), type(model)
    out[repo] = fresh(model)(images).pooler_output
trusted = AutoModel.from_pretrained("encoder", trust_remote_code=True)
assert type(trusted) is mscn_hf.models.MSCNModel  # the installed class wins
classifier = AutoModelForImageClassification.from_pretrained("classifier")
out["classifier"] = fresh(classifier)(images).logits
config = AutoConfig.from_pretrained("org/mscn-tiny", out_features=["stage1", "stage3"])
assert type(AutoBackbone.from_config(config)) is mscn_hf.models.MSCNBackbone
config = UperNetConfig(backbone_config=config, hidden_size=8, pool_scales=[1], use_auxiliary_head=False)
segmenter = UperNetForSemanticSegmentation(config)
mscn_hf.models.load_backbone_weights(segmenter.eval(), "org/mscn-tiny")
out["backbone"] = segmenter.backbone(images).feature_maps
torch.save(out, "out.pt")
"""


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A working folder with saved networks, one of them also in a Hub cache, and what they give for some images."""
    folder = tmp_path_factory.mktemp("saved")
    fields = {"layer_type": "basic", "embedding_size": 4, "hidden_sizes": [8, 12, 16], "depths": [1, 2, 1]}
    torch.manual_seed(0)
    images = torch.randn(2, 3, 41, 48)
    torch.save(images, folder / "images.pt")
    encoder = MSCNModel(MSCNConfig(padding="same", **fields)).eval()
    relicv2 = ReLICv2Model(ReLICv2Config(stem="small", **fields)).eval()
    classifier = MSCNForImageClassification(MSCNConfig(num_labels=3, **fields)).eval()
    shallow = {"depths": [1, 1], "hidden_sizes": [8, 12], "num_stages": 2}
    convnext = FilteredModel(FilteredConfig.from_encoder(ConvNextConfig(**shallow), high_pass_sigma=2.0)).eval()
    blurring = FilteredConfig.from_timm("resnetblur18", {"layers": [1, 1, 1, 1]}, high_pass_sigma=2.0)
    blurnet = FilteredModel(blurring).eval()  # with buffers that are not saved
    convnext.save_pretrained(folder / "filtered convnext")
    blurnet.save_pretrained(folder / "filtered timm")
    encoder.save_pretrained(folder / "encoder")
    relicv2.save_pretrained(folder / "relicv2")
    classifier.save_pretrained(folder / "classifier")

    commit = "0123456789abcdef0123456789abcdef01234567"
    repo = folder / "home" / "hub" / "models--org--mscn-tiny"
    encoder.save_pretrained(repo / "snapshots" / commit)
    (repo / "refs").mkdir()
    (repo / "refs" / "main").write_text(commit)

    hidden = encoder(images, output_hidden_states=True).hidden_states
    blurred = blurnet(images, output_hidden_states=True)
    return folder, images, {
        "encoder": encoder(images).pooler_output,
        "org/mscn-tiny": encoder(images).pooler_output,
        "relicv2": relicv2(images).pooler_output,
        "unfiltered": encoder(images, apply_filter=False).pooler_output,
        "classifier": classifier(images).logits,
        "backbone": (hidden[1], hidden[3]),
        "filtered convnext": convnext(images).pooler_output,
        "filtered timm": blurred.pooler_output,
        "filtered backbone": (blurred.hidden_states[0], blurred.hidden_states[1]),
    }  # fmt: skip


def run(code, folder, *options, **environment):
    inherited = {n: v for n, v in os.environ.items() if n not in ("PYTHONPATH", "HF_HUB_CACHE", "TRANSFORMERS_CACHE")}
    # Equal thread counts, since outputs are compared to the bit.
    environment |= {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": str(torch.get_num_threads())}
    environment |= {"HF_HOME": str(folder / "home"), "HF_MODULES_CACHE": str(folder / "modules")}
    result = subprocess.run(
        [sys.executable, *options, "-c", code], cwd=folder, env=inherited | environment,
        capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=120, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr[-4000:]
    return torch.load(folder / "out.pt")


def same(got, expected):
    if isinstance(expected, torch.Tensor):
        return torch.equal(got, expected)
    return len(got) == len(expected) and all(map(torch.equal, got, expected))


def test_with_the_package_imported(saved):
    folder, _, expected = saved
    out = run(WITH_PACKAGE, folder, PYTHONPATH=str(PACKAGE_PARENT))
    for name in (
        "encoder",
        "relicv2",
        "org/mscn-tiny",
        "classifier",
        "backbone",
        "filtered convnext",
        "filtered timm",
    ):
        assert same(out[name], expected[name]), name


def test_as_remote_code_without_the_package(saved, aligned):
    folder, images, expected = saved
    out = run(WITHOUT_PACKAGE, folder, "-I")
    for name in expected:
        assert same(out[name], expected[name]), name
    assert same(out["backbone from_pretrained"], expected["backbone"])
    assert out["processor"].startswith("BitImageProcessor")
    assert "trust_remote_code=True" in out["without trust"]
    # What was fine-tuned and saved there can be loaded here.
    again = MSCNForImageClassification.from_pretrained(folder / "saved again")
    assert same(aligned(again)(images).logits, expected["classifier"])
    assert {path.name for path in (folder / "saved again").iterdir()} == {
        path.name for path in (folder / "classifier").iterdir()
    }
    filtered = FilteredModel.from_pretrained(folder / "filtered again")
    assert same(aligned(filtered)(images).pooler_output, expected["filtered timm"])
