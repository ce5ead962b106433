# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""The page of results says what the files say, and no path of the machine that made them."""

import json
import shlex

import pytest
from PIL import Image
from somebodys_run import HOME_OF_SOMEBODY, result_of

from mscn_hf.cli import main
from mscn_hf.evaluation.report import PlotRow, plot_rows
from mscn_hf.evaluation.results import append_results, read_results


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
    assert "Some CPU, 2 threads" in page
    assert HOME_OF_SOMEBODY not in page
    assert "61.2" in capsys.readouterr().out
    assert "![Scores of each network, with intervals](page_imagenette_96.png)" in page
    with Image.open(tmp_path / "page_imagenette_96.png") as picture:
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
        facts |= {"run": name, "score": score, "changes": {"ema": float(name[4:])}}
        facts["command"] = f"mscn-hf sweep relicv2_ema --small --dataset_name {shlex.quote(HOME_OF_SOMEBODY)}/set"
        (run / "sweep.json").write_text(json.dumps(facts))
        runs.append(str(run))
    kept = tmp_path / "kept"
    assert main(["report", *runs, "--keep", str(kept), "--markdown", str(tmp_path / "page.md")]) == 0
    assert sorted(path.name for path in kept.iterdir()) == ["relicv2_ema_small-ema_0.99", "relicv2_ema_small-ema_1"]
    assert HOME_OF_SOMEBODY not in "".join(path.read_text() for path in kept.glob("*/*"))
    page = (tmp_path / "page.md").read_text()
    assert "## Sweep relicv2\\_ema\\_small: table 22" in page
    assert "| ema_0.99 | ema=0.99 | 75.5 | **50.0** [" in page
    assert "| random (ema_0.99) | - | - | **30.0** [" in page
    assert "| ema_1 | ema=1.0 | - | **40.0** [" in page
    assert "mscn-hf sweep relicv2_ema --small --dataset_name set" in page
    assert (tmp_path / "page_relicv2_ema_small.png").is_file()
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
    with pytest.raises(ValueError, match="no Result with the metric 'top1_accuracy'"):
        plot_rows([PlotRow("empty")], tmp_path / "none.png", "A set")
