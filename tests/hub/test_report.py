# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""`mscn-hf report` reads what it is given, and keeps nothing of the machine."""

import json

import pytest
from somebodys_run import HOME_OF_SOMEBODY, result_of

from mscn_hf.cli import main
from mscn_hf.evaluation.results import append_results, read_results
from mscn_hf.hub.records import keep_records, public_record


def test_a_page_is_not_made_from_another_file_than_the_one_given(tmp_path, capsys):
    append_results(tmp_path / "results.jsonl", [result_of(None, value=0.1)])
    append_results(tmp_path / "transfer.jsonl", [result_of(None, value=0.9)])
    other = str(tmp_path / "transfer.jsonl")
    for option in ("--markdown", "--keep"):
        assert main(["report", other, option, str(tmp_path / "out")]) == 2
        assert f"got {other}: put it into a folder of its own" in capsys.readouterr().err
        assert not (tmp_path / "out").exists()
    assert main(["report", other]) == 0
    assert "90.0" in capsys.readouterr().out
    page = tmp_path / "page.md"
    assert main(["report", str(tmp_path / "results.jsonl"), "--markdown", str(page)]) == 0
    assert "**10.0**" in page.read_text()


def test_models_of_several_records_are_told_apart(tmp_path, capsys):
    for name, value in (("one", 0.1), ("two", 0.2)):
        append_results(tmp_path / name / "results.jsonl", [result_of(None, model="encoder", value=value)])
        (tmp_path / name / "training.json").write_text(json.dumps({"samples_seen": 1, "seconds": 1.0}))
    assert main(["report", str(tmp_path / "one"), str(tmp_path / "two")]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [line[:2] for line in lines[2:4]] == [["one", "10.0"], ["two", "20.0"]]


def test_two_models_of_one_name_are_not_kept_as_one(tmp_path):
    models = [f"{HOME_OF_SOMEBODY}/{place}/run/encoder" for place in ("a", "b")]
    results = [result_of(revision * 32, model=model) for revision, model in zip(("ab", "cd"), models, strict=True)]
    append_results(tmp_path / "all" / "results.jsonl", results)
    with pytest.raises(ValueError, match=r"without their paths .*/a/run/encoder' and .* have one name, 'run'"):
        keep_records([tmp_path / "all"], tmp_path / "kept")
    assert not (tmp_path / "kept").exists()


def test_commands_keep_the_name_of_the_model(tmp_path):
    model = f"{HOME_OF_SOMEBODY}/runs/mine/encoder"
    command = f"mscn-hf evaluate all --model '{model}' 'random:{model}' --dataset {HOME_OF_SOMEBODY.split()[0]}/set"
    append_results(tmp_path / "all" / "results.jsonl", [result_of(None, model=model, command=command)])
    (folder,) = keep_records([tmp_path / "all"], tmp_path / "kept")
    (kept,) = read_results(folder / "results.jsonl")
    assert kept.command == "mscn-hf evaluate all --model mine random:mine --dataset set"
    assert kept.model == "mine"


@pytest.mark.parametrize(
    ("platform", "public"),
    [
        ("Linux-6.8.0-1017-somebodys-kernel-x86_64-with-glibc2.36", "Linux-x86_64"),
        ("Linux-x86_64", "Linux-x86_64"),
        ("macOS-14.1-arm64-arm-64bit", "macOS-arm64"),
        ("Windows-10-10.0.19045-SP0", "Windows"),
    ],
)
def test_kernels_are_not_published(platform, public):
    record = {"environment": {"python": "3.11", "platform": platform}, "value": 1}
    assert json.loads(public_record(record)) == {"environment": {"python": "3.11", "platform": public}, "value": 1}
    assert record["environment"]["platform"] == platform
