# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Protocols that train on augmented images, under two processes."""

import json

import pytest
import torch
from launching import run_script
from tuning_runs import run, small_encoder, sources, task_of

from mscn_hf.evaluation.tuning.augmented_linear import AugmentedLinearSettings
from mscn_hf.evaluation.tuning.finetune import FinetuneSettings
from mscn_hf.evaluation.tuning.fitting import fit_heads
from mscn_hf.evaluation.tuning.training_set import read_training_set

SCRIPT = """
import json
import sys
from accelerate import PartialState
from accelerate.utils import gather_object
from test_tuning_processes import buffers_of, results_of
process = PartialState(cpu=True)
assert process.num_processes == 2
results = results_of(process)
if process.is_main_process:
    open(sys.argv[1], "w").write(json.dumps([result.to_dict() for result in results]))
else:
    assert results == []
first, second = gather_object([buffers_of(process)])
assert len(first) == 6 and first == second, (first, second)
"""


def results_of(process=None):
    """Batches of all images: whichever rank has them, each step sees the same ones in the same crops."""
    results = []
    for settings in (
        AugmentedLinearSettings(epochs=2, batch_size=32, learning_rates=[20.0, 2.0], held_out=0.25),
        FinetuneSettings(epochs=2, batch_size=32),
    ):
        train, test = sources(train=32, test=21)
        test._rows[3].data = test._rows[3].data[:50]
        results += run(small_encoder(batch_norm=False), settings, train, test, process=process)
    return results


def buffers_of(process):
    """What batch norm learnt, by name; each rank sees images of its own."""
    found = {}
    for settings in (
        FinetuneSettings(epochs=1, batch_size=32),
        AugmentedLinearSettings(epochs=1, batch_size=32, batch_norm=True),
    ):
        train, test = sources(train=32)
        task = task_of(small_encoder(), train, test, process=process)
        model = settings.new_model(task, 3, settings.grid())
        before = {name: buffer.clone() for name, buffer in model.named_buffers()}
        fit_heads(
            model, settings.groups(model, settings.grid()), read_training_set(settings, task).pool, settings, task
        )
        # A frozen encoder's own statistics stay as they are.
        found |= {name: b.tolist() for name, b in model.named_buffers() if not torch.equal(b, before[name])}
    return found


def test_two_processes_train_and_score_as_one(tmp_path):
    out = tmp_path / "results.json"
    run_script(SCRIPT, tmp_path, 2, out)
    two = json.loads(out.read_text())
    one = [result.to_dict() for result in results_of()]
    assert len(one) == len(two) == 2
    for ours, theirs in zip(one, two, strict=True):
        assert (ours["value"], ours["num_examples"], ours["selection"]) == (
            theirs["value"],
            theirs["num_examples"],
            theirs["selection"],
        )
        for name in ("steps", "batch_size_used", "skipped_test", "num_train"):
            assert ours["settings"][name] == theirs["settings"][name]
        assert ours["settings"]["train_loss"] == pytest.approx(theirs["settings"]["train_loss"], abs=1e-5)
    for trial, other in zip(one[0]["settings"]["trials"], two[0]["settings"]["trials"], strict=True):
        assert trial == pytest.approx(other, abs=1e-5)


def test_a_batch_that_the_processes_cannot_share_is_refused():
    from mscn_hf.evaluation.tuning.fitting import _batch_of_rank

    assert _batch_of_rank(256, 1000, 8) == 32
    assert _batch_of_rank(256, 100, 8) == 12
    with pytest.raises(ValueError, match="a batch of 256 cannot be shared equally by 3 processes"):
        _batch_of_rank(256, 1000, 3)
    with pytest.raises(ValueError, match="3 training images are fewer than the 4 processes"):
        _batch_of_rank(256, 3, 4)
