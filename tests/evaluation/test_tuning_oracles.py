# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Training on augmented images against plain loops and scikit-learn."""

import copy

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import nn
from tuning_runs import mean_colour, small_encoder, sources, task_of, views_of_epoch

from mscn_hf.evaluation.tuning.augmented_linear import AugmentedLinearSettings
from mscn_hf.evaluation.tuning.finetune import FinetuneSettings
from mscn_hf.evaluation.tuning.fitting import fit_heads
from mscn_hf.evaluation.tuning.training_set import read_training_set

STILL = {"crop_scale": [1.0, 1.0], "crop_ratio": [1.0, 1.0], "flip_p": 0.0}


@pytest.mark.parametrize("nesterov", [False, True])
def test_heads_on_a_frozen_encoder_are_trained_as_by_a_plain_loop_in_float64(nesterov):
    train, test = sources()
    settings = AugmentedLinearSettings(
        epochs=3, batch_size=16, learning_rates=[8.0, 1.0], weight_decays=[0.01], nesterov=nesterov
    )
    task = task_of(small_encoder(), train, test)
    pool = read_training_set(settings, task).pool
    points = settings.grid()
    model = settings.new_model(task, 3, points)
    weight, bias = (copy.deepcopy(getattr(model.heads[0], name)).detach().double() for name in ("weight", "bias"))
    fit = fit_heads(model, settings.groups(model, points), pool, settings, task)
    assert (fit.steps, fit.batch_size, fit.broken) == (6, 16, 0)
    for head, point in zip(model.heads, points, strict=True):
        w, b = weight.clone(), bias.clone()
        speed = [torch.zeros_like(w), torch.zeros_like(b)]
        step = 0
        for epoch in range(3):
            for images, labels in views_of_epoch(settings, task, pool, epoch, 16):
                z = task.encoder.features(images).double()
                error = (z @ w.T + b).softmax(dim=1) - nn.functional.one_hot(labels, 3)
                rate = point["learning_rate"] * 16 / 256 * 0.5 * (1 + np.cos(np.pi * step / 6))
                for tensor, gradient, v in ((w, error.T @ z / 16, speed[0]), (b, error.mean(dim=0), speed[1])):
                    gradient = gradient + 0.01 * tensor
                    v.mul_(0.9).add_(gradient)
                    tensor -= rate * (gradient + 0.9 * v if nesterov else v)
                step += 1
        torch.testing.assert_close(head.weight.double(), w, atol=1e-6, rtol=1e-5)
        torch.testing.assert_close(head.bias.double(), b, atol=1e-6, rtol=1e-5)


def test_fine_tuning_is_a_plain_torch_loop_with_two_rates_and_batch_norm_in_training_mode():
    train, test = sources()
    settings = FinetuneSettings(
        epochs=3, batch_size=16, schedule="step", milestones=[1, 2], decay_factor=0.2, weight_decays=[0.01]
    )
    encoder = small_encoder()
    task = task_of(encoder, train, test)
    pool = read_training_set(settings, task).pool
    points = settings.grid()
    model = settings.new_model(task, 3, points)
    plain = nn.Sequential(copy.deepcopy(model.encoder), copy.deepcopy(model.heads[0])).train()
    fit_heads(model, settings.groups(model, points), pool, settings, task)
    optimizer = torch.optim.SGD(
        [{"params": plain[0].parameters(), "lr": 0.005 / 16}, {"params": plain[1].parameters(), "lr": 0.5 / 16}],
        momentum=0.9,
        weight_decay=0.01,
    )
    for epoch in range(3):
        for images, labels in views_of_epoch(settings, task, pool, epoch, 16):
            optimizer.zero_grad()
            nn.functional.cross_entropy(plain(images), labels).backward()
            optimizer.step()
        for group in optimizer.param_groups:
            group["lr"] *= 0.2
    ours = {**model.encoder.state_dict(), **model.heads[0].state_dict()}
    theirs = {**plain[0].state_dict(), **plain[1].state_dict()}
    for name, tensor in theirs.items():
        torch.testing.assert_close(ours[name], tensor, atol=1e-6, rtol=1e-5)
    assert not torch.equal(ours["1.running_mean"], encoder.model.state_dict()["1.running_mean"])
    encoder.assert_frozen()


def test_a_head_on_fixed_features_converges_to_scikit_learns_minimum():
    train, test = sources(train=48, test=60)
    decay = 0.02
    settings = AugmentedLinearSettings(
        epochs=60,
        batch_size=48,
        learning_rates=[12.0],
        weight_decays=[decay],
        momentum=0.6,
        schedule="constant",
        **STILL,
    )
    task = task_of(mean_colour(), train, test)
    pool = read_training_set(settings, task).pool
    model = settings.new_model(task, 3, settings.grid())
    fit_heads(model, settings.groups(model, settings.grid()), pool, settings, task)
    ((images, labels),) = views_of_epoch(settings, task, pool, 0, 48)
    z = np.concatenate([task.encoder.features(images).numpy(), np.ones((48, 1))], axis=1)  # the bias decays too
    oracle = LogisticRegression(C=1 / (decay * 48), fit_intercept=False, tol=1e-10, max_iter=10_000).fit(z, labels)
    ours = torch.cat([model.heads[0].weight, model.heads[0].bias[:, None]], dim=1).detach().numpy()
    np.testing.assert_allclose(ours, oracle.coef_, atol=2e-4)


def test_rates_side_by_side_are_trained_as_each_alone_and_one_that_diverges_harms_none():
    train, test = sources()

    def heads(rates):
        settings = AugmentedLinearSettings(
            epochs=2, batch_size=16, learning_rates=rates, weight_decays=[1e-6], batch_norm=True
        )
        task = task_of(small_encoder(), train, test)
        pool = read_training_set(settings, task).pool
        model = settings.new_model(task, 3, settings.grid())
        fit_heads(model, settings.groups(model, settings.grid()), pool, settings, task)
        return model.heads

    together = heads([1e36, 5.0, 0.5])
    assert not torch.isfinite(together[0].weight).all()
    for number, rate in ((1, 5.0), (2, 0.5)):
        (alone,) = heads([rate])
        torch.testing.assert_close(together[number].weight, alone.weight, atol=1e-6, rtol=1e-5)
