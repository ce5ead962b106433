# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""From a dataset with cues to a network and its masks, through the commands that users give."""

import json
import re
import subprocess
import sys

import numpy as np
import pytest
import torch
from datasets import Dataset, Features, Value, load_dataset
from datasets import Image as ImageFeature
from PIL import Image
from saliency.composites import composites

from mscn_hf.cli import main
from mscn_hf.data import open_source
from mscn_hf.models import MSCNConfig, MSCNModel
from mscn_hf.saliency.contact_sheet import draw_saliency
from mscn_hf.saliency.cues import CUES
from mscn_hf.saliency.labels import read_label_sets
from mscn_hf.saliency.network import SaliencyNetwork
from mscn_hf.saliency.shards import to_png
from mscn_hf.training.saliency_arguments import parse
from mscn_hf.training.train_saliency import train

SMALL = (
    "--image_size 48 --iterations 1 --refine_epochs 3 --average 0 --refine_lr 3e-3 --final_epochs 10 --final_lr 3e-3 "
    "--per_device_train_batch_size 4 --cues robust_background markov_chain --thresholds 0.25 0.31"
).split()


def dataset(folder, count=12, broken=True, lift=0.0):
    """Composites with their truth, a little spoilt and lifted, as maps of two cues; the last has no map at all."""
    random = np.random.default_rng(0)
    rows = []
    for rgb, truth in composites(count):
        maps = {}
        for name in ("robust_background", "markov_chain"):
            map_HW = np.clip(truth + lift + random.normal(0, 0.2, truth.shape), 0, 1)
            maps[name] = {"bytes": to_png((map_HW * 255).astype(np.uint8)), "path": None}
        image = {"bytes": to_png(rgb), "path": None}
        rows.append({"image": image, "mask": {"bytes": to_png(truth.astype(np.uint8) * 255), "path": None}, **maps})
    if broken:
        rows[-1]["markov_chain"] = None
    features = Features(dict.fromkeys(rows[0], ImageFeature()))
    folder.mkdir()
    Dataset.from_list(rows, features=features).to_parquet(folder / "train-00000-of-00001.parquet")
    return folder


@pytest.fixture
def encoder(tmp_path):
    torch.manual_seed(0)
    config = MSCNConfig(
        embedding_size=8, hidden_sizes=[8, 16, 24], depths=[1, 1, 1], layer_type="basic", image_size=48
    )
    MSCNModel(config).save_pretrained(tmp_path / "encoder")
    return tmp_path / "encoder"


def test_trains_goes_on_predicts_and_scores(tmp_path, encoder, capsys):
    data, out = dataset(tmp_path / "data"), tmp_path / "run"
    words = ["saliency", "train", "--dataset_name", str(data), "--encoder", str(encoder), "--output_dir", str(out)]
    assert main([*words, *SMALL]) == 0
    log = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    losses = [entry["loss"] for entry in log if entry["round"] == "final" and "loss" in entry]
    assert losses[-1] < 0.8 * losses[0]
    assert {entry["round"] for entry in log} == {"robust_background-1", "markov_chain-1", "final"}
    assert json.loads((out / "labels" / "labels.json").read_text())["skipped"] == 1
    refined = np.fromfile(out / "refined" / "markov_chain-1.f16", np.float16).reshape(11, 48, 48)
    assert np.isfinite(refined).all() and refined.min() >= 0 and refined.max() <= 1 and refined.any()

    assert main([*words, *SMALL]) == 0  # what is there is not made again
    assert len((out / "log.jsonl").read_text().splitlines()) == len(log)
    assert main([*words, *SMALL, "--seed", "5"]) == 2
    assert "another seed" in capsys.readouterr().err

    network = SaliencyNetwork.from_pretrained(out / "network")
    assert network.config.image_size == 48
    assert main(["saliency", "predict", str(data), str(tmp_path / "masked"), "--network", str(out / "network")]) == 0
    masked = load_dataset(str(tmp_path / "masked"), split="train")
    assert masked[0]["saliency"].size == masked[0]["image"].size and masked.column_names[-1] == "saliency"

    scores, plot = tmp_path / "scores.json", tmp_path / "scores.png"
    score = ["saliency", "score", str(data), "--split", "train", "--network", str(out / "network"), "--workers", "1"]
    assert (
        main([*score, "--cues", "manifold_ranking", "--images", "4", "--json", str(scores), "--plot", str(plot)]) == 0
    )
    assert plot.stat().st_size > 10_000
    table = json.loads(scores.read_text())["scores"]
    assert set(table) >= {"centre Gaussian", "Otsu", "manifold_ranking", "network"}
    assert table["network"]["mae"] < table["centre Gaussian"]["mae"]
    assert "max F" in capsys.readouterr().out
    sheet = tmp_path / "sheet.png"
    assert main(["saliency", "show", str(data), "--workers", "1", "--images", "2", "--out", str(sheet)]) == 0
    assert sheet.stat().st_size > 10_000
    masks = ["saliency", "show", str(tmp_path / "masked"), "--cues", "none", "--truth", "saliency", "--images", "2"]
    assert main([*masks, "--out", str(sheet)]) == 0
    assert Image.open(sheet).width < 400  # two columns
    assert main([*score, "--cues", "none", "--images", "2"]) == 0
    for wrong, message in (
        (["--truth", "typo"], "no column 'typo'"),
        (["--images", "0"], "images must be at least 1"),
    ):
        assert main([*score, *wrong]) == 2
        assert message in capsys.readouterr().err


