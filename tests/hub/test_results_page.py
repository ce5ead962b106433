# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""The page of results says what the files say, and no path of the machine that made them."""

import json
import re
import shlex

import numpy as np
import pytest
from PIL import Image
from somebodys_run import HOME_OF_SOMEBODY, result_of

from mscn_hf.cli import main
from mscn_hf.evaluation.report import PlotRow, plot_rows
from mscn_hf.evaluation.results import append_results, read_results
from mscn_hf.hub.results_page import write_results_page

STUDENT = "Student's t over 3 draws, 95 %"


def record(folder, *results, **training):
    """A folder with these Results and, where facts of a training are given, its training.json."""
    append_results(folder / "results.jsonl", results)
    if training:
        (folder / "training.json").write_text(json.dumps(training))
    return folder


def pictures(page):
    return re.findall(r"!\[[^]]*\]\(([^)]+)\)", page)


def suite(model, revision, *, value=0.5, **fields):
    """Results of eight protocols, a second metric and the parts of one of them."""
    common = {"model": model, "dataset": "org/set", **fields}
    many = [
        result_of(revision, protocol=f"p{n}", value=value + n / 100, settings={"metrics": ["top1_accuracy"]}, **common)
        for n in range(6)
    ]
    metrics = {"metrics": ["mean_per_class_accuracy", "top1_accuracy"]}
    for metric, score in (("top1_accuracy", 0.11), ("mean_per_class_accuracy", 0.22)):
        many.append(result_of(revision, protocol="transfer", metric=metric, value=score, settings=metrics, **common))
    parts = {"metrics": ["top1_accuracy"], "corruptions": ["fog", "snow"]}
    for protocol in ("rough", "rough fog", "rough snow"):
        many.append(result_of(revision, protocol=protocol, value=0.33, settings=parts, **common))
    return many


def test_page_is_made_from_results_alone(tmp_path, capsys):
    run = tmp_path / "my_run"
    run.mkdir()
    data = f"{HOME_OF_SOMEBODY}/imagenette-96"
    append_results(
        run / "results.jsonl",
        [
            result_of("ab" * 32, model=f"{HOME_OF_SOMEBODY}/runs/my_run/encoder", dataset=data, value=0.6123),
            result_of("ef" * 32, model=f"random:{HOME_OF_SOMEBODY}/runs/my_run/encoder", dataset=data, value=0.3),
            result_of("cd" * 32, model="pixels", dataset=data, value=0.375),
        ],
    )
    facts = {
        "samples_seen": 460800,
        "seconds": 750.0,
        "rankme": [2.5, 41.26],
        "command": f"mscn-hf pretrain --dataset_name {data}",
        "environment": {"processor": "Some CPU", "cpu_threads": 2},
    }
    (run / "training.json").write_text(json.dumps(facts))
    kept = tmp_path / "kept"
    words = ["report", str(run), "--markdown", str(tmp_path / "page.md"), "--keep", str(kept)]
    assert main(words) == 0
    records = (kept / "my_run" / "results.jsonl").read_text() + (kept / "my_run" / "training.json").read_text()
    assert HOME_OF_SOMEBODY not in records
    assert read_results(kept / "my_run" / "results.jsonl")[0].value == 0.6123
    page = (tmp_path / "page.md").read_text()
    assert "| my_run | **61.2** [" in page
    assert "| 41.3 | 460,800 | 12.5 min |" in page
    assert "| random (my_run) | **30.0** [" in page
    assert "| pixels | **37.5** [" in page
    assert "Trained on: Some CPU, 2 threads." in page
    assert "Intervals: percentile bootstrap, 95 %." in page
    assert HOME_OF_SOMEBODY not in page
    assert "61.2" in capsys.readouterr().out
    assert "![Scores of each network, with intervals](page_imagenette_96_test.png)" in page
    with Image.open(tmp_path / "page_imagenette_96_test.png") as picture:
        assert picture.width > 600 and len(picture.convert("RGB").getcolors(1 << 20)) > 50


