# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Every method trains through the command's own code and leaves an encoder that AutoModel loads."""

import io
import json
import shutil

import numpy as np
import pytest
import torch
import yaml
from datasets import Dataset, Features, Image
from PIL import Image as PILImage
from pretraining_runs import TINY_RECIPE, run_pretrain, textured
from transformers import AutoImageProcessor, AutoModel, ViTMSNModel

from mscn_hf.data import SourceError
from mscn_hf.methods.objectives import ReLIC
from mscn_hf.methods.siamese import SiameseForPreTraining
from mscn_hf.models import FilteredModel, MSCNModel, ReLICv2Model
from mscn_hf.training.arguments import DataArguments
from mscn_hf.training.pretrain import pretrain
from mscn_hf.training.recipe_file import parse_run
from mscn_hf.training.trainer import BrokenImagesError, WeightDecaySchedule

PLAIN = {k: v for k, v in TINY_RECIPE.items() if k not in ("objective", "predictor", "ema", "high_pass_sigma")}
TWO = {"views": {"a": {"size": 24}, "b": {"size": 24}}}
MULTI_CROP = {
    "views": {
        "large_odd": {"size": 24, "count": 2, "solarize_p": 0.2},
        "large_even": {"size": 24, "count": 2},
        "small": {"size": 12, "count": 2, "crop_scale": [0.05, 0.2]},
    },
    "target_views": ["large_odd", "large_even"],
    "pairing": "all",
}
RELIC = {"objective": "relic", "objective_params": {"negatives": 3}, "predictor": [16, 8], "ema": 0.9}
VIT = {
    "model_type": "vit_msn",
    "encoder_fields": {
        "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16, "patch_size": 6,
    },
}  # fmt: skip
METHODS = {
    "relic": ({**PLAIN, **RELIC, **TWO, "pairing": "all", "model_type": "relicv2"}, ReLICv2Model),
    "relicv2": ({**PLAIN, **RELIC, **MULTI_CROP, "model_type": "relicv2"}, ReLICv2Model),
    "simclr_views": ({**PLAIN, **MULTI_CROP}, MSCNModel),
    "byol_predictors": ({**TINY_RECIPE, "predictor_of_view": {"a": 0, "b": 1}}, MSCNModel),
    "vicreg": ({**PLAIN, **TWO, "objective": "vicreg"}, MSCNModel),
    "barlow_twins": ({**PLAIN, **TWO, "objective": "barlow_twins"}, MSCNModel),
    "supervised": (
        {
            **PLAIN,
            "objective": "cross_entropy",
            "objective_params": {"classes": 3},
            "projector": [],
            "views": {"image": {"size": 24}},
        },
        MSCNModel,
    ),
    "msn": (
        {
            **{k: v for k, v in PLAIN.items() if k not in ("depth", "stem")},
            **VIT,
            "objective": "msn",
            "objective_params": {"prototypes": 6},
            "projector": [16, 16, 8],
            "projector_activation": "gelu",
            "projector_last_bias": True,
            "ema": 0.9,
            "ema_schedule": "linear",
            "optimizer": "adamw",
            "base_learning_rate": 0.02,
            "weight_decay": 0.04,
            "weight_decay_end": 0.4,
            "schedule_stretch": 1.25,
            "lr_start_ratio": 0.2,
            "lr_end_ratio": 0.001,
            "max_grad_norm": 3.0,
            "pairing": "all",
            "target_views": ["target"],
            "online_views": ["random", "focal"],
            "patch_drop": {"random": 0.25},
            "publish": "target",
            "views": {"target": {"size": 24}, "random": {"size": 24}, "focal": {"size": 12, "count": 2}},
        },
        ViTMSNModel,
    ),
    "mscn_timm": (
        {
            **{k: v for k, v in TINY_RECIPE.items() if k not in ("depth", "stem")},
            "model_type": "filtered",
            "architecture": "test_resnet",
            "encoder_fields": {},
            "image_size": 32,
        },
        FilteredModel,
    ),
}


@pytest.fixture(autouse=True)
def own_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("MSCN_HF_CACHE", str(tmp_path / "cache"))


def write(tmp_path, photo_folder, fields):
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump({**fields, "dataset_name": photo_folder}, sort_keys=False))
    return str(path)


