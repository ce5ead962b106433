# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
import argparse

import pytest
import yaml
from datasets import ClassLabel, List
from small_data import noisy_images, write_parquet

from mscn_hf.data.source import open_source
from mscn_hf.evaluation.command import add_arguments, run
from mscn_hf.evaluation.dataset_file import DatasetFile, find_dataset, load_dataset_file
from mscn_hf.evaluation.protocols import load_protocol
from mscn_hf.evaluation.results import read_results
from mscn_hf.evaluation.row_share import divide_rows
from mscn_hf.resources import list_resources

PAPERS = "food101 cifar10 cifar100 birdsnap sun397 cars aircraft voc2007 dtd pets caltech101 flowers".split()


@pytest.fixture
def three_splits(tmp_path):
    for split, count, seed in (("train", 60, 1), ("valid", 30, 2), ("eval", 40, 3)):
        images, labels = noisy_images(count, seed)
        write_parquet(tmp_path / "colours" / "data" / f"{split}-00000-of-00001.parquet", images, labels)
    return tmp_path / "colours"


def write(path, **fields):
    path.write_text(yaml.safe_dump(fields))
    return path


def evaluate(*words):
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return run(parser.parse_args([str(word) for word in words] + ["--num_workers", "0", "--device", "cpu"]))


def test_every_description_that_ships_loads():
    names = list_resources("datasets")
    assert {*PAPERS, "places205", "inaturalist2018", "imagenet-1k", "imagenette"} <= set(names)
    described = {name: load_dataset_file(name) for name in names}
    per_class = {name for name, d in described.items() if d.metrics == ["mean_per_class_accuracy"]}
    assert per_class == {"aircraft", "pets", "caltech101", "flowers"}
    assert described["voc2007"].metrics == ["map_11point"]
    assert all(d.note for d in described.values())
    assert described["birdsnap"].follows_papers == "no" and described["dtd"].follows_papers == "yes"
    papers = load_protocol("transfer")[1].papers
    assert all(described[row["dataset"]].metrics == [row["metric"]] for row in papers)


def test_own_set_by_one_file_chooses_on_its_validation_split(three_splits, tmp_path, capsys):
    fields = {"train": "train", "validation": "valid", "test": "eval", "metrics": ["mean_per_class_accuracy"]}
    path = write(tmp_path / "mine.yaml", dataset="colours", follows_papers=False, note="by hand", **fields)
    protocol = write(tmp_path / "p.yaml", kind="logistic", count=3, weakest=0.1, strongest=100.0, metrics="dataset")
    common = ["--model", "pixels", "--cache_dir", tmp_path / "cache", "--out", tmp_path / "r.jsonl"]
    assert evaluate(protocol, "--dataset", path, *common) == 0, capsys.readouterr().err
    assert evaluate(protocol, "--dataset", path, *common, "--validation_split", "eval", "--test_split", "valid") == 0
    first, second = read_results(tmp_path / "r.jsonl")
    assert (first.metric, first.split, first.num_examples) == ("mean_per_class_accuracy", "eval", 40)
    assert "on the validation split 'valid' (30 images)" in first.selection
    assert first.settings["dataset_file"] == "mine" and first.settings["follows_papers"] == "no"
    assert (second.split, second.num_examples) == ("valid", 30) and "'eval' (40 images)" in second.selection


def test_a_share_for_choices_and_a_share_for_test(tmp_path):
    images, labels = noisy_images(200, 1)
    write_parquet(tmp_path / "one" / "data" / "train-00000-of-00001.parquet", images, labels)
    path = write(tmp_path / "one.yaml", dataset="one", validation=0.3, test=0.25)
    described = load_dataset_file(str(path))
    assert described.held_out == 0.3 and described.open("validation") is None
    train, test = described.open("train"), described.open("test")
    assert (train.split, test.split) == ("train[75%]", "train[25%]") and train.fingerprint != test.fingerprint
    protocol = write(tmp_path / "p.yaml", kind="logistic", count=3, weakest=0.1, strongest=100.0, metrics="dataset")
    common = ["--model", "pixels", "--cache_dir", tmp_path / "cache", "--out", tmp_path / "r.jsonl"]
    assert evaluate(protocol, "--dataset", path, *common) == 0
    (result,) = read_results(tmp_path / "r.jsonl")
    assert "30 % of train held out" in result.selection and result.split == "train[25%]"
    assert result.num_examples + result.settings["num_train"] == 200 and 35 <= result.num_examples <= 65


