# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""A whole run in this process: what it leaves, what it refuses, what it counts."""

import json
import shutil

import pytest
import torch
import yaml
from datasets import Dataset, Features, Image
from pretraining_runs import TINY_RECIPE, textured
from torch import nn
from transformers import AutoImageProcessor, AutoModel

from mscn_hf.data import SourceError
from mscn_hf.evaluation.results import read_results
from mscn_hf.models import MSCNModel
from mscn_hf.training.arguments import PretrainingArguments
from mscn_hf.training.checkpoints import MARKER, choose_start, newest_good_checkpoint
from mscn_hf.training.finish import check_scoring, finish_run
from mscn_hf.training.pretrain import make_model, pretrain
from mscn_hf.training.recipe_file import parse_run
from mscn_hf.training.trainer import BrokenImagesError, NonFiniteLossError


@pytest.fixture(autouse=True)
def own_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("MSCN_HF_CACHE", str(tmp_path / "cache"))


def start(tiny_recipe, out, *words):
    config = parse_run(["--config", tiny_recipe, "--output_dir", str(out), *words])
    return config, pretrain(config, "the command")


def test_a_run_leaves_everything_and_is_scored(tiny_recipe, tmp_path):
    out = tmp_path / "run"
    words = ["--test_split", "test", "--probes", "knn", "linear", "--baselines", "random", "pixels"]
    config, _ = start(tiny_recipe, out, "--max_steps", "6", *words)
    finish_run(config, "the command")
    assert {p.name for p in out.iterdir()} >= {
        *("encoder", "results.jsonl", "views.png", "curves.png", "scores.png", "recipe.yaml", "log.jsonl"),
        "checkpoint-6",
    }
    facts = json.loads((out / "encoder" / "training.json").read_text())
    assert facts["samples_seen"] == 48
    assert facts["dataset"]["rows"] == 90
    assert [1 <= value <= 16 for value in facts["rankme"]] == [True, True]
    model = AutoModel.from_pretrained(out / "encoder")
    assert isinstance(model, MSCNModel)
    pixels = AutoImageProcessor.from_pretrained(out / "encoder", backend="pil")
    assert pixels.crop_size["height"] == 24
    scores = {(r.model.split(":")[0], r.protocol) for r in read_results(out / "results.jsonl")}
    assert scores == {(m, p) for m in (str(out / "encoder"), "random", "pixels") for p in ("knn", "linear")}
    card = (out / "encoder" / "README.md").read_text()
    assert "mscn" in card
    log = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    assert {"loss", "knn_top1", "rankme", "feature_std", "samples_seen"} <= {key for line in log for key in line}


def test_a_folder_that_holds_a_run_is_refused_and_auto_continues_it(tiny_recipe, tmp_path):
    out = tmp_path / "run"
    start(tiny_recipe, out, "--max_steps", "3")
    with pytest.raises(FileExistsError, match="holds a run already: choose another folder, or --resume auto"):
        start(tiny_recipe, out, "--max_steps", "6")
    _, result = start(tiny_recipe, out, "--max_steps", "6", "--resume", "auto")
    assert result.global_step == 6
    with pytest.raises(ValueError, match="per_device_train_batch_size was 8 there and is 16 now"):
        start(tiny_recipe, out, "--resume", "auto", "--per_device_train_batch_size", "16")


def test_another_runs_folder_is_never_written_into(tiny_recipe, tmp_path):
    start(tiny_recipe, tmp_path / "one", "--max_steps", "3")
    start(tiny_recipe, tmp_path / "two", "--max_steps", "3")
    checkpoint = str(tmp_path / "one" / "checkpoint-3")
    with pytest.raises(FileExistsError, match="holds another run than checkpoint"):
        start(tiny_recipe, tmp_path / "two", "--max_steps", "6", "--resume", checkpoint)
    shutil.rmtree(tmp_path / "two" / "checkpoint-3")
    with pytest.raises(FileExistsError, match="holds an encoder but no good checkpoint"):
        start(tiny_recipe, tmp_path / "two", "--max_steps", "6", "--resume", "auto")
    _, result = start(tiny_recipe, tmp_path / "three", "--max_steps", "6", "--resume", checkpoint)
    assert result.global_step == 6


