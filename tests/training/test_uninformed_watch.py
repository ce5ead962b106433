# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""The warning of a network that has learned to do worse than by chance."""

import logging

from transformers import TrainerState

from mscn_hf.methods.objectives import ReLIC
from mscn_hf.training.monitor import UninformedWatch


def warnings_after(caplog, values, process_zero=True):
    caplog.clear()
    watch = UninformedWatch(ReLIC().uninformed(128))
    state = TrainerState(is_world_process_zero=process_zero)
    for state.global_step, value in enumerate(values):
        logs = {"eval_loss": 9.0} if value is None else {"loss": 2.0, "loss_contrast": value, "loss_invariance": 9.0}
        watch.on_log(None, state, None, logs=logs)
    return [record.message for record in caplog.records if record.levelno == logging.WARNING]


def test_warns_of_a_contrast_that_stays_above_chance(caplog):
    # 0.3 ln 11 = 0.719
    (message,) = warnings_after(caplog, [0.68, 0.73, 0.88, None, 0.985, 1.0, 1.0])
    assert message.startswith("step 4: loss_contrast is 0.985, and was above 0.719 in the last 3 logs")


def test_is_silent_about_single_batches_good_runs_and_other_processes(caplog):
    assert warnings_after(caplog, [0.73, 0.74, 0.71, 0.73, 0.73, 0.6, 0.5]) == []
    assert warnings_after(caplog, [1.0] * 5, process_zero=False) == []
