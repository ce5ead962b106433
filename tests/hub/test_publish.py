# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
import json

import numpy as np
import pytest
import torch
from hub_server import READER_TOKEN
from safetensors.numpy import save_file
from somebodys_run import result_of

from mscn_hf.evaluation.results import append_results
from mscn_hf.hub import PushError, UnfitFolderError, push

TOKEN_LIKE = "hf_" + "aB3" * 11  # in two parts: this file shall not look like a leak itself
EXPECTED_FILES = [
    ".eval_results/mscn-hf_org-ssl-imagenette_knn_seed0.yaml",
    *("README.md", "config.json", "configuration_mscn.py", "configuration_siamese_resnet.py", "high_pass.py"),
    *("model.safetensors", "modeling_mscn.py", "preprocessing.py", "preprocessor_config.json"),
    *("same_padding.py", "siamese_resnet.py"),
    *("training.json", "views.png"),
]

PUSH = """
import argparse, contextlib, io
from mscn_hf.hub.publish import add_arguments, push, run
def command(*words):
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = run(parser.parse_args([str(word) for word in words]))
    return [status, out.getvalue(), err.getvalue()]
def quick(*arguments, **options):
    try:
        done = push(*arguments, check_usage=False, **options)
        return {"commit": done.commit, "changed": done.changed, "deleted": done.deleted, "files": done.files}
    except Exception as error:
        return f"{type(error).__name__}: {error}"
"""


def test_dry_run_lists_all_and_asks_nobody(hub, tiny_run, in_new_process):
    code = PUSH + 'answer = command(arguments[0], "org/mscn", "--dry-run")'
    status, listing, _ = in_new_process(code, tiny_run, HF_TOKEN="")
    assert status == 0
    assert [line.split()[0] for line in listing.splitlines()[:-1]] == EXPECTED_FILES
    size = (tiny_run / "encoder" / "model.safetensors").stat().st_size
    assert f"{size:,} bytes" in listing
    assert "nothing was sent" in listing
    assert hub.requests == []


def test_push_again_and_again(hub, tiny_run, in_new_process):
    code = (
        PUSH
        + """
from pathlib import Path
licensed = {"license": "apache-2.0"}
answer = [quick(arguments[0], "org/mscn", private=True, **licensed), quick(arguments[0], "org/mscn", **licensed)]
(Path(arguments[0]) / "results.jsonl").unlink()
options = {"pictures": False, "commit_message": "without scores", **licensed}
answer.append(quick(arguments[0] + "/encoder", "org/mscn", **options))
answer.append(quick(arguments[0], "org/mscn", revision="trial"))
(Path(arguments[0]) / "encoder" / "README.md").write_text(arguments[1])
answer.append(quick(arguments[0], "org/mine"))
"""
    )
    before = sorted(path.name for path in (tiny_run / "encoder").iterdir())
    own_text = "---\nlicense: mit\n---\n# Mine\n"
    first, same, without, branch, mine = in_new_process(code, tiny_run, own_text)

    repo = hub.repo("model", "org/mscn")
    assert repo.private
    assert list(first["files"]) == EXPECTED_FILES
    assert first["changed"]
    assert not same["changed"] and same["commit"] == first["commit"], "nothing changed, and yet there is a new commit"
    assert without["deleted"] == [EXPECTED_FILES[0]], "scores of an earlier push stay in the repository"
    assert [c.title for c in repo.history("main")] == [
        "without scores",
        "Upload mscn with mscn-hf",
        "initial commit",
    ]
    assert branch["commit"] == repo.refs["branches"]["trial"] != repo.refs["branches"]["main"]
    assert hub.repo("model", "org/mine").resolve(mine["commit"]).files["README.md"].data.decode() == own_text
    (tiny_run / "encoder" / "README.md").unlink()
    assert sorted(path.name for path in (tiny_run / "encoder").iterdir()) == before, "push wrote into the folder"
    files = repo.resolve(first["commit"]).files
    assert files["model.safetensors"].lfs
    record = json.loads(files["training.json"].data)
    assert record["dataset"]["name"] == "imagenette-96"
    assert record["samples_seen"] == 94690
    for name, blob in files.items():
        assert b"jane" not in blob.data, name


REFUSALS = (
    PUSH
    + """
import os
from pathlib import Path
folder, reader = arguments
answer = {
    "public": quick(folder, "org/public", private=True),
    "other type": quick(folder, "org/native"),
    "other type, forced": quick(folder, "org/native", force=True),
}
for name, token in {"reader": reader, "forged": "hf_no_such_token", "none": ""}.items():
    os.environ["HF_TOKEN"] = token
    answer[name] = quick(folder, "org/new")
os.environ["HF_TOKEN"] = reader
answer["gated"] = quick(folder, "org/gated")
answer["hidden"] = quick(folder, "reader/hidden")
answer["command"] = command(folder + "/nowhere", "org/new")
"""
)


