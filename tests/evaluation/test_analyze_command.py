# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""`mscn-hf analyze` as a whole, its gallery, its filters and its crops."""

import json
import re

import numpy as np
import pytest
import torch
from PIL import Image
from small_data import ListSource, noisy_images, png, write_parquet

from mscn_hf.cli import main
from mscn_hf.data.source import open_source
from mscn_hf.evaluation.analysis.crops import cropped_encoder
from mscn_hf.evaluation.analysis.filters import blank_share, draw_filters, first_convolution
from mscn_hf.evaluation.analysis.gallery import RIGHT, WRONG, GalleryTile, draw_gallery, draw_queries, read_images
from mscn_hf.evaluation.analysis.study import StudyOptions, study_encoder
from mscn_hf.evaluation.loading import load_encoder
from mscn_hf.evaluation.task import ExtractOptions


def analyze(*words):
    return main(["analyze", *(str(word) for word in words), "--num_workers", "0", "--device", "cpu"])


def test_page_with_pictures_and_numbers(image_folder, tiny_model, tmp_path, capsys):
    out = tmp_path / "page"
    common = ["--dataset", image_folder, "--cache_dir", tmp_path / "cache", "--out", out]
    assert analyze("--model", tiny_model, "pixels", *common) == 0
    assert str(out / "index.md") in capsys.readouterr().out
    page = (out / "index.md").read_text()
    pictures = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", page)
    assert len(pictures) == 2 + 4 + 3  # together; the network; pixels have no first layer
    for picture in pictures:
        assert np.asarray(Image.open(out / picture).convert("RGB")).std() > 5, picture
    record = json.loads((out / "analysis.json").read_text())
    first, second = record["models"]
    assert first["model_revision"] == load_encoder(str(tiny_model)).weights_hash
    assert (first["images"]["train"], first["images"]["test"]) == (89, 60)
    measures = second["measures"]
    assert measures["class_concentration"] > 1.05 and measures["neighbours_of_own_class"] > 0.6  # colour tells
    assert 0 < measures["alignment"] < 2 and measures["uniformity"] < 0 and measures["rankme"] > 1
    assert "no convolution" in second["notes"][0]
    assert record["environment"]["packages"]["torch"] and "mscn-hf analyze" in record["command"]


def test_without_labels_the_rest_is_still_made(tmp_path):
    for split, count in (("train", 12), ("test", 9)):
        images, _ = noisy_images(count, seed=count)
        write_parquet(tmp_path / "d" / "data" / f"{split}-00000-of-00001.parquet", images, None)
    out = tmp_path / "page"
    words = ["--model", "pixels", "--dataset", tmp_path / "d", "--cache_dir", tmp_path / "c", "--out", out]
    assert analyze(*words, "--neighbours", "3") == 0
    (model,) = json.loads((out / "analysis.json").read_text())["models"]
    assert "class_concentration" not in model["measures"] and model["measures"]["rankme"] > 1
    assert any("has no label column" in note for note in model["notes"])
    assert "neighbour gallery" in model["pictures"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["--classes", "purple"], "has no class 'purple'; it has .*'red'"),
        (["--queries", "0"], "--queries must be positive, got 0"),
        (["--test_split", "validation"], "no split 'validation'"),
        (
            ["--max_test_images", "6", "--neighbours", "9", "--queries", "1"],
            r"\d images of the chosen classes are too few",
        ),
    ],
)
def test_bad_input(change, message, image_folder, tmp_path, capsys):
    words = ["--model", "pixels", "--dataset", image_folder, "--cache_dir", tmp_path / "c", "--out", tmp_path / "o"]
    status = analyze(*words, *change)
    said = capsys.readouterr().err if status else (tmp_path / "o" / "index.md").read_text()
    assert re.search(message, said), said


def test_images_of_several_classes(tmp_path):
    images, labels = noisy_images(16, seed=3)
    lists = [[label, (label + 1) % 3] for label in labels]
    train, test = (ListSource(images, lists, split=s, label_names=["a", "b", "c"]) for s in ("train", "test"))
    options = StudyOptions(ExtractOptions(tmp_path / "cache", progress=False), neighbours=2, queries=2)
    study = study_encoder(load_encoder("pixels"), train, test, tmp_path, "1_x", options)
    assert any("several labels an image" in note for note in study.notes) and study.ratios is None
    assert study.numbers["uniformity"] < 0 and "neighbour gallery" in study.pictures


