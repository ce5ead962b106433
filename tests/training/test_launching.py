# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""What users type: the command line, accelerate, bf16, torch.compile."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from pretraining_runs import REPO, environment
from safetensors.torch import load_file

from mscn_hf.cli import main


def test_the_command_line_knows_its_commands(capsys):
    assert main(["--help"]) == 0
    assert "pretrain" in capsys.readouterr().out
    assert main(["evalute"]) == 2
    assert "did you mean 'evaluate'" in capsys.readouterr().err
    assert main(["pretrain", "--config", "nothing_like_it"]) == 2
    assert "there is no file 'nothing_like_it'" in capsys.readouterr().err
    assert main(["push", "/no/such/folder", "org/name"]) == 1
    assert "/no/such/folder" in capsys.readouterr().err


def test_views_draws_a_contact_sheet(tiny_recipe, tmp_path, capsys):
    out = tmp_path / "sheet.png"
    assert main(["views", "--config", tiny_recipe, "--out", str(out), "--images", "3"]) == 0
    assert out.read_bytes()[:4] == b"\x89PNG"
    assert str(out) in capsys.readouterr().out


def test_wrong_input_is_one_line_not_a_traceback(tiny_recipe, tmp_path, capsys):
    words = ["pretrain", "--config", tiny_recipe, "--output_dir", str(tmp_path / "run")]
    assert main([*words, "--views.a.mask_ratio", "1.5"]) == 2
    assert "mask_ratio must lie in [0, 1), got 1.5" in capsys.readouterr().err
    assert main([*words, "--dataset_name", "/no/images"]) == 2
    assert "there is no file or folder '/no/images'" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("processes", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_accelerate_launch(tiny_recipe, tmp_path, processes):
    launcher = [str(Path(sys.executable).with_name("accelerate")), "launch"]
    if processes == 2:
        launcher += ["--config_file", str(REPO / "training" / "accelerate" / "two_cpu_processes.yaml")]
    else:
        launcher += ["--cpu", "--num_processes", "1", "--num_machines", "1", "--mixed_precision", "no"]
        launcher += ["--dynamo_backend", "no"]
    words = ["--config", tiny_recipe, "--max_steps", "2", "--output_dir", str(tmp_path / "run"), "--use_cpu", "True"]
    done = subprocess.run(
        [*launcher, str(REPO / "training" / "pretrain.py"), *words],
        env={**environment(tmp_path), "ACCELERATE_USE_CPU": "true"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    facts = json.loads((tmp_path / "run" / "encoder" / "training.json").read_text())
    assert facts["batch_size"] == 8 * processes


@pytest.mark.slow
@pytest.mark.parametrize("words", ["--bf16 True", "--torch_compile True", "--optimizer adamw --report_to tensorboard"])
def test_other_ways_to_compute(tiny_recipe, tmp_path, words):
    command = [sys.executable, str(REPO / "training" / "pretrain.py"), "--config", tiny_recipe, "--max_steps", "3"]
    env = {**environment(tmp_path), "TENSORBOARD_LOGGING_DIR": str(tmp_path / "tb")}
    done = subprocess.run(
        [*command, "--output_dir", str(tmp_path / "run"), *words.split()],
        env=env,
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    names = load_file(tmp_path / "run" / "encoder" / "model.safetensors").keys()
    assert not any("_orig_mod" in name for name in names)
    if "tensorboard" in words:
        assert any(os.scandir(tmp_path / "tb"))


def test_recipes_of_an_accelerate_config_name_our_script():
    for path in (REPO / "training" / "accelerate").glob("*.yaml"):
        assert "training/pretrain.py" in path.read_text()
        assert yaml.safe_load(path.read_text())["mixed_precision"] == "no"
