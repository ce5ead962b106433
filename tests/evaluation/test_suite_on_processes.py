# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""`evaluate all` on two processes that see different things: they agree before each score and never wait in vain."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import yaml

from mscn_hf.cli import main
from mscn_hf.evaluation import run_setup
from mscn_hf.evaluation.results import read_results
from mscn_hf.evaluation.run_setup import RunSetup
from mscn_hf.evaluation.task import ExtractOptions

CORRUPTED = {
    "corruptions": ["contrast", "brightness"],
    "severities": [3],
    "baseline": None,
    "metrics": ["top1_accuracy"],
    "resize": None,
    "crop": None,
    "linear": {"solver": "lbfgs", "weight_decays": [0.1, 0.01]},
}

# The second process cannot open one of the sets nor load one of the models, and its results lie elsewhere.
SCRIPT = """
import sys
from accelerate import PartialState
from mscn_hf.cli import main
from mscn_hf.evaluation import suite
words, out = sys.argv[1:-1], sys.argv[-1]
if PartialState(cpu=True).process_index == 1:
    out += ".of_rank_1"
    find_dataset, load_model = suite.find_dataset, suite.load_model
    def find(name):
        if name.endswith("flaky"):
            raise OSError("the Hub does not answer")
        return find_dataset(name)
    def load(args, name, device):
        if name.startswith("random:"):
            raise OSError("no answer for the weights")
        return load_model(args, name, device)
    suite.find_dataset, suite.load_model = find, load
sys.exit(main([*words, "--out", out]))
"""


def test_processes_that_see_different_things_stay_together(image_folder, tiny_model, tmp_path):
    out, flaky = tmp_path / "results.jsonl", tmp_path / "flaky"
    flaky.symlink_to(image_folder)
    common = ["--model", "pixels", f"random:{tiny_model}", "--dataset", image_folder, "--cache_dir", tmp_path / "c"]
    common = [str(word) for word in (*common, "--device", "cpu", "--num_workers", "0")]
    assert main(["evaluate", "knn", *common, "--out", str(out)]) == 0
    held = read_results(out)

    suite = tmp_path / "mine.yaml"
    entries = ["knn", {"protocol": "knn", "name": "a", "datasets": [str(flaky)]}]
    entries.append({"protocol": "robustness-c", "name": "b", "set": CORRUPTED})
    suite.write_text(yaml.safe_dump({"protocols": entries}))
    script = tmp_path / "suite_script.py"
    script.write_text(SCRIPT)
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", str(script)]
    done = subprocess.run(
        [sys.executable, *launch, "evaluate", "all", "--budget", str(suite), *common, str(out)],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert "knn of pixels: " in done.stderr and "holds it for these weights" in done.stderr
    assert f"not run: a of pixels on {flaky}: process 1 could not go on: OSError: the Hub does not" in done.stdout
    assert f"not run: every protocol of random:{tiny_model}: process 1 could not go on" in done.stdout
    new = read_results(out)[len(held) :]
    names = ["b", "b contrast", "b brightness"]
    assert [(r.model, r.protocol) for r in new] == [("pixels", name) for name in names], done.stderr[-2000:]
    assert not Path(f"{out}.of_rank_1").exists()

    suite.write_text(yaml.safe_dump({"protocols": entries[2:]}))
    alone = [*common, "--out", str(tmp_path / "alone.jsonl"), "--cache_dir", str(tmp_path / "d")]
    assert main(["evaluate", "all", "--budget", str(suite), *alone]) == 0
    of_pixels = [r for r in read_results(tmp_path / "alone.jsonl") if r.model == "pixels"]
    assert [r.value for r in of_pixels] == [r.value for r in new]


def of_two(monkeypatch, *told):
    """The set-up of one of two processes, the other of which says `told`, call by call."""
    answers = list(told)
    monkeypatch.setattr(run_setup, "gather_object", lambda mine: [*mine, answers.pop(0)])
    return RunSetup(SimpleNamespace(num_processes=2), torch.device("cpu"), ExtractOptions())


def fail():
    raise FileNotFoundError("nothing here")


def test_agreement(monkeypatch):
    assert of_two(monkeypatch, None).agree(lambda: 7) == 7
    with pytest.raises(ValueError, match="process 1 could not go on: OSError: no answer"):
        of_two(monkeypatch, (True, "OSError: no answer")).agree(lambda: 7)
    with pytest.raises(FileNotFoundError, match="nothing here"):
        of_two(monkeypatch, None).agree(fail)
    with pytest.raises(RuntimeError, match="process 1: KeyError: 3"):
        of_two(monkeypatch, (False, "KeyError: 3")).agree(lambda: 7)
    with pytest.raises(RuntimeError, match="process 0: FileNotFoundError: nothing here; process 1: KeyError: 3"):
        of_two(monkeypatch, (False, "KeyError: 3")).agree(fail)
    assert not of_two(monkeypatch, "other weights").all_same("weights")
