# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Two processes write the shards that one writes, byte for byte, and train one network together."""

import json

import numpy as np
from datasets import Dataset
from launching import run_script
from saliency.test_saliency_training import SMALL, dataset

from mscn_hf.cli import main
from mscn_hf.models import MSCNConfig, MSCNModel

CUES = """
import sys
from mscn_hf.cli import main
words = ["saliency", "cues", *sys.argv[1:], "--cues", "manifold_ranking", "markov_chain", "--workers", "1"]
sys.exit(main([*words, "--rows_per_shard", "2"]))
"""

TRAIN = """
import sys
from mscn_hf.cli import main
sys.exit(main(["saliency", "train", *sys.argv[1:]]))
"""


def test_two_processes_write_what_one_writes(tmp_path):
    source = dataset(tmp_path / "data", count=7, broken=False)
    (tmp_path / "plain").mkdir()
    rows = Dataset.from_parquet(str(source / "train-00000-of-00001.parquet")).select_columns(["image", "mask"])
    rows.to_parquet(tmp_path / "plain" / "train-00000-of-00001.parquet")
    for count in (1, 2):
        run_script(CUES, tmp_path, count, tmp_path / "plain", tmp_path / f"out{count}")
    one, two = (sorted((tmp_path / f"out{count}" / "data").iterdir()) for count in (1, 2))
    assert [path.name for path in one] == [path.name for path in two] and len(one) == 4
    assert [path.read_bytes() for path in one] == [path.read_bytes() for path in two]
    assert (tmp_path / "out1" / "README.md").read_text() == (tmp_path / "out2" / "README.md").read_text()


def test_two_processes_train_together(tmp_path, capsys):
    source = dataset(tmp_path / "data", count=12, broken=False)
    config = MSCNConfig(
        embedding_size=8, hidden_sizes=[8, 16, 24], depths=[1, 1, 1], layer_type="basic", image_size=48
    )
    MSCNModel(config).save_pretrained(tmp_path / "encoder")
    words = ["--dataset_name", source, "--encoder", tmp_path / "encoder", "--output_dir", tmp_path / "run", *SMALL]
    run_script(TRAIN, tmp_path, 2, *words, "--average", "0.45", "--refine_epochs", "1")
    refined = np.fromfile(tmp_path / "run" / "refined" / "markov_chain-1.f16", np.float16).reshape(12, 48, 48)
    # 12 images in steps of 2 x 4 make 16: those that came twice count once, and every one is there
    assert 0.5 < refined.max() < 0.551 and all(map_SS.any() for map_SS in refined)
    log = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    final = [entry for entry in log if entry["round"] == "final" and "loss" in entry]
    assert final[-1]["loss"] < 0.9 * final[0]["loss"] and all(entry["grad_norm"] > 0 for entry in final)
    assert main(["saliency", "train", *map(str, words), "--average", "0.45", "--refine_epochs", "1"]) == 2
    assert "another number of processes" in capsys.readouterr().err
    assert (tmp_path / "run" / "network" / "model.safetensors").stat().st_size > 0
    assert len(list((tmp_path / "run" / "refined").glob("*.f16"))) == 2
