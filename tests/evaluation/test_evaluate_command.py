# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
import argparse
import random
import re
import runpy
import sys
from pathlib import Path

import pytest
import yaml
from datasets import Value
from small_data import ListSource, noisy_images, write_parquet

from mscn_hf.cli import main
from mscn_hf.evaluation.command import add_arguments, run
from mscn_hf.evaluation.features import load_encoder
from mscn_hf.evaluation.probe import ExtractOptions, evaluate_encoder
from mscn_hf.evaluation.probes.knn import KNNSettings
from mscn_hf.evaluation.probes.linear import LinearSettings
from mscn_hf.evaluation.protocols import load_protocol
from mscn_hf.evaluation.results import read_results

FAST = LinearSettings(learning_rates=[1.0, 0.3], weight_decays=[0.1, 0.01], epochs=1, min_steps=60)


def evaluate(*words):
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return run(parser.parse_args([str(word) for word in words] + ["--num_workers", "0", "--device", "cpu"]))


@pytest.fixture
def fast_linear(tmp_path):
    path = tmp_path / "linear.yaml"
    grid = {"learning_rates": [1.0, 0.3], "weight_decays": [0.1, 0.01], "epochs": 1, "min_steps": 60}
    path.write_text(
        yaml.safe_dump({"kind": "linear", **grid, "metrics": ["top1_accuracy", "mean_per_class_accuracy"]})
    )
    return path


def test_whole_command(image_folder, tiny_model, fast_linear, tmp_path, capsys):
    out = tmp_path / "new" / "results.jsonl"
    models = [tiny_model, f"random:{tiny_model}", "pixels"]
    common = ["--model", *models, "--dataset", image_folder, "--cache_dir", tmp_path / "cache", "--out", out]
    assert evaluate("knn", *common) == 0
    entries = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").iterdir()}
    assert evaluate(fast_linear, *common, "--benchmark_id", "org/bench", "--task_id", "linear") == 0
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").iterdir()} == entries  # extracted once
    assert len(entries) == 6
    printed = capsys.readouterr().out
    assert "knn top-1" in printed and "linear mean per class" in printed and "pixels" in printed

    results = read_results(out)
    assert [(r.model, r.protocol, r.metric) for r in results] == [
        *((str(model), "knn", "top1_accuracy") for model in models),  # three classes: no top-5
        *(
            (str(model), "linear", metric)
            for model in models
            for metric in ("top1_accuracy", "mean_per_class_accuracy")
        ),
    ]
    for r in results:
        assert (r.dataset, r.split, r.num_examples) == (str(image_folder), "test", 60)
        assert r.settings["skipped_train"] == 1 and r.settings["num_train"] == 89
        assert r.interval[0] <= r.value <= r.interval[1]
        assert r.environment["packages"]["torch"]
    knn, linear = results[0], results[3]
    assert knn.model_revision == linear.model_revision == load_encoder(str(tiny_model)).weights_hash
    assert knn.selection == "none (k=20, T=0.07 fixed)"
    assert knn.settings["feature"] == "pooler_output"
    assert "10 % of train held out" in linear.selection and len(linear.settings["trials"]) == 4
    assert (linear.benchmark_id, linear.task_id) == ("org/bench", "linear")
    assert next(r for r in results if r.model == "pixels").value > 0.6  # colour tells the class


def test_the_choice_never_sees_test(tmp_path):
    images, labels = noisy_images(120, seed=3)
    test_images, test_labels = noisy_images(80, seed=4)
    shuffled = random.Random(0).sample(test_labels, len(test_labels))
    found = []
    for number, some_labels in enumerate((test_labels, shuffled)):
        train = ListSource(images, labels, once=True)
        test = ListSource(test_images, some_labels, split="test", once=True)
        options = ExtractOptions(tmp_path / str(number), progress=False)
        (top1,) = evaluate_encoder(load_encoder("pixels"), train, test, "linear", FAST, options=options)
        assert (train.times_read, test.times_read) == (1, 1)
        found.append(top1)
    true, wrong = found
    assert (true.settings["choice"], true.settings["trials"]) == (wrong.settings["choice"], wrong.settings["trials"])
    assert true.value > wrong.value + 0.2


def test_test_rows_are_read_only_after_the_choice(tmp_path, monkeypatch):
    from mscn_hf.evaluation.probes import linear

    images, labels = noisy_images(60, seed=5)
    test = ListSource(images, labels, split="test")
    reads_when_fitted = []
    fit = linear.fit_linear_probe
    monkeypatch.setattr(
        linear, "fit_linear_probe", lambda *a, **k: reads_when_fitted.append(test.times_read) or fit(*a, **k)
    )
    options = ExtractOptions(tmp_path, progress=False)
    evaluate_encoder(load_encoder("pixels"), ListSource(images, labels), test, "linear", FAST, options=options)
    assert (reads_when_fitted, test.times_read) == ([0], 1)


def test_the_encoder_is_untouched(tiny_model, image_folder, tmp_path):
    from mscn_hf.data.source import open_source
    from mscn_hf.evaluation.encoder import weights_hash

    encoder = load_encoder(str(tiny_model))
    sources = [open_source(str(image_folder), split=split) for split in ("train", "test")]
    for name, settings in (("knn", KNNSettings(k=5)), ("linear", FAST)):
        results = evaluate_encoder(encoder, *sources, name, settings, options=ExtractOptions(tmp_path, progress=False))
        assert weights_hash(encoder.model) == encoder.weights_hash == results[0].model_revision


