# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""What DetectionCheckpointer reads. detectron2 cannot be installed everywhere: its rules stand in for it.

The names' table is in test_export_names.py.
"""

import pytest
import torch
import yaml

from mscn_hf.hub.export import export_model
from mscn_hf.hub.export.source import open_model
from mscn_hf.hub.export.to_torchvision import torchvision_weights
from mscn_hf.models import ReLICv2Config, ReLICv2Model
from mscn_hf.models.configuration_siamese_resnet import RESNET_LAYERS


def renamed(name):
    """A name of torchvision's in detectron2, by the replacements that detectron2's tools apply."""
    name = name if "layer" in name else f"stem.{name}"
    for old, new in (("bn1", "conv1.norm"), ("bn2", "conv2.norm"), ("bn3", "conv3.norm")):
        name = name.replace(old, new)
    for stage in (1, 2, 3, 4):
        name = name.replace(f"layer{stage}", f"res{stage + 1}")
    return name.replace("downsample.0", "shortcut").replace("downsample.1", "shortcut.norm")


@pytest.mark.parametrize("name", ["resnet50", "classifier18"])
def test_checkpoint(name, request, tmp_path):
    folder = request.getfixturevalue(name)
    export = export_model(folder, "detectron2", tmp_path / "out")
    depth = name.removeprefix("resnet").removeprefix("classifier")
    checkpoint = torch.load(tmp_path / "out" / f"resnet{depth}.pth", weights_only=True)
    # Detectors put a prefix before these names, so the loader has to compare their ends.
    assert checkpoint["matching_heuristics"] is True
    assert checkpoint["__author__"] == "mscn-hf"
    weights = checkpoint["model"]
    # With batch norm's version 2 in it, detectron2 would take eps off running_var.
    assert type(weights) is dict
    assert not hasattr(weights, "_metadata")

    theirs = torchvision_weights(open_model(folder))
    left_out = [key for key in theirs if key.startswith("fc.") or key.endswith("num_batches_tracked")]
    expected = {renamed(key): value for key, value in theirs.items() if key not in left_out}
    assert weights.keys() == expected.keys()
    assert all(torch.equal(weights[key], expected[key]) for key in expected)
    assert export.difference is None
    assert ("The classifier is left out: detectors have none." in export.notes) == (name == "classifier18")
    assert any("detectron2 itself was not run" in note for note in export.notes)

    settings = yaml.safe_load((tmp_path / "out" / "detectron2.yaml").read_text())["MODEL"]
    # detectron2's own, but for the depth, the stride and the width that its basic blocks have to have
    res2 = 64 if depth == "18" else 256
    assert settings["RESNETS"] == {
        "DEPTH": int(depth), "STRIDE_IN_1X1": False, "STEM_OUT_CHANNELS": 64, "RES2_OUT_CHANNELS": res2,
        "WIDTH_PER_GROUP": 64,
    }  # fmt: skip
    assert settings["PIXEL_MEAN"] == pytest.approx([123.675, 116.28, 103.53])
    assert settings["PIXEL_STD"] == pytest.approx([58.395, 57.12, 57.375])


def test_configuration(save, tmp_path, monkeypatch):
    # a wide ResNet-50 of fewer layers, normalised in its own way
    monkeypatch.setitem(RESNET_LAYERS, 50, ("bottleneck", [1, 1, 1, 1]))
    config = ReLICv2Config.resnet(
        50, width=2, downsample_in_bottleneck=True, image_mean=[0.5, 0.4, 0.3], image_std=[0.1, 0.2, 0.3]
    )
    export = export_model(save("wide", ReLICv2Model(config)), "detectron2", tmp_path / "out")
    assert yaml.safe_load((tmp_path / "out" / "detectron2.yaml").read_text()) == {
        "MODEL": {
            "PIXEL_MEAN": [127.5, 102.0, 76.5],
            "PIXEL_STD": [25.5, 51.0, 76.5],
            "RESNETS": {
                "DEPTH": 50,
                "STRIDE_IN_1X1": True,
                "STEM_OUT_CHANNELS": 128,
                "RES2_OUT_CHANNELS": 512,
                "WIDTH_PER_GROUP": 128,
            },
        },
        "INPUT": {"FORMAT": "RGB"},
    }
    for part in ("detectron2.yaml", "resnet50.pth"):
        assert str(tmp_path / "out" / part) in export.load
    compile(export.load, "line", "exec")