def test_runs_of_a_sweep_stand_beside_the_papers_scores(tmp_path):
    runs = []
    for name, score, value in (("ema_0.99", 75.5, 0.5), ("ema_1", None, 0.4)):
        run = tmp_path / "out" / name
        run.mkdir(parents=True)
        model = f"{HOME_OF_SOMEBODY}/out/{name}/encoder"
        results = [result_of("ab" * 32, model=model, dataset="org/set", value=value)]
        results.append(result_of("ef" * 32, model=f"random:{model}", dataset="org/set", value=0.3))
        append_results(run / "results.jsonl", results)
        facts = {
            "sweep": "relicv2_ema",
            "small": True,
            "paper": "A paper",
            "table": "table 22",
            "metric": "top1_accuracy",
        }
        facts |= {"run": name, "score": score, "changes": {"ema": float(name[4:]), "momentum": 0.9}}
        facts["command"] = f"mscn-hf sweep relicv2_ema --small --dataset_name {shlex.quote(HOME_OF_SOMEBODY)}/set"
        (run / "sweep.json").write_text(json.dumps(facts))
        runs.append(str(run))
    kept = tmp_path / "kept"
    assert main(["report", *runs, "--keep", str(kept), "--markdown", str(tmp_path / "page.md")]) == 0
    assert sorted(path.name for path in kept.iterdir()) == ["relicv2_ema_small-ema_0.99", "relicv2_ema_small-ema_1"]
    assert HOME_OF_SOMEBODY not in "".join(path.read_text() for path in kept.glob("*/*"))
    page = (tmp_path / "page.md").read_text()
    assert "## Sweep relicv2\\_ema\\_small: table 22" in page
    assert "In all of these runs: momentum=0.9.\n\n| run |" in page
    assert "| ema_0.99 | ema=0.99 | 75.5 | **50.0** [" in page
    assert "| random (ema_0.99) | - | - | **30.0** [" in page
    assert "| ema_1 | ema=1.0 | - | **40.0** [" in page
    assert "mscn-hf sweep relicv2_ema --small --dataset_name set" in page
    assert (tmp_path / "page_relicv2_ema_small_org_set_test.png").is_file()
    # The kept records give the same page.
    again = tmp_path / "again.md"
    assert main(["report", *map(str, sorted(kept.iterdir())), "--markdown", str(again)]) == 0
    assert again.read_text() == page.replace("(page_", "(again_")


def test_the_picture_puts_each_score_where_it_belongs(tmp_path, monkeypatch):
    from matplotlib import pyplot

    monkeypatch.setattr(pyplot, "close", lambda *_: None)
    one = result_of("ab" * 32, value=0.5)
    row = PlotRow(
        "net", scores=[one, result_of("ac" * 32, value=0.6)], baseline=[result_of("ef" * 32, value=0.3)], paper=70
    )
    plot_rows([row, PlotRow("empty")], tmp_path / "plot.png", "A set")
    axes = pyplot.gcf().axes[0]
    drawn = {c.get_label(): sorted(round(x, 6) for x in c.lines[0].get_xdata()) for c in axes.containers}
    assert drawn[one.protocol] == [50, 60]
    assert drawn[f"{one.protocol}, random weights"] == [30]
    assert drawn["paper, full size"] == [70]
    assert [text.get_text() for text in axes.get_yticklabels()] == ["net", "empty"]
    with pytest.raises(ValueError, match="no Result to plot"):
        plot_rows([PlotRow("empty")], tmp_path / "none.png", "A set")


