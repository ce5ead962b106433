# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
import argparse
import os
import pathlib
import sys
import time
import types

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from mscn_hf.hub.conversion.files import CheckpointError
from mscn_hf.hub.conversion.torch_files import open_torch_file

STATE = {"layer.weight": torch.arange(6.0).reshape(2, 3), "steps": torch.tensor(7)}


class Call:
    """A pickle that calls a function when it is loaded without restrictions."""

    def __init__(self, function, *args):
        self.call = (function, args)

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_tensors_are_found_by_their_place(tmp_path, zipped):
    optimizer = {"state": {0: {"momentum_buffer": torch.ones(2)}}, "param_groups": [{"lr": 0.1}]}
    content = {"state_dict": STATE, "a": {"b": {"c": dict(STATE)}}, "optimizer": optimizer, "epoch": 3}
    torch.save(content, tmp_path / "x.pth.tar", _use_new_zipfile_serialization=zipped)
    file = open_torch_file(tmp_path / "x.pth.tar")
    assert list(file.groups) == ["state_dict", "a/b/c"]
    assert file.other == ["optimizer", "epoch"]
    read = dict(file.read("a/b/c", {"new": "layer.weight"}))
    assert list(read) == ["new"] and torch.equal(read["new"], STATE["layer.weight"])


def test_safetensors_are_checked_before_they_are_read(tmp_path):
    save_file({**STATE, "half": torch.ones(2, dtype=torch.bfloat16)}, tmp_path / "x.safetensors")
    file = open_torch_file(tmp_path / "x.safetensors")
    assert {tensor.device.type for tensor in file.groups[""].values()} == {"meta"}
    assert file.groups[""]["half"].dtype == torch.bfloat16 and file.groups[""]["layer.weight"].shape == (2, 3)
    assert torch.equal(dict(file.read("", {"w": "layer.weight"}))["w"], STATE["layer.weight"])


def test_what_is_read_outlives_the_file(tmp_path):
    torch.save(STATE, tmp_path / "x.pth")
    read = dict(open_torch_file(tmp_path / "x.pth").read("", {"w": "layer.weight"}))
    size = (tmp_path / "x.pth").stat().st_size
    (tmp_path / "x.pth").write_bytes(b"\xff" * size)  # in place, where a memory map would see it
    assert torch.equal(read["w"], STATE["layer.weight"])


@pytest.mark.parametrize("nested", ["at the top", "in a namespace", "in a state dict"])
@pytest.mark.parametrize("function", [os.system, eval, exec], ids=lambda function: function.__name__)
def test_code_is_named_and_not_run(tmp_path, function, nested):
    trace = tmp_path / "trace"
    command = f"touch {trace}" if function is os.system else f"open({str(trace)!r}, 'w')"
    evil = Call(function, command)
    content = {
        "at the top": {"state_dict": STATE, "x": evil},
        "in a namespace": {"state_dict": STATE, "args": argparse.Namespace(x=evil)},
        "in a state dict": {"state_dict": {**STATE, "x": evil}},
    }
    torch.save(content[nested], tmp_path / "x.pth")
    with pytest.raises(CheckpointError, match=rf"asks for (posix\.)?{function.__name__}\b.*not opened"):
        open_torch_file(tmp_path / "x.pth")
    assert not trace.exists()
    torch.load(tmp_path / "x.pth", weights_only=False)
    assert trace.exists(), "the file must be dangerous, or this test shows nothing"


def test_what_scripts_leave_beside_the_weights_is_passed_over(tmp_path):
    """None of these classes is called: a constructor that would fail or act is never reached."""
    notes = {
        "args": argparse.Namespace(lr=0.1, folder=pathlib.Path("/data"), nested=argparse.Namespace()),
        "loss": np.float64(0.5),
        "epochs": np.int64(3),
        "history": np.arange(5.0),
        "objects": np.array([1, None], dtype=object),
    }
    torch.save({"state_dict": STATE, **notes}, tmp_path / "x.pth")
    file = open_torch_file(tmp_path / "x.pth")
    assert list(file.groups) == ["state_dict"] and file.other == list(notes)


def test_lightning_checkpoint_with_omegaconf_settings(tmp_path):
    omegaconf = pytest.importorskip("omegaconf")
    settings = omegaconf.OmegaConf.create({"a": 1, "b": [1, 2], "c": {"d": None}})
    torch.save({"state_dict": STATE, "hyper_parameters": {"cfg": settings}}, tmp_path / "x.ckpt")
    assert torch.serialization.get_unsafe_globals_in_checkpoint(tmp_path / "x.ckpt"), "it needs the list"
    assert list(open_torch_file(tmp_path / "x.ckpt").groups) == ["state_dict"]


