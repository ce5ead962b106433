# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Schedules, subsets of labels, input formats and the protocol files of training on augmented images."""

import hashlib
import io
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from small_data import ListSource, noisy_images, png, save_tiny_resnet
from tuning_runs import run, small_encoder, sources

from mscn_hf.data import CanvasCollate, Sample
from mscn_hf.data.source import ImageRow
from mscn_hf.evaluation import subset
from mscn_hf.evaluation.encoder import pixel_encoder
from mscn_hf.evaluation.loading import load_encoder
from mscn_hf.evaluation.probe import ExtractOptions
from mscn_hf.evaluation.protocols import load_protocol
from mscn_hf.evaluation.subset import balanced_share, find_listed, read_list
from mscn_hf.evaluation.task import Task
from mscn_hf.evaluation.tuning.augmented_linear import AugmentedLinearSettings
from mscn_hf.evaluation.tuning.finetune import FinetuneSettings
from mscn_hf.evaluation.tuning.images import read_labels
from mscn_hf.evaluation.tuning.schedule import Schedule
from mscn_hf.evaluation.tuning.training_set import read_training_set
from mscn_hf.evaluation.tuning.view import input_format, training_view
from mscn_hf.views.collator import ViewCollator

SIMCLR_LISTS = {
    "semi-1pct": ("1percent.txt", 12811, "71e82a48ba78252683ae334c4d019ebd5c6e855b9599c1389fbe83eb9549cf17"),
    "semi-10pct": ("10percent.txt", 128116, "6d09de11e7bdaf5b1f3b1f249b6183695f97310cdd20f0c03e7235b6b9392091"),
}


# ---- schedules


def test_the_step_decay_of_the_papers():
    """MSCN, appendix A.3: 20 epochs, times 0.2 after the 12th and the 16th."""
    schedule = FinetuneSettings(epochs=20, schedule="step", milestones=[12, 16], decay_factor=0.2).rates()
    table = {0: 1.0, 11: 1.0, 12: 0.2, 15: 0.2, 16: 0.04, 19: 0.04}
    for epoch, share in table.items():
        for step in (50 * epoch, 50 * epoch + 49):
            assert schedule.share(step, 50) == pytest.approx(share)


@pytest.mark.parametrize("steps_per_epoch", [1, 7])
def test_schedules_by_epoch_are_those_of_torch(steps_per_epoch):
    def torch_rates(make):
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
        scheduler, rates = make(optimizer), []
        for _ in range(10):
            rates += [optimizer.param_groups[0]["lr"]] * steps_per_epoch
            optimizer.step()
            scheduler.step()
        return rates

    cosine = Schedule("cosine", 10, by_epoch=True)
    step = Schedule("step", 10, milestones=(4, 8), decay_factor=0.3)
    for schedule, make in (
        (cosine, lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, 10)),
        (step, lambda o: torch.optim.lr_scheduler.MultiStepLR(o, [4, 8], gamma=0.3)),
    ):
        ours = [schedule.share(n, steps_per_epoch) for n in range(10 * steps_per_epoch)]
        np.testing.assert_allclose(ours, torch_rates(make), atol=1e-12)


def test_warm_up_then_a_cosine_to_zero_with_every_step():
    schedule = Schedule("cosine", 10, warmup_epochs=2)
    shares = [schedule.share(step, 5) for step in range(51)]
    np.testing.assert_allclose(shares[:11], np.arange(11) / 10)
    assert shares[10] == 1.0
    assert shares[30] == pytest.approx(0.5)
    assert shares[50] == pytest.approx(0.0)
    assert (np.diff(shares[10:]) < 0).all()


