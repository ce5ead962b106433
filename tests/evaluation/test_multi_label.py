# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
import io
import tarfile

import numpy as np
import pytest
from datasets import ClassLabel, List, Value
from small_data import ListSource, noisy_images, write_parquet

from mscn_hf.data.source import open_source
from mscn_hf.evaluation.features import extract, load_encoder
from mscn_hf.evaluation.multi_label import match_targets, multi_hot, targets_of
from mscn_hf.evaluation.probe import ExtractOptions, evaluate_encoder
from mscn_hf.evaluation.probes.knn import KNNSettings


@pytest.mark.parametrize(
    ("labels", "names", "targets", "found"),
    [
        ([[2, 0], [], [2]], None, [[1, 1], [0, 0], [0, 1]], ["0", "2"]),
        ([[2, 0], [], [2]], ["a", "b", "c"], [[1, 0, 1], [0, 0, 0], [0, 0, 1]], ["a", "b", "c"]),
        ([["dog"], ["cat", "dog"]], None, [[0, 1], [1, 1]], ["cat", "dog"]),
        ([[1, 0, 0], [-1, 1, 1]], ["a", "b", "c"], [[1, 0, 0], [-1, 1, 1]], ["a", "b", "c"]),
        ([[0.0, 0.0], [1.0, 0.0]], None, [[0, 0], [1, 0]], ["0", "1"]),
        ([[1, 0], [0, 1]], None, [[1, 0], [0, 1]], ["0", "1"]),  # as where other rows repeat a number
        ([[0, 1], [0, 1]], ["a", "b", "c"], [[1, 1, 0], [1, 1, 0]], ["a", "b", "c"]),
        ([[0], [1], [1]], None, [[1, 0], [0, 1], [0, 1]], ["0", "1"]),  # lists of one class, not vectors of one
        (
            [
                {"classes": [3, 1, 3], "difficult": [True, False, False], "bbox": [[0], [1], [2]]},
                {"classes": [1], "difficult": [True], "bbox": [[0]]},
            ],
            None,
            [[1, 1], [-1, 0]],
            ["1", "3"],
        ),
        ([[{"category": "car"}, {"category": "bus"}], []], None, [[1, 1], [0, 0]], ["bus", "car"]),
    ],
)
def test_all_forms_of_label_lists(labels, names, targets, found):
    got, got_names = multi_hot(labels, names)
    assert (got.tolist(), got_names, got.dtype) == (targets, found, np.int8)


@pytest.mark.parametrize(
    ("labels", "names", "message"),
    [
        ([[0], 1], None, "one class an image everywhere, or a list everywhere"),
        ([[0], None], None, "1 of 2 labels are no lists"),
        ([[0], ["a"]], None, "mix text and numbers"),
        ([[5]], ["a"], "label 5 is beyond the 1 names"),
        ([[0.5]], None, "whole numbers"),
        ([{"bbox": [1]}], None, "classes under one of"),
        ([[0, 1], [0, 1]], None, r"every label is \[0, 1\]: classes 0 and 1, or class 1 alone"),
        ([[0, 0, 1]], ["a"], "vectors of 3 classes do not fit the 1 names"),
    ],
)
def test_label_lists_that_cannot_be_used(labels, names, message):
    with pytest.raises(ValueError, match=message):
        multi_hot(labels, names)


def test_classes_of_train_and_their_order_in_other_splits():
    targets, names = targets_of(np.array([[0, 1, -1], [0, 0, 1]], dtype=np.int8), ["a", "b", "c"], "train")
    assert (targets.tolist(), names) == ([[1, -1], [0, 1]], ["b", "c"])
    with pytest.warns(UserWarning, match=r"\['x'\]"):
        matched, absent = match_targets(names, np.array([[1, 1, -1], [0, 0, 1]], dtype=np.int8), ["x", "c", "b"], "t")
    assert (matched.tolist(), absent) == ([[-1, 1], [1, 0]], ["x"])
    with pytest.raises(ValueError, match="no image of train holds any class"):
        targets_of(np.zeros((2, 2), dtype=np.int8), ["a", "b"], "train")
    with pytest.raises(ValueError, match="share no class"):
        match_targets(["a"], np.ones((1, 1), dtype=np.int8), ["z"], "test")


