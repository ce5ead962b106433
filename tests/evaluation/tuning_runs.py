# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Small encoders, sources and runs that the tests of training on augmented images share."""

import torch
from small_data import ListSource, noisy_images
from torch import nn

from mscn_hf.data import CanvasCollate, Share
from mscn_hf.evaluation.encoder import FrozenEncoder, PixelPreprocess
from mscn_hf.evaluation.probe import ExtractOptions, evaluate_encoder
from mscn_hf.evaluation.task import Task
from mscn_hf.evaluation.tuning.view import input_format, training_view
from mscn_hf.views.collator import ViewCollator


def small_encoder(batch_norm=True, seed=0):
    """A network of one convolution, whose call can be copied."""
    torch.manual_seed(seed)
    norm = nn.BatchNorm2d(6) if batch_norm else nn.Identity()
    network = nn.Sequential(nn.Conv2d(3, 6, 3, stride=2), norm, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return FrozenEncoder("small", network, network, PixelPreprocess(), "pooled", "small", {"side": 16})


def mean_colour():
    network = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return FrozenEncoder("colour", network, network, PixelPreprocess(), "mean colour", "colour", {"side": 16})


def sources(train=40, test=30, **fields):
    images, labels = noisy_images(train, seed=1)
    held, held_labels = noisy_images(test, seed=2)
    return ListSource(images, labels, **fields), ListSource(held, held_labels, split="test", once=True, **fields)


def task_of(encoder, train, test, **fields):
    return Task(encoder, train, test, "tuned", options=ExtractOptions(progress=False, batch_size=16), **fields)


def run(encoder, settings, train, test, **fields):
    options = ExtractOptions(progress=False, batch_size=16)
    return evaluate_encoder(encoder, train, test, "tuned", settings, options=options, **fields)


def views_of_epoch(settings, task, pool, epoch, batch_size):
    """The batches of one pass, made without a loader."""
    form = input_format(task.encoder.preprocess)
    recipe = training_view(form, settings.crop_scale, settings.crop_ratio, settings.flip_p)
    collator = ViewCollator(recipe, task.seed, CanvasCollate(round(512 / 224 * form.size)))
    samples = list(pool.order(Share(task.seed, batch_size=batch_size)).samples(epoch))
    for start in range(0, len(samples), batch_size):
        batch = collator(samples[start : start + batch_size])
        yield collator.make_views(batch)[0], batch["labels"]