# ---- settings


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"epochs": 0}, "epochs must be a positive integer"),
        ({"batch_size": True}, "batch_size must be"),
        ({"learning_rates": []}, "learning_rates must be a list"),
        ({"learning_rates": [0.0]}, "learning_rates must be positive"),
        ({"learning_rates": [0.1, 0.1]}, "each once"),
        ({"weight_decays": [-1.0]}, "weight_decays must be not negative"),
        ({"optimizer": "lars"}, "optimizer must be one of sgd, adamw"),
        ({"schedule": "step"}, "milestones belong to the schedule 'step'"),
        ({"milestones": [3]}, "milestones belong to the schedule 'step'"),
        ({"warmup_epochs": 100}, r"warmup_epochs must be in \[0, epochs\)"),
        ({"held_out": 1.0}, "held_out must be in"),
        ({"metrics": ["dataset", "top1_accuracy"]}, "metrics must be 'dataset' alone"),
        ({"crop_scale": [1.0, 0.1]}, "crop_scale must be two numbers"),
        ({"subset_share": 0}, "subset_share must be in"),
        ({"subset_list": "http://x/y.txt"}, "https"),
        ({"subset_list": "https://x/y.txt"}, "needs its subset_sha256"),
        ({"subset_list": "y.txt", "subset_share": 0.1}, "needs subset_classes"),
        ({"subset_sha256": "0" * 64}, "need a subset_list"),
        ({"batch_norm": 1}, "batch_norm must be true or false"),
    ],
)
def test_settings_that_cannot_be_are_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        AugmentedLinearSettings(**fields)


def test_the_protocol_files_say_what_the_papers_do():
    def facts(name, *keys):
        settings = load_protocol(name)[1]
        return [getattr(settings, key) for key in keys]

    keys = ("epochs", "batch_size", "learning_rates", "weight_decays", "nesterov", "schedule_by")
    assert facts("linear-mscn", *keys) == [100, 256, [0.3], [1e-6], False, "epoch"]
    assert facts("linear-relicv2", *keys) == [100, 1024, [0.3], [0.0], True, "step"]
    assert facts("linear-byol", *keys) == [80, 1024, [0.2], [0.0], True, "step"]
    assert len(load_protocol("linear-dino")[1].grid()) == 13
    assert facts("linear-places205", "epochs", "milestones", "weight_decays") == [14, [4, 8, 12], [5e-4]]
    assert facts("linear-inaturalist18", "epochs", "milestones", "weight_decays") == [84, [24, 48, 72], [5e-4]]
    keys = ("epochs", "encoder_learning_rates", "head_learning_rates", "milestones", "decay_factor")
    assert facts("semi-1pct", *keys) == [20, [0.005], [0.5], [12, 16], 0.2]
    assert facts("semi-10pct", *keys) == [20, [0.01], [0.2], [12, 16], 0.2]
    assert len(load_protocol("finetune")[1].grid()) == 12


@pytest.mark.parametrize("name", SIMCLR_LISTS)
def test_the_published_lists_are_those_that_the_protocols_name(name, monkeypatch, tmp_path):
    if "MSCN_HF_DATA" not in os.environ:
        pytest.skip("MSCN_HF_DATA is not set: no published lists here")
    file, count, sha256 = SIMCLR_LISTS[name]
    settings = load_protocol(name)[1]
    assert settings.subset_sha256 == sha256
    data = Path(os.environ["MSCN_HF_DATA"], "imagenet-subsets", file).read_bytes()
    monkeypatch.setattr(subset.urllib.request, "urlopen", lambda address, timeout: io.BytesIO(data))
    assert len(read_list(settings.subset_list, sha256, tmp_path)) == count


def test_what_the_protocol_leaves_open_is_the_data_sets():
    settings = load_protocol("finetune")[1]
    assert settings.facts()["held_out"] == settings.share_held_out == 0.1
    described = settings.for_dataset(["mean_per_class_accuracy"], 0.2)
    assert described.metrics == ["mean_per_class_accuracy"]
    assert described.facts()["held_out"] == described.share_held_out == 0.2
    assert described.for_dataset(["top1_accuracy"], 0.3) == described  # its own word counts
    assert settings.for_dataset(None) == settings
    with pytest.raises(ValueError, match=r"map_11point, which is for lists of classes.*by the protocol `transfer`"):
        settings.for_dataset(["map_11point"])
    assert FinetuneSettings().for_dataset(["map_11point"]).metrics == ["top1_accuracy", "top5_accuracy"]


def test_without_a_word_from_the_data_set_every_metric_is_reported():
    train, test = sources()
    settings = AugmentedLinearSettings(epochs=1, batch_size=20, metrics="dataset")
    results = run(small_encoder(), settings, train, test)
    assert [result.metric for result in results] == ["top1_accuracy", "mean_per_class_accuracy"]


# ---- few labels