def test_lightnings_dictionary_of_settings(tmp_path, monkeypatch):
    module = types.ModuleType("pytorch_lightning.utilities.parsing")
    kind = type("AttributeDict", (dict,), {"__module__": module.__name__})
    module.AttributeDict = kind
    for name in ("pytorch_lightning", "pytorch_lightning.utilities"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    torch.save({"state_dict": STATE, "hyper_parameters": kind(lr=0.1)}, tmp_path / "x.ckpt")
    monkeypatch.delitem(sys.modules, module.__name__)
    file = open_torch_file(tmp_path / "x.ckpt")
    assert list(file.groups) == ["state_dict"] and file.other == ["hyper_parameters"]


def test_the_lists_of_torch_stay_as_they_were(tmp_path):
    torch.save({"state_dict": STATE, "args": argparse.Namespace()}, tmp_path / "x.pth")
    before = set(torch.serialization.get_safe_globals())
    open_torch_file(tmp_path / "x.pth")
    assert set(torch.serialization.get_safe_globals()) == before
    with pytest.raises(Exception, match="Namespace"):
        torch.load(tmp_path / "x.pth", weights_only=True)


def test_sizes_that_the_file_does_not_hold(tmp_path):
    torch.save({"w": torch.ones(1).expand(10**6, 10**6)}, tmp_path / "x.pth")
    with pytest.raises(CheckpointError, match=r"w has the shape .* but not that many numbers"):
        open_torch_file(tmp_path / "x.pth")
    torch.save({"w": torch.eye(3).to_sparse()}, tmp_path / "y.pth")
    with pytest.raises(CheckpointError, match="not an ordinary tensor"):
        open_torch_file(tmp_path / "y.pth")


def test_a_dictionary_at_several_places_is_listed_once(tmp_path):
    shared = dict(STATE)
    torch.save({"deep": {"er": shared}, "model": shared, "same": shared}, tmp_path / "x.pth")
    file = open_torch_file(tmp_path / "x.pth")
    assert list(file.groups) == ["model"] and file.other == ["deep", "same"]


def test_shared_dictionaries_do_not_explode(tmp_path):
    content = dict(STATE)
    for _ in range(9):
        content = dict.fromkeys([f"key{index}" for index in range(50)], content)
    torch.save({"near": STATE, "far": content}, tmp_path / "x.pth")
    assert (tmp_path / "x.pth").stat().st_size < 20_000
    begin = time.monotonic()
    assert list(open_torch_file(tmp_path / "x.pth").groups) == ["near"]
    torch.save({"x": content["key0"]["key0"]}, tmp_path / "y.pth")
    assert list(open_torch_file(tmp_path / "y.pth").groups) == ["x" + 7 * "/key0"]
    assert time.monotonic() - begin < 5


def test_names_that_would_fill_the_memory_when_written(tmp_path):
    nested = ()
    for _ in range(20):
        nested = (nested, nested)
    torch.save({"state_dict": STATE, nested: 1}, tmp_path / "x.pth")
    assert open_torch_file(tmp_path / "x.pth").other == ["a tuple"]
    torch.save({nested: 1, "long" * 1000: 2}, tmp_path / "y.pth")
    with pytest.raises(CheckpointError, match=r"the entries \[\"?'?a tuple") as caught:
        open_torch_file(tmp_path / "y.pth")
    assert len(str(caught.value)) < 500


def test_files_that_are_no_checkpoints(tmp_path):
    def refused(name, match):
        with pytest.raises(CheckpointError, match=match):
            open_torch_file(tmp_path / name)

    refused("missing.pth", "there is no file")
    refused(".", "is a folder; give the checkpoint file")
    for name in ("text.pth", "text.safetensors"):
        (tmp_path / name).write_text("<!DOCTYPE html> not found")
        refused(name, "cannot be read as")
    torch.save(STATE, tmp_path / "whole.pth")
    (tmp_path / "half.pth").write_bytes((tmp_path / "whole.pth").read_bytes()[:700])
    refused("half.pth", "cannot be read as a checkpoint of torch")
    save_file(STATE, tmp_path / "whole.safetensors")
    (tmp_path / "half.safetensors").write_bytes((tmp_path / "whole.safetensors").read_bytes()[:-4])
    refused("half.safetensors", "cannot be read as safetensors")
    torch.save({"epoch": 3, "optimizer": {"state": {0: torch.ones(2)}}}, tmp_path / "x.pth")
    refused("x.pth", r"holds no state dict, but the entries \['epoch', 'optimizer'\]")
    torch.save([torch.ones(2)], tmp_path / "list.pth")
    refused("list.pth", "holds no state dict, but a list")