def test_training_time_adds_up_and_a_finished_run_keeps_its_record(tiny_recipe, tmp_path):
    out = tmp_path / "run"
    record = out / "encoder" / "training.json"
    start(tiny_recipe, out, "--max_steps", "6")
    first = json.loads(record.read_text())
    start(tiny_recipe, out, "--max_steps", "6", "--resume", "auto")
    assert json.loads(record.read_text()) == first
    start(tiny_recipe, out, "--max_steps", "9", "--resume", "auto")
    longer = json.loads(record.read_text())
    assert longer["samples_seen"] == 72
    assert longer["resumed"]
    assert longer["seconds"] > first["seconds"] - 1


def test_what_would_stop_the_scores_is_found_before_training(tiny_recipe, tmp_path):
    for words, message in (
        (["--test_split", "validation"], "has no split 'validation'"),
        (["--test_split", "test", "--probes", "knnn"], "nearest name is 'knn'"),
    ):
        config = parse_run(["--config", tiny_recipe, "--output_dir", str(tmp_path / "run"), *words])
        with pytest.raises((SourceError, FileNotFoundError), match=message):
            check_scoring(config)


def test_half_written_checkpoints_are_passed_over(tiny_recipe, tmp_path):
    out = tmp_path / "run"
    start(tiny_recipe, out, "--max_steps", "6")
    assert newest_good_checkpoint(out).name == "checkpoint-6"
    (out / "checkpoint-6" / MARKER).unlink()
    assert newest_good_checkpoint(out).name == "checkpoint-3"
    with pytest.raises(FileNotFoundError, match="is not a complete checkpoint"):
        choose_start(out, str(out / "checkpoint-6"), {})
    assert choose_start(tmp_path / "nothing", "auto", {}) is None


def test_accumulation_keeps_order_and_position(tiny_recipe, tmp_path):
    """Two steps of 16 = 2 x 8 see the rows of four steps of 8, and resume at the right one."""
    plain, accumulated = tmp_path / "plain", tmp_path / "accumulated"
    start(tiny_recipe, plain, "--max_steps", "4", "--record_samples", "True")
    words = ["--gradient_accumulation_steps", "2", "--record_samples", "True", "--save_steps", "1"]
    start(tiny_recipe, accumulated, "--max_steps", "1", *words)
    start(tiny_recipe, accumulated, "--max_steps", "2", "--resume", "auto", *words)
    rows = [
        [line.split()[1:] for line in (d / "samples.rank0.txt").read_text().splitlines()] for d in (plain, accumulated)
    ]
    assert rows[0] == rows[1]


def test_broken_images_are_counted_and_named_and_too_many_end_the_run(tmp_path):
    (tmp_path / "data").mkdir()
    records = [{"image": {"bytes": b"broken" if n in (5, 60) else textured(n), "path": f"{n}.jpg"}} for n in range(80)]
    Dataset.from_list(records, features=Features({"image": Image()})).to_parquet(
        str(tmp_path / "data" / "train.parquet")
    )
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(yaml.safe_dump({**TINY_RECIPE, "dataset_name": str(tmp_path / "data"), "num_train_epochs": 1}))
    start(str(recipe), tmp_path / "lenient", "--max_broken_share", "0.05")
    facts = json.loads((tmp_path / "lenient" / "encoder" / "training.json").read_text())
    assert facts["skipped_images"] == 2
    named = [json.loads(x)["id"] for x in (tmp_path / "lenient" / "broken_images.jsonl").read_text().splitlines()]
    assert sorted(n.rsplit("/", 1)[1] for n in named) == ["5.jpg", "60.jpg"]
    with pytest.raises(BrokenImagesError, match=r"more than max_broken_share=0\.01 allows"):
        start(str(recipe), tmp_path / "strict")


def test_learning_rate_of_a_run_follows_the_table(tiny_recipe, tmp_path):
    """Warm-up over three of six steps, then half a cosine; 2.0 for a batch of 256 is 0.0625 for one of 8."""
    start(tiny_recipe, tmp_path / "run", "--max_steps", "6", "--logging_steps", "1")
    log = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    rates = [line["learning_rate"] / 0.0625 for line in log if "learning_rate" in line]
    assert rates == pytest.approx([0, 1 / 3, 2 / 3, 1, 0.75, 0.25], abs=1e-6)


