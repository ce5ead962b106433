# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""ONNX graphs in ONNX Runtime: filter and SAME padding inside, free sizes or an error, features of evaluation."""

import importlib.util
import json
import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image
from transformers import AutoImageProcessor, ViTMSNConfig, ViTMSNModel

from mscn_hf.evaluation.loading import load_encoder
from mscn_hf.hub.export import ExportError, export_model, to_onnx
from mscn_hf.models import (
    FilteredConfig,
    FilteredForImageClassification,
    MSCNConfig,
    MSCNForImageClassification,
    MSCNModel,
    ReLICv2Config,
    ReLICv2Model,
)
from mscn_hf.models.preprocessing import preprocessor_dict, save_preprocessor

onnx = pytest.importorskip("onnx", reason="ONNX graphs are read by onnx")
onnxruntime = pytest.importorskip("onnxruntime", reason="ONNX graphs are run by onnxruntime")
pytest.importorskip("onnxscript", reason="ONNX graphs are written by onnxscript")

TOLERANCE = 1e-4  # of the largest value
SMALLEST = {"layer_type": "basic", "embedding_size": 4, "hidden_sizes": [4], "depths": [1], "image_size": 32}


def run(folder, images_BCHW, *names):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # more of them wait for each other busily
    session = onnxruntime.InferenceSession(folder / "model.onnx", options)
    found = session.run(list(names) or None, {"pixel_values": images_BCHW.numpy()})
    return [torch.from_numpy(value) for value in found]


def metadata(folder):
    graph = onnx.load(folder / "model.onnx", load_external_data=False)
    return {fact.key: fact.value for fact in graph.metadata_props}


def assert_near(got, expected):
    assert got.shape == expected.shape
    assert (got - expected).abs().max() <= TOLERANCE * expected.abs().max()


