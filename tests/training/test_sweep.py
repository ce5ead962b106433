# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""A sweep trains its runs once, goes on where it was stopped, and compares what was scored."""

import json
from pathlib import Path

import pytest
import yaml

from mscn_hf.cli import main
from mscn_hf.evaluation.results import Result, append_results, read_results
from mscn_hf.training import sweep

SMALL = (
    "--num_train_epochs 1 --monitor_epochs 0 --save_steps 6 --test_split test --probes knn --baselines pixels".split()
)


@pytest.fixture(autouse=True)
def own_cache_no_pictures_and_no_card(monkeypatch, tmp_path):
    monkeypatch.setenv("MSCN_HF_CACHE", str(tmp_path / "cache"))
    # They are most of so short a run, and other tests look at them.
    for name in ("pretrain.draw_views", "pretrain.draw_curves", "finish.plot_scores"):
        monkeypatch.setattr(f"mscn_hf.training.{name}", lambda *_, **__: None)
    monkeypatch.setattr("mscn_hf.training.finish.write_card", write_no_card)


def write_no_card(out, *_, **__):
    card = Path(out) / "encoder" / "README.md"
    card.write_text("no card")
    return card


def stop(*_):
    raise KeyboardInterrupt


@pytest.fixture
def sweep_file(tmp_path, tiny_recipe):
    path = tmp_path / "ratios.yaml"
    content = {
        "paper": "A paper (2022)",
        "table": "table 1",
        "recipe": tiny_recipe,
        "set": {"views.*.focal_p": 0.0},
        "runs": {
            "low": {"set": {"views.*.mask_ratio": 0.1}, "paper": 67.5},
            "high": {"set": {"views.*.mask_ratio": 0.9}, "paper": 62.6},
            "broken": {"set": {"base_learning_rate": 1.0e30}},
        },
    }
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return str(path)


def test_a_sweep_from_beginning_to_end(tmp_path, sweep_file, capsys, monkeypatch):
    out = tmp_path / "out"
    words = ["sweep", sweep_file, "--output_dir", str(out), *SMALL, "--views.*.channel_p", "0.25"]
    with monkeypatch.context() as patch:
        patch.setattr("mscn_hf.training.finish.finish_run", stop)
        with pytest.raises(KeyboardInterrupt):
            main([*words, "--runs", "low"])
    assert not (out / "low" / "results.jsonl").exists()

    assert main([*words, "--runs", "low", "high"]) == 0
    text = capsys.readouterr().out
    assert "[1/2] low:" in text
    assert json.loads((out / "low" / "encoder" / "training.json").read_text())["resumed"] is False, (
        "it was trained before"
    )
    for name, ratio in (("low", 0.1), ("high", 0.9)):
        recipe = yaml.safe_load((out / name / "recipe.yaml").read_text())
        assert {view["mask_ratio"] for view in recipe["views"].values()} == {ratio}
        assert {view["channel_p"] for view in recipe["views"].values()} == {0.25}
        assert {view["focal_p"] for view in recipe["views"].values()} == {0.0}
        command = json.loads((out / name / "encoder" / "training.json").read_text())["command"]
        assert command.startswith(
            f"mscn-hf pretrain --config {out / name}.yaml --output_dir {out / name} --resume auto"
        )
        record = json.loads((out / name / "sweep.json").read_text())
        assert (record["run"], record["table"], record["changes"]["views.*.mask_ratio"]) == (name, "table 1", ratio)
        assert record["command"].startswith(f"mscn-hf sweep {sweep_file} --runs {name} --num_train_epochs 1")
    table = [line.split() for line in text.splitlines() if line.startswith(("run ", "low ", "high "))]
    low, high = (
        next(r for r in read_results(out / name / "results.jsonl") if r.metric == "top1_accuracy")
        for name in ("low", "high")
    )
    assert table[-3:] == [
        ["run", "paper", "knn"],
        ["low", "67.5", f"{100 * low.value:.1f}", f"[{100 * low.interval[0]:.1f},", f"{100 * low.interval[1]:.1f}]"],
        [
            "high",
            "62.6",
            f"{100 * high.value:.1f}",
            f"[{100 * high.interval[0]:.1f},",
            f"{100 * high.interval[1]:.1f}]",
        ],
    ]
    assert "A paper (2022), table 1; top1_accuracy in %" in text

    # Finished runs are not trained again; one that diverges does not stop the others.
    written = {name: (out / name / "results.jsonl").stat().st_mtime_ns for name in ("low", "high")}
    assert main(words) == 1
    text = capsys.readouterr().out
    assert "[1/3] low: finished" in text
    assert "[2/3] high: finished" in text
    assert "broken: the loss is " in text
    assert ["broken", "-", "diverged"] in [line.split() for line in text.splitlines()]
    assert written == {name: (out / name / "results.jsonl").stat().st_mtime_ns for name in written}

    # Other settings are another sweep.
    assert main([*words, "--runs", "high", "--momentum", "0.8"]) == 2
    assert (
        "holds a finished run with momentum 0.9, now it is 0.8: choose another --output_dir" in capsys.readouterr().err
    )
    assert main([*words, "--runs", "high", "--logging_steps", "1"]) == 0


