# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Protocols that train on augmented images: how they choose, what they leave alone, what they refuse."""

import pytest
import torch
from small_data import ListSource, noisy_images, save_tiny_resnet
from torch import nn
from tuning_runs import run, small_encoder, sources

from mscn_hf.evaluation.encoder import FrozenEncoder, PixelPreprocess, pixel_encoder, weights_hash
from mscn_hf.evaluation.loading import load_encoder
from mscn_hf.evaluation.tuning.augmented_linear import AugmentedLinearSettings
from mscn_hf.evaluation.tuning.classifier import frozen_heads, trainable_copy
from mscn_hf.evaluation.tuning.finetune import FinetuneSettings


@pytest.mark.parametrize(
    "settings",
    [
        AugmentedLinearSettings(
            epochs=2, batch_size=16, learning_rates=[1e36, 10.0, 1.0], weight_decays=[1e-6], held_out=0.25
        ),
        AugmentedLinearSettings(epochs=2, batch_size=16, learning_rates=[10.0, 1.0], refit=False).for_dataset(
            None, 0.25
        ),
        FinetuneSettings(epochs=1, batch_size=16, encoder_learning_rates=[0.01, 1.0], held_out=0.25),
    ],
    ids=["linear", "linear-no-refit", "finetune"],
)
def test_choices_read_train_only_and_shuffled_test_labels_change_the_score_alone(settings):
    results = []
    for shuffle in (False, True):
        train, test = sources(train=41, test=30)
        if shuffle:
            for row in test._rows:
                row.label = (row.label + 1) % 3
        encoder = small_encoder()
        before = weights_hash(encoder.model)
        results.append(run(encoder, settings, train, test)[0])
        assert test.times_read == 1
        assert weights_hash(encoder.model) == before
    honest, shuffled = results
    assert honest.settings == shuffled.settings
    assert honest.selection == shuffled.selection
    assert honest.value > shuffled.value
    trials, choice = honest.settings["trials"], honest.settings["choice"]
    assert choice["held_out_accuracy"] == max(t["held_out_accuracy"] for t in trials if t["held_out_loss"] is not None)
    assert "25 % of the training images held out" in honest.selection
    assert ("trained again on all 41" in honest.selection) == settings.refit
    if len(trials) == 3:
        assert trials[0]["held_out_loss"] is None


def test_a_validation_split_is_what_the_choice_is_made_on():
    train, test = sources(train=32)
    images, labels = noisy_images(20, seed=5)
    validation = ListSource(images, labels, split="validation")
    settings = AugmentedLinearSettings(epochs=3, batch_size=16, learning_rates=[10.0, 1.0])
    (result,) = run(small_encoder(), settings, train, test, validation=validation)
    assert (
        "chosen from 2 on the validation split 'validation' (20 images); trained again on all 52" in result.selection
    )
    assert (result.settings["num_train"], result.settings["num_fitted"]) == (32, 52)
    # three passes of 52 // 16 steps each
    assert result.settings["steps"] == 9


def test_a_choice_at_the_edge_of_the_grid_is_told(caplog):
    settings = AugmentedLinearSettings(epochs=1, learning_rates=[1.0, 0.3, 0.1], weight_decays=[0.0, 0.1])
    assert settings.edges({"learning_rate": 1.0, "weight_decay": 0.1}) == ["learning_rate"]
    assert settings.edges({"learning_rate": 0.3, "weight_decay": 0.0}) == []
    train, test = sources()
    settings = AugmentedLinearSettings(epochs=1, batch_size=16, learning_rates=[20.0, 1e-6, 1e-7])
    (result,) = run(small_encoder(), settings, train, test)
    if result.settings["choice"]["learning_rate"] == 1e-6:
        pytest.fail("a rate that moves nothing was chosen")
    assert result.settings["choice"]["at_edge_of_grid"] == ["learning_rate"]
    assert "lies at the edge of the grid" in caplog.text


def test_it_learns_and_repeats_itself(tmp_path):
    train, test = sources(train=60, test=60)
    settings = AugmentedLinearSettings(epochs=6, batch_size=20, learning_rates=[10.0])
    encoder = load_encoder(str(save_tiny_resnet(tmp_path / "tiny", seed=11)))
    torch.manual_seed(5)
    state = torch.get_rng_state()
    (first,) = run(encoder, settings, train, test)
    assert torch.equal(state, torch.get_rng_state())
    test.times_read = 0
    (second,) = run(encoder, settings, train, test)
    assert first.value == second.value > 0.6
    assert first.settings == second.settings
    assert first.selection == "none (every setting is fixed by the protocol)"
    assert first.settings["batch_size_used"] == 20
    assert first.settings["canvas_size_used"] == 55


# ---- what the encoder is


def test_a_frozen_encoder_stays_in_eval_mode_and_takes_no_gradient():
    encoder = small_encoder()
    model = frozen_heads(encoder, 3).train()
    assert model.heads.training
    assert not any(module.training for module in encoder.model.modules())
    model(torch.randn(4, 3, 16, 16)).sum().backward()
    assert all(parameter.grad is None for parameter in encoder.model.parameters())
    encoder.assert_frozen()


class Counting(nn.Module):
    """Changes a buffer with every image it sees."""

    def __init__(self):
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.register_buffer("seen", torch.zeros(1))

    def forward(self, images):
        self.seen += len(images)
        return self.pool(images).flatten(1)


def test_an_encoder_that_changes_while_it_is_probed_gives_no_result():
    train, test = sources()
    network = Counting()
    encoder = FrozenEncoder("counting", network, network, PixelPreprocess(), "pooled", "counting", {})
    with pytest.raises(RuntimeError, match="the encoder changed while it was probed"):
        run(encoder, AugmentedLinearSettings(epochs=1, batch_size=16), train, test)


def test_a_copy_is_trained_or_refused():
    encoder = small_encoder()
    model = trainable_copy(encoder, 3)
    assert model.encoder is not encoder.model
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert not any(parameter.requires_grad for parameter in encoder.model.parameters())
    with pytest.raises(ValueError, match="no weights that could be fine-tuned"):
        trainable_copy(pixel_encoder(), 3)
    network = encoder.model
    closed = FrozenEncoder("closed", network, lambda x: network(x), PixelPreprocess(), "pooled", "small", {})
    with pytest.raises(ValueError, match="still calls the network it was made with"):
        trainable_copy(closed, 3)
