# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Probes on two processes give the very scores that one gives."""

import json

import pytest
from launching import run_script

from mscn_hf.evaluation.results import read_results

SCRIPT = """
import sys
from accelerate import PartialState
from small_data import ListSource, noisy_images
from mscn_hf.evaluation.features import load_encoder
from mscn_hf.evaluation.probe import ExtractOptions, evaluate_encoder
from mscn_hf.evaluation.protocols import load_protocol
from mscn_hf.evaluation.results import append_results
model, folder, count = sys.argv[1:]
process = PartialState(cpu=True)
assert process.num_processes == int(count)
train, test = (ListSource(*noisy_images(n, seed=s), split=name) for n, s, name in ((60, 0, "train"), (31, 1, "test")))
for name in ("knn", "linear", "transfer", "low-shot-1"):
    protocol, settings = load_protocol(name)
    options = ExtractOptions(folder + "/cache", 4, progress=False)
    results = evaluate_encoder(load_encoder(model), train, test, protocol, settings, options=options, process=process)
    assert bool(results) == process.is_main_process, name
    append_results(folder + "/results.jsonl", results)
"""


@pytest.fixture(scope="module")
def scored(tmp_path_factory, tiny_model):
    folder = tmp_path_factory.mktemp("processes")
    found = []
    for count in (1, 2):
        out = folder / str(count)
        out.mkdir()
        run_script(SCRIPT, folder, count, tiny_model, out, count)
        found.append(read_results(out / "results.jsonl"))
    return found


def test_results_are_equal_to_the_last_digit(scored):
    one, two = scored
    assert {result.protocol for result in one} == {"knn", "linear", "transfer", "low-shot-1"}
    for mine, other in zip(one, two, strict=True):
        assert (mine.protocol, mine.metric, mine.value, mine.interval) == (
            other.protocol,
            other.metric,
            other.value,
            other.interval,
        )
        facts = [json.dumps(result.settings, sort_keys=True) for result in (mine, other)]
        assert facts[0] == facts[1]