@pytest.mark.parametrize("height, width", [(20, 400), (400, 20), (60, 90)])
def test_pictures_keep_their_shape_in_the_sheet(tmp_path, height, width):
    red = np.full((height, width, 3), [255, 0, 0], np.uint8)
    sheet = np.asarray(Image.open(draw_saliency([{"image": red}], tmp_path / "sheet.png")))
    rows, columns = np.nonzero((sheet == [255, 0, 0]).all(axis=2))
    shown = (np.ptp(rows) + 1) / (np.ptp(columns) + 1)
    assert shown == pytest.approx(height / width, rel=0.07)  # whole pixels: 7.5 are 8


def test_the_thinnest_picture_is_a_line_in_the_sheet(tmp_path):
    red = np.full((1, 1000, 3), [255, 0, 0], np.uint8)
    sheet = np.asarray(Image.open(draw_saliency([{"image": red}], tmp_path / "sheet.png")))
    rows, columns = np.nonzero((sheet == [255, 0, 0]).all(axis=2))
    assert (np.ptp(rows), np.ptp(columns)) == (0, 149)


def test_cues_are_written_by_the_command(tmp_path, capsys):
    data = dataset(tmp_path / "data", count=3, broken=False)
    words = ["saliency", "cues", str(data), str(tmp_path / "out"), "--cues", "manifold_ranking", "--workers", "1"]
    assert main(words) == 0
    assert "3 images: 0 broken, 0 without any foreground" in capsys.readouterr().out
    assert load_dataset(str(tmp_path / "out"), split="train")[2]["saliency"].mode == "L"
    assert main(["saliency", "cues", str(data), str(tmp_path / "again"), "--workers", "1"]) == 2
    assert "has a column 'robust_background' already" in capsys.readouterr().err


def test_recipes_and_their_mistakes(capsys):
    args = parse(["--config", "imagenette_cpu", "--encoder", "x", "--image_size", "64"])
    assert (args.image_size, args.encoder, args.max_images) == (64, "x", None)
    assert parse(["--config", "imagenet", "--encoder", "x"]).final_beta_squared == 4.0
    assert set(args.cues) == set(CUES)
    swapped = parse(["--config=imagenet", "--encoder", "x", "--cues", "markov_chain", "dense_sparse"])
    assert swapped.thresholds == [0.31, 0.23] and swapped.max_images == 2500
    everything = parse(["--config", "imagenet", "--encoder", "x", "--max-images", "null"])
    assert everything.max_images is None
    assert not parse(["--config", "imagenet", "--encoder", "x", "--no_crf"]).crf
    for words, message in (
        (["--cues", "a", "b"], "no usual threshold of 'a'"),
        (["--thresholds", "0.3"], "4 cues have 1 thresholds"),
        (["--cues", "markov_chain", "markov_chain"], "name one twice"),
        (["--image_size", "0"], "image_size must be at least 1, got 0"),
        (["--average", "1"], r"average must lie in \[0, 1\), got 1"),
        (["--final_lr", "-1"], "final_lr must be positive"),
        (["--average", "0.7", "--refine_epochs", "1"], "never exceeds 0.5"),
        (["--iteration", "2"], "unknown field 'iteration' on the command line; did you mean 'iterations'"),
    ):
        with pytest.raises(ValueError, match=message):
            parse(["--config", "imagenet", "--encoder", "x", *words])
    assert main(["saliency", "train", "--config", "no_such_file"]) == 2


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("image_size: 9.5", "image_size must be an integer, got 9.5"),
        ("iterations: true", "iterations must be an integer, got True"),
        ("final_lr: [1]", r"final_lr must be a number, got \[1\]"),
        ("crf: 3", "crf must be true or false, got 3"),
        ("cues: markov_chain", "cues must be a list, one value for each cue, got 'markov_chain'"),
        ("thresholds: [a]", "thresholds must be a list"),
        ("train_split: 3", "train_split must be text, got 3"),
        ("imagesize: 3", "unknown field 'imagesize' in .*; did you mean 'image_size'"),
        ("- 1", "is not a mapping"),
        ("no_crf: true", "unknown field 'no_crf' in"),
        ("a: [", "is not YAML"),
    ],
)
def test_values_of_a_file_are_checked(tmp_path, capsys, line, message):
    path = tmp_path / "run.yaml"
    path.write_text(line)
    words = ["--config", str(path), "--dataset_name", "a", "--encoder", "b", "--output_dir", "c"]
    assert main(["saliency", "train", *words]) == 2
    assert re.search(message, capsys.readouterr().err)


