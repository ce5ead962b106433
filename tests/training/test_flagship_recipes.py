# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""The ImageNet recipes start: ResNet-50 at 224 px on full-size photographs, from a folder and streamed from a Hub."""

import json
import os
import subprocess
from pathlib import Path

import pytest
from hub_server import hub_server
from pretraining_runs import environment, pretrain_command

from mscn_hf.resources import list_resources
from mscn_hf.training.pretrain import pretrain
from mscn_hf.training.recipe_file import parse_run

SMALL = (
    "--per_device_train_batch_size 4 --max_steps 2 --monitor_epochs 0 --dataloader_num_workers 0 --bf16 False".split()
)


@pytest.fixture
def photographs():
    root = os.environ.get("MSCN_HF_DATA")
    if not root or not (Path(root) / "imagenet-fullsize-300").is_dir():
        pytest.skip("MSCN_HF_DATA is not set, or has no imagenet-fullsize-300")
    return str(Path(root) / "imagenet-fullsize-300")


# One real network by default; that the views of the others fit their networks is tested without computing.
QUICK = ["imagenet_mscn_simclr_resnet50"]
# ResNets of other depths and widths need more memory than tests may take.
SLOW = [
    name
    for name in list_resources("recipes")
    if name.startswith(("imagenet_", "webscale_"))
    and name.endswith(("_resnet50", "_convnext_tiny", "_vits16"))
    and name not in QUICK
]


@pytest.mark.parametrize("name", [*QUICK, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)])
def test_recipe_runs_two_steps(tmp_path, monkeypatch, photographs, name):
    monkeypatch.setenv("MSCN_HF_CACHE", str(tmp_path))
    out = tmp_path / "run"
    words = ["--config", name, "--dataset_name", photographs, "--output_dir", str(out), *SMALL]
    if name in SLOW:
        words += ["--per_device_train_batch_size", "2"]
    if parse_run(["--config", name, "--bf16", "False"]).views.mask_column:
        words += ["--mask_source", "centered_rectangle"]
    if name.startswith("webscale"):
        words += ["--samples_per_epoch", "none"]
    result = pretrain(parse_run(words))
    assert result.global_step == 2
    config = json.loads((out / "encoder" / "config.json").read_text())
    if name.endswith("_resnet50"):
        assert config["hidden_sizes"] == [256, 512, 1024, 2048]
    assert config.get("high_pass_sigma") == (5.0 if "mscn" in name else None)


def test_recipe_runs_on_a_stream_from_a_hub(tmp_path, photographs):
    out = tmp_path / "run"
    with hub_server() as hub:
        repo = hub.seed(photographs, "ILSVRC/imagenet-1k")
        words = ["--config", "imagenet_mscn_simclr_resnet50", "--output_dir", str(out), *SMALL]
        # Less than the set's 33 MB: it is read in windows, as ImageNet would be.
        command = pretrain_command(1, *words, "--window_mb", "8", "--test_split", "none")
        env = {**environment(tmp_path), **hub.env, "HF_HUB_OFFLINE": "0"}
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stderr[-3000:]
    facts = json.loads((out / "encoder" / "training.json").read_text())
    assert facts["dataset"]["name"] == "ILSVRC/imagenet-1k"
    assert facts["dataset"]["rows"] == 300
    assert facts["dataset"]["revision"], repo
    assert facts["steps"] == 2