def test_settings_are_checked_before_the_first_run_trains(tmp_path, sweep_file, capsys):
    out = tmp_path / "out"
    assert main(["sweep", sweep_file, "--output_dir", str(out), *SMALL, "--views.*.mask_cell", "24"]) == 2
    assert "sweep 'ratios', run 'low': " in capsys.readouterr().err
    assert not (out / "low").exists()
    assert main(["sweep", sweep_file, "--output_dir", str(out), "--num_train_epoch", "1"]) == 2
    assert "unknown field 'num_train_epoch' on the command line" in capsys.readouterr().err
    # What only the network and the trainer would find out.
    assert main(["sweep", sweep_file, "--output_dir", str(out), "--views.*.high_pass_sigma", "2.0"]) == 2
    assert "run 'low': high_pass_sigma of the encoder" in capsys.readouterr().err
    assert not out.exists(), "nothing is written before all runs are checked"


@pytest.mark.parametrize("words", [["--config", "x"], ["--config=x"], ["--resume", "none"], ["--output-dir", "x"]])
def test_what_a_sweep_sets_itself_is_refused(tmp_path, sweep_file, words, capsys):
    assert main(["sweep", sweep_file, "--output_dir", str(tmp_path / "out"), *words]) == 2
    assert f"{words[0].partition('=')[0]} cannot be changed: a sweep gives each run its own" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_recipes_of_a_finished_sweep_stay_when_another_is_refused(tmp_path, sweep_file, capsys):
    found, out = sweep.read_sweep(sweep_file), tmp_path / "out"
    _, config = sweep.prepare_run(found, found.runs["high"], out, ["--test_split", "none"])
    (out / "high" / "encoder").mkdir(parents=True)
    (out / "high" / "encoder" / "README.md").write_text("card")
    config.write(out / "high" / "recipe.yaml")
    for name in ("low", "high"):
        (out / f"{name}.yaml").write_text("as it was")
    words = ["--test_split", "none", "--momentum", "0.8"]
    assert main(["sweep", sweep_file, "--output_dir", str(out), "--runs", "low", "high", *words]) == 2
    assert "holds a finished run with momentum 0.9" in capsys.readouterr().err
    assert [(out / f"{name}.yaml").read_text() for name in ("low", "high")] == ["as it was"] * 2


def test_scores_are_found_however_the_folder_was_spelled(tmp_path, sweep_file, monkeypatch):
    found, out = sweep.read_sweep(sweep_file), tmp_path / "out"
    common = {
        "protocol": "knn",
        "metric": "top1_accuracy",
        "dataset": "photos",
        "split": "test",
        "num_examples": 4,
        "selection": "none",
    }
    (out / "low").mkdir(parents=True)
    results = [
        Result(**common, model="runs/out/low/encoder", value=0.5),
        Result(**{**common, "protocol": "linear"}, model="pixels", value=0.25),
        Result(**common, model="random:runs/out/low/encoder", value=0.125),
        Result(**common, model="unfiltered:runs/out/low/encoder", value=0.375),
    ]
    append_results(out / "low" / "results.jsonl", results)
    monkeypatch.chdir(tmp_path)
    for spelled in (Path("out"), Path("../") / tmp_path.name / "out", out):
        lines = sweep.format_sweep(found, [found.runs["low"]], spelled).splitlines()
        assert lines[0].split() == ["run", "paper", "knn"]
        assert lines[2].split() == ["low", "67.5", "50.0"]


def test_a_run_without_scores_is_finished_when_its_card_is_written(tmp_path, sweep_file):
    found = sweep.read_sweep(sweep_file)
    _, config = sweep.prepare_run(found, found.runs["low"], tmp_path / "out", ["--test_split", "none"])
    folder = tmp_path / "out" / "low"
    assert not sweep.is_finished(folder, config)
    (folder / "encoder").mkdir(parents=True)
    assert not sweep.is_finished(folder, config)
    (folder / "encoder" / "README.md").write_text("card")
    assert sweep.is_finished(folder, config)
    _, config = sweep.prepare_run(found, found.runs["low"], tmp_path / "out", ["--test_split", "test"])
    assert not sweep.is_finished(folder, config)
    (folder / "results.jsonl").write_text("")
    assert sweep.is_finished(folder, config)
    (folder / "encoder" / "README.md").unlink()
    assert not sweep.is_finished(folder, config), "stopped between scores and card"


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        (["--max_steps", "2"], [], "max_steps 2, now it is -1"),
        ([], ["--adam_epsilon", "0.001"], "adam_epsilon 1.0e-08, now it is 0.001"),
        (["--bf16", "False"], [], None),  # the default, said
    ],
)
def test_a_field_given_once_only_is_another_setting(tmp_path, sweep_file, before, after, said):
    found, out = sweep.read_sweep(sweep_file), tmp_path / "out"
    no_scores = ["--test_split", "none"]
    _, config = sweep.prepare_run(found, found.runs["low"], out, [*no_scores, *before])
    (out / "low" / "encoder").mkdir(parents=True)
    (out / "low" / "encoder" / "README.md").write_text("card")
    config.write(out / "low" / "recipe.yaml")
    _, config = sweep.prepare_run(found, found.runs["low"], out, [*no_scores, *after])
    if said is None:
        sweep._check_finished(out / "low", config)
        return
    with pytest.raises(ValueError, match=f"holds a finished run with {said}"):
        sweep._check_finished(out / "low", config)
