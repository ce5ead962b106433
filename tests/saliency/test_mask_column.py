# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""A dataset written again with masks: every row and column kept, resumed shard by shard, read by pre-training."""

import io
import json
import os
import shutil

import numpy as np
import pytest
from datasets import ClassLabel, Dataset, Features, List, Value, load_dataset
from datasets import Image as ImageFeature
from PIL import Image

from mscn_hf.data import BrokenImage, CanvasCollate, Sample, open_source
from mscn_hf.data import source as source_module
from mscn_hf.data.decode import UnreadableFile, decode_mask
from mscn_hf.saliency.column import write_masks
from mscn_hf.saliency.shards import to_png
from mscn_hf.views.background import FOREGROUND


class LeftHalf:
    """A masker whose foreground is the left half; of dark images nothing."""

    columns = ("saliency", "cue")

    def __init__(self, level=255):
        self.level = level
        self.seen = 0

    @property
    def settings(self):
        return {"level": self.level}

    def __call__(self, images):
        self.seen += len(images)
        masks = []
        for image in images:
            mask = np.zeros(image.shape[:2], dtype=np.uint8)
            mask[:, : image.shape[1] // 2] = self.level if image.max() > 50 else 0
            masks.append({"saliency": mask, "cue": mask // 2})
        return masks


def png(level, size=(12, 8)):
    out = io.BytesIO()
    Image.new("RGB", size, (level,) * 3).save(out, "PNG")
    return out.getvalue()


@pytest.fixture
def folder(tmp_path):
    """Ten images, of which number 3 is broken and number 5 is dark, in two row groups of a file."""
    rows = [
        {
            "image": {"bytes": png(100 + i, (12 + i, 8)), "path": f"{i}.png"},
            "label": i % 3,
            "note": f"n{i}",
            "x": i / 2,
        }
        for i in range(10)
    ]
    rows[3]["image"]["bytes"] = b"not an image"
    rows[5]["image"]["bytes"] = png(10)
    features = Features(
        {
            "image": ImageFeature(decode=False),
            "label": ClassLabel(names=list("abc")),
            "note": Value("string"),
            "x": Value("float64"),
        }
    )
    path = tmp_path / "images"
    path.mkdir()
    table = Dataset.from_list(rows, features=features).cast_column("image", ImageFeature())
    table.to_parquet(path / "train-00000-of-00001.parquet", batch_size=5)
    return path


def opened(folder, **options):
    return open_source(str(folder), all_columns=True, **options)


def test_every_row_and_column_is_kept(folder, tmp_path):
    counts = write_masks(opened(folder), LeftHalf(), tmp_path / "out", rows_per_shard=4, progress=False)
    assert (counts.images, counts.broken, counts.empty, counts.small) == (10, 1, 1, 0)
    assert counts.foreground == pytest.approx(8 * 0.5, abs=0.2)
    before = load_dataset("parquet", data_files=str(folder / "*.parquet"), split="train")
    after = load_dataset(str(tmp_path / "out"), split="train")
    assert after.features == Features({**before.features, "saliency": ImageFeature(), "cue": ImageFeature()})
    plain = [data.cast_column("image", ImageFeature(decode=False)) for data in (before, after)]
    for one, other in zip(*plain, strict=True):
        assert one["image"]["bytes"] == other["image"]["bytes"] and one["image"]["path"] == other["image"]["path"]
        assert [one[name] for name in ("label", "note", "x")] == [other[name] for name in ("label", "note", "x")]
    assert plain[1][3]["saliency"] is None and plain[1][3]["cue"] is None
    mask = np.asarray(plain[1][0]["saliency"])
    assert mask.shape == (8, 12) and mask[:, :6].min() == 255 and mask[:, 6:].max() == 0
    assert "| `train` | 10 | 1 | 1 | 0 (under 5 %) |" in (tmp_path / "out" / "README.md").read_text()


def test_pre_training_reads_the_masks(folder, tmp_path):
    write_masks(opened(folder), LeftHalf(), tmp_path / "out", progress=False)
    source = open_source(str(tmp_path / "out"), mask_column="saliency")
    batch = CanvasCollate(16, with_masks=True)([Sample(row, i, 0) for i, row in enumerate(source.rows())])
    share = batch["foreground_share"].numpy()
    assert share[0] == pytest.approx(0.5) and share[5] == 0
    assert [name for name, _ in batch["broken"]] == ["0/3/3.png"]


def test_a_stopped_run_goes_on_with_the_shards_that_are_missing(folder, tmp_path):
    out = tmp_path / "out"
    write_masks(opened(folder), LeftHalf(), out, rows_per_shard=2, progress=False)
    shards = sorted((out / "data").iterdir())
    assert len(shards) == 5  # across the two row groups
    whole = [path.read_bytes() for path in shards]
    os.remove(shards[1])
    shards[4].with_name(".half.part").write_bytes(b"PAR1")
    masker = LeftHalf()
    counts = write_masks(opened(folder), masker, out, rows_per_shard=2, progress=False)
    assert masker.seen == 1 and counts.images == 10  # rows 2 and 3, of which 3 is broken
    assert load_dataset(str(out), split="train")["note"][:] == [f"n{i}" for i in range(10)]
    assert [path.read_bytes() for path in shards] == whole


def test_masks_of_another_kind_are_not_mixed_in(folder, tmp_path):
    write_masks(opened(folder), LeftHalf(), tmp_path / "out", progress=False)
    with pytest.raises(ValueError, match="made with another level"):
        write_masks(opened(folder), LeftHalf(200), tmp_path / "out", progress=False)
    with pytest.raises(ValueError, match="another max_images"):
        write_masks(opened(folder), LeftHalf(), tmp_path / "out", max_images=3, progress=False)


def test_a_column_that_is_there_is_not_overwritten(folder, tmp_path):
    write_masks(opened(folder), LeftHalf(), tmp_path / "out", progress=False)
    with pytest.raises(ValueError, match="has a column 'saliency' already"):
        write_masks(opened(tmp_path / "out"), LeftHalf(), tmp_path / "again", progress=False)


def test_only_the_first_images(folder, tmp_path):
    counts = write_masks(opened(folder), LeftHalf(), tmp_path / "out", max_images=7, rows_per_shard=3, progress=False)
    assert counts.images == 7
    assert load_dataset(str(tmp_path / "out"), split="train")["note"][:] == [f"n{i}" for i in range(7)]


def test_two_splits_share_a_folder(folder, tmp_path):
    (folder / "test-00000-of-00001.parquet").write_bytes((folder / "train-00000-of-00001.parquet").read_bytes())
    for split in ("train", "test"):
        write_masks(opened(folder, split=split), LeftHalf(), tmp_path / "out", progress=False)
    assert set(json.loads((tmp_path / "out" / "saliency.json").read_text())) == {"train", "test"}
    assert {name: len(part) for name, part in load_dataset(str(tmp_path / "out")).items()} == {"train": 10, "test": 10}


def test_images_in_class_folders(tmp_path):
    for label in ("cat", "dog"):
        (tmp_path / "images" / label).mkdir(parents=True)
        for number in range(3):
            (tmp_path / "images" / label / f"{number}.png").write_bytes(png(90 + number))
    counts = write_masks(opened(tmp_path / "images"), LeftHalf(), tmp_path / "out", progress=False)
    after = load_dataset(str(tmp_path / "out"), split="train")
    assert counts.images == len(after) == 6
    assert sorted(set(after["label"])) == [0, 1] and after.features["label"].names == ["cat", "dog"]
    assert after[0]["image"].size == (12, 8)
    assert len(list((tmp_path / "out" / "data").iterdir())) == 1
    write_masks(opened(tmp_path / "images"), LeftHalf(), tmp_path / "small", rows_per_shard=2, progress=False)
    assert len(list((tmp_path / "small" / "data").iterdir())) == 3


def test_empty_cells_and_other_pictures_stay_what_they_are(tmp_path):
    rows = [{"image": {"bytes": png(90), "path": None}, "depth": {"bytes": png(7), "path": "d.png"}} for _ in range(3)]
    rows[1]["image"] = None
    rows[2]["depth"] = None
    (tmp_path / "images").mkdir()
    features = Features({"image": ImageFeature(), "depth": ImageFeature()})
    Dataset.from_list(rows, features=features).to_parquet(tmp_path / "images" / "train-00000-of-00001.parquet")
    counts = write_masks(opened(tmp_path / "images"), LeftHalf(), tmp_path / "out", progress=False)
    after = load_dataset(str(tmp_path / "out"), split="train")
    assert counts.broken == 1 and after[1]["image"] is None and after[1]["saliency"] is None
    assert after[0]["depth"].getpixel((0, 0)) == (7, 7, 7) and after[2]["depth"] is None
    assert after.cast_column("image", ImageFeature(decode=False))[0]["image"]["path"] is None


def test_a_chunk_with_many_shards_is_read_once(folder, tmp_path, monkeypatch):
    source, opened_chunks = opened(folder), []
    plain = source.read_records
    monkeypatch.setattr(source, "read_records", lambda chunk: opened_chunks.append(chunk) or plain(chunk))
    write_masks(source, LeftHalf(), tmp_path / "out", rows_per_shard=1, progress=False)
    assert opened_chunks == [0, 1] and len(list((tmp_path / "out" / "data").iterdir())) == 10
    assert load_dataset(str(tmp_path / "out"), split="train")["note"][:] == [f"n{i}" for i in range(10)]


def test_pictures_that_are_paths_come_along(tmp_path):
    images = tmp_path / "images" / "train"
    images.mkdir(parents=True)
    for number in range(2):
        (images / f"{number}.png").write_bytes(png(90 + number))
        (images / f"mask{number}.png").write_bytes(png(255 * number))
    lines = [json.dumps({"file_name": f"{n}.png", "mask_file_name": f"mask{n}.png"}) for n in range(2)]
    (images / "metadata.jsonl").write_text("\n".join(lines))
    source = opened(tmp_path / "images", image_column="image")
    (_, record), _ = source.read_records(0)
    assert source.read_cell(record, "mask") == png(0) and source.read_cell(record, "nothing") is None
    with pytest.raises(BrokenImage, match="not a file of this dataset"):
        source.read_cell({"mask": {"bytes": None, "path": "/etc/hostname"}}, "mask")
    write_masks(source, LeftHalf(), tmp_path / "out", progress=False)
    shutil.rmtree(tmp_path / "images")
    after = load_dataset(str(tmp_path / "out"), split="train")
    assert [picture.getpixel((0, 0)) for picture in after["mask"]] == [(0, 0, 0), (255, 255, 255)]


def test_the_folder_must_be_its_own(folder, tmp_path):
    with pytest.raises(ValueError, match="is not empty and holds no masks"):
        write_masks(opened(folder), LeftHalf(), folder, progress=False)
    (folder / "README.md").write_text("mine")
    with pytest.raises(ValueError, match="is not empty"):
        write_masks(opened(folder), LeftHalf(), folder, progress=False)
    assert (folder / "README.md").read_text() == "mine"
    for wrong in ({"rows_per_shard": 0}, {"max_images": -3}, {"threshold": 7}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            write_masks(opened(folder), LeftHalf(), tmp_path / "out", progress=False, **wrong)
    assert not (tmp_path / "out").exists()


def test_a_file_that_cannot_be_read_this_time_is_not_called_broken(tmp_path, monkeypatch):
    (tmp_path / "images" / "a").mkdir(parents=True)
    for number in range(3):
        (tmp_path / "images" / "a" / f"{number}.png").write_bytes(png(90 + number))
    source, plain = opened(tmp_path / "images"), source_module.open_file

    def failing(path):
        if path.endswith("1.png"):
            raise OSError(5, "Input/output error")
        return plain(path)

    with monkeypatch.context() as patched:
        patched.setattr(source_module, "open_file", failing)
        with pytest.raises(UnreadableFile, match=r"1\.png' cannot be read \(Input/output error\)"):
            write_masks(source, LeftHalf(), tmp_path / "out", progress=False)
    assert not list((tmp_path / "out" / "data").glob("*.parquet"))
    counts = write_masks(opened(tmp_path / "images"), LeftHalf(), tmp_path / "out", progress=False)
    assert (counts.images, counts.broken) == (3, 0)


def test_shards_that_are_cut_short_are_made_again_and_others_are_not_taken_over(folder, tmp_path):
    out = tmp_path / "out"
    write_masks(opened(folder), LeftHalf(), out, rows_per_shard=4, progress=False)
    first, *_ = sorted((out / "data").glob("*.parquet"))
    whole = first.read_bytes()
    first.write_bytes(whole[:100])
    (out / "data" / ".train-00000-of-00003.parquet.77.part").write_bytes(b"left over")
    write_masks(opened(folder), LeftHalf(), out, rows_per_shard=4, progress=False)
    assert first.read_bytes() == whole and not list((out / "data").glob(".*.part"))
    (out / "saliency.json").write_text("{}")
    with pytest.raises(ValueError, match="holds shards of split 'train' and no note of them"):
        write_masks(opened(folder), LeftHalf(), out, rows_per_shard=4, progress=False)


def test_columns_keep_their_types_and_all_their_parts(tmp_path):
    cell = {"bytes": png(90), "path": "a.png", "width": 12}
    row = {
        "image": cell,
        "views": [{"bytes": png(7), "path": None}],
        "pair": {"other": {"bytes": png(9), "path": None}},
    }
    struct = {"bytes": Value("binary"), "path": Value("string"), "width": Value("int32")}
    features = Features({"image": struct, "views": List(ImageFeature()), "pair": {"other": ImageFeature()}})
    (tmp_path / "images").mkdir()
    Dataset.from_list([row], features=features).to_parquet(tmp_path / "images" / "train-00000-of-00001.parquet")
    write_masks(opened(tmp_path / "images", image_column="image"), LeftHalf(), tmp_path / "out", progress=False)
    after = load_dataset(str(tmp_path / "out"), split="train")
    assert after.features == Features({**features, "saliency": ImageFeature(), "cue": ImageFeature()})
    assert after[0]["image"] == cell and after[0]["views"][0].getpixel((0, 0)) == (7, 7, 7)


@pytest.mark.parametrize("highest", [0, 1, 2, 127, 128, 255])
def test_the_foreground_is_the_same_in_the_file(highest):
    mask_HW = np.zeros((6, 8), dtype=np.uint8)
    mask_HW[2:4, 1:5] = highest
    np.testing.assert_array_equal(decode_mask(to_png(mask_HW)) >= FOREGROUND, mask_HW >= FOREGROUND)
