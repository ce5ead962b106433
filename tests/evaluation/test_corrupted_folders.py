# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""ImageNet-C's own files: every folder scored as it would be by itself, and what is wrong with a copy of them."""

import io
import itertools
import shutil

import numpy as np
import pytest
from PIL import Image
from small_data import COLOURS, png
from test_robustness import LINEAR, NAMES, evaluate, pixels, splits

from mscn_hf.evaluation.comparable import changed_settings
from mscn_hf.evaluation.features import extract
from mscn_hf.evaluation.probes.linear import LinearSettings, fit_linear_probe
from mscn_hf.evaluation.protocols import load_protocol
from mscn_hf.evaluation.published import compare_with_papers
from mscn_hf.evaluation.robustness import corrupted
from mscn_hf.evaluation.robustness.corrupted import RobustnessSettings
from mscn_hf.evaluation.robustness.corruptions import CORRUPTIONS, SEVERITIES

FOLDERS = list(itertools.product(CORRUPTIONS, SEVERITIES))


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """All 75 folders with the same nine names; the pictures differ from folder to folder."""
    root = tmp_path_factory.mktemp("imagenet-c")
    random = np.random.default_rng(0)
    for name, severity in FOLDERS:
        for number in range(9):
            label = number % 3
            path = root / name / str(severity) / NAMES[label] / f"ILSVRC2012_val_{number:08}.JPEG"
            path.parent.mkdir(parents=True, exist_ok=True)
            noise = random.normal(0, 60 + 20 * severity, (20, 20, 3)) + random.normal(0, 30 * severity, 3)
            pixels = np.clip(COLOURS[label] + noise, 0, 255).astype(np.uint8)
            Image.open(io.BytesIO(png(pixels))).save(path, "JPEG", quality=85)
    (root / "LICENSE").write_text("of the benchmark")
    return root


@pytest.fixture
def copy(files, tmp_path):
    return shutil.copytree(files, tmp_path / "mine")


def settings_of(root, **fields):
    return RobustnessSettings(files=str(root), linear=LINEAR, **{"metrics": ["top1_accuracy"], **fields})


def test_scores_are_those_of_each_folder_by_itself(files, tmp_path, monkeypatch):
    def made(*args):
        raise AssertionError("a copy was made")

    monkeypatch.setattr(corrupted, "CorruptedCopies", made)
    errors = {name: 0.7 + 0.01 * number for number, name in enumerate(CORRUPTIONS)}
    baseline = {"name": "some network", "num_classes": 3, "errors": errors}
    train, test = splits()
    settings = settings_of(files, baseline=baseline, metrics=["top1_accuracy", "mean_corruption_error"])
    results = evaluate(settings, None, tmp_path, (train, test), batch_size=4)
    assert (train.times_read, test.times_read) == (1, 0)

    train.once = False
    encoder = pixels()
    bank = extract(encoder, train, tmp_path, progress=False)
    probe = fit_linear_probe(bank.features, bank.labels, 3, LinearSettings(**LINEAR))
    accuracy = {}
    for name, severity in FOLDERS:
        paths = sorted((files / name / str(severity)).glob("*/*.JPEG"))
        images = encoder.preprocess([Image.open(path).convert("RGB") for path in paths])
        answers = [NAMES[int(k)] for k in probe.scores(encoder.features(images)).argmax(1)]
        accuracy[name, severity] = np.mean([a == path.parent.name for a, path in zip(answers, paths)])
    assert 0.4 < np.mean(list(accuracy.values())) < 0.95 and len(set(accuracy.values())) > 3

    scores = {(r.protocol, r.metric): r for r in results}
    whole = scores["robust", "top1_accuracy"]
    assert whole.value == pytest.approx(np.mean(list(accuracy.values())))
    for name in CORRUPTIONS:
        alone = [accuracy[name, severity] for severity in SEVERITIES]
        assert whole.settings["top1_accuracy_by_severity"][name] == pytest.approx(alone)
        assert scores[f"robust {name}", "top1_accuracy"].value == pytest.approx(np.mean(alone))
    mce = np.mean([sum(1 - accuracy[name, s] for s in SEVERITIES) / (5 * errors[name]) for name in errors])
    assert whole.settings["mean_corruption_error"] == pytest.approx(mce)
    assert scores["robust", "mean_corruption_error"].value == pytest.approx(mce)
    assert (whole.dataset, whole.split, whole.num_examples) == (str(files), "75 folders", 9)
    assert whole.settings["clean_top1_accuracy"] is None and whole.settings["crop"] is None


