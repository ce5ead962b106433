# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
import dataclasses
import io
import json
import logging
import random

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from small_data import ListSource, noisy_images, png, save_tiny_resnet
from transformers import BitImageProcessor, ResNetConfig, ResNetForImageClassification

from mscn_hf.data.source import open_source
from mscn_hf.evaluation.bootstrap import bootstrap_interval
from mscn_hf.evaluation.encoder import PixelPreprocess, pixel_encoder
from mscn_hf.evaluation.features import load_encoder
from mscn_hf.evaluation.image_classifier import ImageClassifier
from mscn_hf.evaluation.probe import ExtractOptions, evaluate_encoder
from mscn_hf.evaluation.protocols import load_protocol
from mscn_hf.evaluation.robustness.copies import CorruptedCopies, WithoutBorder, middle, without_margin
from mscn_hf.evaluation.robustness.corrupted import RobustnessSettings
from mscn_hf.evaluation.robustness.corruptions import CORRUPTIONS, corrupt
from mscn_hf.evaluation.robustness.interval import mean_interval
from mscn_hf.evaluation.robustness.scoring import classes_ahead
from mscn_hf.evaluation.robustness.zero_shot import ZeroShotSettings

NAMES = ["red", "green", "blue"]
LINEAR = {"solver": "lbfgs", "weight_decays": [0.1, 0.01]}
FEW = {"corruptions": ["brightness", "gaussian_noise", "contrast"], "resize": None, "crop": None, "linear": LINEAR}


def save_classifier(folder, classes=3, names=NAMES, seed=0, side=24):
    torch.manual_seed(seed)
    fields = {"id2label": dict(enumerate(names)), "label2id": {n: i for i, n in enumerate(names)}} if names else {}
    config = ResNetConfig(
        embedding_size=8, hidden_sizes=[8, 12], depths=[1, 1], layer_type="basic", num_labels=classes, **fields
    )
    ResNetForImageClassification(config).save_pretrained(folder)
    BitImageProcessor(size={"shortest_edge": side + 4}, crop_size={"height": side, "width": side}).save_pretrained(
        folder
    )
    return str(folder)


def splits(train=90, test=12, shuffled=False, names=NAMES, **fields):
    images, labels = noisy_images(train, seed=1)
    test_images, test_labels = noisy_images(test, seed=2)
    if shuffled:
        test_labels = random.Random(0).sample(test_labels, len(test_labels))
    return (
        ListSource(images, labels, once=True, label_names=names),
        ListSource(test_images, test_labels, split="test", once=True, label_names=names, **fields),
    )


def pixels(side=4):
    """A baseline small enough that fitting it takes no time."""
    encoder = pixel_encoder()
    return dataclasses.replace(encoder, preprocess=PixelPreprocess(side), preprocessing={"side": side})


def evaluate(settings, encoder=None, tmp_path=None, sources=None, **options):
    train, test = sources or splits()
    encoder = load_encoder(encoder) if isinstance(encoder, str) else encoder or pixels()
    options = ExtractOptions(tmp_path, progress=False, **options)
    return evaluate_encoder(encoder, train, test, "robust", settings, options=options)


def test_classes_ahead_against_sorting():
    random = np.random.default_rng(0)
    scores = random.integers(0, 4, (60, 7)).astype(float)  # many ties
    columns, among = [2, 5], [1, 2, 5, 6]
    for allowed in (None, among):
        left = list(range(7)) if allowed is None else allowed
        expected = []
        for row in scores:
            order = sorted(left, key=lambda c: (-row[c], c))
            expected.append(min(order.index(c) for c in columns))
        assert classes_ahead(torch.from_numpy(scores), columns, allowed).tolist() == expected
    assert classes_ahead(torch.from_numpy(scores), [])[0] == 7
    assert classes_ahead(torch.from_numpy(scores), [0], among)[0] == 4


def test_intervals_of_means():
    random = np.random.default_rng(0)
    right = random.random(400) < 0.7
    ours, theirs = mean_interval(right), bootstrap_interval(right)
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.006)
    for values in (random.integers(0, 76, 300) / 75, random.random(3000)):
        interval = mean_interval(values, seed=1)
        half = 1.96 * values.std() / np.sqrt(len(values))
        assert (interval.low, interval.high) == pytest.approx((values.mean() - half, values.mean() + half), rel=0.02)
    assert "Wilson" in mean_interval(np.ones(5)).method
    with pytest.raises(ValueError, match="finite"):
        mean_interval(np.array([np.nan]))


