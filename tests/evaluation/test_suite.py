# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""`mscn-hf evaluate all`: what is run, what is passed over and why, and what is not run twice."""

import json
from types import SimpleNamespace

import pytest
import torch
import yaml
from small_data import noisy_images, save_tiny_resnet, write_parquet

from mscn_hf.cli import main
from mscn_hf.evaluation import suite
from mscn_hf.evaluation.probes.knn import KNNSettings
from mscn_hf.evaluation.probes.low_shot import LowShotSettings
from mscn_hf.evaluation.results import read_results
from mscn_hf.evaluation.run_setup import RunSetup, named_files
from mscn_hf.evaluation.suite_file import load_suite
from mscn_hf.evaluation.task import ExtractOptions
from mscn_hf.evaluation.tuning.finetune import FinetuneSettings
from mscn_hf.resources import list_resources

KNN5 = {"protocol": "knn", "name": "knn-5", "set": {"k": 5}}


def write_suite(path, *protocols):
    path.write_text(yaml.safe_dump({"protocols": list(protocols)}))
    return path


def evaluate_all(budget, *words):
    words = ["evaluate", "all", "--budget", budget, "--device", "cpu", "--num_workers", "0", *words]
    return main([str(word) for word in words])


@pytest.fixture
def common(image_folder, tmp_path):
    out = tmp_path / "results.jsonl"
    return ["--dataset", image_folder, "--cache_dir", tmp_path / "cache", "--out", out], out


def test_every_model_under_every_protocol_and_nothing_twice(common, tiny_model, tmp_path, capsys):
    words, out = common
    path = write_suite(tmp_path / "mine.yaml", "knn", KNN5)
    assert evaluate_all(path, "--model", "pixels", tiny_model, *words) == 0
    done = [(r.model, r.protocol, r.settings["k"]) for r in read_results(out)]
    both = [("knn", 20), ("knn-5", 5)]
    assert done == [(model, name, k) for model in ("pixels", str(tiny_model)) for name, k in both]
    before, printed = out.read_text(), capsys.readouterr().out
    assert "knn-5 top-1" in printed and "not run" not in printed

    assert evaluate_all(path, "--model", "pixels", tiny_model, *words) == 0
    assert out.read_text() == before  # nothing was scored again, and the table is whole
    captured = capsys.readouterr()
    assert "\n0 new results" in captured.out and captured.out.rsplit("\n", 2)[0] == printed.rsplit("\n", 2)[0]
    assert captured.err.count("holds it for these weights and settings") == 4

    changed = write_suite(tmp_path / "changed.yaml", {**KNN5, "set": {"k": 5, "temperature": 0.5}})
    for other, change in (
        (changed, []),
        (path, ["--seed", "1"]),
        (path, ["--max_train_images", "50"]),
    ):
        lines = len(read_results(out))
        assert evaluate_all(other, "--model", "pixels", *words, *change) == 0
        assert len(read_results(out)) > lines, change


def test_other_weights_under_the_same_name_are_scored_again(common, tmp_path, capsys):
    words, out = common
    path = write_suite(tmp_path / "mine.yaml", "knn")
    for seed in (1, 2):
        folder = save_tiny_resnet(tmp_path / "model", seed=seed)
        assert evaluate_all(path, "--model", folder, *words) == 0
    first, second = read_results(out)
    assert first.model == second.model and first.model_revision != second.model_revision


