# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""The Hub on loopback answers huggingface_hub's own client as the real one does, as far as our tests rely on it."""

import hashlib
import io
import urllib.error
import urllib.request

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hub_server import READER_TOKEN
from PIL import Image

UPLOAD = """
from huggingface_hub import HfApi
api = HfApi()
folder, repo_id = arguments
api.create_repo(repo_id)
first = api.upload_folder(repo_id=repo_id, folder_path=folder)
again = api.upload_folder(repo_id=repo_id, folder_path=folder)
api.create_branch(repo_id, branch="trial")
api.create_tag(repo_id, tag="v1")
api.upload_file(path_or_fileobj=b"changed", path_in_repo="notes.txt", repo_id=repo_id, revision="trial")
api.delete_file("sub/b.txt", repo_id=repo_id, revision="trial")
copy = api.snapshot_download(repo_id)
refs = api.list_repo_refs(repo_id)
answer = {
    "whoami": api.whoami()["name"],
    "same": first.oid == again.oid,
    "commits": [commit.title for commit in api.list_repo_commits(repo_id)],
    "trial": sorted(api.list_repo_files(repo_id, revision="trial")),
    "refs": [[ref.name for ref in group] for group in (refs.branches, refs.tags)],
    "top": sorted(entry.path for entry in api.list_repo_tree(repo_id)),
    "size": api.get_paths_info(repo_id, ["weights.safetensors"])[0].lfs.size,
    "copy": copy,
}
"""


def test_files_come_back_as_they_went_up(hub, in_new_process, tmp_path):
    folder = tmp_path / "folder"
    (folder / "sub").mkdir(parents=True)
    contents = {
        "weights.safetensors": bytes(range(256)) * 5000,  # LFS by its name
        "raw.dat": b"\0\1\2" * 100,  # LFS by its content
        "notes.txt": "Zürich\n".encode(),
        "sub/b.txt": b"b",
        "empty.txt": b"",
    }
    for name, content in contents.items():
        (folder / name).write_bytes(content)

    answer = in_new_process(UPLOAD, folder, "org/things")

    assert answer["whoami"] == "owner"
    assert answer["same"], "an unchanged folder made a new commit"
    assert answer["commits"] == ["Upload folder using huggingface_hub", "initial commit"]
    assert answer["trial"] == [".gitattributes", "empty.txt", "notes.txt", "raw.dat", "weights.safetensors"]
    assert answer["refs"] == [["main", "trial"], ["v1"]]
    assert answer["top"] == [".gitattributes", "empty.txt", "notes.txt", "raw.dat", "sub", "weights.safetensors"]
    assert answer["size"] == len(contents["weights.safetensors"])
    for name, content in contents.items():
        with open(f"{answer['copy']}/{name}", "rb") as file:
            assert hashlib.sha256(file.read()).digest() == hashlib.sha256(content).digest(), name


DOORS = """
from huggingface_hub import HfApi
def outcome(call):
    try:
        return type(call()).__name__
    except Exception as error:
        return type(error).__name__
answer = {}
for who, token in {"nobody": False, "reader": arguments[0], "forged": "hf_no_such_token"}.items():
    api = HfApi(token=token)
    answer[who] = [
        outcome(lambda: api.model_info("org/private")),
        outcome(lambda: api.model_info("org/gated")),
        outcome(lambda: api.hf_hub_download("org/gated", "config.json")),
        outcome(lambda: api.model_info("org/missing")),
        outcome(lambda: api.create_repo("org/new")),
        outcome(lambda: api.upload_file(path_or_fileobj=b"x", path_in_repo="x", repo_id="org/gated")),
    ]
api = HfApi()
answer["owner"] = [
    outcome(lambda: api.model_info("org/private")),
    outcome(lambda: api.hf_hub_download("org/gated", "config.json")),
    outcome(lambda: api.hf_hub_download("org/gated", "nothing.json")),
    outcome(lambda: api.model_info("org/gated", revision="nowhere")),
    outcome(lambda: api.create_repo("org/gated")),
]
"""


