# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""A pushed encoder, seen by somebody else: by repository id, with this package and without it."""

import hashlib
from pathlib import Path

import pytest
import torch
from hub_server import Hub

from mscn_hf.models import MSCNModel

PUBLISH = """
from mscn_hf.hub import push
done = push(arguments[0], "org/mscn-resnet50", license="apache-2.0", check_usage=False)
from huggingface_hub import HfApi
api = HfApi()
info = api.model_info("org/mscn-resnet50", expand=["evalResults", "cardData", "pipeline_tag", "tags", "sha"])
rows = api.get_dataset_leaderboard("org/ssl-imagenette")
answer = {
    "results": [[e.dataset_id, e.task_id, e.value, e.date, e.notes] for e in info.eval_results],
    "index": [[e.metric_value, e.dataset_name] for e in info.card_data.eval_results],
    "card": [info.pipeline_tag, info.card_data.license, info.card_data.model_name],
    "tags": info.tags,
    "at": [info.sha, done.commit],
    "ranks": [[row.rank, row.model_id, row.value] for row in rows],
    "copy": api.snapshot_download("org/mscn-resnet50"),
}
"""
LOAD = """
import torch
if arguments[1]:
    import mscn_hf
from PIL import Image
from transformers import AutoImageProcessor, AutoModel
trust = {} if arguments[1] else {"trust_remote_code": True}
refused = None
if trust:
    try:
        AutoModel.from_pretrained("org/mscn-resnet50")
    except ValueError as error:
        refused = str(error)
processor = AutoImageProcessor.from_pretrained("org/mscn-resnet50", backend="pil")
model = AutoModel.from_pretrained("org/mscn-resnet50", **trust)
picture = Image.linear_gradient("L").rotate(30).convert("RGB")
with torch.no_grad():
    out = model(**processor(picture, return_tensors="pt"))
torch.save({"hidden": out.last_hidden_state, "pooled": out.pooler_output}, arguments[0])
answer = {"class": type(model).__module__, "training": model.training, "refused": refused}
"""


@pytest.fixture
def published(hub: Hub, tiny_run, tmp_path, in_new_process):
    (tmp_path / "bench").mkdir()
    (tmp_path / "bench" / "eval.yaml").write_text("name: ssl-imagenette\n")
    hub.seed(tmp_path / "bench", "org/ssl-imagenette")
    return in_new_process(PUBLISH, tiny_run)


def expected_outputs(encoder: Path) -> dict[str, torch.Tensor]:
    from PIL import Image
    from transformers import AutoImageProcessor

    processor = AutoImageProcessor.from_pretrained(encoder, backend="pil")
    picture = Image.linear_gradient("L").rotate(30).convert("RGB")
    with torch.no_grad():
        out = MSCNModel.from_pretrained(encoder)(**processor(picture, return_tensors="pt"))
    return {"hidden": out.last_hidden_state, "pooled": out.pooler_output}


def test_published_encoder(published, tiny_run, tmp_path, in_new_process, monkeypatch):
    encoder = tiny_run / "encoder"

    # what the Hub says of it
    [[dataset, task, value, date, notes]] = published["results"]
    assert (dataset, task, value, date) == ("org/ssl-imagenette", "knn_top1", 0.58125, "2026-11-21")
    assert "none (k=20, T=0.07 fixed)" in notes
    assert published["index"] == [[0.58125, "imagenette-96"], [0.9, "imagenette-96"]]
    assert published["card"] == ["image-feature-extraction", "apache-2.0", "mscn-resnet50"]
    assert "custom_code" in published["tags"]
    assert published["at"][0] == published["at"][1]
    assert published["ranks"] == [[1, "org/mscn-resnet50", 0.58125]]

    # the same files
    copied = Path(published["copy"])
    for path in encoder.glob("*"):
        if path.name != "training.json":  # goes up without local paths
            want, got = (hashlib.sha256(p.read_bytes()).hexdigest() for p in (path, copied / path.name))
            assert got == want, path.name

    # the same network
    want = expected_outputs(encoder)
    with_package = in_new_process(LOAD, tmp_path / "with.pt", True)
    without = in_new_process(LOAD, tmp_path / "without.pt", False, package=False)
    assert with_package["class"] == "mscn_hf.models.modeling_mscn"
    assert without["class"].startswith("transformers_modules.")
    assert "trust_remote_code" in without["refused"]
    for name in ("with.pt", "without.pt"):
        got = torch.load(tmp_path / name)
        for key, tensor in want.items():
            assert torch.equal(got[key], tensor), (name, key)


PRIVATE = """
from transformers import AutoConfig
try:
    AutoConfig.from_pretrained("org/mscn-resnet50")
    answer = "loaded"
except OSError as error:
    answer = str(error)
"""


def test_private_repository_without_token_fails_clearly(hub, tiny_run, in_new_process):
    hub.seed(tiny_run / "encoder", "org/mscn-resnet50", "model").private = True
    said = in_new_process(PRIVATE, package=False, HF_TOKEN="")
    assert "org/mscn-resnet50 is not a local folder" in said
    assert "private repository" in said
