# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""timm, torchvision and plain transformers load an export by the line it names, without this package."""

import json
import os
import re
import subprocess
import sys

import pytest
import timm
import torch
from huggingface_hub import metadata_load
from safetensors.torch import load_file
from transformers import ResNetConfig, ResNetModel

from mscn_hf.hub.export import export_model
from mscn_hf.models import ReLICv2Config, ReLICv2ForImageClassification, ReLICv2Model
from mscn_hf.models.configuration_siamese_resnet import RESNET_LAYERS

# Each line is run as it was printed; a folder's README is run from inside the folder.
LOAD = """
import copy, json, os, sys
sys.modules["mscn_hf"] = None  # cannot be imported, even where it is installed
import torch
from transformers import AutoModel

def scores(model):
    model, = [copy.deepcopy(model).eval()]  # fresh, that is aligned, memory for the weights
    with torch.no_grad():
        got = model(images)
    return got if isinstance(got, torch.Tensor) else got["logits" if "logits" in got else "pooler_output"].flatten(1)

images, out = torch.load("images.pt"), {}
for name, line in json.load(open("lines.json")).items():
    names = {}
    exec(line, names)
    out[name] = scores(names["model"])
out["wrapped"] = scores(AutoModel.from_pretrained("resnet50-timm"))
for name in json.load(open("readmes.json")):
    here = os.getcwd()
    os.chdir(name)
    from PIL import Image
    names = {"image": Image.linear_gradient("L").convert("RGB")}
    exec(open("README.md").read().split("```python\\n")[1].split("```")[0], names)
    features = names["features"] if "features" in names else names["outputs"].pooler_output
    out["README of " + name] = features.flatten(1).detach()
    os.chdir(here)
torch.save(out, "out.pt")
"""