KILLED = """
import os, sys
from mscn_hf.cli import main
from mscn_hf.training import train_saliency

mark = train_saliency.mark_complete

def stop(checkpoint, facts):
    if checkpoint.name == "checkpoint-60":
        os.kill(os.getpid(), 9)  # half-way through writing it
    mark(checkpoint, facts)

train_saliency.mark_complete = stop
main(sys.argv[1:])
"""


def test_a_killed_run_goes_on_as_if_nothing_had_been(tmp_path, encoder):
    data = dataset(tmp_path / "data", broken=False)
    small = [*SMALL, "--cues", "markov_chain", "--thresholds", "0.31", "--refine_epochs", "1", "--final_epochs", "40"]
    words = ["saliency", "train", "--dataset_name", str(data), "--encoder", str(encoder), *small]
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert main([*words, "--output_dir", str(whole)]) == 0
    done = subprocess.run([sys.executable, "-c", KILLED, *words, "--output_dir", str(killed)], capture_output=True)
    assert done.returncode == -9, done.stderr[-2000:]
    steps = {path.name for path in (killed / "rounds" / "final").glob("checkpoint-*")}
    assert steps == {"checkpoint-54", "checkpoint-60"} and not (killed / "network").exists()
    (killed / "rounds" / "final" / "checkpoint-60" / "trainer_state.json").unlink()
    assert main([*words, "--output_dir", str(killed)]) == 0
    one, other = (SaliencyNetwork.from_pretrained(out / "network").state_dict() for out in (whole, killed))
    assert all(torch.equal(one[name], other[name]) for name in one)
    last = [json.loads((out / "log.jsonl").read_text().splitlines()[-1]) for out in (whole, killed)]
    assert [entry["step"] for entry in last] == [120, 120] and not (killed / "rounds" / "final").exists()


def test_a_round_that_finds_nothing_is_told(tmp_path, encoder):
    words = ["--dataset_name", str(dataset(tmp_path / "data", count=4, broken=False)), "--encoder", str(encoder)]
    words += [*SMALL, "--cues", "markov_chain", "--thresholds", "0.31", "--output_dir", str(tmp_path / "run")]
    with pytest.raises(ValueError, match=r"round markov_chain-1 made maps that are not finite|found no foreground"):
        train(parse([*words, "--refine_lr", "1e30"]))
    assert not list((tmp_path / "run" / "refined").glob("*.f16"))


@pytest.mark.parametrize("lift", [0.0, 1.0])
def test_a_round_that_takes_everything_is_told(tmp_path, encoder, caplog, lift):
    words = ["--dataset_name", str(dataset(tmp_path / "data", broken=False, lift=lift)), "--encoder", str(encoder)]
    words += [*SMALL, "--cues", "markov_chain", "--thresholds", "0.31", "--output_dir", str(tmp_path / "run")]
    train(parse([*words, "--refine_epochs", "8", "--final_epochs", "1"]))
    entries = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    (share,) = (entry["foreground"] for entry in entries if "foreground" in entry)
    refined = np.fromfile(tmp_path / "run" / "refined" / "markov_chain-1.f16", np.float16)
    assert share == pytest.approx((refined > 0.5).mean())
    assert (share > 0.8) == ("% of the images for foreground" in caplog.text) == bool(lift)


def test_another_encoder_in_the_same_folder_is_noticed(tmp_path, encoder):
    data = dataset(tmp_path / "data", count=4, broken=False)
    words = ["--dataset_name", str(data), "--encoder", str(encoder), "--output_dir", str(tmp_path / "run")]
    small = [*SMALL, "--iterations", "0", "--final_epochs", "1"]
    assert main(["saliency", "train", *words, *small]) == 0
    torch.manual_seed(1)
    MSCNModel(MSCNModel.from_pretrained(encoder).config).save_pretrained(encoder)
    with pytest.raises(ValueError, match="another weights of the encoder"):
        train(parse([*words, *small]))