def test_a_list_is_fetched_once_and_only_with_the_right_hash(monkeypatch, tmp_path):
    data = b"a_1.JPEG\n\n b_2.JPEG \n"
    sha256 = hashlib.sha256(data).hexdigest()
    asked = []

    def urlopen(address, timeout):
        asked.append(address)
        return io.BytesIO(data)

    monkeypatch.setattr(subset.urllib.request, "urlopen", urlopen)
    for _ in range(2):
        assert read_list("https://x/list.txt", sha256, tmp_path) == ["a_1.JPEG", "b_2.JPEG"]
    assert len(asked) == 1
    (tmp_path / "lists" / f"{sha256}.txt").write_text("tampered")
    assert read_list("https://x/list.txt", sha256, tmp_path) == ["a_1.JPEG", "b_2.JPEG"]
    assert len(asked) == 2
    with pytest.raises(ValueError, match="it is not the published one"):
        read_list("https://x/list.txt", "0" * 64, tmp_path)
    assert not (tmp_path / "lists" / f"{'0' * 64}.txt").exists()

    (tmp_path / "own.txt").write_bytes(data)
    assert len(read_list(str(tmp_path / "own.txt"), None)) == 2
    with pytest.raises(ValueError, match="it is not the published one"):
        read_list(str(tmp_path / "own.txt"), "0" * 64)
    with pytest.raises(ValueError, match="cannot be read"):
        read_list(str(tmp_path / "no.txt"), None)
    (tmp_path / "empty.txt").write_text("\n")
    with pytest.raises(ValueError, match="names no image"):
        read_list(str(tmp_path / "empty.txt"), None)


def test_no_network_is_told_with_a_remedy(monkeypatch, tmp_path):
    def urlopen(address, timeout):
        raise OSError("no route")

    monkeypatch.setattr(subset.urllib.request, "urlopen", urlopen)
    with pytest.raises(ValueError, match=r"no route.*give its path as subset_list"):
        read_list("https://x/list.txt", "0" * 64, tmp_path)


def test_listed_images_are_found_however_the_copy_names_them():
    names = ["n01_5_n01.JPEG", "n02_7.jpg", "train/n03_9.JPEG", "n02_8", "n01_50_n01.JPEG"]
    assert find_listed(names, ["n02_7.JPEG", "n01_5.JPEG", "n03_9.JPEG", "n02_8.JPEG"], "x").tolist() == [0, 1, 2, 3]
    with pytest.raises(ValueError, match=r"1 of the 2 images of the list 'x'.*'n04_1'.*named like 'n01_5_n01.JPEG'"):
        find_listed(names, ["n02_7.JPEG", "n04_1.JPEG"], "x")
    with pytest.raises(ValueError, match="several training images"):
        find_listed(["a/1.png", "b/1.png"], ["1.png"], "x")


def test_a_share_is_balanced_seeded_and_never_leaves_a_class_out():
    classes = np.repeat([0, 1, 2], [500, 100, 3])
    taken = balanced_share(classes, 0.1, seed=0)
    assert np.bincount(classes[taken]).tolist() == [20, 20, 3]
    assert np.array_equal(taken, balanced_share(classes, 0.1, seed=0))
    assert not np.array_equal(taken, balanced_share(classes, 0.1, seed=1))
    assert np.bincount(classes[balanced_share(classes, 1e-6, seed=0)]).tolist() == [1, 1, 1]


def test_a_list_is_for_sets_of_its_own_number_of_classes(tmp_path):
    images, labels = noisy_images(60, seed=0)
    train = ListSource(images, labels)
    for number, row in enumerate(train._rows):
        row.id = f"0/{number}/{number}.png"
    (tmp_path / "list.txt").write_text("".join(f"{number}.png\n" for number in range(0, 60, 2)))
    task = Task(pixel_encoder(), train, train, "x", options=ExtractOptions(progress=False))
    listed = {"subset_list": str(tmp_path / "list.txt")}
    for fields, count, words in (
        ({**listed, "subset_classes": 3}, 30, "the 30 images of"),
        (listed, 30, "the 30 images of"),
        ({**listed, "subset_classes": 1000, "subset_share": 0.2}, 12, "12 images drawn with seed 0"),
        ({}, 60, "all"),
    ):
        training = read_training_set(FinetuneSettings(**fields), task)
        assert len(training.pool) == count
        assert words in training.subset
        assert training.names == ["0", "1", "2"]
    with pytest.raises(ValueError, match=r"has 3 classes, the list .* is of a set with 1000; give subset_share"):
        read_training_set(FinetuneSettings(**listed, subset_classes=1000), task)


