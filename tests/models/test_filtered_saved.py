# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Filtered networks on disk: what is written, what comes back, and what pre-training publishes."""

import copy

import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import AutoModel, AutoModelForImageClassification, pipeline

from mscn_hf.evaluation.loading import load_encoder
from mscn_hf.methods.siamese import SiameseForPreTraining
from mscn_hf.models import FilteredConfig, FilteredForImageClassification, FilteredModel

FILES = {
    "any_encoder.py", "config.json", "configuration_filtered.py", "filtered.py", "high_pass.py", "model.safetensors",
    "preprocessing.py", "preprocessor_config.json", "timm_encoder.py",
}  # fmt: skip


def from_timm(architecture, **fields):
    return FilteredConfig.from_timm(architecture, **{"image_size": 32, "high_pass_sigma": 1.5} | fields)


@pytest.fixture(scope="module")
def square_BCHW():
    return torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    "architecture,arguments",
    # The filters of blurring layers and the index tables of attention are buffers that no checkpoint holds.
    [("resnetblur18", {"layers": [1, 1, 1, 1]}), ("test_vit_relpos", {"img_size": 32}), ("test_efficientnet", {})],
)
def test_round_trip_to_the_bit(architecture, arguments, square_BCHW, randomise, tmp_path, aligned):
    model = randomise(FilteredModel(from_timm(architecture, model_args=arguments)))
    model.save_pretrained(tmp_path)
    loaded, info = AutoModel.from_pretrained(tmp_path, output_loading_info=True)
    assert type(loaded) is FilteredModel and not loaded.training and not any(info.values()), info
    ours, theirs = dict(model.named_buffers()), dict(loaded.named_buffers())
    unsaved = ours.keys() - model.state_dict().keys()
    assert bool(unsaved) == (architecture != "test_efficientnet")
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    output = aligned(loaded)(square_BCHW).pooler_output
    assert torch.equal(output, model(square_BCHW).pooler_output)
    assert not torch.allclose(output, loaded(square_BCHW, apply_filter=False).pooler_output)
    loaded.save_pretrained(tmp_path / "again")
    assert load_file(tmp_path / "again" / "model.safetensors").keys() == model.state_dict().keys()


