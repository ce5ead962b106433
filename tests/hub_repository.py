# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""What the Hub on loopback stores: git-like commits in memory, and what its API says about them."""

import dataclasses
import hashlib
import json
import re
import time
from pathlib import PurePosixPath
from typing import Any

import yaml


class HubError(Exception):
    """An answer other than 200; `code` goes out as X-Error-Code."""

    def __init__(self, status: int, message: str, code: str = ""):
        super().__init__(message)
        self.status, self.code = status, code


@dataclasses.dataclass(frozen=True)
class Blob:
    data: bytes
    lfs: bool

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.data).hexdigest()

    @property
    def git_oid(self) -> str:
        """What git calls the file: the hash of its content, or of the pointer that stands for it."""
        stored = self.data
        if self.lfs:
            stored = (
                f"version https://git-lfs.github.com/spec/v1\noid sha256:{self.sha256}\nsize {len(stored)}\n".encode()
            )
        return hashlib.sha1(b"blob %d\0" % len(stored) + stored).hexdigest()

    @property
    def etag(self) -> str:
        return self.sha256 if self.lfs else self.git_oid


@dataclasses.dataclass(frozen=True)
class Commit:
    sha: str
    files: dict[str, Blob]
    title: str
    date: str
    parent: str | None


class Repo:
    """One repository: commits by sha, and branches and tags that name them."""

    def __init__(self, kind: str, repo_id: str, private: bool = False):
        self.kind, self.id, self.private, self.gated = kind, repo_id, private, False
        self.commits: dict[str, Commit] = {}
        self.refs: dict[str, dict[str, str]] = {"branches": {}, "tags": {}}
        self.commit("main", {".gitattributes": Blob(b"", False)}, "initial commit")

    def resolve(self, revision: str) -> Commit:
        sha = self.refs["branches"].get(revision) or self.refs["tags"].get(revision) or revision
        if sha not in self.commits:
            raise HubError(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return self.commits[sha]

    def commit(self, branch: str, files: dict[str, Blob], title: str) -> Commit:
        parent = self.refs["branches"].get(branch)
        listing = "".join(f"{path} {blob.git_oid}\n" for path, blob in sorted(files.items()))
        sha = hashlib.sha1(
            f"{self.kind} {self.id} {parent} {len(self.commits)}\n{title}\n{listing}".encode()
        ).hexdigest()
        date = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime())
        self.commits[sha] = Commit(sha, dict(files), title, date, parent)
        self.refs["branches"][branch] = sha
        return self.commits[sha]

    def history(self, revision: str) -> list[Commit]:
        chain = [self.resolve(revision)]
        while chain[-1].parent:
            chain.append(self.commits[chain[-1].parent])
        return chain

    def card_data(self, files: dict[str, Blob]) -> dict[str, Any]:
        readme = files.get("README.md")
        return card_metadata(readme.data.decode(errors="replace")) if readme else {}

    def config(self, files: dict[str, Blob]) -> dict[str, Any]:
        return json.loads(files["config.json"].data) if "config.json" in files else {}

    def eval_results(self, files: dict[str, Blob]) -> list[dict[str, Any]]:
        """Entries of `.eval_results/*.yaml` as the Hub lists them; a file that does not parse is an error entry."""
        entries: list[dict[str, Any]] = []
        for path, blob in sorted(files.items()):
            if path.startswith(".eval_results/") and path.endswith((".yaml", ".yml")):
                try:
                    for item in yaml.safe_load(blob.data):
                        if not {"id", "task_id"} <= item["dataset"].keys() or "value" not in item:
                            raise ValueError("an entry needs dataset.id, dataset.task_id and value")
                        entries.append({"filename": path, "verified": False, "data": item})
                except (yaml.YAMLError, KeyError, TypeError, AttributeError, ValueError) as error:
                    entries.append({"filename": path, "error": str(error)})
        return entries

    def info(self, commit: Commit) -> dict[str, Any]:
        card, config = self.card_data(commit.files), self.config(commit.files)
        tags = [*card.get("tags", []), *(["custom_code"] if "auto_map" in config else [])]
        return {
            "_id": hashlib.md5(self.id.encode()).hexdigest()[:24],
            "id": self.id,
            "author": self.id.split("/")[0],
            "sha": commit.sha,
            "lastModified": commit.date,
            "createdAt": self.history(commit.sha)[-1].date,
            "private": self.private,
            "gated": "auto" if self.gated else False,
            "disabled": False,
            "downloads": 0,
            "likes": 0,
            "tags": tags,
            "siblings": [{"rfilename": path, "size": len(blob.data)} for path, blob in sorted(commit.files.items())],
            "cardData": card,
            "pipeline_tag": card.get("pipeline_tag"),
            "library_name": card.get("library_name"),
            "model-index": card.get("model-index"),
            "config": {key: config[key] for key in ("architectures", "model_type", "auto_map") if key in config},
            "evalResults": self.eval_results(commit.files),
        }

    def tree(self, commit: Commit, folder: str, recursive: bool) -> list[dict[str, Any]]:
        prefix = f"{folder}/" if folder else ""
        entries: dict[str, dict[str, Any]] = {}
        for path, blob in sorted(commit.files.items()):
            if path.startswith(prefix):
                inside = PurePosixPath(path[len(prefix) :])
                for parent in list(inside.parents)[-2::-1]:
                    name = prefix + str(parent)
                    oid = hashlib.sha1(f"{commit.sha}{name}".encode()).hexdigest()
                    entries.setdefault(name, {"type": "directory", "path": name, "size": 0, "oid": oid})
                entries[path] = describe(path, blob)
        if folder and not entries:
            raise HubError(404, f"{folder} does not exist", "EntryNotFound")
        return [entry for path, entry in entries.items() if recursive or "/" not in path[len(prefix) :]]


def describe(path: str, blob: Blob) -> dict[str, Any]:
    entry: dict[str, Any] = {"type": "file", "path": path, "size": len(blob.data), "oid": blob.git_oid}
    if blob.lfs:
        entry["lfs"] = {"oid": blob.sha256, "size": len(blob.data), "pointerSize": 130}
    return entry


def card_metadata(text: str) -> dict[str, Any]:
    """The YAML block that opens a README; the Hub refuses one that is not a mapping."""
    match = re.match(r"\s*---\r?\n(.*?)\r?\n---[ \t]*(\r?\n|$)", text, re.DOTALL)
    try:
        metadata = yaml.safe_load(match[1]) if match else {}
    except yaml.YAMLError as error:
        raise HubError(400, f"YAML metadata: {error}") from error
    if not isinstance(metadata or {}, dict):
        raise HubError(400, "YAML metadata must be a mapping")
    return metadata or {}
