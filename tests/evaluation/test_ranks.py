# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""A classifier that cannot be fitted on rank 0 stops all ranks."""

from types import SimpleNamespace

import pytest

from mscn_hf.evaluation import task as task_module
from mscn_hf.evaluation.task import Task


def task_of(rank: int, ranks: int = 2) -> Task:
    process = SimpleNamespace(num_processes=ranks, is_main_process=rank == 0)
    return Task(None, None, None, "knn", process=process)  # type: ignore[arg-type]


def fail():
    raise KeyError("no such class")


def test_a_failure_on_rank_0_reaches_every_rank(monkeypatch):
    sent = []
    monkeypatch.setattr(task_module, "broadcast_object_list", lambda said: sent.extend(said) or said)
    with pytest.raises(KeyError, match="no such class"):
        task_of(0).on_main(fail)
    monkeypatch.setattr(task_module, "broadcast_object_list", lambda said: sent)
    with pytest.raises(ValueError, match="rank 0 could not go on: KeyError: 'no such class'"):
        task_of(1).on_main(fail)


def test_without_a_failure_rank_0_alone_has_the_value(monkeypatch):
    monkeypatch.setattr(task_module, "broadcast_object_list", lambda said: [None])
    assert task_of(0).on_main(lambda: 7) == 7
    assert task_of(1).on_main(fail) is None
    assert task_of(0, ranks=1).on_main(lambda: 7) == 7