# ---- images and views


def test_rows_that_do_not_fit_are_read_from_disk_and_give_the_same_images(image_folder):
    from mscn_hf.data import Share, open_source

    source = open_source(str(image_folder), split="train")
    held, mapped = (read_labels(source, 40, seed=3, hold_bytes=limit) for limit in (2**30, 0))
    assert held.place_N.tolist() == mapped.place_N.tolist()
    assert len(held.place_N) == 40
    assert type(held.rows) is not type(mapped.rows)
    task = Task(pixel_encoder(), source, source, "x", options=ExtractOptions(progress=False))
    pool = read_training_set(FinetuneSettings(subset_share=0.3), task).pool
    pool.rows = mapped.rows
    samples = list(pool.order(Share(0, batch_size=4)).samples(0))
    rows = list(source.rows())
    for sample in samples:
        place = int(pool.place_N[sample.position])
        assert sample.row.read() == rows[place].read()
        assert sample.row.label == pool.class_N[sample.position] == rows[place].label


def test_a_remote_source_is_streamed_whole_or_chosen_from(image_folder):
    from mscn_hf.data import Share, open_source

    source = open_source(str(image_folder), split="train")
    source.is_local = False
    column = read_labels(source, None, seed=0, hold_bytes=0)
    assert column.rows is None
    task = Task(pixel_encoder(), source, source, "x", options=ExtractOptions(progress=False))
    pool = read_training_set(FinetuneSettings(), task).pool
    pool.rows = None
    labels = [row.label for row in source.rows()]
    seen = list(pool.order(Share(0, batch_size=10)).samples(0))
    assert len(seen) == 90
    assert sorted(sample.row.label for sample in seen) == sorted(labels)
    part = pool.pick(np.arange(0, 90, 3))
    assert [row.label for row in part.labelled()] == labels[::3]
    both = part.joined(pool.pick(np.arange(5)))
    assert [row.label for row in both.labelled()] == labels[::3] + labels[:5]
    with pytest.raises(ValueError, match="fewer than one batch of 40"):
        part.order(Share(0, batch_size=40))


@pytest.mark.parametrize("name", ["folder", "timm:test_resnet", "pixels"])
def test_the_training_view_of_a_whole_image_is_the_encoders_own_preprocessing(name, tmp_path):
    encoder = load_encoder(str(save_tiny_resnet(tmp_path)) if name == "folder" else name)
    form = input_format(encoder.preprocess)
    pixels = np.random.default_rng(0).integers(0, 256, (form.size, form.size, 3)).astype(np.uint8)
    recipe = training_view(form, [1.0, 1.0], [1.0, 1.0], 0.0)
    views = ViewCollator(recipe, 0, CanvasCollate(form.size + 3))
    (ours,) = views.make_views(views([Sample(ImageRow("0/0", png(pixels)), 0, 0)]))
    if name == "timm:test_resnet":  # resizes to a larger side before it crops; the pixels' values are the same
        black = Image.new("RGB", (form.size, form.size))
        view = views.make_views(views([Sample(ImageRow("0/0", png(np.asarray(black))), 0, 0)]))[0]
        torch.testing.assert_close(view, encoder.preprocess([black]), atol=1e-5, rtol=0)
    else:
        theirs = encoder.preprocess([Image.fromarray(pixels)])
        torch.testing.assert_close(ours, theirs.float(), atol=1e-5, rtol=0)


def test_preprocessing_that_is_no_scale_and_shift_is_refused():
    def made(change):
        return lambda images: change(
            torch.stack([torch.from_numpy(np.array(i)).permute(2, 0, 1) / 255 for i in images])
        )

    assert input_format(made(lambda x: x * 2)).std == (0.5, 0.5, 0.5)
    for change in (torch.sqrt, lambda x: x.flip(1), lambda x: 1 - x, lambda x: x * torch.linspace(0, 1, 96)):
        with pytest.raises(ValueError, match="scales and shifts each channel"):
            input_format(made(change))
    for change in (lambda x: x[:, :, :50], lambda x: x[:, :1]):
        with pytest.raises(ValueError, match="square images of three channels"):
            input_format(made(change))
