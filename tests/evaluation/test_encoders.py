# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
import json

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from small_data import save_tiny_resnet
from transformers import BitImageProcessor, ViTConfig, ViTModel

from mscn_hf.evaluation.encoder import weights_hash
from mscn_hf.evaluation.loading import load_encoder
from mscn_hf.models import MSCNConfig, MSCNModel


def photographs(count=3, side=40):
    random = np.random.default_rng(0)
    return [Image.fromarray(random.integers(0, 256, (side, side + 9, 3), dtype=np.uint8)) for _ in range(count)]


def save_tiny_vit(folder, seed=0, **fields):
    torch.manual_seed(seed)
    config = ViTConfig(
        hidden_size=12, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, image_size=32, patch_size=8
    )
    ViTModel(config, **fields).save_pretrained(folder)
    BitImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}).save_pretrained(folder)
    return folder


def test_the_hash_sees_every_tensor_and_nothing_else(tiny_model):
    encoder = load_encoder(str(tiny_model))
    before = encoder.weights_hash
    assert before == load_encoder(str(tiny_model)).weights_hash == weights_hash(encoder.model)
    changed = set()
    for name, tensor in encoder.model.state_dict().items():
        kept = tensor.clone()
        tensor.add_(1)
        changed.add(weights_hash(encoder.model))
        with pytest.raises(RuntimeError, match="changed while it was probed"):
            encoder.assert_frozen()
        tensor.copy_(kept)
        assert "running" in name or "num_batches" in name or "weight" in name or "bias" in name, name
    assert len(changed) == len(encoder.model.state_dict()) and before not in changed
    encoder.assert_frozen()


def test_a_model_in_training_mode_is_refused_and_eval_leaves_batch_norm_alone(tiny_model):
    encoder = load_encoder(str(tiny_model))
    images = encoder.preprocess(photographs())
    encoder.features(images)
    encoder.assert_frozen()
    assert not any(parameter.requires_grad for parameter in encoder.model.parameters())
    encoder.model.train()
    with pytest.raises(RuntimeError, match="eval mode"):
        encoder.features(images)
    encoder.model(images)  # this is what the check guards against: batch norm learns
    with pytest.raises(RuntimeError, match="changed while it was probed"):
        encoder.assert_frozen()


def test_resnet_features_are_its_pooler_output(tiny_model):
    encoder = load_encoder(str(tiny_model))
    images = encoder.preprocess(photographs())
    assert images.shape == (3, 3, 24, 24)
    with torch.no_grad():
        expected = encoder.model(images).pooler_output.flatten(1)
    torch.testing.assert_close(encoder.features(images), expected, rtol=0, atol=0)
    assert (encoder.feature, encoder.preprocessing["backend"]) == ("pooler_output", "pil")


def test_mscn_is_loaded_with_its_filter(tmp_path):
    torch.manual_seed(0)
    config = MSCNConfig(
        embedding_size=8, hidden_sizes=[8, 8], depths=[1, 1], layer_type="basic", image_size=32, high_pass_sigma=2.0
    )
    MSCNModel(config).save_pretrained(tmp_path)
    encoder = load_encoder(str(tmp_path))
    images = encoder.preprocess(photographs())
    with torch.no_grad():
        filtered = encoder.model(images).pooler_output.flatten(1)
        bare = encoder.model(images, apply_filter=False).pooler_output.flatten(1)
    torch.testing.assert_close(encoder.features(images), filtered, rtol=0, atol=0)
    assert not torch.allclose(filtered, bare, atol=1e-3)

    unfiltered = load_encoder(f"unfiltered:{tmp_path}")
    torch.testing.assert_close(unfiltered.features(images), bare, rtol=0, atol=0)
    # A card takes Results with the hash of its weights for its own, and features are cached by architecture too.
    assert encoder.revision == unfiltered.weights_hash == encoder.weights_hash
    assert unfiltered.revision == f"{encoder.revision}-unfiltered"
    assert unfiltered.identity()["architecture"] != encoder.identity()["architecture"]


def test_without_a_filter_there_is_none_to_leave_out(tiny_model):
    with pytest.raises(ValueError, match="no high-pass filter to leave out"):
        load_encoder(f"unfiltered:{tiny_model}")


