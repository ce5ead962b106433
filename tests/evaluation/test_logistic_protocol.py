# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
import random

import numpy as np
import pytest
from small_data import ListSource, noisy_images

from mscn_hf.evaluation.features import load_encoder
from mscn_hf.evaluation.probe import ExtractOptions, evaluate_encoder
from mscn_hf.evaluation.probes import regression
from mscn_hf.evaluation.probes.linear import LinearSettings
from mscn_hf.evaluation.probes.regression import LogisticSettings

FAST = LogisticSettings(metrics=["top1_accuracy"], count=5, weakest=1e-2, strongest=1e3)


@pytest.fixture
def score(tmp_path):
    """Scores pixels of rows in memory, each split readable once."""

    def run(train, test, validation=None, settings=FAST, **fields):
        options = ExtractOptions(tmp_path / str(random.random()), progress=False)
        return evaluate_encoder(
            load_encoder("pixels"), train, test, "transfer", settings, validation=validation, options=options, **fields
        )

    return run


def source(count, seed, split="train", labels=None, **fields):
    images, true = noisy_images(count, seed)
    return ListSource(images, true if labels is None else labels, split=split, once=True, **fields)


def test_validation_chooses_and_joins_the_refit(score):
    splits = source(60, 1), source(80, 2, "test"), source(40, 3, "validation")
    (top1,) = score(*splits)
    assert top1.value > 0.7 and top1.interval[0] <= top1.value <= top1.interval[1]
    assert "on the validation split 'validation' (40 images); fitted again on train and validation" in top1.selection
    assert [split.times_read for split in splits] == [1, 1, 1]
    assert len(top1.settings["trials"]) == 5 and top1.settings["num_validation"] == 40
    assert top1.settings["choice"]["held_out_top1_accuracy"] == max(
        trial["held_out_top1_accuracy"] for trial in top1.settings["trials"]
    )
    # What the refit sees is the classes' mean colour more exactly: other validation labels, other classifier.
    mixed = source(40, 3, "validation", labels=random.Random(1).sample(noisy_images(40, 3)[1], 40))
    (other,) = score(source(60, 1), source(80, 2, "test"), mixed)
    assert other.settings["choice"]["held_out_top1_accuracy"] < top1.settings["choice"]["held_out_top1_accuracy"]


def test_the_linear_probe_too_chooses_on_the_validation_split(score):
    splits = source(60, 1), source(80, 2, "test"), source(40, 3, "validation")
    (top1,) = score(*splits, settings=LinearSettings(metrics=["top1_accuracy"], weight_decays=[0.1, 1e-3], epochs=5))
    assert "on the validation split 'validation' (40 images); fitted again on train and validation" in top1.selection
    assert [split.times_read for split in splits] == [1, 1, 1]
    strange = source(40, 3, "validation", labels=["another class", *noisy_images(40, 3)[1][1:]])
    with pytest.raises(ValueError, match="mixes text"):
        score(source(60, 1), source(80, 2, "test"), strange, settings=LinearSettings(metrics=["top1_accuracy"]))


def test_without_validation_a_share_of_train_is_held_out(score):
    (top1,) = score(source(100, 1), source(50, 2, "test"))
    assert "20 % of train held out (20 images, stratified, seed 0); fitted again on all of train" in top1.selection
    settings = FAST.for_dataset(["mean_per_class_accuracy"], held_out=0.5)
    assert settings.metrics == ["top1_accuracy"]  # the protocol's own word counts
    (top1,) = score(source(100, 1), source(50, 2, "test"), settings=settings)
    assert "50 % of train" in top1.selection


def test_what_the_protocol_leaves_to_the_data_set():
    settings = LogisticSettings(metrics="dataset")
    assert settings.for_dataset(["map_11point"]).metrics == ["map_11point"]
    assert LogisticSettings(metrics="dataset", held_out=0.3).for_dataset(["top1_accuracy"], 0.1).held_out == 0.3


def test_shuffled_test_labels_change_nothing_but_the_score(score):
    images, labels = noisy_images(60, 2)
    found = []
    for some in (labels, random.Random(0).sample(labels, 60)):
        (top1,) = score(source(80, 1), ListSource(images, some, split="test", once=True), source(30, 3, "validation"))
        found.append(top1)
    assert found[0].settings["choice"] == found[1].settings["choice"]
    assert found[0].settings["trials"] == found[1].settings["trials"]
    assert found[0].value > found[1].value + 0.2


def test_test_is_read_after_the_fit(score, monkeypatch):
    test, seen = source(40, 2, "test"), []
    fit = regression.fit_path
    monkeypatch.setattr(regression, "fit_path", lambda *a, **k: seen.append(test.times_read) or fit(*a, **k))
    score(source(40, 1), test)
    assert (seen, test.times_read) == ([0], 1)


