# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Linear heads for robustness: fitted once, kept, on the device of the encoder; and what Results say of them."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from small_data import ListSource, noisy_images
from test_robustness import LINEAR, NAMES, evaluate, pixels, splits

from mscn_hf.evaluation.comparable import changed_settings, partial_splits
from mscn_hf.evaluation.probe import ExtractOptions
from mscn_hf.evaluation.probes import linear
from mscn_hf.evaluation.protocols import load_protocol
from mscn_hf.evaluation.robustness import heads, zero_shot
from mscn_hf.evaluation.robustness.classes import read_class_list
from mscn_hf.evaluation.robustness.heads import fitted_head, linear_settings
from mscn_hf.evaluation.robustness.zero_shot import ZeroShotSettings
from mscn_hf.evaluation.task import Task


@pytest.fixture
def fits(monkeypatch):
    """How often a linear probe was fitted."""
    calls = []
    fit = linear.fit_linear_probe
    monkeypatch.setattr(linear, "fit_linear_probe", lambda *a, **k: calls.append(1) or fit(*a, **k))
    return calls


def head_task(tmp_path, encoder=None, process=None, **fields):
    train, test = splits()
    options = ExtractOptions(tmp_path, progress=False)
    return Task(encoder or pixels(), train, test, "robust", None, options, process=process, **fields)


@pytest.mark.parametrize("name", ["robustness-c", "imagenet-r"])
def test_protocols_as_shipped_have_no_departures(name, tmp_path, monkeypatch):
    classes = read_class_list("imagenet-r")
    images = noisy_images(400, seed=1)[0]
    train = ListSource(images, [number % 200 for number in range(400)], label_names=classes)
    test = ListSource(images[:2], [0, 1], split="test", label_names=classes)
    monkeypatch.setattr(zero_shot, "open_source", lambda *args, **fields: train)
    train.name = "ILSVRC/imagenet-1k"
    protocol = load_protocol(name)[1]
    results = evaluate(protocol, None, tmp_path, (train, test))
    assert results
    for result in results:
        assert changed_settings(result, protocol) + partial_splits(result) == []
        assert result.settings["linear_settings"]["solver"] == "sgd"


def test_one_fit_serves_every_test_set(tmp_path, image_folder, fits):
    settings = ZeroShotSettings(linear=LINEAR, train_dataset=str(image_folder), metrics=["top1_accuracy"])

    def score(cache, seed):
        test = ListSource(*noisy_images(30, seed=seed), split="test", label_names=NAMES, name=f"set {seed}")
        (result,) = evaluate(settings, None, tmp_path / cache, (test, test))
        return result

    first, second = score("one", 5), score("one", 6)
    assert len(fits) == 1
    alone = score("two", 6)
    assert len(fits) == 2 and (second.value, second.settings) == (alone.value, alone.settings)
    assert first.settings["choice"] == second.settings["choice"] and second.settings["skipped_train"] == 1


def test_another_head_is_fitted_where_anything_differs(tmp_path, fits):
    task = head_task(tmp_path)
    task.train.once = False
    settings = linear_settings(LINEAR)
    fitted_head(task, task.train, settings)
    fitted_head(task, task.train, settings)
    assert len(fits) == 1
    fitted_head(task, task.train, linear_settings({**LINEAR, "weight_decays": [0.2]}))
    fitted_head(head_task(tmp_path, seed=1), task.train, settings)
    fitted_head(head_task(tmp_path, encoder=pixels(side=5)), task.train, settings)
    task.train.fingerprint = "other images"
    fitted_head(task, task.train, settings)
    task.options.max_train_images = 50
    fitted_head(task, task.train, settings)
    assert len(fits) == 6 and len(list((tmp_path / "heads").iterdir())) == 6


def test_a_damaged_head_is_fitted_again(tmp_path, fits, caplog):
    task = head_task(tmp_path)
    images = torch.rand(3, 3, 4, 4)
    before = fitted_head(task, task.train, linear_settings(LINEAR)).scores(images)
    (path,) = (tmp_path / "heads").iterdir()
    whole = path.read_bytes()
    for damaged in (whole[:-1] + bytes([whole[-1] ^ 1]), whole[:-9], b""):
        path.write_bytes(damaged)
        assert torch.equal(fitted_head(task, task.train, linear_settings(LINEAR)).scores(images), before)
        assert "is not usable" in caplog.text
        caplog.clear()
    assert len(fits) == 4
    assert torch.equal(fitted_head(task, task.train, linear_settings(LINEAR)).scores(images), before)
    assert len(fits) == 4


def test_the_head_lies_on_the_encoders_device_on_every_rank(tmp_path, monkeypatch):
    sent = []
    task = head_task(tmp_path)
    fitted_head(task, task.train, linear_settings(LINEAR))
    monkeypatch.setattr(heads, "broadcast_object_list", lambda values: sent.extend(values) or values)
    main = SimpleNamespace(num_processes=2, is_main_process=True)
    fitted_head(head_task(tmp_path, process=main), task.train, linear_settings(LINEAR))
    (head,) = sent
    assert head.to("meta").probe.weight_DK.device.type == "meta" and head.probe.weight_DK.device.type == "cpu"

    # "meta" stands for the card of another rank.
    monkeypatch.setattr(heads, "broadcast_object_list", lambda values: [head])
    other = SimpleNamespace(num_processes=2, is_main_process=False)
    there = head_task(tmp_path, encoder=pixels().to("meta"), process=other)
    scores = fitted_head(there, there.train, linear_settings(LINEAR)).scores(torch.rand(2, 3, 4, 4))
    assert scores.device.type == "meta" and scores.shape == (2, 3)


def test_a_full_disk_costs_a_fit_and_no_score(tmp_path, monkeypatch, caplog):
    task = head_task(tmp_path)
    (tmp_path / "heads").write_text("a file in the place of the folder")
    classifier = fitted_head(task, task.train, linear_settings(LINEAR))
    assert np.isfinite(classifier.scores(torch.rand(2, 3, 4, 4)).numpy()).all()
    assert "cannot be kept" in caplog.text
