# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""`mscn-hf convert`, on checkpoints made with numpy alone."""

import json
import os
import pickle

import numpy as np
import pytest
import torch
from huggingface_hub import ModelCard
from torch_checkpoints import body, small_resnet

from mscn_hf.cli import main
from mscn_hf.hub.conversion.haiku import convert_haiku
from mscn_hf.hub.conversion.haiku_layout import haiku_name, haiku_shape
from mscn_hf.models import ReLICv2Config, ReLICv2Model


@pytest.fixture
def encoder():
    config = ReLICv2Config(embedding_size=4, hidden_sizes=[8, 16], depths=[1, 2], padding="same")
    torch.manual_seed(0)
    model = ReLICv2Model(config)
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            tensor.fill_(5) if name.endswith("tracked") else tensor.copy_(torch.rand_like(tensor))
    return model.eval()


def state_of(encoder):
    """The encoder as ReLICv2's program saves it, beside a projector."""
    trees = {"online_params": {"projector/~/linear": {"w": np.ones((8, 4), np.float32)}}, "online_state": {}}
    for key, tensor in encoder.state_dict().items():
        module, _, name = ("res_net50/" + haiku_name(key)).rpartition("/")
        numbers = tensor.numpy().transpose(2, 3, 1, 0) if tensor.ndim == 4 else tensor.numpy()
        tree = trees["online_state" if module.endswith("_ema") else "online_params"]
        tree.setdefault(module.replace("/", "/~/"), {})[name] = numbers.reshape(haiku_shape(tuple(tensor.shape)))
    return trees


def saved(state, path):
    path.write_bytes(pickle.dumps({"experiment_state": state, "step": 1234, "rng": None}, protocol=2))
    return path


@pytest.fixture
def checkpoint(encoder, tmp_path):
    return saved(state_of(encoder), tmp_path / "checkpoint.pkl")


@pytest.fixture
def byol_checkpoint(encoder, tmp_path):
    state = state_of(encoder)
    target = {"target_params": state["online_params"], "target_state": state["online_state"]}
    return saved(state | target, tmp_path / "byol.pkl")


def test_a_folder_is_written(encoder, byol_checkpoint, tmp_path, capsys):
    out, checkpoint = tmp_path / "made" / "encoder", str(byol_checkpoint)
    assert main(["convert", "byol", checkpoint, str(out), "--license", "cc-by-nc-4.0", "--no-check-usage"]) == 0
    printed = capsys.readouterr().out
    parameters = sum(p.numel() for p in encoder.parameters())
    for told in (f"{parameters:,}", "widths [8, 16]", "1,234", "projector (1)", "cc-by-nc-4.0", f"wrote {out}"):
        assert told in printed
    loaded = ReLICv2Model.from_pretrained(out)
    assert loaded.config.padding == "same"
    assert all(torch.equal(a, b) for a, b in zip(loaded.state_dict().values(), encoder.state_dict().values()))
    assert (out / "model.safetensors").is_file() and not list(out.glob("*.pkl"))
    card = ModelCard.load(out / "README.md")
    assert card.data.license == "cc-by-nc-4.0" and "BYOL" in card.text
    facts = json.loads((out / "conversion.json").read_text())["facts"]
    assert facts["left out"] == {"projector": 1, "target_params": 0, "target_state": 0, "rng": 0}

    before = {path: path.read_bytes() for path in out.iterdir()}
    assert main(["convert", "byol", checkpoint, str(out)]) == 2
    assert "not an empty folder" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in out.iterdir()} == before


def test_a_dry_run_writes_nothing(checkpoint, tmp_path, capsys):
    before = sorted(tmp_path.rglob("*"))
    assert main(["convert", "relicv2", str(checkpoint), "--dry-run"]) == 0
    printed = capsys.readouterr().out
    assert "cc-by-4.0" in printed and "dry run: nothing was written" in printed
    assert main(["convert", "relicv2", str(checkpoint), str(tmp_path / "out"), "--dry-run"]) == 0
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("named", "shown", "sign"),
    [("relicv2", "byol", "it holds target_params"), ("byol", "relicv2", "it holds no target_params")],
)
def test_byol_and_relicv2_are_told_apart(checkpoint, byol_checkpoint, capsys, named, shown, sign):
    file = {"byol": byol_checkpoint, "relicv2": checkpoint}[shown]
    assert main(["convert", named, str(file), "--dry-run"]) == 2
    error = capsys.readouterr().err
    assert (
        f"{file.name} is of the family {shown!r} ({sign})" in error and f"the paper and licence of {named!r}" in error
    )
    assert convert_haiku(file, "", dry_run=True)["family"] == shown
    with pytest.raises(ValueError, match="there is no family 'relic'; known are"):
        convert_haiku(file, "", dry_run=True, family="relic")


def test_drop_leaves_the_paths_behind_it_alone(tmp_path, capsys):
    strange = {"decoder.0.weight": torch.randn(3), "critic.weight": torch.randn(3)}
    torch.save(body(small_resnet()) | strange, tmp_path / "x.pth")
    words = ["convert", "pth", "--no-check-usage", "--drop", "decoder.*", "--drop", "critic.*"]
    assert main([*words, str(tmp_path / "x.pth"), str(tmp_path / "out")]) == 0
    assert "decoder.* (1), critic.* (1)" in capsys.readouterr().out
    assert (tmp_path / "out" / "model.safetensors").is_file()


def test_an_unknown_licence_is_said(byol_checkpoint, capsys):
    assert main(["convert", "byol", str(byol_checkpoint), "--dry-run"]) == 0
    assert "not known: ask the authors, then name it with --license" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["relicv2", "FILE"], "name the folder to write, or add --dry-run"),
        (["relicv2", "absent.pkl", "OUT"], "there is no file 'absent.pkl'"),
        (["relicv2", "FILE", "OUT", "--network", "target"], "holds no target_params"),
        (["relicv2", "FILE", "OUT", "--prefix", "x"], "--prefix is no option for relicv2; it takes --network"),
        (["byol", "FILE", "OUT", "--with-head"], "--with-head is no option for byol"),
        (["msn", "FILE", "OUT", "--drop", "x"], "--drop is no option for msn; it takes --network, --num-heads"),
        (["relicv2", "FILE", "OUT", "--num-heads", "0"], "--num-heads is no option for relicv2"),
        (["relicv2", "FILE", "OUT", "--license", "My Licence!"], "license must be a Hub identifier"),
    ],
)
def test_wrong_input_is_one_line(checkpoint, tmp_path, capsys, words, message):
    out = tmp_path / "out"
    words = [{"FILE": str(checkpoint), "OUT": str(out)}.get(word, word) for word in words]
    assert main(["convert", *words]) == 2
    error = capsys.readouterr().err
    assert error.startswith("mscn-hf convert: ") and message in error and error.count("\n") == 1
    assert not out.exists()


def test_a_checkpoint_with_code_is_refused(tmp_path, capsys):
    class Attack:
        def __reduce__(self):
            return os.system, (f"echo x > '{tmp_path / 'marker'}'",)

    path = tmp_path / "x.pkl"
    path.write_bytes(pickle.dumps({"experiment_state": {"online_params": Attack()}}))
    assert main(["convert", "relicv2", str(path), str(tmp_path / "out")]) == 2
    assert "asks for posix.system, which is not plain data" in capsys.readouterr().err
    assert [entry.name for entry in tmp_path.iterdir()] == ["x.pkl"]