@pytest.fixture(scope="module")
def exported(resnet18, classifier18, resnet50, tmp_path_factory):
    """Exports, and what a new process without this package got from them."""
    place = tmp_path_factory.mktemp("exported")
    done = {}
    for source in (resnet18, classifier18, resnet50):
        for target in ("timm", "torchvision", "resnet"):
            if (source, target) != (resnet50, "resnet"):
                done[f"{source.name}-{target}"] = export_model(source, target, place / f"{source.name}-{target}")
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(5))
    torch.save(images, place / "images.pt")
    (place / "lines.json").write_text(json.dumps({name: export.load for name, export in done.items()}))
    (place / "readmes.json").write_text(json.dumps([f"resnet18-{t}" for t in ("timm", "torchvision", "resnet")]))
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    # Equal thread counts, since outputs are compared to the bit.
    threads = {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": str(torch.get_num_threads())}
    ran = subprocess.run(
        [sys.executable, "-I", "-c", LOAD], cwd=place, env=inherited | threads,
        capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=240, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr[-4000:]
    return done, torch.load(place / "out.pt"), images


def test_same_features_to_the_bit(exported, resnet18, classifier18, resnet50, aligned):
    done, out, images = exported
    for source in (resnet18, classifier18, resnet50):
        network_class = ReLICv2ForImageClassification if source is classifier18 else ReLICv2Model
        network = aligned(network_class.from_pretrained(source))
        with torch.no_grad():
            output = network(images)
        expected = output.logits if source is classifier18 else output.pooler_output.flatten(1)
        names = [name for name in done if name.startswith(f"{source.name}-")]
        assert len(names) == (2 if source is resnet50 else 3)
        for name in names:
            assert torch.equal(out[name], expected), name
            assert done[name].difference is not None, name
            assert done[name].difference <= 1e-6, name
    # transformers' wrapper of timm reads the folder too
    assert torch.equal(out["wrapped"], out["resnet50-timm"])


def test_the_readmes_code_runs(exported):
    _, out, _ = exported
    features = [out[f"README of resnet18-{target}"] for target in ("timm", "torchvision", "resnet")]
    for got in features:
        assert got.shape == (1, 512)
        torch.testing.assert_close(got, features[0], rtol=0, atol=1e-3 * features[0].abs().max().item())


def test_readme_names_origin_and_licence(exported):
    for name, export in exported[0].items():
        readme = export.folder / "README.md"
        data = metadata_load(readme)
        target = name.rpartition("-")[2]
        assert data["license"] == "cc-by-4.0"
        assert data["tags"] == ["relicv2", "vision"], "how it was trained does not stand in the source's card"
        assert data["library_name"] == {"resnet": "transformers"}.get(target, target)
        assert (export.folder / "SOURCE_README.md").read_text().endswith("# Somebody's encoder\n")
        assert str(export.folder.parent) not in readme.read_text()  # a path of this machine
        assert export.files == {path.name: path.stat().st_size for path in export.folder.iterdir()}


def test_torchvisions_two_files_are_one(exported):
    folder = exported[0]["resnet50-torchvision"].folder
    pickled = torch.load(folder / "resnet50.pth", weights_only=True)
    tensors = load_file(folder / "resnet50.safetensors")
    assert type(pickled) is dict
    assert pickled.keys() == tensors.keys()
    assert len(pickled) == 318
    assert all(torch.equal(pickled[name], tensors[name]) for name in tensors)
    # no storage holds more than its tensor
    assert (folder / "resnet50.pth").stat().st_size < 1.01 * (folder / "resnet50.safetensors").stat().st_size


def test_timm_resolves_the_preprocessing(exported):
    network = timm.create_model(f"local-dir:{exported[0]['resnet18-timm'].folder}", pretrained=True, num_classes=0)
    settings = timm.data.resolve_model_data_config(network)
    assert settings["input_size"] == [3, 64, 64]
    assert int(64 / settings["crop_pct"]) == 74
    assert (settings["interpolation"], settings["crop_mode"]) == ("bicubic", "center")
    assert settings["mean"] == [0.485, 0.456, 0.406]
    assert settings["std"] == [0.229, 0.224, 0.225]
    assert network.pretrained_cfg["license"] == "cc-by-4.0"
    classifier = timm.create_model(f"local-dir:{exported[0]['classifier18-timm'].folder}", pretrained=False)
    assert classifier.num_classes == 3
    assert classifier.pretrained_cfg["label_names"] == ["tench", "church", "parachute"]
    # a new classifier on old features
    assert timm.create_model(f"local-dir:{exported[0]['resnet18-timm'].folder}", True, num_classes=7).num_classes == 7


def test_native_folder(exported, resnet18):
    folder = exported[0]["resnet18-resnet"].folder
    config = json.loads((folder / "config.json").read_text())
    assert config["model_type"] == "resnet"
    assert not {"auto_map", "high_pass_sigma", "stem", "padding", "image_size"} & config.keys()
    assert (folder / "preprocessor_config.json").read_bytes() == (resnet18 / "preprocessor_config.json").read_bytes()
    assert not list(folder.glob("*.py"))
    classifier = ResNetConfig.from_pretrained(exported[0]["classifier18-resnet"].folder)
    assert classifier.id2label == {0: "tench", 1: "church", 2: "parachute"}


def test_depth_200_in_torchvision(save, tmp_path, monkeypatch):
    # its name and its builder, at fewer layers
    monkeypatch.setitem(RESNET_LAYERS, 200, ("bottleneck", [1, 2, 1, 1]))
    export = export_model(save("resnet200", ReLICv2Model(ReLICv2Config.resnet(200))), "torchvision", tmp_path / "out")
    assert "torchvision.models.ResNet(torchvision.models.resnet.Bottleneck, [1, 2, 1, 1])" in export.load
    names: dict = {}
    exec(export.load, names)
    assert [len(getattr(names["model"], f"layer{stage}")) for stage in (1, 2, 3, 4)] == [1, 2, 1, 1]
    assert export.difference is not None


def test_grey_images_in_timm(save, tmp_path):
    config = ReLICv2Config.resnet(18, num_channels=1, image_size=64, image_mean=[0.4], image_std=[0.3])
    export = export_model(save("grey", ReLICv2Model(config)), "timm", tmp_path / "out")
    network = timm.create_model(f"local-dir:{tmp_path / 'out'}", pretrained=True)
    assert network.conv1.weight.shape == (64, 1, 7, 7)
    assert timm.data.resolve_model_data_config(network)["input_size"] == (1, 64, 64)
    assert export.difference is not None


def test_strides_in_1x1_stay_in_transformers(save, tmp_path, images_BCHW, aligned):
    config = ResNetConfig(
        embedding_size=6, hidden_sizes=[8, 12], depths=[1, 1], downsample_in_bottleneck=True, hidden_act="gelu",
        downsample_in_first_stage=True, num_channels=3, out_features=["stage2"],
    )  # fmt: skip
    folder = save("strides", ResNetModel(config))
    (folder / "preprocessor_config.json").write_text('{"image_processor_type": "ViTImageProcessor"}')
    export_model(folder, "resnet", tmp_path / "out")
    again = aligned(ResNetModel.from_pretrained(tmp_path / "out"))
    with torch.no_grad():
        expected = aligned(ResNetModel.from_pretrained(folder))(images_BCHW).last_hidden_state
        assert torch.equal(again(images_BCHW).last_hidden_state, expected)
    assert again.config.out_features == ["stage2"]


def test_folders_with_odd_names(resnet18, tmp_path):
    out = tmp_path / 'it\'s "new" {folder} \\ é'
    export = export_model(resnet18, "torchvision", out, check=False)
    assert export.difference is None
    names: dict = {}
    exec(export.load, names)
    assert re.search(r"BasicBlock", str(names["model"]))