def test_refusals_of_the_hub_are_said_plainly(hub, tiny_run, tmp_path, in_new_process):
    native = tmp_path / "native"
    native.mkdir()
    (native / "config.json").write_text('{"model_type": "resnet"}')
    (native / "pytorch_model.bin").write_bytes(b"old")
    for name in ("org/public", "org/gated", "org/native", "reader/hidden"):
        hub.seed(native, name, "model")
    hub.repo("model", "org/gated").gated = hub.repo("model", "reader/hidden").private = True
    hub.seed(tmp_path / "native", "org/public", "model")

    said = in_new_process(REFUSALS, tiny_run, READER_TOKEN)

    assert "org/public is public" in said["public"]
    assert "holds a model of type 'resnet', this one is 'mscn'" in said["other type"]
    assert "--force" in said["other type"]
    assert said["other type, forced"]["deleted"] == ["pytorch_model.bin"]
    assert "may not write there" in said["reader"]
    assert "token is missing or not valid" in said["forged"]
    assert "there is no access token: run `hf auth login`" in said["none"]
    assert "org/gated is gated" in said["gated"]
    assert "exists, and you may not see it" in said["hidden"]
    assert said["command"][0] == 1
    assert said["command"][2].startswith("mscn-hf push: there is no folder ")
    assert all(
        text.startswith("PushError: ") for key, text in said.items() if key not in ("command", "other type, forced")
    )
    assert ("model", "org/new") not in hub.repos


def unfit(folder, match, repo_id="org/name"):
    with pytest.raises((UnfitFolderError, PushError), match=match):
        push(folder, repo_id, dry_run=True, check_usage=False)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "extra/state.pt", "optimizer.PKL"])
def test_pickles_are_refused(tiny_run, name):
    path = tiny_run / "encoder" / name
    path.parent.mkdir(exist_ok=True)
    torch.save({"a": torch.zeros(1)}, path)
    unfit(tiny_run, "only safetensors are published")


def test_pickle_under_another_name_is_refused(tiny_run):
    torch.save({"a": torch.zeros(1)}, tiny_run / "encoder" / "more.safetensors")
    unfit(tiny_run, "is named .safetensors but is not such a file")


def test_secrets_are_refused_and_not_repeated(tiny_run, tmp_path):
    for where in ("notes.md", "modeling_mscn.py"):
        path = tiny_run / "encoder" / where
        original = path.read_text() if path.exists() else None
        path.write_text(f"{original or ''}\nlogin('{TOKEN_LIKE}')\n")
        with pytest.raises(UnfitFolderError, match=f"{where}, line ") as refusal:
            push(tiny_run, "org/name", dry_run=True, check_usage=False)
        assert TOKEN_LIKE not in str(refusal.value)
        path.unlink() if original is None else path.write_text(original)
    save_file({"x": np.zeros(1, np.float32)}, tiny_run / "encoder" / "more.safetensors", metadata={"note": TOKEN_LIKE})
    unfit(tiny_run, "access token")


def test_secret_in_a_result_is_refused(tiny_run, tiny_hash):
    append_results(tiny_run / "results.jsonl", [result_of(tiny_hash, selection=f"by {TOKEN_LIKE}")])
    unfit(tiny_run, "README.md, line .* access token")


def test_folders_that_hold_no_model(tiny_run, tmp_path):
    unfit(tmp_path / "nowhere", "there is no folder")
    (tmp_path / "empty").mkdir()
    unfit(tmp_path / "empty", "neither config.json nor encoder/config.json")
    (tiny_run / "encoder" / "config.json").write_text("[1]")
    unfit(tiny_run, "must hold a JSON object")
    (tiny_run / "encoder" / "config.json").write_text("{}")
    unfit(tiny_run, "no model_type")


def test_folder_without_weights_or_preprocessing(tiny_run):
    encoder = tiny_run / "encoder"
    (encoder / "model.safetensors").rename(encoder / "model.safetensors.old")
    (tiny_run / "results.jsonl").unlink()
    unfit(encoder, "no .safetensors weights")
    (encoder / "preprocessor_config.json").unlink()
    unfit(encoder, "no preprocessor_config.json")


def test_link_out_of_the_folder_is_refused(tiny_run, tmp_path):
    (tmp_path / "diary.txt").write_text("private")
    (tiny_run / "encoder" / "notes.txt").symlink_to(tmp_path / "diary.txt")
    unfit(tiny_run, "outside of the folder")


@pytest.mark.parametrize("repo_id", ["name", "a/b/c", "org/na me", "org/x..y", "datasets/org/x", "-/x"])
def test_wrong_repository_ids(tiny_run, repo_id):
    unfit(tiny_run, "not a valid repository id|namespace/name", repo_id)


def test_model_that_does_not_load_is_not_published(tiny_run):
    (tiny_run / "results.jsonl").unlink()
    (tiny_run / "encoder" / "siamese_resnet.py").unlink()  # what the remote code imports
    with pytest.raises(UnfitFolderError, match="usage example does not run"):
        push(tiny_run, "org/name", dry_run=True)


def test_metadata_of_another_hand_must_be_readable(tiny_run):
    (tiny_run / "encoder" / "README.md").write_text("---\n- not\n- a mapping\n---\n")
    unfit(tiny_run, "metadata of .* cannot be read")