def test_doors_are_closed_as_on_the_real_hub(hub, in_new_process, tmp_path):
    (tmp_path / "config.json").write_text("{}")
    for name in ("org/private", "org/gated"):
        hub.seed(tmp_path, name, "model")
    hub.repo("model", "org/private").private = True
    hub.repo("model", "org/gated").gated = True

    answer = in_new_process(DOORS, READER_TOKEN)

    missing, gated, http = "RepositoryNotFoundError", "GatedRepoError", "HfHubHTTPError"
    assert answer["nobody"] == [missing, "ModelInfo", gated, missing, http, http]
    assert answer["reader"] == [missing, "ModelInfo", gated, missing, http, http]
    assert answer["forged"] == [http] * 6
    assert answer["owner"] == ["ModelInfo", "str", "RemoteEntryNotFoundError", "RevisionNotFoundError", http]


LEADERBOARD = """
from huggingface_hub import HfApi
api = HfApi()
answer = {
    "ranks": [[row.rank, row.model_id, row.value] for row in api.get_dataset_leaderboard("org/bench")],
    "all": [row.model_id for row in api.get_dataset_leaderboard("org/bench", base_model_only=False)],
    "entries": [e.task_id for e in api.model_info("org/broken", expand=["evalResults"]).eval_results or []],
}
"""


def test_leaderboard_ranks_and_leaves_out_derived_models(hub, in_new_process, tmp_path):
    (tmp_path / "bench").mkdir()
    (tmp_path / "bench" / "eval.yaml").write_text("name: bench\n")
    hub.seed(tmp_path / "bench", "org/bench")
    for name, value, card in (
        ("low", 0.5, ""),
        ("high", 0.75, ""),
        ("derived", 0.9, "---\nbase_model: org/low\n---\n"),
    ):
        folder = tmp_path / name / ".eval_results"
        folder.mkdir(parents=True)
        (folder / "a.yaml").write_text(f"- dataset: {{id: org/bench, task_id: top1}}\n  value: {value}\n")
        (tmp_path / name / "README.md").write_text(card)
        hub.seed(tmp_path / name, f"org/{name}", "model")
    broken = tmp_path / "broken" / ".eval_results"
    broken.mkdir(parents=True)
    (broken / "a.yaml").write_text("- value: 3\n")
    (broken / "b.yaml").write_text("- dataset: {id: org/other, task_id: good}\n  value: 3\n")
    hub.seed(tmp_path / "broken", "org/broken", "model")

    answer = in_new_process(LEADERBOARD)

    assert answer["ranks"] == [[1, "org/high", 0.75], [2, "org/low", 0.5]]
    assert answer["all"] == ["org/derived", "org/high", "org/low"]
    assert answer["entries"] == ["good"]


@pytest.mark.parametrize(
    ("asked", "status", "expected"),
    [("bytes=2-4", 206, b"234"), ("bytes=7-", 206, b"789"), ("bytes=-3", 206, b"789"), ("bytes=10-", 416, b"")],
)
def test_ranges(hub, tmp_path, asked, status, expected):
    (tmp_path / "digits.txt").write_bytes(b"0123456789")
    hub.seed(tmp_path, "org/digits")
    url = f"{hub.url}/datasets/org/digits/resolve/main/digits.txt"
    request = urllib.request.Request(url, headers={"Range": asked})
    try:
        with urllib.request.urlopen(request) as reply:
            assert (reply.status, reply.read()) == (status, expected)
    except urllib.error.HTTPError as error:
        assert (error.code, error.read()) == (status, expected)


STREAM = """
import datasets
datasets.config.SLEEP_TIME_ON_THREADS_SHUTDOWN = 0
rows = datasets.load_dataset("org/pictures", split="train", streaming=True).decode(False)
answer = [[row["label"], row["image"]["bytes"].hex()] for row in rows]
"""


def test_dataset_streams_by_repository_id(hub, in_new_process, tmp_path):
    pictures = []
    for shade in (0, 80, 160, 240):
        buffer = io.BytesIO()
        Image.new("RGB", (8, 8), (shade, 0, 0)).save(buffer, "PNG")
        pictures.append(buffer.getvalue())
    (tmp_path / "data").mkdir()
    for shard in range(2):
        part = slice(2 * shard, 2 * shard + 2)
        table = {"image": [{"bytes": data, "path": None} for data in pictures[part]], "label": [0, 1]}
        pq.write_table(pa.table(table), tmp_path / "data" / f"train-{shard:05d}-of-00002.parquet")
    hub.seed(tmp_path, "org/pictures")

    rows = in_new_process(STREAM, package=False)

    assert rows == [[i % 2, data.hex()] for i, data in enumerate(pictures)]
    assert any("/resolve/" in request for request in hub.requests)