def test_crops_hang_on_the_image_alone():
    encoder = load_encoder("pixels")
    random = np.random.default_rng(0)
    images = [Image.fromarray(random.integers(0, 255, (40, 52, 3), dtype=np.uint8)) for _ in range(4)]
    first, second = (cropped_encoder(encoder, view) for view in (0, 1))
    together = first.preprocess(images)
    alone = torch.cat([first.preprocess([image]) for image in reversed(images)]).flip(0)
    assert torch.equal(together, alone)
    assert not torch.equal(together, second.preprocess(images))
    assert first.weights_hash == encoder.weights_hash and first.identity() != encoder.identity()
    sides = {first.preprocess.crop(image).size for image in images}
    assert all(width == height <= 52 for width, height in sides)
    with pytest.raises(ValueError, match="view must lie in"):
        cropped_encoder(encoder, 64)


def test_first_layer_and_its_picture(tiny_model, tmp_path):
    name, weight = first_convolution(load_encoder(str(tiny_model)).model)
    assert name == "embedder.embedder.convolution" and weight.shape == (8, 3, 7, 7)
    assert first_convolution(load_encoder("pixels").model) is None
    kernels = torch.zeros(4, 3, 2, 2)
    kernels[1] = 1.0
    kernels[2, 0] = -1.0
    kernels[3] = 0.01
    assert blank_share(kernels) == 0.5
    pixels = np.asarray(Image.open(draw_filters(kernels, tmp_path / "f.png")))
    colours = {tuple(pixel) for pixel in pixels.reshape(-1, 3).tolist()}
    # White and cyan, mid-grey and nearly mid-grey on one scale, and the paper.
    assert colours == {(255, 255, 255), (0, 128, 128), (128, 128, 128), (129, 129, 129), (252, 252, 252)}
    with pytest.raises(ValueError, match="NaN"):
        draw_filters(kernels * float("nan"), tmp_path / "n.png")


def test_queries_are_spread_over_classes():
    class_M = np.array([0] * 50 + [1] * 3 + [2] * 3)
    chosen = draw_queries(class_M, 6, len(class_M), seed=0)
    assert sorted(class_M[chosen].tolist()) == [0, 0, 1, 1, 2, 2]
    assert (chosen == draw_queries(class_M, 6, len(class_M), seed=0)).all()
    assert set(chosen) != set(draw_queries(class_M, 6, len(class_M), seed=1))
    assert len(draw_queries(None, 99, 5, seed=0)) == 5


def test_only_pieces_with_a_wanted_row_are_read(tmp_path, monkeypatch):
    images = [png(np.full((8, 8, 3), 20 * n, dtype=np.uint8)) for n in range(9)]
    for shard in range(3):
        path = tmp_path / "data" / f"train-0000{shard}-of-00003.parquet"
        write_parquet(path, images[3 * shard : 3 * shard + 3], [0] * 3)
    source = open_source(str(tmp_path))
    read = []
    chunks, whole = source.read_chunk, ListSource(images, [0] * 9)
    monkeypatch.setattr(source, "read_chunk", lambda index: read.append(index) or chunks(index))
    for one in (source, whole):
        found = read_images(one, [7, 1, 7])
        assert {position: image.getpixel((0, 0)) for position, image in found.items()} == {1: (20,) * 3, 7: (140,) * 3}
    assert read == [0, 2]


def test_gallery_frames_right_and_wrong(tmp_path):
    grey = Image.new("RGB", (30, 20), (90, 90, 90))
    tiles = [GalleryTile(grey, "a very long name of a class that has no room", right) for right in (True, False, None)]
    pixels = np.asarray(Image.open(draw_gallery([(GalleryTile(grey), tiles)], tmp_path / "g.png", "title")))
    found = {colour: int((pixels == colour).all(axis=2).sum()) for colour in (RIGHT, WRONG)}
    assert found[RIGHT] == found[WRONG] > 1000
    with pytest.raises(ValueError, match="at least one query"):
        draw_gallery([], tmp_path / "none.png", "title")
