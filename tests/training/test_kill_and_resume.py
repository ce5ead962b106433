# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""A run killed at any moment and continued is the same run, to the last bit."""

import os
import random
import signal
import subprocess
import time

import pytest
from pretraining_runs import environment, pretrain_command, run_pretrain
from safetensors.torch import load_file


def kill_after(tmp_path, processes, out, steps, *words):
    """Starts the run and kills it, launcher and all, once rank 0 has consumed the batches of `steps` steps."""
    process = subprocess.Popen(
        pretrain_command(processes, *words),
        env=environment(tmp_path),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    record = out / "samples.rank0.txt"
    deadline = time.time() + 240
    while time.time() < deadline:
        if record.is_file():
            lines = record.read_text().splitlines()
            if lines and int(lines[-1].split()[0]) >= steps:
                break
        if process.poll() is not None:
            raise AssertionError(f"ended before step {steps}: {process.stderr.read().decode()[-3000:]}")
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not (out / "encoder").exists()


# Ten starts of an interpreter with torch: on two busy cores they have taken more than the usual limit.
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("processes", [1, 2])
def test_killed_resumed_killed_resumed_equals_undisturbed(tmp_path, tiny_recipe, processes):
    words = ["--config", tiny_recipe, "--record_samples", "True", "--probes", "knn"]
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    done = run_pretrain(tmp_path, processes, *words, "--output_dir", str(whole))
    assert done.returncode == 0, done.stderr[-3000:]

    steps_per_pass = 90 // processes // 8
    chance = random.Random(processes)
    first = chance.randrange(steps_per_pass + 4, 2 * steps_per_pass)  # in the second pass
    second = chance.randrange(2 * steps_per_pass + 4, 4 * steps_per_pass - 2)  # in a later one
    words += ["--output_dir", str(broken), "--resume", "auto"]
    kill_after(tmp_path, processes, broken, first, *words)
    kill_after(tmp_path, processes, broken, second, *words)
    done = run_pretrain(tmp_path, processes, *words)
    assert done.returncode == 0, done.stderr[-3000:]

    for rank in range(processes):
        name = f"samples.rank{rank}.txt"
        assert (whole / name).read_text() == (broken / name).read_text()
    last = f"checkpoint-{4 * steps_per_pass}"
    for file in ("encoder/model.safetensors", f"{last}/model.safetensors"):
        one, other = load_file(whole / file), load_file(broken / file)
        assert one.keys() == other.keys()
        differing = [name for name in one if not one[name].equal(other[name])]
        assert differing == []
    assert any("target" in name for name in load_file(whole / last / "model.safetensors"))


def test_each_pass_over_two_processes_sees_every_row_once(tmp_path, tiny_recipe):
    out = tmp_path / "run"
    done = run_pretrain(
        tmp_path, 2, "--config", tiny_recipe, "--record_samples", "True", "--output_dir", str(out), "--max_steps", "5"
    )
    assert done.returncode == 0, done.stderr[-3000:]
    seen = [
        sample
        for rank in range(2)
        for line in (out / f"samples.rank{rank}.txt").read_text().splitlines()
        for sample in line.split()[1:]
    ]
    assert len(seen) == len(set(seen)) == 80
    assert "10 left out of each pass" in done.stdout + done.stderr