def test_a_folder_that_holds_something_else_is_left_alone(tmp_path, encoder):
    data = dataset(tmp_path / "data", count=4, broken=False)
    (tmp_path / "run" / "network").mkdir(parents=True)
    words = ["--dataset_name", str(data), "--encoder", str(encoder), *SMALL]
    for folder in (tmp_path / "run", data):
        before = sorted(folder.rglob("*"))
        with pytest.raises(ValueError, match="is not empty and holds no run of this command"):
            train(parse([*words, "--output_dir", str(folder)]))
        assert sorted(folder.rglob("*")) == before


def test_columns_and_devices_that_cannot_be_used(tmp_path, encoder, capsys):
    ((rgb, _),) = composites(1)
    (tmp_path / "data").mkdir()
    rows = [{"image": {"bytes": to_png(rgb), "path": None}, "label": 3}]
    features = Features({"image": ImageFeature(), "label": Value("int64")})
    Dataset.from_list(rows, features=features).to_parquet(tmp_path / "data" / "train-00000-of-00001.parquet")
    data, out = str(tmp_path / "data"), ["--out", str(tmp_path / "show.png")]
    assert main(["saliency", "show", data, "--cues", "none", "--truth", "label", *out]) == 2
    assert "column 'label' holds no images but Value" in capsys.readouterr().err
    words = ["--dataset_name", data, "--cues", "label", "--thresholds", "0.3", "--output_dir", str(tmp_path / "run")]
    assert main(["saliency", "train", *words, "--encoder", "none"]) == 2
    assert "column 'label' holds no images but Value" in capsys.readouterr().err
    SaliencyNetwork.from_encoder(str(encoder), 8, 48).save_pretrained(tmp_path / "network")
    words = ["--network", str(tmp_path / "network"), "--device", "abacus"]
    assert main(["saliency", "predict", data, str(tmp_path / "masks"), *words]) == 2
    assert "--device abacus: no such device can be used here" in capsys.readouterr().err


def test_each_label_stays_with_its_image(tmp_path):
    data = dataset(tmp_path / "data", count=7, broken=False)
    rows = Dataset.from_parquet(str(data / "train-00000-of-00001.parquet")).cast_column(
        "image", ImageFeature(decode=False)
    )
    rows = list(rows.cast_column("markov_chain", ImageFeature(decode=False)))
    rows[2]["image"]["bytes"] = b"no image"
    rows[4]["markov_chain"] = None
    Dataset.from_list(rows, features=Features(dict.fromkeys(rows[0], ImageFeature()))).to_parquet(
        data / "train-00000-of-00001.parquet"
    )
    names = ["robust_background", "markov_chain"]
    source = open_source(str(data), all_columns=True)
    labels = read_label_sets(source, names, 30, tmp_path / "labels", None, 0)
    assert (len(labels), labels.skipped) == (5, 2)
    whole = [pair for number, pair in enumerate(composites(7)) if number not in (2, 4)]
    for item, (rgb, truth) in zip(labels, whole, strict=True):
        image = np.asarray(Image.fromarray(rgb).resize((30, 30), Image.Resampling.BILINEAR))
        np.testing.assert_array_equal(item["images"].permute(1, 2, 0), image)
        expected = np.asarray(
            Image.fromarray(truth.astype(np.uint8) * 255).resize((30, 30), Image.Resampling.BILINEAR)
        )
        for target in item["targets"]:
            assert np.corrcoef(target.ravel(), expected.ravel())[0, 1] > 0.9


def test_label_sets_hold_what_the_dataset_holds(tmp_path):
    source = open_source(str(dataset(tmp_path / "data")), all_columns=True)
    labels = read_label_sets(source, ["robust_background"], 40, tmp_path / "labels", None, 0)
    assert len(labels) == 12 and labels[0]["images"].shape == (3, 40, 40)
    assert labels[0]["targets"].shape == (1, 40, 40) and float(labels[0]["targets"].max()) <= 1
    fewer = read_label_sets(source, ["robust_background"], 40, tmp_path / "labels", 5, 0)
    assert len(fewer) == 5
    with pytest.raises(ValueError, match="no column 'dense_sparse'; make the cues' maps first"):
        read_label_sets(source, ["dense_sparse"], 40, tmp_path / "labels", None, 0)
