# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Protocols that train on augmented images: labels, images and rates that cannot be used."""

import pytest
import torch
from small_data import ListSource, noisy_images
from torch import nn
from tuning_runs import run, small_encoder, sources

from mscn_hf.evaluation.encoder import FrozenEncoder, PixelPreprocess
from mscn_hf.evaluation.tuning import protocol
from mscn_hf.evaluation.tuning.augmented_linear import AugmentedLinearSettings
from mscn_hf.evaluation.tuning.finetune import FinetuneSettings


def test_labels_as_text_with_gaps_and_with_a_class_that_train_lacks():
    train, test = sources()
    plain = run(small_encoder(), AugmentedLinearSettings(epochs=2, batch_size=20), train, test)[0]
    names = {0: "apple", 1: "pear", 2: "plum"}
    for change in (lambda label: names[label], lambda label: 10 * label + 3):
        train, test = sources()
        for row in (*train._rows, *test._rows):
            row.label = change(row.label)
        changed = run(small_encoder(), AugmentedLinearSettings(epochs=2, batch_size=20), train, test)[0]
        assert changed.value == plain.value
    test._rows[0].label = test._rows[1].label = 99
    test.times_read = 0
    with pytest.warns(UserWarning, match="do not occur in train and count as wrong"):
        result = run(small_encoder(), AugmentedLinearSettings(epochs=2, batch_size=20), train, test)[0]
    assert result.settings["classes_absent_from_train"] == ["99"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: setattr(rows[3], "label", None), "1 of 40 images of list, train have no label"),
        (lambda rows: setattr(rows[3], "label", -1), "have no label"),
        (
            lambda rows: setattr(rows[3], "label", [1, 2]),
            r"one class an image \(sets with lists of classes, as VOC2007, .* by the protocol `transfer`",
        ),
        (lambda rows: [setattr(row, "label", 0) for row in rows], "one class only"),
        (lambda rows: [setattr(row, "data", b"x") for row in rows], "not one image of a training batch"),
    ],
)
def test_training_images_that_cannot_be_used_are_told(change, message):
    train, test = sources()
    change(train._rows)
    with pytest.raises(ValueError, match=message):
        run(small_encoder(), AugmentedLinearSettings(epochs=1, batch_size=16), train, test)
    assert test.times_read == 0


def test_broken_images_are_counted_and_sets_of_two_images_are_trained_on_or_told():
    train, test = sources()
    for row in (train._rows[5], test._rows[2], test._rows[9]):
        row.data = row.data[:60]
    (result,) = run(small_encoder(), FinetuneSettings(epochs=2, batch_size=20), train, test)
    assert (result.settings["broken_train"], result.settings["skipped_test"], result.num_examples) == (1, 2, 28)
    images, _ = noisy_images(2, seed=0)
    _, test = sources()
    settings = AugmentedLinearSettings(epochs=1)
    (result,) = run(small_encoder(), settings, ListSource(images, [0, 1]), ListSource(images, [0, 1], split="test"))
    assert result.settings["batch_size_used"] == 2
    settings = AugmentedLinearSettings(epochs=1, learning_rates=[0.1, 1.0])
    with pytest.raises(ValueError, match="every class has a single image"):
        run(small_encoder(), settings, ListSource(images, [0, 1]), test)
    assert test.times_read == 0


def test_a_rate_that_is_too_large_is_told():
    train, test = sources()
    for rates in ([1e36], [1e36, 1e37]):
        settings = AugmentedLinearSettings(epochs=2, batch_size=16, learning_rates=rates, weight_decays=[1e-6])
        with pytest.raises(ValueError, match="diverged"):
            run(small_encoder(), settings, train, test)
    settings = FinetuneSettings(epochs=2, batch_size=16, encoder_learning_rates=[1e36])
    with pytest.raises(ValueError, match=r"diverged|not finite"):
        run(small_encoder(batch_norm=False), settings, train, test)
    assert test.times_read <= 1


def test_a_run_whose_heads_have_all_diverged_is_ended():
    train, test = sources()
    settings = AugmentedLinearSettings(epochs=50, batch_size=16, learning_rates=[1e36], weight_decays=[1e-6])
    with pytest.raises(ValueError, match=r"diverged at .* \(stopped after [24] steps\); lower the learning rates"):
        run(small_encoder(), settings, train, test)


@pytest.mark.parametrize("settings", [AugmentedLinearSettings(), FinetuneSettings()], ids=["linear", "finetune"])
def test_an_encoder_with_a_broken_weight_is_named_before_it_is_trained(settings, monkeypatch):
    train, test = sources()
    encoder = small_encoder()
    encoder.model[0].weight[0, 0, 0, 0] = torch.nan
    monkeypatch.setattr(protocol, "fit_heads", lambda *args: pytest.fail("it was trained"))
    with pytest.raises(ValueError, match="small: the encoder gives features that are not finite"):
        run(encoder, settings, train, test)
    assert test.times_read == 0


class FiniteOnGrey(nn.Module):
    """Gives NaN for images that are not of one colour."""

    def __init__(self):
        super().__init__()
        self.calls = 0

    def forward(self, images):
        self.calls += 1
        flat = images.flatten(1)
        return torch.where(flat.std(dim=1, keepdim=True) > 1e-3, torch.nan, flat)


def test_an_encoder_that_fails_on_photographs_is_named_at_the_first_batch():
    train, test = sources()
    network = FiniteOnGrey()
    encoder = FrozenEncoder("grey", network, network, PixelPreprocess(), "pixels", "grey", {})
    with pytest.raises(ValueError, match=r"grey: .* not finite for 16 of 16 images of a batch"):
        run(encoder, AugmentedLinearSettings(epochs=3, batch_size=16), train, test)
    assert network.calls == 2
