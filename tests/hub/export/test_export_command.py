# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""`mscn-hf export` as it is typed, and a model that lies on the Hub."""

import json

import torchvision
from huggingface_hub import constants, metadata_load

from mscn_hf.cli import main
from mscn_hf.models import ReLICv2Config, ReLICv2Model


def test_what_is_printed(resnet18, tmp_path, capsys):
    out = tmp_path / "new" / "out"
    assert main(["export", str(resnet18), "--to", "torchvision", str(out)]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith(f"wrote {out}\n")
    size = (out / "resnet18.pth").stat().st_size
    assert f"{size:,} bytes" in printed
    assert "compared: features differ from the source's by at most" in printed
    load = printed.partition("load it:\n")[2].strip()
    names: dict = {}
    exec(load, names)
    assert isinstance(names["model"], torchvision.models.ResNet)

    assert main(["export", str(resnet18), "--to", "detectron2", "--no-check", str(tmp_path / "d2")]) == 0
    assert "not compared with the source" in capsys.readouterr().out


def test_tags_are_the_sources(save, tiny_fields, tmp_path):
    tags = ["resnet", "vision", "torchvision", "converted"]
    card = f"---\ntags: {json.dumps([*tags, 3])}\n---\n"
    folder = save("tagged", ReLICv2Model(ReLICv2Config(**tiny_fields)), card)
    assert main(["export", str(folder), "--to", "resnet", "--no-check", str(tmp_path / "out")]) == 0
    assert metadata_load(tmp_path / "out" / "README.md")["tags"] == tags


def test_what_is_refused_in_one_line(filtered_run, resnet18, tmp_path, capsys):
    (tmp_path / "mine.txt").write_text("mine")
    for words, said in (
        ([filtered_run, "--to", "timm", tmp_path / "out"], "high-pass filter of its input (high_pass_sigma=1.0)"),
        ([resnet18, "--to", "timm", tmp_path], "is not an empty folder"),
        ([tmp_path / "nothing", "--to", "timm", tmp_path / "out"], "there is no folder"),
    ):
        assert main(["export", *map(str, words)]) == 2
        error = capsys.readouterr().err.strip().splitlines()[-1]
        assert error.startswith("mscn-hf export: ")
        assert said in error


def test_from_the_hub(hub, resnet18, tmp_path, capsys, monkeypatch):
    hub.seed(resnet18, "org/relicv2-resnet18", "model")
    monkeypatch.setattr(constants, "ENDPOINT", hub.url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", hub.url + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    assert main(["export", "org/missing", "--to", "resnet", str(tmp_path / "out")]) == 2
    assert "'org/missing' is neither a folder here nor a Hub repository that can be read" in capsys.readouterr().err

    words = ["export", "org/relicv2-resnet18", "--revision", "main", "--to", "resnet", "--no-check"]
    assert main([*words, str(tmp_path / "out")]) == 0
    assert capsys.readouterr().out.startswith(f"wrote {tmp_path / 'out'}")
    assert any("/org/relicv2-resnet18/resolve/" in request for request in hub.requests)
    readme = tmp_path / "out" / "README.md"
    assert metadata_load(readme)["base_model"] == "org/relicv2-resnet18"
    assert metadata_load(readme)["license"] == "cc-by-4.0"
    assert "# org/relicv2-resnet18, for resnet" in readme.read_text()