def test_no_picture_is_drawn_over_another(tmp_path):
    place = tmp_path / "run"
    sets = [("org/a-set", "test"), ("org/a-set", "validation"), ("org/a_set", "test"), ("org/b", "test")]
    record(place, *(result_of("ab" * 32, model="m", dataset=dataset, split=split) for dataset, split in sets))
    swept = []
    for dataset in ("org/a-set", "org/b"):
        folder = tmp_path / dataset[-1] / "one"
        swept.append(record(folder, result_of("ab" * 32, model="x/y/one/encoder", dataset=dataset)))
        facts = {"sweep": "s", "small": False, "paper": "P", "table": "T", "run": "one", "score": 7.0, "changes": {}}
        (folder / "sweep.json").write_text(json.dumps(facts))
    drawn = pictures(write_results_page([place, *swept], tmp_path / "page.md").read_text())
    assert len(drawn) == len(set(drawn)) == 6
    assert all((tmp_path / name).is_file() for name in drawn)
    assert {"page_org_a_set_validation.png", "page_s_org_b_test.png"} <= set(drawn)


def test_intervals_are_called_what_they_are(tmp_path):
    drawn = "percentile bootstrap over images, 95 %, 10000 resamples, seed 0"
    results = [
        result_of(None, model="m", protocol=name, interval_method=method, selection=choice)
        for name, method, choice in [
            ("knn", drawn, "none (k=20, T=0.07 fixed)"),
            ("low-shot-1", STUDENT, "none (lambda = 0.0025 fixed; 3 draws from seed 0)"),
        ]
    ]
    results.append(result_of(None, model="m", protocol="mine", interval=None, interval_method=None, value=0.5))
    page = write_results_page([record(tmp_path / "r", *results)], tmp_path / "page.md").read_text()
    assert f"knn: percentile bootstrap over images, 95 %; low-shot-1: {STUDENT}; mine: none." in page
    assert "low-shot-1: none \\(lambda = 0.0025 fixed; 3 draws\\)" in page
    assert "| **50.0** |" in page


def test_many_protocols_of_many_models_lie_on_their_side(tmp_path):
    models = [f"{HOME_OF_SOMEBODY}/runs/a/encoder", f"{HOME_OF_SOMEBODY}/runs/b/encoder", "org/their-model", "pixels"]
    models += [f"random:{models[0]}", "random:org/other", "timm:resnet18"]
    results = [r for n, model in enumerate(models) for r in suite(model, f"{n}" * 64, value=0.4 + n / 20)]
    place = record(tmp_path / "all", *results)
    page = write_results_page([place], tmp_path / "page.md").read_text()
    heads = [line for line in page.splitlines() if line.startswith("| protocol")]
    assert heads == [
        "| protocol | a | b | org/their-model |",
        "| protocol | pixels | random (a) | random (org/other) | timm:resnet18 |",
    ]
    lines = [line for line in page.splitlines() if line.startswith("| p0 top-1")]
    assert [re.findall(r"\*\*([0-9.]+)", line) for line in lines] == [
        ["40.0", "45.0", "50.0"],
        ["55.0", "60.0", "65.0", "70.0"],
    ]
    assert "| transfer mean per class | **22.0** [" in page and "11.0" not in page
    assert "| rough top-1 | **33.0** [" in page and "fog" not in page
    assert HOME_OF_SOMEBODY not in page
    assert (
        main(["report", str(place), "--keep", str(tmp_path / "kept"), "--markdown", str(tmp_path / "again.md")]) == 0
    )
    assert HOME_OF_SOMEBODY not in (tmp_path / "kept" / "all" / "results.jsonl").read_text()
    assert (tmp_path / "again.md").read_text() == page.replace("(page_", "(again_")
    (name,) = pictures(page)
    with Image.open(tmp_path / name) as picture:
        assert picture.width < 1600 and picture.height < 1200


def test_scores_of_the_same_weights_share_a_row(tmp_path):
    model = f"{HOME_OF_SOMEBODY}/runs/mine/encoder"
    run = record(
        tmp_path / "mine",
        result_of("ab" * 32, model=model, dataset="org/set", protocol="p0", value=0.5),
        samples_seen=1000,
        seconds=60.0,
    )
    scored = record(tmp_path / "suite", *suite(model, "ab" * 32), *suite(model, "cd" * 32, value=0.9, seed=1))
    page = write_results_page([run, scored], tmp_path / "page.md").read_text()
    assert "| protocol | mine | mine |" in page
    assert "| p0 top-1 | **50.0** [56.5, 59.8] | **90.0** [56.5, 59.8] |" in page
    assert "| images seen | 1,000 | - |" in page and "| seed | 0 | 1 |" in page
    # A score that contradicts is shown, not dropped.
    again = record(
        tmp_path / "again" / "mine", result_of("ab" * 32, model=model, dataset="org/set", protocol="p0", value=0.4)
    )
    assert "**40.0**" in write_results_page([run, scored, again], tmp_path / "page.md").read_text()