def test_scores_are_those_of_each_copy_made_alone(tmp_path):
    train, test = splits()
    settings = RobustnessSettings(**FEW, jpeg_quality=None, metrics=["top1_accuracy"])
    results = evaluate(settings, tmp_path=tmp_path, sources=(train, test))
    assert (train.times_read, test.times_read) == (1, 1)
    assert [r.protocol for r in results] == ["robust", *(f"robust {name}" for name in settings.corruptions)]

    from mscn_hf.data.decode import decode_image
    from mscn_hf.evaluation.features import extract
    from mscn_hf.evaluation.probes.linear import LinearSettings, fit_linear_probe

    encoder = pixels()
    train.once = False
    bank = extract(encoder, train, tmp_path, progress=False)
    probe = fit_linear_probe(bank.features, bank.labels, 3, LinearSettings(**LINEAR))
    order = list(CORRUPTIONS)
    for r, name in zip(results[1:], settings.corruptions):
        by_severity = []
        for severity in range(1, 6):
            right = []
            for position, row in enumerate(test._rows):
                copy = corrupt(decode_image(row.read()), name, severity, [0, position, order.index(name), severity])
                scores = probe.scores(encoder.features(encoder.preprocess([Image.fromarray(copy)])))
                right.append(int(scores.argmax()) == row.label)
            by_severity.append(np.mean(right))
        assert r.settings["top1_accuracy_by_severity"][name] == pytest.approx(by_severity)
        assert r.value == pytest.approx(np.mean(by_severity))
    assert results[0].value == pytest.approx(np.mean([r.value for r in results[1:]]))
    assert results[0].interval[0] <= results[0].value <= results[0].interval[1]
    assert results[0].settings["clean_top1_accuracy"] >= results[0].value
    assert "linear head: weight_decay chosen from 2" in results[0].selection and results[0].num_examples == 12


def test_the_choice_never_sees_test_and_draws_do_not_hang_on_the_batch(tmp_path):
    settings = RobustnessSettings(**FEW, metrics=["top1_accuracy"])
    true, other, batched = (
        evaluate(settings, tmp_path=tmp_path / str(n), sources=splits(shuffled=shuffled), batch_size=size)
        for n, (shuffled, size) in enumerate(((False, 64), (True, 64), (False, 7)))
    )
    assert true[0].settings["choice"] == other[0].settings["choice"]
    assert true[0].settings["trials"] == other[0].settings["trials"]
    assert true[0].value > other[0].value
    assert [r.value for r in true] == [r.value for r in batched]


def test_mean_corruption_error_is_relative_to_the_baseline(tmp_path, caplog):
    errors = {"brightness": 0.9, "gaussian_noise": 0.8, "contrast": 0.95}
    baseline = {"name": "some network", "num_classes": 3, "errors": errors}
    results = evaluate(RobustnessSettings(**FEW, baseline=baseline), tmp_path=tmp_path)
    mce = next(r for r in results if r.metric == "mean_corruption_error")
    table = mce.settings["top1_accuracy_by_severity"]
    expected = np.mean([sum(1 - a for a in table[name]) / (5 * errors[name]) for name in errors])  # eq. 1 of the paper
    assert mce.value == pytest.approx(expected) == mce.settings["mean_corruption_error"]
    assert mce.protocol == "robust" and mce.settings["baseline"]["name"] == "some network"

    baseline["num_classes"] = 1000
    results = evaluate(RobustnessSettings(**FEW, baseline=baseline), tmp_path=tmp_path)
    assert {r.metric for r in results} == {"top1_accuracy"}
    assert "no baseline errors for 3 classes" in caplog.text
    # Far worse than the baseline: more than 1, which a Result cannot hold.
    baseline = {**baseline, "num_classes": 3, "errors": dict.fromkeys(errors, 0.01)}
    results = evaluate(RobustnessSettings(**FEW, baseline=baseline), tmp_path=tmp_path)
    assert {r.metric for r in results} == {"top1_accuracy"} and results[0].settings["mean_corruption_error"] > 1


def test_the_models_own_head(tmp_path):
    folder = save_classifier(tmp_path / "model")
    encoder = load_encoder(folder)
    settings = RobustnessSettings(**FEW, head="own", metrics=["top1_accuracy"])
    assert not settings.needs_train and RobustnessSettings().needs_train
    train, test = splits()
    results = evaluate(settings, encoder, tmp_path, (train, test))
    assert train.times_read == 0 and results[0].selection.startswith("none")
    model = ResNetForImageClassification.from_pretrained(folder).eval()
    images = encoder.preprocess([Image.open(io.BytesIO(row.data)).convert("RGB") for row in test._rows])
    with torch.no_grad():
        right = model(images).logits.argmax(1).numpy() == np.array([row.label for row in test._rows])
    assert results[0].settings["clean_top1_accuracy"] == pytest.approx(right.mean())
    assert results[0].settings["head_revision"] != results[0].model_revision == encoder.weights_hash


