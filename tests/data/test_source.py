# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""One code path opens Parquet, webdataset and image folders; what cannot be opened is said with its value."""

import io
import os
import tarfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import Dataset
from tiny_images import encoded

from mscn_hf.data import BrokenImage, SourceError, decode_image, open_source


@pytest.fixture
def webdataset_folder(tmp_path):
    (tmp_path / "wds").mkdir()
    for shard in range(2):
        with tarfile.open(tmp_path / "wds" / f"train-{shard:03d}.tar", "w") as tar:
            for number in range(5):
                for suffix, data in (("jpg", encoded(shard * 5 + number)), ("cls", str(number % 2).encode())):
                    info = tarfile.TarInfo(f"{shard}{number:04d}.{suffix}")
                    info.size = len(data)
                    tar.addfile(info, io.BytesIO(data))
    return str(tmp_path / "wds")


@pytest.fixture
def image_folder(tmp_path):
    for label in ("cat", "dog"):
        (tmp_path / "photos" / "train" / label).mkdir(parents=True)
        for number in range(5):
            (tmp_path / "photos" / "train" / label / f"{number}.jpg").write_bytes(encoded(number))
    return str(tmp_path / "photos")


def test_parquet_tells_rows_chunks_and_labels_without_reading(parquet_folder):
    source = open_source(parquet_folder(40, shards=2))
    assert source.num_rows == 40
    assert len(source.chunks) == 4  # a row group is a chunk
    assert source.label_names == ["a", "b", "c", "d"]
    rows = list(source.rows())
    assert [row.label for row in rows] == [n // 10 for n in range(40)]
    assert rows[3].id == "0/3/3.png"
    assert decode_image(rows[7].read())[0, 0].tolist() == [7, 0, 90]
    assert len({row.id for row in rows}) == 40


def test_webdataset_and_image_folder_give_the_same_kind_of_rows(webdataset_folder, image_folder):
    tars = open_source(webdataset_folder)
    assert tars.num_rows is None
    assert tars.count_rows() == 10
    assert {row.label for row in tars.rows()} == {0, 1}
    folder = open_source(image_folder)
    assert folder.count_rows() == 10
    assert folder.label_names == ["cat", "dog"]
    row = next(folder.rows())
    assert row.data is None  # a path, read when it is decoded
    assert decode_image(row.read()).shape == (8, 12, 3)


def test_a_row_cannot_name_a_file_outside_of_its_dataset(tmp_path):
    secret = tmp_path / "secret.jpg"
    secret.write_bytes(encoded(1))
    (tmp_path / "set").mkdir()
    kind = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    rows = [{"bytes": None, "path": path} for path in (str(secret), "/dev/zero", "../secret.jpg")]
    pq.write_table(pa.table({"image": pa.array(rows, kind)}), tmp_path / "set" / "a.parquet")
    for row in open_source(str(tmp_path / "set")).rows():
        with pytest.raises(BrokenImage, match="is not a file of this dataset"):
            row.read()


def test_reading_changes_no_count(webdataset_folder):
    source = open_source(webdataset_folder)
    assert len(list(source.rows())) == 10
    assert source.num_rows is None


def test_fingerprint_does_not_depend_on_the_place(parquet_folder, tmp_path):
    one = parquet_folder(20)
    fingerprint = open_source(one).fingerprint
    os.rename(one, tmp_path / "moved")
    assert open_source(str(tmp_path / "moved")).fingerprint == fingerprint


def test_a_column_without_images_is_refused(parquet_folder):
    with pytest.raises(SourceError, match="column 'label' holds no images but ClassLabel"):
        open_source(parquet_folder(20), image_column="label")


def test_a_single_file(parquet_folder):
    folder = parquet_folder(20)
    assert open_source(f"{folder}/data/train-00000-of-00001.parquet").num_rows == 20


def test_files_written_again_are_told_apart(parquet_folder):
    folder = parquet_folder(4)
    before = open_source(folder)
    file = next(Path(folder).rglob("*.parquet"))
    os.utime(file, ns=(1, 1))
    after = open_source(folder)
    assert before.fingerprint == after.fingerprint, "a run may go on"
    assert before.modified != after.modified


def test_fingerprint_follows_the_content(parquet_folder):
    one, other = parquet_folder(20, name="one"), parquet_folder(21, name="other")
    assert open_source(one).fingerprint == open_source(one).fingerprint
    assert open_source(one).fingerprint != open_source(other).fingerprint


def test_unlabelled_data_is_fine_until_labels_are_asked_for(tmp_path):
    Dataset.from_list([{"image": {"bytes": encoded(1), "path": None}}] * 3).to_parquet(str(tmp_path / "x.parquet"))
    source = open_source(str(tmp_path / "x.parquet"))
    assert source.label_column is None
    assert source.label_names is None


def test_clear_errors(parquet_folder, tmp_path):
    folder = parquet_folder(20)
    with pytest.raises(SourceError, match="there is no file or folder '/no/such/place'"):
        open_source("/no/such/place")
    with pytest.raises(SourceError, match=r"has no split 'test'; it has \['train'\]"):
        open_source(folder, split="test")
    with pytest.raises(SourceError, match=r"has no column 'picture'; its columns are \['image', 'label'\]"):
        open_source(folder, image_column="picture")
    with pytest.raises(SourceError, match="has no label column 'class'"):
        open_source(folder, label_column="class")
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError, match="holds no images"):
        open_source(str(tmp_path / "empty"))
    Dataset.from_dict({"image": [], "label": []}).to_parquet(str(tmp_path / "none.parquet"))
    with pytest.raises(SourceError, match="holds not one row"):
        open_source(str(tmp_path / "none.parquet"))
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(SourceError, match=r"must be \.parquet or \.tar, not '.txt'"):
        open_source(str(tmp_path / "notes.txt"))
    Dataset.from_dict({"text": ["a"]}).to_parquet(str(tmp_path / "text.parquet"))
    with pytest.raises(SourceError, match=r"give image_column; its columns are \['text'\]"):
        open_source(str(tmp_path / "text.parquet"))


def test_embedded_photographs_keep_train_and_test_areas_apart(monkeypatch, tmp_path):
    monkeypatch.setenv("MSCN_HF_CACHE", str(tmp_path))
    train, test = open_source("embedded"), open_source("embedded", split="test")
    assert (train.num_rows, test.num_rows) == (6000, 2000)
    assert train.label_names == test.label_names
    assert len(set(train.label_names)) == 9
    assert decode_image(next(train.rows()).read()).shape == (56, 56, 3)
    again = open_source("embedded")
    assert again.fingerprint == train.fingerprint