def test_networks_with_few_protocols_keep_their_table(tmp_path):
    few = [
        result_of(f"{n}" * 64, model=f"org/m{n}", dataset="org/set", protocol="p0", value=n / 10) for n in range(1, 9)
    ]
    page = write_results_page(
        [record(tmp_path / "r", *few, *suite("org/wide", "ab" * 32))], tmp_path / "page.md"
    ).read_text()
    assert page.count("| network |") == page.count("| protocol |") == 1
    assert "| org/m8 | **80.0** [" in page and "| org/wide | **50.0** [" in page
    assert "| protocol | org/wide |" in page


def test_weights_trained_later_in_the_same_folder(tmp_path):
    model = f"{HOME_OF_SOMEBODY}/runs/mine/encoder"
    results = [result_of("ab" * 32, model=model, value=0.3), result_of("cd" * 32, model=model, value=0.6)]
    page = write_results_page(
        [record(tmp_path / "mine", *results, samples_seen=9, seconds=6.0)], tmp_path / "p.md"
    ).read_text()
    assert re.search(r"\| mine abababab \| \*\*30.0\*\* \[[^|]*\| - \| - \|", page)
    assert re.search(r"\| mine cdcdcdcd \| \*\*60.0\*\* \[[^|]*\| - \| 9 \|", page)


def test_scores_of_a_draw_of_the_images_stand_apart(tmp_path):
    common = {"model": "my_run/encoder", "dataset": "org/set"}
    whole = {"num_train": 9000, "max_train_images": 20_000, "max_test_images": None}
    record(tmp_path / "whole", result_of("ab" * 32, value=0.6, num_examples=4000, settings=whole, **common))
    part = {"num_train": 2000, "max_train_images": 2000, "max_test_images": 1000}
    record(tmp_path / "part", result_of("ab" * 32, value=0.5, num_examples=1000, settings=part, **common))
    page = write_results_page([tmp_path / "whole", tmp_path / "part"], tmp_path / "page.md")
    first, second = page.read_text().split("\n## ")[1:]
    assert "set, test\n" in first and "**60.0**" in first and "**50.0**" not in first
    assert "a draw of 1,000 test images and 2,000 train images" in second and "**50.0**" in second
    assert len(set(pictures(page.read_text()))) == 2


def test_seeds_of_one_recipe_have_a_mean(tmp_path):
    runs = []
    for name, seed, value, rate in (
        ("a", 0, 0.5, 1),
        ("a_seed1", 1, 0.6, 1),
        ("b", 0, 0.3, 1),
        ("b_seed1", 1, 0.4, 2),
    ):
        result = result_of("ab" * 32, model=f"{name}/encoder", dataset="set", value=value, seed=seed)
        (tmp_path / name).mkdir()
        recipe = {"seed": seed, "output_dir": name, "learning_rate": rate}
        runs.append(record(tmp_path / name, result, recipe=recipe, samples_seen=8, seconds=60.0))
    page = write_results_page(runs, tmp_path / "page.md").read_text()
    low, high = (100 * (0.55 + side * 12.7062 * np.std([0.5, 0.6], ddof=1) / 2**0.5) for side in (-1, 1))
    # other recipes under one name have none
    means = page.split("Means over seeds of one recipe, Student's t, 95 %:\n\n")[1].split("\n\n")[0].splitlines()
    assert means[2:] == [f"| a | **55.0** [{max(low, 0):.1f}, {min(high, 100):.1f}] | 0, 1 |"]