def test_heads_that_are_not_there(tmp_path, tiny_model):
    own = RobustnessSettings(**FEW, head="own")
    for name, message in (
        ("pixels", "'pixels' has no classification head of its own"),
        (f"random:{tiny_model}", "no classification head of its own"),
        ("timm:test_resnet", "no classification head of its own"),
        (str(tiny_model), r"no trained classification head \(\['classifier"),
    ):
        with pytest.raises(ValueError, match=message):
            evaluate(own, name, tmp_path)
    encoder = load_encoder(save_classifier(tmp_path / "a"))
    save_classifier(tmp_path / "a", seed=1)  # somebody trains on
    with pytest.raises(ValueError, match="another encoder than AutoModel loads"):
        evaluate(own, encoder, tmp_path)


def test_a_timm_head_with_1000_classes(tmp_path):
    torch.manual_seed(0)
    timm.models.save_for_hf(
        timm.create_model("test_resnet", num_classes=1000), tmp_path / "m", safe_serialization=True
    )
    encoder = load_encoder(str(tmp_path / "m"))
    head = encoder.load_classifier()
    assert len(head.names) == 1000 and head.names[0] == "n01440764"
    sources = splits(names=["n01440764", "n01443537", "n01484850"], test=4)
    settings = ZeroShotSettings(head="own")
    results = evaluate(settings, encoder, tmp_path, sources)
    assert [r.metric for r in results] == ["top1_accuracy", "top5_accuracy", "masked_top1_accuracy"]  # of 3, 5 are all
    images = encoder.preprocess([WithoutBorder()(np.asarray(Image.open(p)), 0)[0] for p in _files(sources[1])])
    with torch.no_grad():
        scores = head.model(images)[:, :3]
    right = scores.argmax(1).numpy() == np.array([row.label for row in sources[1]._rows])
    assert results[2].value == pytest.approx(right.mean()) and results[2].settings["num_masked_classes"] == 3


def _files(source):
    return [io.BytesIO(row.data) for row in source._rows]


def test_zero_shot_with_a_head_fitted_elsewhere(tmp_path, image_folder, monkeypatch):
    test = ListSource(*noisy_images(40, seed=5, classes=2), split="test", once=True, label_names=["red", "green"])
    train = ListSource([], [], once=True)
    settings = ZeroShotSettings(
        linear=LINEAR, train_dataset=str(image_folder), metrics=["top1_accuracy", "masked_top1_accuracy"]
    )
    plain, masked = evaluate(settings, None, tmp_path, (train, test))
    assert (train.times_read, test.times_read) == (0, 1)
    assert plain.settings["train_dataset"] == str(image_folder) and plain.settings["num_train"] == 89
    assert 0.6 < plain.value <= masked.value and masked.settings["num_masked_classes"] == 2
    assert masked.settings["mask"] == "the data set's list of classes"


def test_classes_of_the_mask(tmp_path, image_folder):
    path = tmp_path / "two.txt"
    images, labels = noisy_images(30, seed=5, classes=2)
    found = {}
    for how, classes, listed, limit in (
        ("list", str(path), NAMES, None),
        ("occur", None, NAMES, None),  # all three are named, two occur
        ("part", None, NAMES, 10),
        ("named", None, ["red", "green"], 10),
    ):
        path.write_text("green\nred\n")
        test = ListSource(images, labels, split="test", label_names=listed)
        settings = ZeroShotSettings(linear=LINEAR, train_dataset=str(image_folder), classes=classes)
        results = evaluate(settings, None, tmp_path, (test, test), max_test_images=limit)
        found[how] = {r.metric: (r.value, r.settings["num_masked_classes"]) for r in results}
    assert found["list"] == found["occur"] and found["list"]["masked_top1_accuracy"][1] == 2
    assert "masked_top1_accuracy" not in found["part"] and "masked_top1_accuracy" in found["named"]
    path.write_text("green\n")
    with pytest.raises(ValueError, match=r"lacks classes that the test set holds: \['red'\]"):
        evaluate(
            ZeroShotSettings(linear=LINEAR, train_dataset=str(image_folder), classes=str(path)),
            None,
            tmp_path,
            (test, test),
        )


