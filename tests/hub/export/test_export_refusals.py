# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""A format that cannot hold a part of a network is refused: it would give other features without a word."""

import re

import pytest
import torch
from transformers import ResNetConfig, ViTMSNConfig

from mscn_hf.hub import UnfitFolderError
from mscn_hf.hub.export import TARGETS, ExportError, export_model
from mscn_hf.hub.export.capability import losses
from mscn_hf.models import FilteredConfig, MSCNConfig, ReLICv2Config
from mscn_hf.models.preprocessing import preprocessor_dict, save_preprocessor

TIMM_CONFIG = {"model_type": "timm_wrapper", "architecture": "resnet18", "model_args": {}}
# configuration -> what is named, targets that hold it
NETWORKS = {
    "standard": (ReLICv2Config.resnet(50), "", TARGETS),
    "transformers' own": (ResNetConfig(), "", TARGETS),
    "filter": (MSCNConfig.resnet(50), "high_pass_sigma=5.0", ["onnx"]),
    "no filter": (MSCNConfig.resnet(18, high_pass_sigma=None), "", TARGETS),
    "same padding": (ReLICv2Config.resnet(50, padding="same"), "padding='same'", ["onnx"]),
    "small stem": (ReLICv2Config.resnet(18, stem="small"), "stem='small'", ["onnx"]),
    "wide": (ReLICv2Config.resnet(50, width=2), "2x", ["detectron2", "resnet", "onnx"]),
    "wide basic": (ReLICv2Config.resnet(18, width=4), "4x", ["resnet", "onnx"]),
    "wide stem only": (ReLICv2Config.resnet(50, embedding_size=128), "embedding_size=128", ["resnet", "onnx"]),
    "other depths": (ReLICv2Config(depths=[1, 1, 1, 1]), "depths=[1, 1, 1, 1]", ["resnet", "onnx"]),
    "depth 200": (ReLICv2Config.resnet(200), "ResNet-200", ["timm", "torchvision", "resnet", "onnx"]),
    "grey": (ReLICv2Config.resnet(18, num_channels=1), "1 channel", ["timm", "resnet", "onnx"]),
    "stride": (ResNetConfig(downsample_in_bottleneck=True), "1x1", ["detectron2", "resnet", "onnx"]),
    "first stage": (ResNetConfig(downsample_in_first_stage=True), "first stage", ["resnet", "onnx"]),
    "activation": (ResNetConfig(hidden_act="gelu"), "hidden_act='gelu'", ["resnet", "onnx"]),
    "filtered": (FilteredConfig(encoder=TIMM_CONFIG, hidden_size=512), "high_pass_sigma=5.0", ["onnx"]),
    "transformer": (ViTMSNConfig(), "model_type 'vit_msn'", ["onnx"]),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_what_a_target_cannot_hold_is_refused(name, without_weights, tmp_path):
    config, lost, able = NETWORKS[name]
    folder = without_weights(config)
    if not (folder / "preprocessor_config.json").exists():
        save_preprocessor(folder, preprocessor_dict(224))
    assert [target for target in TARGETS if not losses(config, target)] == [t for t in TARGETS if t in able]
    for target in TARGETS:
        if target in able:
            continue
        with pytest.raises(ExportError, match=f"^{target} cannot hold this model") as error:
            export_model(folder, target, tmp_path / "out")
        assert lost in str(error.value)
        assert re.findall(r"--to (\w+)", str(error.value)) == [other for other in TARGETS if other in able]
        assert not (tmp_path / "out").exists()


def test_everything_lost_is_named(without_weights, tmp_path):
    config = MSCNConfig.resnet(18, width=2, padding="same", stem="small")
    with pytest.raises(ExportError) as error:
        export_model(without_weights(config), "timm", tmp_path / "out")
    for lost in ("high_pass_sigma=5.0", "padding='same'", "stem='small'", "2x"):
        assert lost in str(error.value)


def test_weights_that_would_stay_random(without_weights, tmp_path):
    folder = without_weights(ReLICv2Config.resnet(18))
    with pytest.raises(ExportError, match="lacks 120 tensors of ReLICv2Model"):
        export_model(folder, "torchvision", tmp_path / "out")
    assert not (tmp_path / "out").exists()
    (folder / "model.safetensors").write_bytes(b"not tensors")
    with pytest.raises(ExportError, match="cannot load the weights of 'configured'"):
        export_model(folder, "torchvision", tmp_path / "out")
    (folder / "model.safetensors").unlink()
    torch.save({}, folder / "pytorch_model.bin")
    with pytest.raises(UnfitFolderError, match=r"no \.safetensors weights"):
        export_model(folder, "torchvision", tmp_path / "out")


def test_an_output_folder_that_is_in_use(resnet18, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ExportError, match="is not an empty folder; name a new one"):
        export_model(resnet18, "torchvision", tmp_path)
    with pytest.raises(ExportError, match="is not an empty folder"):
        export_model(resnet18, "torchvision", tmp_path / "notes.txt")
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_what_is_no_model(tmp_path, without_weights):
    out = tmp_path / "out"
    with pytest.raises(ExportError, match=r"must be one of timm, torchvision, .*, got 'keras'"):
        export_model(tmp_path, "keras", out)
    with pytest.raises(UnfitFolderError, match="there is no folder"):
        export_model(tmp_path / "missing", "timm", out)
    with pytest.raises(UnfitFolderError, match=r"holds neither config\.json nor encoder/config\.json"):
        export_model(tmp_path, "timm", out)
    folder = without_weights(ReLICv2Config.resnet(18))
    with pytest.raises(ExportError, match="is a folder here and has no revision 'v2'"):
        export_model(folder, "timm", out, revision="v2")
    (folder / "config.json").write_text('{"model_type": "siamese_frog"}')
    with pytest.raises(ExportError, match="siamese_frog"):
        export_model(folder, "timm", out)
    assert not out.exists()


def test_features_that_differ_leave_nothing(resnet18, tmp_path, monkeypatch):
    from mscn_hf.hub.export import to_torchvision

    right = to_torchvision.torchvision_name
    swapped = {"layer1.0.bn1.weight": "layer1.0.bn2.weight", "layer1.0.bn2.weight": "layer1.0.bn1.weight"}
    monkeypatch.setattr(to_torchvision, "torchvision_name", lambda name: swapped.get(right(name), right(name)))
    differ = r"features differ from its source's by .* nothing was written"
    with pytest.raises(ExportError, match=differ):
        export_model(resnet18, "torchvision", tmp_path / "out")
    assert not (tmp_path / "out").exists()
    (tmp_path / "empty").mkdir()
    with pytest.raises(ExportError, match=differ):
        export_model(resnet18, "timm", tmp_path / "empty")
    assert list((tmp_path / "empty").iterdir()) == []
