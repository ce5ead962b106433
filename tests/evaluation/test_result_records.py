# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
import json
import multiprocessing

import pytest

from mscn_hf.evaluation.results import Result, append_results, environment, read_results

FIELDS = {
    "dataset": "org/data",
    "split": "test",
    "protocol": "knn",
    "metric": "top1_accuracy",
    "value": 0.5,
    "num_examples": 100,
    "selection": "none (k=20, T=0.07 fixed)",
    "model": "org/model",
}


@pytest.mark.parametrize("name", ["protocol", "split", "selection", "metric", "dataset", "model"])
def test_a_result_without_its_facts_cannot_be_made(name):
    for absent in ("", "  ", None):
        with pytest.raises(ValueError, match=f"needs a {name}"):
            Result(**{**FIELDS, name: absent})
    with pytest.raises(ValueError, match=f"needs a {name}"):
        Result(**{key: value for key, value in FIELDS.items() if key != name})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"value": 57.7}, "fraction.*57.7.*percent"),
        ({"value": float("nan")}, "fraction"),
        ({"value": "high"}, "fraction.*'high'"),
        ({"interval": (0.6, 0.4), "interval_method": "x"}, "low <= high"),
        ({"interval": (0.4, 0.6)}, "interval_method"),
        ({"num_examples": 0}, "num_examples.*0"),
        ({"benchmark_id": "org/bench"}, "go together"),
        ({"date": "yesterday"}, "ISO date.*'yesterday'"),
        ({"settings": {"a": object()}}, "settings.*JSON"),
        ({"settings": {"a": float("inf")}}, "settings.*JSON"),
    ],
)
def test_bad_values_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        Result(**{**FIELDS, **change})


def test_round_trip_through_a_file(tmp_path):
    path = tmp_path / "new" / "results.jsonl"
    first = Result(**FIELDS, interval=(0.4, 0.6), interval_method="bootstrap", settings={"k": 20, "note": "a\u2028b"})
    second = Result(**{**FIELDS, "value": 1, "environment": environment(), "benchmark_id": "o/b", "task_id": "knn"})
    append_results(path, [first])
    append_results(path, [second])
    assert read_results(path) == [first, second]
    assert first.date and first.interval == (0.4, 0.6)


def test_a_hand_edited_file_without_last_newline_is_not_spoiled(tmp_path):
    path = tmp_path / "results.jsonl"
    append_results(path, [Result(**FIELDS)])
    path.write_text(path.read_text().rstrip("\n"))
    append_results(path, [Result(**FIELDS)])
    assert len(read_results(path)) == 2


def test_reading_names_file_line_and_nearest_field(tmp_path):
    path = tmp_path / "results.jsonl"
    append_results(path, [Result(**FIELDS)])
    with open(path, "a") as file:
        file.write(json.dumps({**FIELDS, "protocoll": "knn"}) + "\n")
    with pytest.raises(ValueError, match=r"results.jsonl, line 2: .*'protocoll'; did you mean 'protocol'"):
        read_results(path)
    path.write_text("[1, 2]\n")
    with pytest.raises(ValueError, match="line 1: expected a JSON object"):
        read_results(path)


def _append_many(path, worker):
    for number in range(25):
        append_results(
            path, [Result(**{**FIELDS, "settings": {"worker": worker, "number": number, "pad": "x" * 3000}})]
        )


def test_processes_append_to_one_file_at_once(tmp_path):
    path = tmp_path / "results.jsonl"
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_append_many, args=(path, w)) for w in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    found = {(r.settings["worker"], r.settings["number"]) for r in read_results(path)}
    assert found == {(w, n) for w in range(4) for n in range(25)}