@pytest.mark.parametrize("wanted", [0, 2, 10])
def test_numeric_class_folders_on_disk(wanted, tmp_path):
    for folder, count in (("0", 1), ("2", 2), ("10", 3)):
        (tmp_path / "set" / folder).mkdir(parents=True)
        for number in range(count):
            (tmp_path / "set" / folder / f"{number}.png").write_bytes(noisy_images(1, number)[0][0])
    source = open_source(str(tmp_path / "set"), split="train")
    assert source.label_names == ["0", "10", "2"]  # as text they are out of order

    def answer(images):
        return torch.nn.functional.one_hot(torch.full((len(images),), wanted), 1000).float()

    own = ImageClassifier(torch.nn.Identity(), answer, None)
    encoder = dataclasses.replace(pixels(), load_classifier=lambda: own)
    results = evaluate(ZeroShotSettings(head="own", metrics=["top1_accuracy"]), encoder, tmp_path, (source, source))
    assert results[0].value == pytest.approx({0: 1, 2: 2, 10: 3}[wanted] / 6)


def test_a_class_map_leaves_images_out_and_the_border_is_cut(tmp_path, image_folder):
    path = tmp_path / "map.json"
    path.write_text(json.dumps({"Rouge": "red", "ni l'un ni l'autre": "green; blue"}))
    images, labels = noisy_images(60, seed=5)
    framed = []
    for number, data in enumerate(images):
        frame = np.full((24, 24, 3), (255, 0, 0) if number % 2 else (0, 0, 255), dtype=np.uint8)
        frame[2:-2, 2:-2] = np.asarray(Image.open(io.BytesIO(data)))
        framed.append(png(frame))
    names = ["Rouge", "unmapped", "ni l'un ni l'autre"]
    settings = ZeroShotSettings(linear=LINEAR, train_dataset=str(image_folder), class_map=str(path), border=2)
    found = []
    for pictures, border in ((framed, 2), (images, 0)):
        settings.border = border
        test = ListSource(pictures, labels, split="test", label_names=names)
        (result,) = [r for r in evaluate(settings, None, tmp_path, (test, test)) if r.metric == "top1_accuracy"]
        assert result.num_examples == sum(label != 1 for label in labels)
        assert result.settings["left_out_test"] == sum(label == 1 for label in labels)
        found.append(result.value)
    assert found[0] == found[1] > 0.6


@pytest.mark.parametrize(
    ("labels", "names", "message"),
    [
        ([0, None, 1], NAMES, "has no label"),
        ([0, -1, 1], NAMES, "has no label"),
        ([0, [1], 1], NAMES, "one class"),
        ([0, 7, 1], NAMES, "label 7 of row 1 is beyond the 3 names"),
        ([0, 1, 2], ["red", "green", "mauve"], "is called 'mauve'"),
        (["red", "green", "lilac"], None, "is called 'lilac'"),
    ],
)
def test_labels_that_cannot_be_scored(labels, names, message, tmp_path, image_folder):
    test = ListSource(noisy_images(3, 0)[0], labels, split="test", label_names=names)
    settings = ZeroShotSettings(linear=LINEAR, train_dataset=str(image_folder))
    with pytest.raises(ValueError, match=message):
        evaluate(settings, None, tmp_path, (test, test))


def test_broken_images_are_counted_and_a_class_that_train_lacks_is_wrong(tmp_path, caplog):
    images, _ = noisy_images(12, seed=2)
    images[3] = images[3][:40]
    test = ListSource(images, ["mauve"] * 6 + ["red"] * 6, split="test")
    (train, _), settings = splits(), RobustnessSettings(**FEW, metrics=["top1_accuracy"])
    with caplog.at_level(logging.WARNING):
        results = evaluate(settings, tmp_path=tmp_path, sources=(train, test))
    assert results[0].num_examples == 11 and results[0].settings["skipped_test"] == 1
    assert results[0].settings["classes_absent_from_train"] == ["mauve"] and "'mauve'" in caplog.text
    assert results[0].value <= 6 / 11
    test = ListSource([b"no image"] * 2, [0, 1], split="test", label_names=NAMES)
    with pytest.raises(ValueError, match="not one image to score"):
        evaluate(settings, tmp_path=tmp_path / "2", sources=(splits()[0], test))


