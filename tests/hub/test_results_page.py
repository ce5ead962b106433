# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""The page of results says what the files say, and no path of the machine that made them."""

import json

from somebodys_run import HOME_OF_SOMEBODY, result_of

from mscn_hf.cli import main
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
