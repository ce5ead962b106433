# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Where the images of training on augmented images come from, when they do not fit into memory."""

import io
import tarfile

import datasets
import numpy as np
import pyarrow.parquet as pq
import pytest
from small_data import noisy_images
from tuning_runs import run, small_encoder, task_of

from mscn_hf.data import Share, SourceError, open_source
from mscn_hf.evaluation.row_share import divide_rows
from mscn_hf.evaluation.tuning import images, rows
from mscn_hf.evaluation.tuning.augmented_linear import AugmentedLinearSettings
from mscn_hf.evaluation.tuning.images import Pool, read_labels
from mscn_hf.evaluation.tuning.training_set import read_training_set


@pytest.fixture(scope="module")
def tar_folder(tmp_path_factory):
    """A local webdataset of two files with 12 images each, which do not tell their number."""
    folder = tmp_path_factory.mktemp("tars")
    pixels, labels = noisy_images(24, seed=4)
    for shard in range(2):
        with tarfile.open(folder / f"train-{shard:03d}.tar", "w") as tar:
            for number in range(12 * shard, 12 * shard + 12):
                for suffix, data in (("png", pixels[number]), ("cls", str(labels[number]).encode())):
                    info = tarfile.TarInfo(f"{number:04d}.{suffix}")
                    info.size = len(data)
                    tar.addfile(info, io.BytesIO(data))
    return folder


@pytest.fixture(scope="module")
def parquet_folder(image_folder, tmp_path_factory):
    """The train images in two files of several row groups."""
    folder = tmp_path_factory.mktemp("groups")
    table = pq.read_table(next((image_folder / "data").glob("train-*")))
    for number, part in enumerate((table.slice(0, 50), table.slice(50))):
        pq.write_table(part, folder / f"train-{number:05d}-of-00002.parquet", row_group_size=16)
    return folder


def counted(source, monkeypatch):
    """Counts how often a source is read, and its rows."""
    reads = {"times": 0, "rows": 0}
    whole = source.rows

    def read():
        reads["times"] += 1
        for row in whole():
            reads["rows"] += 1
            yield row

    monkeypatch.setattr(source, "rows", read)
    return reads


# ---- on disk


@pytest.mark.parametrize("kind", ["tar_folder", "parquet_folder"])
@pytest.mark.parametrize("side", [None, 0, 1], ids=["whole", "inside", "outside"])
def test_large_local_splits_and_shares_of_them_are_mapped(kind, side, request):
    source = open_source(str(request.getfixturevalue(kind)), label_column="cls" if kind == "tar_folder" else None)
    if side is not None:
        source = divide_rows(source, 0.4)[side]
    column = read_labels(source, None, 0, hold_bytes=0)
    expected = list(source.rows())
    assert len(column.rows) == len(column.place_N) == len(expected) > 3
    assert column.labels == [row.label for row in expected]
    got = [column.rows[int(place)] for place in column.place_N]
    assert [(row.id, row.label, row.read()) for row in got] == [(row.id, row.label, row.read()) for row in expected]
    pool = Pool(source, column.rows, column.place_N, np.arange(len(expected)), {}, True)
    for sample in pool.order(Share(0, batch_size=2)).samples(0):
        assert sample.row.read() == expected[sample.row.label].read()


# ---- labels without images


@pytest.mark.parametrize("files", [".", "train-00001-of-00002.parquet"])
def test_labels_of_parquet_are_read_without_the_images(parquet_folder, files, monkeypatch):
    source = open_source(str(parquet_folder / files), split="train")
    asked, load = [], datasets.load_dataset
    with monkeypatch.context() as patch:
        patch.setattr(source, "read_chunk", lambda index: pytest.fail("whole rows were read"))
        patch.setattr(datasets, "load_dataset", lambda *a, **kw: asked.append(kw["columns"]) or load(*a, **kw))
        labels = source.labels()
    assert asked == [["label"]]
    assert labels == [row.label for row in source.rows()]
    source.chunks[0].rows += 1
    with pytest.raises(SourceError, match=f"{len(labels)} labels for {len(labels) + 1} rows"):
        source.labels()


def test_other_formats_and_shares_keep_labels_and_images_together(tar_folder, parquet_folder):
    assert open_source(str(tar_folder), label_column="cls").labels() is None
    for side in divide_rows(open_source(str(parquet_folder)), 0.4):
        assert side.labels() is None
        side.count_rows()
        assert side.labels() is None


@pytest.mark.parametrize("max_images", [None, 30])
def test_images_that_do_not_fit_are_not_read_for_their_labels(parquet_folder, max_images, monkeypatch):
    source = open_source(str(parquet_folder))
    source.is_local = False
    together = read_labels(source, max_images, seed=3, names=True)
    reads = counted(source, monkeypatch)
    alone = read_labels(source, max_images, seed=3, hold_bytes=0)
    assert reads["rows"] < 15
    assert alone.labels == together.labels
    assert alone.place_N.tolist() == together.place_N.tolist()
    assert (alone.rows, alone.names) == (None, [])
    named = read_labels(source, max_images, seed=3, hold_bytes=0, names=True)
    assert named.names == together.names
    assert len(named.names) == len(alone.labels)


# ---- far away


def test_a_choice_among_remote_rows_is_read_once_for_all_grid_points(parquet_folder, image_folder, monkeypatch):
    settings = AugmentedLinearSettings(
        epochs=1, batch_size=16, learning_rates=[1.0, 10.0], subset_share=0.5, held_out=0.25
    )
    one_by_one = [[point] for point in settings.grid()]
    monkeypatch.setattr(AugmentedLinearSettings, "together", lambda self, points: one_by_one)
    test = open_source(str(image_folder), split="test")
    near = run(small_encoder(), settings, open_source(str(parquet_folder)), test)[0]
    monkeypatch.setattr(images, "HOLD_BYTES", 0)
    source = open_source(str(parquet_folder))
    source.is_local = False
    reads = counted(source, monkeypatch)
    far = run(small_encoder(), settings, source, test)[0]
    assert (far.value, far.selection, far.settings["trials"]) == (near.value, near.selection, near.settings["trials"])
    assert reads["times"] == 2  # the first few rows, by which the set is too large to be held; then the choice


def test_a_remote_choice_too_large_to_be_held_is_refused(parquet_folder, monkeypatch):
    source = open_source(str(parquet_folder))
    source.is_local = False
    monkeypatch.setattr(images, "HOLD_BYTES", 0)
    monkeypatch.setattr(rows, "HOLD_BYTES", 100)
    task = task_of(small_encoder(), source, source)
    pool = read_training_set(AugmentedLinearSettings(subset_share=0.5), task).pool
    with pytest.raises(ValueError, match=r"45 images chosen from .* download it and give its folder"):
        pool.order(Share(0, batch_size=4))


def test_a_whole_remote_split_is_judged_as_a_stream(parquet_folder, monkeypatch):
    source = open_source(str(parquet_folder))
    pool = Pool(source, None, np.arange(90), np.arange(90) - 1, {}, True)
    monkeypatch.setattr(rows.ChosenRows, "read", lambda self: pytest.fail("it was held"))
    seen = list(pool.in_order())
    assert [row.label for row in seen] == list(range(-1, 89))
    assert [row.id for row in seen] == [row.id for row in source.rows()]