def test_text_labels_gaps_and_a_class_that_train_lacks(score):
    names = ["red", "green", "blue"]
    words = {seed: [names[label] for label in noisy_images(60, seed)[1]] for seed in (1, 2)}
    test_words = ["never seen" if n < 6 else word for n, word in enumerate(words[2])]
    with pytest.warns(UserWarning, match="'never seen'"):
        (top1,) = score(source(60, 1, labels=words[1]), source(60, 2, "test", labels=test_words))
    assert top1.value <= 0.9 and top1.settings["classes_absent_from_train"] == ["never seen"]
    gaps = {seed: [7 * label + 2 for label in noisy_images(60, seed)[1]] for seed in (1, 2)}
    (top1,) = score(source(60, 1, labels=gaps[1]), source(60, 2, "test", labels=gaps[2]))
    assert top1.value > 0.7 and top1.settings["num_classes"] == 3


def test_labels_that_cannot_be_used(score):
    with pytest.raises(ValueError, match=r"3 of 20 images of list, train have no label"):
        score(source(20, 1, labels=[-1] * 3 + [0, 1] * 8 + [0]), source(20, 2, "test"))
    with pytest.raises(ValueError, match="every class has a single image"):
        score(source(2, 1, labels=[0, 1]), source(2, 2, "test", labels=[0, 1]))
    with pytest.raises(ValueError, match=r"validation has classes that train lacks.*\['9'\]"), pytest.warns():
        score(source(20, 1), source(20, 2, "test"), source(20, 3, "validation", labels=[9] + [0, 1] * 9 + [0]))
    with pytest.raises(ValueError, match="one class an image, which map_11point is not for"):
        score(source(20, 1), source(20, 2, "test"), settings=LogisticSettings(metrics=["map_11point"]))


def test_two_images_and_a_validation_split_are_enough(score):
    train, validation = ListSource(*noisy_images(2, 1)), source(6, 2, "validation", labels=[0, 1] * 3)
    train._rows[0].label, train._rows[1].label = 0, 1
    (top1,) = score(train, source(6, 3, "test", labels=[0, 1] * 3), validation)
    assert top1.num_examples == 6


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"count": 0}, "count must be a positive integer"),
        ({"weakest": 10, "strongest": 1}, "strongest must be at least weakest = 10, got 1"),
        ({"normalization": "l1"}, "normalization must be one of"),
        ({"held_out": 1.0}, r"held_out must be in \(0, 1\)"),
        ({"metrics": ["map"]}, "unknown metric 'map'; did you mean 'map_11point'"),
    ],
)
def test_settings_that_cannot_be(change, message):
    with pytest.raises(ValueError, match=message):
        LogisticSettings(**change)


def colours_in(count, seed):
    """Images with a red, a green and a blue half or none; the lists of what is there."""
    from small_data import png

    random_numbers = np.random.default_rng(seed)
    images, labels = [], []
    for _ in range(count):
        present = [k for k in range(3) if random_numbers.random() < 0.5]
        pixels = random_numbers.normal(60, 25, (12, 12, 3))
        for k in present:
            pixels[:, 4 * k : 4 * k + 4, k] += 60
        images.append(png(np.clip(pixels, 0, 255).astype(np.uint8)))
        labels.append(present)
    return images, labels


def test_several_classes_an_image(score):
    train, test = (ListSource(*colours_in(90, seed), split=s, once=True) for seed, s in ((1, "train"), (2, "test")))
    settings = LogisticSettings(metrics=["map_11point"], count=5, weakest=1e-1, strongest=1e3)
    (result,) = score(train, test, settings=settings)
    assert result.metric == "map_11point" and result.value > 0.9
    assert result.interval[0] <= result.value <= result.interval[1]
    assert "by map_11point on 20 % of train" in result.selection and result.settings["num_classes"] == 3
    as_vectors = []
    for seed, split in ((1, "train"), (2, "test")):
        images, labels = colours_in(90, seed)
        vectors = [[float(k in present) for k in range(3)] for present in labels]
        as_vectors.append(ListSource(images, vectors, split=split))
    (same,) = score(*as_vectors, settings=settings)
    assert same.value == pytest.approx(result.value, abs=1e-9)
    with pytest.raises(ValueError, match="lists of classes, which top1_accuracy is not for"):
        score(*as_vectors)


def test_a_class_that_only_test_holds_has_a_precision_of_zero(score):
    images, labels = colours_in(60, 2)
    settings = LogisticSettings(metrics=["map_11point"], count=3, weakest=1, strongest=100)
    (whole,) = score(ListSource(*colours_in(60, 1)), ListSource(images, labels, split="test"), settings=settings)
    more = [[*row, 5] if n < 3 else row for n, row in enumerate(labels)]
    with pytest.warns(UserWarning, match=r"average precision of 0: \['5'\]"):
        (less,) = score(ListSource(*colours_in(60, 1)), ListSource(images, more, split="test"), settings=settings)
    assert less.value == pytest.approx(whole.value * 3 / 4)
    assert less.settings["classes_absent_from_train"] == ["5"]