def test_batch_norm_over_processes_keeps_the_activations_that_are_fused_with_it(tiny_recipe, tmp_path, monkeypatch):
    words = ["--config", tiny_recipe, "--output_dir", str(tmp_path / "run"), "--model_type", "filtered"]
    words += ["--architecture", "test_efficientnet", "--encoder_fields", "none", "--depth", "50", "--stem", "imagenet"]
    config = parse_run(words)
    plain = make_model(config)
    monkeypatch.setattr(PretrainingArguments, "world_size", property(lambda self: 2))
    monkeypatch.setattr(PretrainingArguments, "device", property(lambda self: torch.device("cuda")))
    model = make_model(config)
    norms = [m for m in model.modules() if isinstance(m, nn.SyncBatchNorm)]
    before = [m for m in plain.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    assert len(norms) == len(before) > 10
    assert [type(getattr(m, "act", None)) for m in norms] == [type(getattr(m, "act", None)) for m in before]
    assert any(isinstance(getattr(m, "act", None), nn.SiLU) for m in norms)


def test_a_supervised_loss_needs_labels(tmp_path, tiny_recipe, photo_folder, monkeypatch):
    words = ["--config", tiny_recipe, "--output_dir", str(tmp_path / "run"), "--objective", "cross_entropy"]
    words += ["--objective_params", '{"classes": 4}', "--test_split", "none"]
    words += ["--ema", "none", "--predictor", "none"]
    config = parse_run(words)
    source = config.data.open("train")
    source.label_column = None
    monkeypatch.setattr(type(config.data), "open", lambda *_, **__: source)
    with pytest.raises(SourceError, match=r"cross_entropy needs labels, and dataset .* has no label column"):
        pretrain(config)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [(["--bf16", "True"], "bf16 was False"), (["--adam_epsilon", "0.5"], "adam_epsilon was 1e-08")],
)
def test_another_precision_or_optimizer_is_another_run(tiny_recipe, tmp_path, words, said):
    run = ["--config", tiny_recipe, "--output_dir", str(tmp_path / "run"), "--max_steps", "1", "--save_steps", "1"]
    run += ["--monitor_epochs", "0", "--test_split", "none"]
    pretrain(parse_run(run))
    with pytest.raises(ValueError, match=f"cannot continue .* exactly: {said}"):
        pretrain(parse_run([*run, "--resume", "auto", *words]))


def test_batch_of_one_with_batch_norm_is_refused(tiny_recipe, tmp_path):
    with pytest.raises(ValueError, match="batch size of at least 2 on each process, got 1"):
        start(tiny_recipe, tmp_path / "run", "--per_device_train_batch_size", "1")


def test_fewer_rows_than_a_batch(tiny_recipe, tmp_path):
    with pytest.raises(SourceError, match="has 90 rows: fewer than one batch of 128"):
        start(tiny_recipe, tmp_path / "run", "--per_device_train_batch_size", "128")


def test_filter_of_views_and_encoder_must_agree(tiny_recipe, tmp_path):
    with pytest.raises(ValueError, match=r"high_pass_sigma of the encoder .* and of the views .* must be equal"):
        start(tiny_recipe, tmp_path / "run", "--high_pass_sigma", "2.0")


def test_a_loss_that_is_not_finite_ends_the_run(tiny_recipe, tmp_path, monkeypatch):
    from mscn_hf.methods.objectives.byol import BYOL

    original = BYOL.forward
    monkeypatch.setattr(BYOL, "forward", lambda self, e: {k: v * torch.nan for k, v in original(self, e).items()})
    with pytest.raises(NonFiniteLossError, match="the loss is nan at step 1; lower base_learning_rate"):
        start(tiny_recipe, tmp_path / "run")


def test_views_and_weights_depend_on_the_seed_alone(tiny_recipe, tmp_path):
    """Same seed, same run; workers and logging change nothing."""
    weights = []
    for name, words in (
        ("a", []),
        ("b", ["--dataloader_num_workers", "2", "--logging_steps", "1"]),
        ("c", ["--seed", "9"]),
    ):
        start(tiny_recipe, tmp_path / name, "--max_steps", "4", *words)
        weights.append(MSCNModel.from_pretrained(tmp_path / name / "encoder").state_dict())
    assert all(weights[0][k].equal(weights[1][k]) for k in weights[0])
    assert not all(weights[0][k].equal(weights[2][k]) for k in weights[0])