def test_lists_of_named_classes_go_through_parquet_and_the_cache(tmp_path):
    images = noisy_images(5, 0)[0]
    labels = [[0, 2], [], [1], [2], [0]]
    path = tmp_path / "set" / "data" / "train-00000-of-00001.parquet"
    write_parquet(path, images, labels, label_type=List(ClassLabel(names=["a", "b", "c"])))
    source = open_source(str(tmp_path / "set"))
    encoder = load_encoder("pixels")
    for _ in range(2):  # made, then read
        features = extract(encoder, source, tmp_path / "cache", progress=False, multi_label=True)
        assert features.label_names == ["a", "b", "c"]
        assert features.labels.tolist() == [[1, 0, 1], [0, 0, 0], [0, 1, 0], [0, 0, 1], [1, 0, 0]]
    with pytest.raises(ValueError, match="this takes one class an image"):  # from the cache
        extract(encoder, source, tmp_path / "cache", progress=False)
    with pytest.raises(ValueError, match=r"has the label \[0, 2\]; this protocol takes one class an image"):
        extract(encoder, source, tmp_path / "other", progress=False)


def test_vectors_as_arrays_and_objects_of_detection_sets(tmp_path):
    images = noisy_images(3, 0)[0]
    vectors = [np.array(row) for row in ([0, 1, 0], [0, 0, 0], [1, 1, 0])]
    found = extract(load_encoder("pixels"), ListSource(images, vectors), tmp_path, progress=False, multi_label=True)
    assert found.labels.tolist() == [[0, 1, 0], [0, 0, 0], [1, 1, 0]]
    path = tmp_path / "set" / "data" / "train-00000-of-00001.parquet"
    objects = [{"category": ["b", "a"], "difficult": [False, True]}, {"category": [], "difficult": []}] * 2
    kind = {"category": List(Value("string")), "difficult": List(Value("bool"))}
    write_parquet(path, [*images, images[0]], objects, label_type=kind)
    source = open_source(str(tmp_path / "set"), label_column="label")
    found = extract(load_encoder("pixels"), source, tmp_path, progress=False, multi_label=True)
    assert (found.labels.tolist(), found.label_names) == ([[-1, 1], [0, 0]] * 2, ["a", "b"])


def test_protocols_of_one_class_refuse_lists(tmp_path):
    images = noisy_images(30, 0)[0]
    splits = [ListSource(images, [[0, 1]] * 30, split=split) for split in ("train", "test")]
    with pytest.raises(ValueError, match="one class an image"):
        evaluate_encoder(
            load_encoder("pixels"), *splits, "knn", KNNSettings(), options=ExtractOptions(tmp_path, progress=False)
        )


def test_vectors_of_a_webdataset(tmp_path):
    images, vectors = noisy_images(4, 0)[0], [[1, 0, 0, 1], [0, 0, 0, 0], [0, 1, 0, 1], [1, 1, 0, 0]]
    (tmp_path / "set" / "train").mkdir(parents=True)
    with tarfile.open(tmp_path / "set" / "train" / "0.tar", "w") as tar:
        for number, (image, vector) in enumerate(zip(images, vectors, strict=True)):
            array = io.BytesIO()
            np.save(array, np.array(vector))
            for suffix, data in (("png", image), ("npy", array.getvalue())):
                entry = tarfile.TarInfo(f"s{number:07d}.{suffix}")
                entry.size = len(data)
                tar.addfile(entry, io.BytesIO(data))
    source = open_source(str(tmp_path / "set"), image_column="png", label_column="npy")
    found = extract(load_encoder("pixels"), source, tmp_path / "cache", progress=False, multi_label=True)
    assert found.labels.tolist() == vectors
    assert found.label_names == ["0", "1", "2", "3"]