def test_what_is_written_and_what_a_later_save_keeps(tmp_path):
    FilteredForImageClassification(from_timm("test_convnext", num_labels=3)).save_pretrained(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == FILES
    assert FilteredConfig.from_pretrained(tmp_path).auto_map == {
        "AutoConfig": "configuration_filtered.FilteredConfig",
        "AutoModel": "filtered.FilteredModel",
        "AutoBackbone": "filtered.FilteredBackbone",
        "AutoModelForImageClassification": "filtered.FilteredForImageClassification",
    }
    names = load_file(tmp_path / "model.safetensors").keys()
    network = timm.create_model("test_convnext", num_classes=0).state_dict()
    assert names == {f"filtered.encoder.timm_model.{name}" for name in network} | {
        "classifier.weight",
        "classifier.bias",
    }


def test_weights_that_a_checkpoint_lacks_are_timms_new_ones(tmp_path):
    model = FilteredModel(from_timm("test_efficientnet"))
    model.save_pretrained(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    lost = {f"encoder.timm_model.{name}" for name in ("bn1.weight", "bn1.running_var", "conv_head.weight")}
    save_file({n: t for n, t in weights.items() if n not in lost}, tmp_path / "model.safetensors", {"format": "pt"})
    loaded, info = AutoModel.from_pretrained(tmp_path, output_loading_info=True)
    assert info["missing_keys"] == lost
    got = loaded.state_dict()
    assert torch.equal(got["encoder.timm_model.bn1.weight"], torch.ones(24))
    assert torch.equal(got["encoder.timm_model.bn1.running_var"], torch.ones(24))
    new, old = (tensors["encoder.timm_model.conv_head.weight"] for tensors in (got, weights))
    assert not torch.equal(new, old) and new.std().item() == pytest.approx(old.std().item(), rel=0.1)
    assert all(torch.equal(got[name], weights[name]) for name in weights.keys() - lost)


def test_heads_exchange_encoders(square_BCHW, randomise, tmp_path, aligned):
    encoder = randomise(FilteredModel(from_timm("test_convnext")))
    encoder.save_pretrained(tmp_path / "encoder")
    classifier, info = AutoModelForImageClassification.from_pretrained(
        tmp_path / "encoder", num_labels=5, output_loading_info=True
    )
    assert type(classifier) is FilteredForImageClassification
    assert info["missing_keys"] == {"classifier.weight", "classifier.bias"}
    classifier.save_pretrained(tmp_path / "classifier")
    again = aligned(AutoModel.from_pretrained(tmp_path / "classifier"))
    assert torch.equal(again(square_BCHW).pooler_output, encoder(square_BCHW).pooler_output)
    scores = pipeline("image-classification", model=str(tmp_path / "classifier"))(Image.new("RGB", (40, 50)))
    assert sum(score["score"] for score in scores) == pytest.approx(1, abs=1e-5)
    features = pipeline("image-feature-extraction", model=str(tmp_path / "encoder"), pool=True, return_tensors=True)
    assert features(Image.new("RGB", (40, 50))).shape == (1, 64, 1, 1)


def test_bfloat16_and_one_channel(randomise, tmp_path, aligned):
    model = randomise(FilteredModel(from_timm("test_convnext", num_channels=1))).bfloat16()
    model.save_pretrained(tmp_path)
    loaded = aligned(AutoModel.from_pretrained(tmp_path))
    images = torch.randn(2, 1, 32, 32).bfloat16()
    assert loaded.dtype == torch.bfloat16
    assert torch.equal(loaded(images).pooler_output, model(images).pooler_output)


def test_evaluation_loads_the_folder_and_its_random_twin(square_BCHW, tmp_path):
    model = FilteredModel(from_timm("test_resnet")).eval()
    model.save_pretrained(tmp_path)
    trained = load_encoder(str(tmp_path))
    images = trained.preprocess([Image.linear_gradient("L").convert("RGB")])
    assert images.shape == (1, 3, 32, 32) and trained.feature == "pooler_output"
    expected = model(images).pooler_output.flatten(1)
    torch.testing.assert_close(trained.features(images), expected, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(expected, model(images, apply_filter=False).pooler_output.flatten(1))
    first, again, other = (load_encoder(f"random:{tmp_path}", seed=seed) for seed in (1, 1, 2))
    assert first.weights_hash == again.weights_hash
    assert len({first.weights_hash, other.weights_hash, trained.weights_hash}) == 3
    torch.manual_seed(1)
    drawn = timm.create_model("test_resnet", num_classes=0).state_dict()["conv1.0.weight"]
    assert torch.equal(first.model.encoder.timm_model.conv1[0].weight, drawn)
    # Layers come from timm, so its version belongs to what fixes the features.
    assert trained.preprocessing["timm"] == timm.__version__


@pytest.mark.parametrize("objective", ["info_nce", "byol"])
def test_pre_training_draws_trains_keeps_and_publishes_it(objective, square_BCHW, tmp_path, aligned):
    heads = {"projector": [16, 8]} | ({"ema": 0.9, "predictor": [16, 8]} if objective == "byol" else {})
    config = from_timm("test_convnext", model_args={"drop_path_rate": 0.2})
    torch.manual_seed(5)
    model = SiameseForPreTraining.from_encoder(config, objective=objective, **heads).train()
    torch.manual_seed(5)
    start = timm.create_model("test_convnext", num_classes=0, drop_path_rate=0.2).state_dict()
    network = model.encoder.encoder.timm_model
    assert all(torch.equal(tensor, start[name]) for name, tensor in network.state_dict().items())
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        model([square_BCHW, square_BCHW.flip(3)]).loss.backward()
        optimizer.step()
        if objective == "byol":
            model.update_target(0.5)
    assert not torch.equal(network.state_dict()["stem.0.weight"], start["stem.0.weight"])
    if objective == "byol":
        target = model.target_encoder.encoder.timm_model.state_dict()
        assert not torch.equal(target["stem.0.weight"], start["stem.0.weight"])
        assert not torch.equal(target["stem.0.weight"], network.state_dict()["stem.0.weight"])

    model.save_pretrained(tmp_path / "run")
    resumed = SiameseForPreTraining.from_pretrained(tmp_path / "run")
    ours, theirs = model.state_dict(), resumed.state_dict()
    assert ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)
    resumed.encoder.save_pretrained(tmp_path / "encoder")
    assert {path.name for path in (tmp_path / "encoder").iterdir()} == FILES
    published = aligned(AutoModel.from_pretrained(tmp_path / "encoder"))
    expected = copy.deepcopy(model.encoder).eval()(square_BCHW).pooler_output
    assert torch.equal(published(square_BCHW).pooler_output, expected)