def test_another_configuration_of_the_same_weights_is_scored_again(common, tmp_path):
    words, out = common
    path = write_suite(tmp_path / "mine.yaml", "knn")
    folder = save_tiny_resnet(tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    for activation in ("relu", "gelu"):
        (folder / "config.json").write_text(json.dumps({**config, "hidden_act": activation}))
        assert evaluate_all(path, "--model", folder, *words) == 0
    first, second = read_results(out)
    assert first.model_revision == second.model_revision and first.settings["asked"] != second.settings["asked"]


def test_other_files_under_the_same_names_are_scored_again(common, tmp_path, image_folder):
    words, out = common
    class_map, train = tmp_path / "map.json", tmp_path / "train"
    linear = {"solver": "lbfgs", "weight_decays": [0.1]}
    changes = {"train_dataset": str(train), "classes": None, "class_map": str(class_map), "linear": linear}
    path = write_suite(tmp_path / "mine.yaml", {"protocol": "imagenet-a", "name": "ready", "set": changes})
    first_map, first_images = {"red": "red", "green": "green"}, noisy_images(40, seed=3)
    for mapped, (images, labels), lines in (
        (first_map, first_images, 2),  # top-1, masked top-1
        (first_map, (None, None), 2),
        ({"red": "green", "green": "red"}, (None, None), 4),
        (first_map, noisy_images(40, seed=4), 6),
    ):
        class_map.write_text(json.dumps(mapped))
        if images is not None:
            write_parquet(train / "data" / "train-00000-of-00001.parquet", images, labels)
        assert evaluate_all(path, "--model", "pixels", *words) == 0
        assert len(read_results(out)) == lines


def test_files_that_protocols_name(tmp_path):
    paths = [tmp_path / name for name in ("a.txt", "b.txt", "c.txt")]
    for path in paths[:2]:
        path.write_text("one.png")
    few = LowShotSettings(lists={"x": [str(paths[0]), str(paths[2])], "y": str(paths[1])})
    assert named_files(few) == paths[:2]  # the third does not exist
    assert named_files(FinetuneSettings(subset_list=str(paths[1]))) == [paths[1]]
    assert named_files(KNNSettings()) == []


def test_goes_on_after_what_cannot_be_run(common, tmp_path, capsys, monkeypatch):
    words, out = common
    big = {"protocol": "knn", "name": "knn-big", "set": {"k": 1000}}
    path = write_suite(tmp_path / "mine.yaml", big, "knn")
    assert evaluate_all(path, "--model", "./nowhere/x", "pixels", *words) == 1
    captured = capsys.readouterr()
    assert "not run: knn-big of pixels: k-NN with k = 1000 needs at least as many train images" in captured.out
    assert "not run: every protocol of ./nowhere/x: there is no model folder" in captured.out
    assert [(r.model, r.protocol) for r in read_results(out)] == [("pixels", "knn")]

    def broken(self, *args):
        raise ZeroDivisionError("a fault")

    monkeypatch.setattr(KNNSettings, "fit", broken)
    assert evaluate_all(write_suite(tmp_path / "b.yaml", KNN5), "--model", "pixels", *words) == 1
    assert "not run: knn-5 of pixels: ZeroDivisionError: a fault" in capsys.readouterr().out


def test_under_several_processes_a_failure_on_the_way_ends_the_suite(common, tmp_path, monkeypatch):
    # One process that goes on while another waits in the failed protocol would take part in the wrong exchange.
    def broken(*args, **kwargs):
        raise ValueError("only rank 0 fits")

    words, _ = common
    two = SimpleNamespace(num_processes=2, is_main_process=True, wait_for_everyone=lambda: None)
    monkeypatch.setattr(suite, "score_model", broken)
    monkeypatch.setattr(suite, "set_up", lambda args: RunSetup(two, torch.device("cpu"), ExtractOptions()))
    with pytest.raises(RuntimeError, match="knn of pixels failed in one of several processes"):
        evaluate_all(write_suite(tmp_path / "mine.yaml", "knn", "linear"), "--model", "pixels", *words)


def test_bad_input_ends_before_anything_is_run(common, capsys):
    words, out = common
    assert evaluate_all("smal", "--model", "pixels", *words) == 2
    assert "nearest name is 'small'" in capsys.readouterr().err
    assert evaluate_all("small", "--model", "pixels", *words, "--test_split", "train") == 2
    assert "score on train says nothing" in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ("protocols: []", "at least one name"),
        ("- knn", "the one key 'protocols'"),
        ("protocols: [knn, knn]", "'knn' occurs twice"),
        ("protocols: [{protocol: knn, set: {k: 5}}]", "needs a name of its own, for example 'knn-small'"),
        ("protocols: [{protocol: knn, name: a, set: {kk: 5}}]", "unknown key 'kk' in set of 'knn'; did you mean 'k'"),
        ("protocols: [{protocol: knn, nam: a}]", "unknown key 'nam'; did you mean 'name'"),
        ("protocols: [{protocol: knn, name: a, set: {k: 0}}]", "k must be a positive integer, got 0"),
        ("protocols: [3]", "an entry is a protocol's name"),
    ],
)
def test_mistakes_in_a_suite_are_named(document, message, tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(document)
    with pytest.raises(ValueError, match=f"mine.yaml: .*{message}"):
        load_suite(str(path))


def test_unknown_protocol_of_a_suite(tmp_path):
    with pytest.raises(FileNotFoundError, match="nearest name is 'knn'"):
        load_suite(str(write_suite(tmp_path / "mine.yaml", "knnn")))


def test_an_entry_can_bring_its_own_data_sets(common, tmp_path, capsys):
    words, out = common
    images, labels = noisy_images(40, seed=8)
    for split in ("train", "test"):
        write_parquet(tmp_path / "other" / "data" / f"{split}-00000-of-00001.parquet", images, labels)
    entry = {"protocol": "knn", "datasets": [str(tmp_path / "other"), "./nowhere/x"]}
    path = write_suite(tmp_path / "mine.yaml", entry, KNN5)
    assert evaluate_all(path, "--model", "pixels", *words) == 1
    assert "not run: knn of pixels on ./nowhere/x: there is no file or folder" in capsys.readouterr().out
    assert [(r.dataset, r.protocol) for r in read_results(out)] == [
        (str(tmp_path / "other"), "knn"),
        (str(words[1]), "knn-5"),
    ]


def test_a_protocol_of_several_results_is_not_run_twice(common, tmp_path, capsys):
    words, out = common
    path = write_suite(tmp_path / "mine.yaml", {"protocol": "low-shot", "name": "few", "set": {"shots": [1, 2]}})
    for _ in range(2):
        assert evaluate_all(path, "--model", "pixels", *words) == 0
    assert [r.protocol for r in read_results(out)] == ["few-1", "few-2"]
    assert "few-2 top-1" in capsys.readouterr().out.split("new results")[1]


def test_what_the_command_scored_the_suite_does_not_score_again(common, tmp_path):
    words, out = common
    single = ["evaluate", "knn", "--model", "pixels", *words, "--device", "cpu", "--num_workers", "0"]
    assert main([str(word) for word in single]) == 0
    assert evaluate_all(write_suite(tmp_path / "mine.yaml", "knn"), "--model", "pixels", *words) == 0
    assert len(read_results(out)) == 1


def test_without_a_train_split_only_what_needs_one_is_passed_over(tmp_path, capsys):
    images, labels = noisy_images(20, seed=8)
    write_parquet(tmp_path / "d" / "data" / "test-00000-of-00001.parquet", images, labels)
    words = ["--dataset", tmp_path / "d", "--cache_dir", tmp_path / "c", "--out", tmp_path / "r.jsonl"]
    assert evaluate_all(write_suite(tmp_path / "mine.yaml", "knn"), "--model", "pixels", *words) == 2
    assert "no split 'train'" in capsys.readouterr().err
    ready = {"protocol": "imagenet-a", "name": "ready", "set": {"train_dataset": "./nowhere/x"}}
    both = write_suite(tmp_path / "both.yaml", "knn", ready)
    assert evaluate_all(both, "--model", "pixels", *words) == 1
    printed = capsys.readouterr().out
    assert "not run: knn of pixels: dataset" in printed and "no split 'train'" in printed
    assert (
        "not run: ready of pixels: there is no file or folder './nowhere/x'" in printed
        and "\n0 new results" in printed
    )


def test_suites_that_ship_hold_every_protocol():
    assert set(list_resources("suites")) == {"small", "full", "papers"}
    suites = {name: load_suite(name) for name in list_resources("suites")}
    held = {entry.document for entries in suites.values() for entry in entries}
    # Files of 70 GB are at few hands: the suites make ImageNet-C's pictures instead.
    assert held == set(list_resources("protocols")) - {"imagenet-c"}
    for entry in suites["small"]:
        assert entry.name == entry.document or not entry.settings.papers
    for entries in suites.values():
        for entry in entries:
            # What fits nothing on `--dataset` is of test sets of its own.
            assert entry.datasets or entry.settings.needs_train
            assert set(entry.datasets) <= set(list_resources("datasets"))
