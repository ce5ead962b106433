# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Own scores stand beside published ones of the same protocol, data set and metric, and of no other."""

import numpy as np
import pytest
from PIL import Image

from mscn_hf.cli import main
from mscn_hf.evaluation import published
from mscn_hf.evaluation.comparable import changed_settings, dataset_key
from mscn_hf.evaluation.probes.knn import KNNSettings
from mscn_hf.evaluation.published import compare_with_papers, format_published, plot_published
from mscn_hf.evaluation.report import format_table, plot_scores
from mscn_hf.evaluation.results import Result, append_results


def row(value, **fields):
    return {
        "paper": "Somebody 2020",
        "table": "table 1",
        "model": "their net",
        "dataset": "imagenet-1k",
        "metric": "top1_accuracy",
        "value": value,
        **fields,
    }


PROTOCOL = KNNSettings(papers=[row(66.0), row(70.5, model="bigger net"), row(88.0, metric="top5_accuracy")])
SETTINGS = {**PROTOCOL.facts(), "max_train_images": None, "max_test_images": None}


def result(model="mine", value=0.68, **fields):
    common = {"dataset": "ILSVRC/imagenet-1k", "split": "validation", "protocol": "knn", "metric": "top1_accuracy"}
    return Result(
        model=model,
        value=value,
        selection="none",
        num_examples=9,
        interval=(value - 0.01, value + 0.01),
        interval_method="m",
        **{**common, "settings": SETTINGS, **fields},
    )


@pytest.fixture(autouse=True)
def one_protocol_with_papers(monkeypatch):
    monkeypatch.setattr(published, "load_protocol", lambda name: (name, PROTOCOL))


def test_only_the_same_protocol_set_and_metric_are_compared():
    results = [
        result(),
        result(dataset="uoft-cs/cifar10"),
        result(metric="mean_per_class_accuracy"),
        result(protocol="a file of my own"),
        result(model="old", value=0.1),
        result(model="old", value=0.2),  # scored again
    ]
    (found,) = compare_with_papers(results)
    assert (found.protocol, found.dataset, found.metric) == ("knn", "imagenet-1k", "top1_accuracy")
    assert [(own.result.model, own.result.value, own.departures) for own in found.own] == [
        ("mine", 0.68, []),
        ("old", 0.2, []),
    ]
    assert [r["value"] for r in found.published] == [66.0, 70.5]


def test_other_settings_and_parts_of_splits_are_said():
    odd = result(settings={**SETTINGS, "k": 200, "max_test_images": 1000})
    (found,) = compare_with_papers([odd])
    assert found.own[0].name == "mine (other k, max_test_images)"
    assert changed_settings(result(settings={**SETTINGS, "metrics": []}), PROTOCOL) == []
    # A file that says nothing of a setting may have had another one.
    assert changed_settings(result(settings={}), PROTOCOL) == [name for name in PROTOCOL.facts() if name != "metrics"]
    assert changed_settings(result(settings={**SETTINGS, "temperature": 0.1}), PROTOCOL) == ["temperature"]


def test_a_set_goes_by_the_name_of_its_file():
    described = result(dataset="/data/ILSVRC2012", settings={**SETTINGS, "dataset_file": "imagenet-1k"})
    (found,) = compare_with_papers([described])
    assert (found.dataset, found.own[0].departures) == ("imagenet-1k", [])
    assert not compare_with_papers([result(dataset="/data/ILSVRC2012")])


def test_table_is_ordered_from_best_to_worst():
    text = format_published([result(), result("top", 0.9, metric="top5_accuracy")])
    first, second = text.split("\n\n")
    assert [line.split("  ")[0] for line in first.splitlines()[2:]] == ["bigger net", "mine", "their net"]
    assert first.splitlines()[3].split() == ["mine", "own", "68.0", "[67.0,", "69.0]"]
    assert second.splitlines()[0].startswith("knn, imagenet-1k, top-5")
    assert format_published([result(dataset="mine")]) == ""


def test_what_was_not_verified_says_so(tmp_path, monkeypatch):
    from matplotlib import pyplot

    doubtful = KNNSettings(papers=[row(66.0), row(70.5, model="bigger net", unverified=True)])
    monkeypatch.setattr(published, "load_protocol", lambda name: (name, doubtful))
    lines = format_published([result()]).splitlines()
    assert [line for line in lines if "not verified against the paper" in line] == [lines[2]]
    assert lines[2].startswith("bigger net")
    monkeypatch.setattr(pyplot, "close", lambda *_: None)
    assert plot_published([result()], tmp_path / "p.png")
    fills = {
        " ".join(c.get_label().split()): c.lines[0].get_markerfacecolor() for c in pyplot.gcf().axes[0].containers
    }
    assert fills["published, not verified against the paper"] == "white" != fills["published"]


@pytest.mark.parametrize("wrong", [{"unverified": "yes"}, {"note": "read somewhere"}])
def test_rows_of_papers_are_checked(wrong):
    with pytest.raises(ValueError, match="each of papers needs exactly the keys"):
        KNNSettings(papers=[row(66.0, **wrong)])


def test_picture(tmp_path):
    odd = result("$odd$", 0.5, settings={})
    assert plot_published([result(), odd, result(metric="top5_accuracy", value=0.9)], tmp_path / "new" / "p.png")
    pixels = np.asarray(Image.open(tmp_path / "new" / "p.png").convert("RGB"))
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 20
    assert not plot_published([result(dataset="mine")], tmp_path / "none.png")
    assert not (tmp_path / "none.png").exists()


def test_many_protocols_stand_below_one_another(tmp_path):
    results = [result(model, protocol=f"p{n}") for n in range(9) for model in ("a", "b") if (model, n) != ("b", 3)]
    lines = format_table(results).splitlines()
    assert lines[0].split() == ["protocol", "a", "b"] and len(lines) == 2 + 9 + 1
    assert lines[5].split() == ["p3", "top-1", "68.0", "[67.0,", "69.0]", "-"]
    plot_scores(results, tmp_path / "many.png")
    with Image.open(tmp_path / "many.png") as picture:
        assert picture.height > 400


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("ILSVRC/imagenet-1k", "imagenet1k"),
        ("/data/ImageNet_1k/", "imagenet1k"),
        ("cifar-10", "cifar10"),
        ("x/imagenetv2-top-images-format-val", "imagenetv2topimages"),
    ],
)
def test_names_of_data_sets(name, key):
    assert dataset_key(name) == key


def test_report_command(tmp_path, capsys):
    append_results(tmp_path / "results.jsonl", [result()])
    assert main(["report", str(tmp_path), "--papers", str(tmp_path / "p.png")]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("model") and "bigger net" in printed and (tmp_path / "p.png").exists()
    append_results(tmp_path / "other.jsonl", [result(dataset="mine")])
    assert main(["report", str(tmp_path / "other.jsonl"), "--papers", str(tmp_path / "q.png")]) == 0
    printed = capsys.readouterr().out
    assert "no paper has a score" in printed and "bigger net" not in printed


@pytest.mark.parametrize(("follows", "departures"), [("yes", []), ("partly", ["splits"]), ("no", ["splits"])])
def test_splits_of_ones_own_are_a_departure(follows, departures):
    (found,) = compare_with_papers([result(settings={**SETTINGS, "follows_papers": follows})])
    assert found.own[0].departures == departures