def test_text_labels_and_a_class_that_train_lacks(tmp_path):
    folder = tmp_path / "words"
    names = ["red", "green", "blue"]
    for split, count, seed in (("train", 60, 1), ("test", 40, 2)):
        images, labels = noisy_images(count, seed)
        words = ["never seen" if split == "test" and n < 10 else names[label] for n, label in enumerate(labels)]
        write_parquet(folder / "data" / f"{split}-00000-of-00001.parquet", images, words, label_type=Value("string"))
    out = tmp_path / "r.jsonl"
    with pytest.warns(UserWarning, match="1 of 4 classes.*'never seen'"):
        assert evaluate("knn", "--model", "pixels", "--dataset", folder, "--cache_dir", tmp_path, "--out", out) == 0
    (r,) = read_results(out)
    assert r.settings["classes_absent_from_train"] == ["never seen"]
    assert 0.5 < r.value <= 0.75 and r.num_examples == 40


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["--test_split", "validation"], "no split 'validation'.*'test', 'train'"),
        (["--test_split", "train"], "score on train says nothing"),
        (["--label_column", "class"], "no label column 'class'"),
        (["--benchmark_id", "org/x"], "go together"),
        (["--model", "./nowhere/x"], "no model folder './nowhere/x'"),
        (["--dataset", "./nowhere/x"], "no file or folder './nowhere/x'"),
        (["--max_train_images", "10"], "k = 20 needs at least as many train images, got"),
        (["--max_train_images", "0"], "must be positive"),
    ],
)
def test_bad_input_is_told_and_writes_nothing(change, message, image_folder, tmp_path, capsys):
    out = tmp_path / "r.jsonl"
    words = [
        "knn",
        "--model",
        "pixels",
        "--dataset",
        image_folder,
        "--cache_dir",
        tmp_path / "c",
        "--out",
        out,
        *change,
    ]
    assert evaluate(*words) == 2
    assert re.search(message, capsys.readouterr().err)
    assert not out.exists()


@pytest.mark.parametrize(
    ("labels", "message"), [(None, "no label column"), ([1] * 30, "one class only"), ([None] * 30, "30 of 30 images")]
)
def test_labels_that_cannot_be_probed(labels, message, tmp_path, capsys):
    images = noisy_images(30, 0)[0]
    for split in ("train", "test"):
        write_parquet(tmp_path / "d" / "data" / f"{split}-00000-of-00001.parquet", images, labels)
    words = ["--model", "pixels", "--dataset", tmp_path / "d", "--cache_dir", tmp_path / "c"]
    assert evaluate("knn", *words, "--out", tmp_path / "r.jsonl") == 2
    assert message in capsys.readouterr().err


def test_protocols_that_ship_load_and_mistakes_are_named(tmp_path, capsys, image_folder):
    assert load_protocol("knn") == ("knn", KNNSettings())
    assert load_protocol("linear") == ("linear", LinearSettings())
    assert evaluate("lineer", "--model", "pixels", "--dataset", image_folder, "--out", tmp_path / "x") == 2
    assert "'linear'" in capsys.readouterr().err
    path = tmp_path / "mine.yaml"
    for text, message in (
        ("kind: knn\nkk: 3", "unknown key 'kk'; did you mean 'k'"),
        ("kind: knn\nk: 0", "k must be a positive integer, got 0"),
        ("kind: knn\nk: yes", "k must be a positive integer, got True"),
        ("kind: linear\nweight_decays: [1e-3, -1]", r"weight_decays must be positive, got \[0.001, -1.0\]"),
        ("kind: linear\nheld_out: 1.5", r"held_out must be in \(0, 1\), got 1.5"),
        ("kind: knn\nmetrics: [top1]", "unknown metric 'top1'; did you mean 'top1_accuracy'"),
        ("k: 3", "kind must be one of"),
        ("- 3", "expected keys and values"),
    ):
        path.write_text(text)
        with pytest.raises(ValueError, match=f"mine.yaml: {message}"):
            load_protocol(str(path))


@pytest.mark.parametrize("device", ["foo", "cuda:99", "xpu:7"])
def test_a_device_that_is_not_there(device, image_folder, tmp_path, capsys):
    words = ["--model", "pixels", "--dataset", str(image_folder), "--out", str(tmp_path / "r.jsonl")]
    assert main(["evaluate", "knn", *words, "--device", device]) == 2
    assert f"--device {device}: no such device can be used here" in capsys.readouterr().err


def test_a_budget_can_stand_before_all(image_folder, tmp_path, capsys):
    words = ["--model", "pixels", "--dataset", str(image_folder), "--out", str(tmp_path / "r.jsonl")]
    assert main(["evaluate", "--budget", "smal", "all", *words]) == 2
    assert "nearest name is 'small'" in capsys.readouterr().err
    assert main(["evaluate", "knn", "--budget", "small", *words]) == 2
    assert "evaluate all --budget small" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="0"):
        main(["evaluate", "--help"])
    printed = " ".join(capsys.readouterr().out.split())
    assert "`all`: every protocol of --budget" in printed and "full, papers, small" in printed


@pytest.mark.parametrize(("protocol", "message"), [("all", "nearest name is 'small'"), ("knn", "is of `all`")])
def test_the_script_is_the_command(protocol, message, image_folder, tmp_path, capsys, monkeypatch):
    script = Path(__file__).parents[2] / "evaluation" / "run.py"
    words = [protocol, "--budget", "smal", "--model", "pixels", "--dataset", image_folder, "--out", tmp_path / "r"]
    monkeypatch.setattr(sys, "argv", [str(word) for word in (script, *words)])
    with pytest.raises(SystemExit, match="2"):
        runpy.run_path(str(script), run_name="__main__")
    assert message in capsys.readouterr().err