def test_same_tensors_under_another_architecture_are_another_identity(tmp_path):
    fields = {"embedding_size": 8, "hidden_sizes": [8, 8], "depths": [1, 1], "layer_type": "basic", "image_size": 32}
    for padding in ("symmetric", "same"):
        torch.manual_seed(0)
        MSCNModel(MSCNConfig(padding=padding, **fields)).save_pretrained(tmp_path / padding)
    symmetric, same = (load_encoder(str(tmp_path / padding)) for padding in ("symmetric", "same"))
    assert symmetric.weights_hash == same.weights_hash
    assert symmetric.identity() != same.identity()


def test_vit_gives_its_pooler_only_where_the_checkpoint_holds_one(tmp_path):
    with_pooler = load_encoder(str(save_tiny_vit(tmp_path / "with")))
    without = load_encoder(str(save_tiny_vit(tmp_path / "without", add_pooling_layer=False)))
    assert with_pooler.feature == "pooler_output"
    assert without.feature == "last_hidden_state, class token"
    images = without.preprocess(photographs())
    with torch.no_grad():
        expected = without.model(images).last_hidden_state[:, 0]
    torch.testing.assert_close(without.features(images), expected)


def test_lost_weights_are_an_error_and_not_random(tiny_model, tmp_path):
    from safetensors.torch import load_file, save_file

    for file in tiny_model.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    tensors = load_file(tmp_path / "model.safetensors")
    tensors.pop("embedder.embedder.convolution.weight")
    save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match=r"lacks 1 tensors.*embedder.convolution.weight"):
        load_encoder(str(tmp_path))


def test_random_has_the_architecture_and_seeded_weights(tiny_model):
    trained = load_encoder(str(tiny_model))
    first, again, other = (load_encoder(f"random:{tiny_model}", seed=seed) for seed in (1, 1, 2))
    assert first.weights_hash == again.weights_hash
    assert len({first.weights_hash, other.weights_hash, trained.weights_hash}) == 3
    assert {name: tensor.shape for name, tensor in first.model.state_dict().items()} == {
        name: tensor.shape for name, tensor in trained.model.state_dict().items()
    }
    assert first.preprocessing == trained.preprocessing


def test_timm_names_and_folders(tmp_path):
    encoder = load_encoder("timm:test_resnet", seed=3)
    images = encoder.preprocess(photographs())
    with torch.no_grad():
        expected = encoder.model.forward_head(encoder.model.forward_features(images), pre_logits=True)
    torch.testing.assert_close(encoder.features(images), expected)
    torch.manual_seed(7)
    network = timm.create_model("test_resnet", num_classes=5)
    timm.models.save_for_hf(network, tmp_path / "own", safe_serialization=True)
    own = load_encoder(str(tmp_path / "own"))
    torch.testing.assert_close(own.model.state_dict()["conv1.0.weight"], network.state_dict()["conv1.0.weight"])
    fresh = load_encoder(f"random:{tmp_path / 'own'}", seed=3)
    assert fresh.weights_hash == encoder.weights_hash != own.weights_hash


def test_pixels_are_pixels():
    encoder = load_encoder("pixels")
    white_and_black = [Image.new("RGB", (50, 30), "white"), Image.new("RGB", (5, 7), "black")]
    features = encoder.features(encoder.preprocess(white_and_black))
    assert features.shape == (2, 768)
    assert features.unique(dim=1).flatten().tolist() == [1.0, -1.0]


def test_what_cannot_be_loaded_says_so(tmp_path, tiny_model):
    with pytest.raises(ValueError, match=r"no model folder './nothing/here'"):
        load_encoder("./nothing/here")
    with pytest.raises(ValueError, match=r"cannot load the model.*config\.json"):
        load_encoder(str(tmp_path))
    with pytest.raises(ValueError, match="timm has no model 'resnet5O'; did you mean"):
        load_encoder("timm:resnet5O")
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "resnet"}))
    with pytest.raises(ValueError, match="no image processor"):
        load_encoder(str(tmp_path))


def test_features_differ_between_weights_and_images_are_enlarged_to_the_crop(tmp_path, tiny_model):
    other = load_encoder(str(save_tiny_resnet(tmp_path, seed=5)))
    images = other.preprocess([Image.new("RGB", (3, 2), "red")])
    assert images.shape == (1, 3, 24, 24)
    assert not torch.equal(other.features(images), load_encoder(str(tiny_model)).features(images))