def lines(out):
    return [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("name", METHODS)
def test_method_trains_and_publishes(tmp_path, photo_folder, name):
    fields, kind = METHODS[name]
    recipe, out = write(tmp_path, photo_folder, fields), tmp_path / "run"
    words = ["--config", recipe, "--output_dir", str(out), "--max_steps", "4", "--logging_steps", "1"]
    pretrain(parse_run(words))
    losses = [line["loss"] for line in lines(out) if "loss" in line]
    assert len(losses) == 4
    assert len(set(losses)) > 1
    encoder, info = AutoModel.from_pretrained(out / "encoder", output_loading_info=True)
    assert type(encoder) is kind
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    processor = AutoImageProcessor.from_pretrained(out / "encoder", backend="pil")
    assert processor.crop_size["height"] == fields["image_size"]
    assert list(processor.image_mean) == [0.485, 0.456, 0.406]

    whole = SiameseForPreTraining.from_pretrained(out / "checkpoint-4")
    published = whole.published_encoder.state_dict()
    assert all(torch.equal(tensor, published[key]) for key, tensor in encoder.state_dict().items())
    assert whole.config.publish == fields.get("publish", "online")


def test_msn_schedules(tmp_path, photo_folder, monkeypatch):
    """Learning rate and weight decay against tables: all schedules are 5 steps long and cut off after 4."""
    decays = []
    original = WeightDecaySchedule.on_step_begin

    def watch(self, args, state, control, optimizer=None, **kwargs):
        original(self, args, state, control, optimizer=optimizer, **kwargs)
        decays.append([group["weight_decay"] for group in optimizer.param_groups])

    monkeypatch.setattr(WeightDecaySchedule, "on_step_begin", watch)
    fields = {**METHODS["msn"][0], "warmup_epochs": 0.1}  # one of the pass's eleven steps
    recipe, out = write(tmp_path, photo_folder, fields), tmp_path / "run"
    words = ["--config", recipe, "--output_dir", str(out), "--max_steps", "4", "--logging_steps", "1"]
    pretrain(parse_run(words))
    peak = 0.02 * 8 / 256
    rates = [line["learning_rate"] / peak for line in lines(out) if "learning_rate" in line]
    half = 2**-0.5 / 2
    low = 0.001
    table = [0.2, 1.0, low + (1 - low) * (0.5 + half), low + (1 - low) * 0.5]
    assert rates == pytest.approx(table, abs=1e-6)
    cosines = [1.0, 0.8090169944, 0.3090169944, -0.3090169944]  # of pi k / 5
    assert [pair[0] for pair in decays] == pytest.approx([0.4 - 0.36 * (1 + c) / 2 for c in cosines], abs=1e-9)
    assert {pair[1] for pair in decays} == {0.0}


@pytest.mark.parametrize("name", ["relicv2", "byol_predictors"])
def test_view_by_view_is_the_same_run(tmp_path, photo_folder, name):
    recipe = write(tmp_path, photo_folder, METHODS[name][0])
    for flat in ("False", "True"):
        words = ["--max_steps", "3", "--logging_steps", "1", "--gradient_accumulation_steps", "2"]
        out = ["--output_dir", str(tmp_path / flat), "--memory_flat", flat]
        pretrain(parse_run(["--config", recipe, *words, *out]))
    one, other = lines(tmp_path / "False"), lines(tmp_path / "True")
    for key in ("loss", "grad_norm"):
        ours = [line[key] for line in other if key in line]
        assert ours == pytest.approx([line[key] for line in one if key in line], rel=1e-4)
        assert len(ours) == 3
    plain, flat = (SiameseForPreTraining.from_pretrained(tmp_path / f / "checkpoint-3") for f in ("False", "True"))
    for key, tensor in plain.state_dict().items():
        torch.testing.assert_close(flat.state_dict()[key], tensor, rtol=1e-3, atol=1e-5, msg=key)


def test_view_by_view_on_two_processes(tmp_path, photo_folder):
    """Gradients that processes exchange with the last view only are those of a plain step."""
    recipe = write(tmp_path, photo_folder, METHODS["relicv2"][0])
    for flat in ("False", "True"):
        words = ["--max_steps", "2", "--monitor_epochs", "0", "--test_split", "none", "--memory_flat", flat]
        words += ["--logging_steps", "1"]
        done = run_pretrain(tmp_path, 2, "--config", recipe, "--output_dir", str(tmp_path / flat), *words)
        assert done.returncode == 0, done.stderr[-3000:]
    one, other = lines(tmp_path / "False"), lines(tmp_path / "True")
    for key in ("loss", "grad_norm"):
        ours = [line[key] for line in other if key in line]
        assert ours == pytest.approx([line[key] for line in one if key in line], rel=1e-4)
        assert len(ours) == 2
    plain, flat = (SiameseForPreTraining.from_pretrained(tmp_path / f / "checkpoint-2") for f in ("False", "True"))
    for key, tensor in plain.state_dict().items():
        torch.testing.assert_close(flat.state_dict()[key], tensor, rtol=1e-3, atol=1e-5, msg=key)


@pytest.mark.parametrize(
    ("name", "words", "message"),
    [
        ("vicreg", ["--memory_flat", "True"], "memory_flat: the loss of vicreg compares online views"),
        (
            "relicv2",
            ["--target_views", "huge"],
            "target_views names view 'huge'; the recipe has large_odd, large_even",
        ),
        ("byol_predictors", ["--predictor_of_view", '{"a": 0}'], "predictor_of_view must name every view, b is left"),
        ("msn", ["--high_pass_sigma", "2.0"], "a native vit_msn has no high-pass filter"),
        ("mscn_timm", ["--architecture", "convnxt_tiny"], "did you mean 'convnext"),
        ("vicreg", ["--architecture", "convnext_tiny"], "architecture is timm's name of a network for model_type"),
        ("msn", ["--weight_decay", "0"], "weight_decay_end 0.4 needs a positive weight_decay"),
        ("vicreg", ["--lr_end_ratio", "0.1", "--lr_scheduler_type", "linear"], "are for the cosine schedule"),
        ("msn", ["--depth", "18"], "depth 18 is for ResNets, and model_type is 'vit_msn': leave"),
        ("mscn_timm", ["--padding", "same"], "padding 'same' is for ResNets, and model_type is 'filtered'"),
        ("msn", ["--encoder_fields.image_size", "32"], "encoder_fields names 'image_size', which is a field of the"),
        ("vicreg", ["--encoder_fields.depth", "18"], "encoder_fields names 'depth', which is a field of the recipe"),
        ("vicreg", ["--views.b", "none"], "vicreg needs at least 2 views of each image, the recipe has 1"),
        ("byol_predictors", ["--predictor_of_view.b", "2"], "predictor_of_view must number its predictors 0, 1"),
        ("vicreg", ["--projector", "16", "0"], "a head needs a list of sizes of at least 1"),
        ("vicreg", ["--patch_drop.a", "0.5"], "patch_drop needs a vision transformer, got a 'mscn' encoder"),
        ("mscn_timm", ["--high_pass_sigma", "2.0"], "high_pass_sigma of the encoder .* must be equal"),
        ("msn", ["--patch_drop.target", "0.5"], "patch_drop of view 'target': targets see all patches"),
        ("byol_predictors", ["--online_views", "a"], "predictor_of_view: no online view passes predictor 1"),
        ("vicreg", ["--ema_schedule", "quick"], "ema_schedule must be cosine, linear or constant"),
    ],
)
def test_what_does_not_fit_is_said_before_training(tmp_path, photo_folder, monkeypatch, name, words, message):
    recipe = write(tmp_path, photo_folder, METHODS[name][0])
    # Before the data is opened, and before any weight is made.
    monkeypatch.setattr(DataArguments, "open", lambda *_, **__: pytest.fail("the data was opened first"))
    with pytest.raises(ValueError, match=message):
        pretrain(parse_run(["--config", recipe, "--output_dir", str(tmp_path / "run"), *words]))


def test_backgrounds_are_removed_by_a_column_of_masks(tmp_path):
    """Masks travel from the dataset to the views; broken and empty ones are counted, named and not applied."""
    folder = tmp_path / "data"
    folder.mkdir()
    masks = []
    for number in range(40):
        mask = np.zeros((32, 32), np.uint8)
        mask[8:24, 8:24] = 255
        out = io.BytesIO()
        PILImage.fromarray(mask if number != 7 else np.zeros_like(mask)).save(out, "PNG")
        masks.append(out.getvalue() if number != 3 else b"not a mask")
    features = Features({"image": Image(), "saliency": Image()})
    rows = [
        {"image": {"bytes": textured(n), "path": f"{n}.jpg"}, "saliency": {"bytes": masks[n], "path": f"{n}.png"}}
        for n in range(40)
    ]
    Dataset.from_list(rows, features=features).to_parquet(str(folder / "train-00000-of-00001.parquet"))
    views = {**MULTI_CROP["views"], "large_odd": {**MULTI_CROP["views"]["large_odd"], "background_p": 1.0}}
    fields = {**METHODS["relicv2"][0], "views": views, "mask_source": "saliency", "monitor_epochs": 0}
    recipe, out = write(tmp_path, str(tmp_path / "data"), fields), tmp_path / "run"
    words = ["--config", recipe, "--output_dir", str(out), "--num_train_epochs", "1"]
    with pytest.raises(BrokenImagesError, match=r"1 of \d+ masks cannot be decoded, more than max_broken_share"):
        pretrain(parse_run(words))
    shutil.rmtree(out)
    pretrain(parse_run([*words, "--max_broken_share", "0.1"]))
    facts = json.loads((out / "encoder" / "training.json").read_text())
    # One empty mask in each of the two views that use masks, one broken file: 40 images in one pass.
    assert facts["masks"] == {"broken": 1, "too_small": 2}
    broken = [json.loads(line)["id"] for line in (out / "broken_masks.jsonl").read_text().splitlines()]
    assert [name.rsplit("/", 1)[1] for name in broken] == ["3.jpg"]
    with pytest.raises(SourceError, match=r"no column 'salience' for masks; .* did you mean 'saliency'"):
        pretrain(parse_run(["--config", recipe, "--output_dir", str(tmp_path / "b"), "--mask_source", "salience"]))


def test_a_run_below_chance_is_told(tmp_path, photo_folder, monkeypatch, caplog):
    monkeypatch.setattr(ReLIC, "uninformed", lambda self, images: {"contrast": 0.001 * images})  # 8 images a batch
    fields = METHODS["relic"][0]
    words = ["--output_dir", str(tmp_path / "run"), "--logging_steps", "1", "--max_steps", "4"]
    pretrain(parse_run(["--config", write(tmp_path, photo_folder, fields), *words]), "the command")
    messages = [record.message for record in caplog.records if "tells no images apart" in record.message]
    assert len(messages) == 1 and "step 3: loss_contrast is" in messages[0] and "above 0.008" in messages[0]