def test_the_two_sides_of_a_division_are_disjoint_whole_and_fixed(tmp_path):
    images, labels = noisy_images(80, 1)
    for number in range(2):
        name = f"train-0000{number}-of-00002.parquet"
        write_parquet(tmp_path / "d" / "data" / name, images[40 * number :][:40], labels[40 * number :][:40])
    source = open_source(str(tmp_path / "d"))
    inside, outside = divide_rows(source, 0.25)
    assert inside.num_rows is None
    ids = [[row.id for row in side.rows()] for side in (inside, outside, source)]
    assert sorted(ids[0] + ids[1]) == sorted(ids[2]) and not set(ids[0]) & set(ids[1])
    assert inside.count_rows() == len(ids[0]) and 10 <= len(ids[0]) <= 30
    again, _ = divide_rows(open_source(str(tmp_path / "d")), 0.25)
    assert [row.id for row in again.rows()] == ids[0]
    assert [row.data for row in again.rows()] == [
        images[int(i.split("/")[0]) * 40 + int(n)] for i, n in _places(inside)
    ]
    with pytest.raises(ValueError, match=r"must lie in \(0, 1\)"):
        divide_rows(source, 1.0)


def _places(side):
    """Chunk and number within it, counted over the whole split, of each row of a side."""
    kept = {row.data for row in side.rows()}
    for chunk in side.chunks:
        whole = super(type(side), side).read_chunk(chunk.index)
        yield from ((f"{chunk.index}", number) for number, row in enumerate(whole) if row.data in kept)


def test_what_a_name_means(tmp_path, monkeypatch):
    assert find_dataset("dtd").dataset == "mcimpoi/dtd_split_1"
    assert find_dataset("org/data") == DatasetFile("org/data")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dtd").mkdir()
    assert find_dataset("dtd") == DatasetFile("dtd")  # a folder of one's own goes first
    monkeypatch.setenv("MY_COPY", str(tmp_path))
    path = write(tmp_path / "own.yaml", dataset="$MY_COPY/dtd")
    assert find_dataset(str(path)).dataset == f"{tmp_path}/dtd"
    monkeypatch.delenv("PLACES205", raising=False)
    with pytest.raises(ValueError, match=r"looked for in '\$PLACES205': set that variable"):
        find_dataset("places205").open("train")
    with pytest.raises(FileNotFoundError, match=r"no file 'nowhere\.yaml'"):
        find_dataset("nowhere.yaml")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "with `dataset` among them"),
        ({"dataset": "x", "splitt": 1}, "unknown key 'splitt'"),
        ({"dataset": "x", "test": "train"}, "train and test are both 'train'"),
        ({"dataset": "x", "validation": "test"}, "choices may not see the test split"),
        ({"dataset": "x", "validation": 1.5}, r"validation must be a split's name, or a share of train in \(0, 1\)"),
        ({"dataset": "x", "test": None}, "test must be a split's name"),
        ({"dataset": "x", "metrics": ["accuracy"]}, "unknown metric 'accuracy'"),
        ({"dataset": "x", "follows_papers": "maybe"}, "follows_papers must be one of"),
    ],
)
def test_descriptions_that_cannot_be(fields, message, tmp_path):
    path = write(tmp_path / "bad.yaml", **fields)
    with pytest.raises(ValueError, match=f"bad.yaml: .*{message}"):
        load_dataset_file(str(path))


def test_one_split_in_two_roles_is_refused(three_splits, tmp_path, capsys):
    words = ["--model", "pixels", "--dataset", three_splits, "--out", tmp_path / "r.jsonl", "--test_split", "eval"]
    assert evaluate("knn", *words, "--validation_split", "eval") == 2
    assert "choices may not see the test split" in capsys.readouterr().err
    assert evaluate("knn", *words, "--train_split", "eval") == 2
    assert "a score on train says nothing" in capsys.readouterr().err
    assert not (tmp_path / "r.jsonl").exists()


def test_several_classes_an_image_through_the_command(tmp_path):
    for split, seed in (("train", 1), ("test", 2)):
        images, labels = noisy_images(60, seed)
        lists = [[label] if n % 3 else [label, (label + 1) % 3] for n, label in enumerate(labels)]
        kind = List(ClassLabel(names=["red", "green", "blue"]))
        write_parquet(tmp_path / "d" / "data" / f"{split}-00000-of-00001.parquet", images, lists, label_type=kind)
    path = write(tmp_path / "several.yaml", dataset="d", metrics=["map_11point"])
    protocol = write(tmp_path / "p.yaml", kind="logistic", count=3, weakest=1.0, strongest=100.0, metrics="dataset")
    common = ["--model", "pixels", "--dataset", path, "--cache_dir", tmp_path / "c", "--out", tmp_path / "r.jsonl"]
    assert evaluate(protocol, *common) == 0
    (result,) = read_results(tmp_path / "r.jsonl")
    assert result.metric == "map_11point" and 0.5 < result.value <= 1
    assert evaluate("knn", *common) == 2
    # A folder says no metric: its kind of labels does.
    assert evaluate(protocol, *common[:2], "--dataset", tmp_path / "d", *common[4:]) == 0
    assert read_results(tmp_path / "r.jsonl")[-1].metric == "map_11point"