def test_pictures_are_cropped_as_the_benchmark_crops_them():
    from torchvision.transforms import CenterCrop, Compose, Resize

    noise = np.random.default_rng(0).integers(0, 256, (61, 90, 3), dtype=np.uint8)
    for picture in (Image.fromarray(noise), Image.fromarray(noise).transpose(Image.Transpose.ROTATE_90)):
        expected = Compose([Resize(64), CenterCrop(48)])(picture)
        assert np.array_equal(np.asarray(middle(picture, 64, 48)), np.asarray(expected))
    long = Image.fromarray(np.tile(noise[:8, :8], (1, 500, 1)))
    assert middle(long, 256, 224).size == (224, 224)
    copies = CorruptedCopies(["fog", "contrast"], [1, 5], 64, 48, 85, seed=0)(noise, 3)
    assert len(copies) == 5 and {copy.size for copy in copies} == {(48, 48)}
    again = CorruptedCopies(["contrast", "fog"], [5], 64, 48, 85, seed=0)(noise, 3)
    assert np.array_equal(np.asarray(copies[2]), np.asarray(again[2]))  # what else is made does not matter


def test_the_preprocessing_takes_cropped_pictures_whole(tmp_path):
    folder = save_classifier(tmp_path / "model", side=24)
    save_tiny_resnet(tmp_path / "whole", image_size=24)
    grey = Image.fromarray(np.random.default_rng(0).integers(0, 256, (24, 24, 3), dtype=np.uint8))
    plain = load_encoder(str(tmp_path / "whole"))
    assert without_margin(plain) == (plain.preprocess, False)
    preprocess, cut = without_margin(load_encoder(folder))
    assert cut
    torch.testing.assert_close(preprocess([grey]), plain.preprocess([grey]), rtol=0, atol=0)
    encoder = load_encoder("timm:resnet10t")
    preprocess, cut = without_margin(encoder)
    side = encoder.preprocess([grey]).shape[-1]
    picture = grey.resize((side, side))
    mean, std = (
        torch.tensor(timm.data.resolve_model_data_config(encoder.model)[key])[:, None, None] for key in ("mean", "std")
    )
    expected = (torch.from_numpy(np.array(picture)).permute(2, 0, 1) / 255 - mean) / std
    assert cut and torch.allclose(preprocess([picture])[0], expected, atol=1e-6)
    assert encoder.preprocess([picture]).shape == preprocess([picture]).shape


def test_protocols_that_ship_load_and_mistakes_are_named(tmp_path):
    for name in ("robustness-c", "imagenet-v2", "imagenet-r", "imagenet-sketch", "imagenet-a", "objectnet"):
        load_protocol(name)
    shipped = load_protocol("robustness-c")[1]
    assert list(shipped.baseline["errors"]) == list(CORRUPTIONS) == shipped.corruptions
    # The published mCE of AlexNet itself is 100 %, with a mean error of 78.9 %.
    assert np.mean(list(shipped.baseline["errors"].values())) == pytest.approx(0.789, abs=5e-4)
    path = tmp_path / "mine.yaml"
    for text, message in (
        ("kind: robustness\ncorruptions: [gausian_noise]", "unknown corruption 'gausian_noise'; did you mean"),
        ("kind: robustness\nseverities: [1, 6]", "severities must be some of 1 to 5"),
        ("kind: robustness\nseverities: [1, 1]", "without repeats"),
        ("kind: robustness\nhead: mine", "head must be one of"),
        ("kind: robustness\nlinear: {solver: lbgs}", "solver must be"),
        ("kind: robustness\nlinear: {weight_decay: [1]}", "unknown key 'weight_decay' of linear; did you mean"),
        ("kind: robustness\ncrop: null", "resize and crop go together"),
        ("kind: robustness\ncrop: 300", "resize must be at least crop"),
        ("kind: robustness\njpeg_quality: 0", "jpeg_quality must be"),
        ("kind: robustness\nbaseline: {name: x}", "baseline needs exactly the keys"),
        ("kind: robustness\nbaseline: {name: x, num_classes: 3, errors: {fog: 0.5}}", "baseline.errors lacks"),
        ("kind: robustness\nmetrics: [mean_per_class_accuracy]", "unknown metric"),
        ("kind: zero_shot\nborder: -1", "border must be 0 or more"),
        ("kind: zero_shot\nfolder_map: x.json", "folder_map needs a class_map"),
        ("kind: zero_shot\nmetrics: [top1]", "unknown metric 'top1'; did you mean"),
    ):
        path.write_text(text)
        with pytest.raises(ValueError, match=f"mine.yaml: .*{message}"):
            load_protocol(str(path))
    with pytest.raises(ValueError, match=r"cannot read 'objectnet_to_imagenet_1k\.json'"):
        evaluate(load_protocol("objectnet")[1], tmp_path=tmp_path)