def test_an_image_that_one_folder_holds_damaged_is_left_out_of_all(copy, tmp_path):
    some = {"corruptions": ["fog", "snow"], "severities": [1, 5]}
    intact = evaluate(settings_of(copy, **some), None, tmp_path)
    path = copy / "snow" / "5" / NAMES[1] / "ILSVRC2012_val_00000004.JPEG"
    path.write_bytes(path.read_bytes()[:50])
    results = evaluate(settings_of(copy, **some), None, tmp_path)
    assert (intact[0].num_examples, intact[0].settings["skipped_test"]) == (9, 0)
    assert (results[0].num_examples, results[0].settings["skipped_test"]) == (8, 1)
    few = evaluate(settings_of(copy, **some), None, tmp_path, max_test_images=5)
    assert few[0].num_examples + few[0].settings["skipped_test"] == 5


def test_a_copy_of_the_files_that_is_not_whole(copy, tmp_path):
    def said():
        with pytest.raises(ValueError) as error:
            evaluate(settings_of(copy), None, tmp_path)
        return str(error.value)

    renamed = copy / "fog" / "2" / NAMES[0] / "ILSVRC2012_val_00000003.JPEG"
    renamed.rename(renamed.with_name("other.JPEG"))
    assert "'fog/2' holds 'red/ILSVRC2012_val_00000006.JPEG' in place of 'red/ILSVRC2012_val_00000003.JPEG'" in said()
    renamed.with_name("other.JPEG").unlink()
    assert "'fog/2' holds 8 images, 'gaussian_noise/1' 9; every folder must hold the same ones" in said()
    shutil.rmtree(copy / "snow" / "4")
    (copy / "snow" / "4").mkdir()
    shutil.rmtree(copy / "fog")
    assert "lacks 5 of 75 folders, the first is 'fog/1'; expected is FOLDER/<corruption>/<severity>/" in said()
    with pytest.raises(ValueError, match="'snow/4' holds no image"):
        evaluate(settings_of(copy, corruptions=["snow"]), None, tmp_path)
    with pytest.raises(ValueError, match=r"there is no folder '\./nowhere'"):
        evaluate(settings_of("./nowhere"), None, tmp_path)
    with pytest.raises(ValueError, match="files must be null or a folder"):
        settings_of(" ")


def test_files_that_change_are_told_apart(copy):
    before = settings_of(copy).inputs()
    assert settings_of(copy).inputs() == before and RobustnessSettings().inputs() == []
    path = copy / "fog" / "3" / NAMES[0] / "ILSVRC2012_val_00000000.JPEG"
    path.write_bytes(path.read_bytes() + b"\0")
    assert settings_of(copy).inputs() != before


def test_the_protocol_that_ships(files, tmp_path, monkeypatch):
    protocol = load_protocol("imagenet-c")[1]
    assert protocol.baseline == load_protocol("robustness-c")[1].baseline
    monkeypatch.delenv("IMAGENET_C", raising=False)
    with pytest.raises(ValueError, match=r"'\$IMAGENET_C': set that variable"):
        protocol.inputs()
    (tmp_path / "imagenet-c").symlink_to(files)
    monkeypatch.setenv("IMAGENET_C", str(tmp_path / "imagenet-c"))
    results = evaluate(load_protocol("imagenet-c")[1], None, tmp_path)
    assert results[0].dataset == str(tmp_path / "imagenet-c")
    assert changed_settings(results[0], protocol) == []
    results[0].protocol = "imagenet-c"
    (found,) = compare_with_papers(results[:1])
    assert found.own[0].departures == [] and {row["value"] for row in found.published} >= {44.8, 40.9}
