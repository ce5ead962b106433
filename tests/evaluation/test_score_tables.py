# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
import torch
from PIL import Image

from mscn_hf.evaluation.report import format_table, plot_scores
from mscn_hf.evaluation.results import Result
from mscn_hf.evaluation.score_table import main_results
from mscn_hf.evaluation.scores import classes_of, match_test_labels, topk_correct


def result(model="a", value=0.5, metric="top1_accuracy", **fields):
    fields = {"dataset": "d", "split": "test", "protocol": "knn", "selection": "none", "num_examples": 9, **fields}
    return Result(
        model=model, value=value, metric=metric, interval=(value - 0.1, value + 0.1), interval_method="m", **fields
    )


def test_table_has_models_as_rows_and_intervals():
    results = [
        result("trained", 0.7),
        result("trained", 0.8, protocol="linear"),
        result("pixels", 0.3),
        result("trained", 0.75),  # scored again: the last one counts
    ]
    header, _, *lines = format_table(results).splitlines()
    assert header.split() == ["model", "knn", "top-1", "linear", "top-1"]
    assert lines[0].split() == ["trained", "75.0", "[65.0,", "85.0]", "80.0", "[70.0,", "90.0]"]
    assert lines[1].split() == ["pixels", "30.0", "[20.0,", "40.0]", "-"]
    assert lines[2].startswith("d, test: 9 images")
    assert format_table([]) == "no results"


def test_seeds_and_datasets_are_told_apart():
    table = format_table([result(seed=0), result(seed=1, value=0.6), result(seed=1, dataset="org/other")])
    assert "a (seed 0)" in table and "a (seed 1)" in table
    assert "other/test knn top-1" in table and "d/test knn top-1" in table


def test_plot_draws_bars(tmp_path):
    plot_scores([result("a", 0.5), result("b", 0.7), result("b", 0.8, protocol="linear")], tmp_path / "new" / "s.png")
    pixels = np.asarray(Image.open(tmp_path / "new" / "s.png").convert("RGB"))
    assert pixels.shape[0] > 300
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 20
    with pytest.raises(ValueError, match="'top5_accuracy'"):
        plot_scores([result()], tmp_path / "none.png", metric="top5_accuracy")


def test_each_protocol_is_known_by_its_first_metric(tmp_path):
    metrics = {"metrics": ["mean_corruption_error", "top1_accuracy"], "corruptions": ["fog"]}
    results = [
        result(metric="top5_accuracy", settings={"metrics": ["top1_accuracy", "top5_accuracy"]}),
        result(settings={"metrics": ["top1_accuracy", "top5_accuracy"]}),
        result("b", metric="top5_accuracy", settings={"metrics": ["top1_accuracy", "top5_accuracy"]}),
        result(protocol="c", settings=metrics),
        result(protocol="c fog", settings=metrics),
        result(protocol="c", metric="mean_corruption_error", settings=metrics),
        result(protocol="mine", metric="map_11point"),
    ]
    # b has no top-1; of c's parts none is left.
    assert [results.index(r) for r in main_results(results)] == [1, 2, 5, 6]
    plot_scores([results[-1]], tmp_path / "map.png")
    assert (tmp_path / "map.png").is_file()


def test_many_models_have_a_panel_for_each_protocol(tmp_path, monkeypatch):
    from matplotlib import pyplot

    monkeypatch.setattr(pyplot, "close", lambda *_: None)
    results = [result(f"m{m}", 0.3 + m / 10 + p / 100, protocol=f"p{p}") for m in range(4) for p in range(5)]
    plot_scores(results, tmp_path / "s.png")
    panels = [axes for axes in pyplot.gcf().axes if axes.get_visible()]
    assert [axes.get_title(loc="left") for axes in panels] == ["p0", "p1", "p2", "p3", "p4"]
    for number, axes in enumerate(panels):
        drawn = [line.get_xydata()[0] for container in axes.containers for line in container.lines[:1]]
        assert np.allclose(drawn, [[30 + 10 * m + number, m] for m in range(4)])


def test_topk_is_the_rank_of_the_true_class():
    scores = torch.tensor([[0.1, 0.5, 0.4], [0.3, 0.3, 0.4], [1.0, 0.0, 0.0]])
    labels = torch.tensor([2, 1, 1])
    assert topk_correct(scores, labels, 1).tolist() == [False, False, False]
    assert topk_correct(scores, labels, 2).tolist() == [True, False, True]
    assert topk_correct(scores, labels, 2, votes=True).tolist() == [True, False, False]
    assert topk_correct(scores, torch.tensor([-1, 3, 0]), 3).tolist() == [False, False, True]


def test_gaps_in_labels_close_and_names_join_the_splits():
    train, names = classes_of(np.array([5, 2, 9, 5]), None, "train")
    assert (train.tolist(), names) == ([1, 0, 2, 1], ["2", "5", "9"])
    train, names = classes_of(np.array([0, 2]), ["cat", "unused", "dog"], "train")
    with pytest.warns(UserWarning, match="do not occur in train and count as wrong.*'emu'"):
        labels = match_test_labels(train, names, np.array([0, 1, 2]), ["dog", "emu", "cat"], "test")
    assert (labels.test_M.tolist(), labels.absent) == ([1, -1, 0], ["emu"])
    only = match_test_labels(train, names, np.array([2, 2]), ["cat", "unused", "dog"], "test")
    assert only.test_M.tolist() == [1, 1]


@pytest.mark.parametrize(
    ("labels", "names", "message"),
    [
        ([0, -1, -1], None, "2 of 3 images of train have no label.*--label_column"),
        ([3, 3], ["a", "b", "c", "d"], r"one class only \('d'\)"),
        ([0, 4], ["a", "b"], "label 4 of train is beyond the 2 names"),
    ],
)
def test_labels_of_train_that_cannot_be_used(labels, names, message):
    with pytest.raises(ValueError, match=message):
        classes_of(np.array(labels), names, "train")


def test_splits_without_a_common_class():
    with pytest.raises(ValueError, match="share no class"):
        match_test_labels(np.array([0, 1]), ["a", "b"], np.array([0, 1]), None, "test")