def noise(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


@pytest.mark.parametrize("name", ["filtered_run", "same_padded"])
@torch.no_grad()
def test_any_batch_and_size(name, request, tmp_path, monkeypatch):
    folder = request.getfixturevalue(name)
    export = export_model(folder, "onnx", tmp_path / "out")
    assert export.difference is not None
    assert export.difference <= 1e-5
    filtered = name == "filtered_run"
    network = MSCNModel.from_pretrained(folder / "encoder") if filtered else ReLICv2Model.from_pretrained(folder)
    for shape in ((1, 3, 64, 64), (3, 3, 224, 224), (2, 3, 97, 130), (1, 3, 31, 66)):
        images_BCHW = noise(*shape)
        pooled_BF, maps = run(tmp_path / "out", images_BCHW, "pooler_output", "last_hidden_state")
        expected = network(images_BCHW)
        assert_near(pooled_BF, expected.pooler_output.flatten(1))
        assert_near(maps, expected.last_hidden_state)
        other = network(images_BCHW, apply_filter=False).pooler_output.flatten(1)
        assert filtered == ((pooled_BF - other).abs().max() > 0.01 * pooled_BF.abs().max())

    told = metadata(tmp_path / "out")
    assert told["model_type"] == ("mscn" if filtered else "relicv2")
    assert told["license"] == "cc-by-4.0"
    assert told["input_size"] == "any"
    assert told["high_pass_sigma"] == ("1.0" if filtered else "None")
    assert told["padding"] == ("symmetric" if filtered else "same")
    assert json.loads(told["preprocessing"])["crop_size"] == {"height": 64, "width": 64}
    names: dict = {}
    exec(export.load, names)
    assert [value.name for value in names["model"].get_inputs()] == ["pixel_values"]
    # the README's code, in its folder
    monkeypatch.chdir(tmp_path / "out")
    names = {"image": Image.linear_gradient("L").convert("RGB")}
    exec(Path("README.md").read_text().split("```python\n")[1].split("```")[0], names)
    images_BCHW = AutoImageProcessor.from_pretrained(".")(names["image"], return_tensors="pt")["pixel_values"]
    assert_near(torch.from_numpy(names["features"]), network(images_BCHW).pooler_output.flatten(1))


@torch.no_grad()
def test_a_transformer_of_one_size(save, tmp_path):
    config = ViTMSNConfig(
        hidden_size=12, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, image_size=48, patch_size=8
    )
    folder = save("vit", ViTMSNModel(config), card="")
    save_preprocessor(folder, preprocessor_dict(48))
    export = export_model(folder, "onnx", tmp_path / "out")
    assert any("Images have to be 48x48 pixels" in note for note in export.notes)
    assert metadata(tmp_path / "out")["input_size"] == "48x48"
    assert metadata(tmp_path / "out")["license"] == "not stated"
    encoder = load_encoder(str(folder))
    for batch in (1, 3):
        images_BCHW = noise(batch, 3, 48, 48)
        pooled_BF, tokens = run(tmp_path / "out", images_BCHW, "pooler_output", "last_hidden_state")
        assert_near(pooled_BF, encoder.features(images_BCHW))
        assert_near(tokens, ViTMSNModel.from_pretrained(folder)(images_BCHW).last_hidden_state)
    with pytest.raises(Exception, match="48"):
        run(tmp_path / "out", noise(1, 3, 64, 48))


@torch.no_grad()
def test_filtered_network_with_classifier(save, tmp_path):
    smaller = {"layers": [1, 1, 1, 1], "channels": [8, 8, 8, 8]}
    config = FilteredConfig.from_timm("resnet18", smaller, high_pass_sigma=1.0, image_size=32, num_labels=3)
    folder = save("filtered", FilteredForImageClassification(config))
    export_model(folder, "onnx", tmp_path / "out")
    assert metadata(tmp_path / "out")["model_type"] == "filtered"
    assert metadata(tmp_path / "out")["high_pass_sigma"] == "1.0"
    assert metadata(tmp_path / "out")["input_size"] == "any"
    network = FilteredForImageClassification.from_pretrained(folder)
    for shape in ((1, 3, 32, 32), (2, 3, 57, 44)):
        images_BCHW = noise(*shape)
        pooled_BF, maps, logits_BK = run(tmp_path / "out", images_BCHW)
        assert_near(logits_BK, network(images_BCHW).logits)
        assert_near(pooled_BF, network.filtered(images_BCHW).pooler_output.flatten(1))
        assert_near(maps, network.filtered(images_BCHW).last_hidden_state)


def test_what_fails_in_free_sizes_is_fixed_or_refused(save, tmp_path, monkeypatch):
    """A graph whose comparison fails is written for one size; where that fails too, nothing is."""
    folder = save("smallest", ReLICv2Model(ReLICv2Config(padding="same", **SMALLEST)))
    monkeypatch.setattr(to_onnx, "_convolution", lambda layer, images: torch.nn.Conv2d.forward(layer, images))
    export = export_model(folder, "onnx", tmp_path / "fixed")
    assert metadata(tmp_path / "fixed")["input_size"] == "32x32"
    assert any("Images have to be 32x32 pixels" in note for note in export.notes)
    images_BCHW = noise(3, 3, 32, 32)
    with torch.no_grad():
        expected = ReLICv2Model.from_pretrained(folder)(images_BCHW).pooler_output.flatten(1)
    assert_near(run(tmp_path / "fixed", images_BCHW, "pooler_output")[0], expected)
    # The same graph again, as if it gave other features.
    monkeypatch.setattr(to_onnx, "_export", lambda *_: shutil.copy(tmp_path / "fixed" / "model.onnx", _[-1]))
    monkeypatch.setattr(to_onnx, "TOLERANCE", -1.0)
    with pytest.raises(ExportError, match=r"smallest cannot be exported to ONNX: .* features differ"):
        export_model(folder, "onnx", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_missing_packages_and_large_weights(same_padded, save, tmp_path, monkeypatch):
    find_spec = importlib.util.find_spec

    def without(*missing):
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name in missing else find_spec(name))

    for package in ("onnx", "onnxscript"):
        without(package)
        with pytest.raises(ExportError, match=rf'needs the package {package}: pip install "mscn-hf\[onnx\]"'):
            export_model(same_padded, "onnx", tmp_path / "out")
    # Not compared; and with large weights, which lie beside the graph.
    without("onnxruntime")
    monkeypatch.setattr(to_onnx, "ONE_FILE_BYTES", 1000)
    folder = save("classifier", MSCNForImageClassification(MSCNConfig(high_pass_sigma=0.5, num_labels=2, **SMALLEST)))
    export = export_model(folder, "onnx", tmp_path / "out")
    assert export.difference is None
    assert any("Not compared with its source: onnxruntime is not installed" in note for note in export.notes)
    assert metadata(tmp_path / "out")["input_size"] == "any"
    assert json.loads(metadata(tmp_path / "out")["id2label"]) == {"0": "LABEL_0", "1": "LABEL_1"}
    assert export.files["model.onnx.data"] > 1000
    images_BCHW = noise(2, 3, 32, 33)
    [logits_BK] = run(tmp_path / "out", images_BCHW, "logits")
    with torch.no_grad():
        assert_near(logits_BK, MSCNForImageClassification.from_pretrained(folder)(images_BCHW).logits)
