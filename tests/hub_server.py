# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""A Hub on loopback for tests: git-like commits in memory behind the HTTP routes that huggingface_hub's client uses.

`with hub_server() as hub:` yields `hub.url` and `hub.env`, the environment for processes that talk to it (HF_*
variables are read when huggingface_hub is imported, so the client must be a new process).
By hand: `python tests/hub_server.py --port 8000 [--seed-dataset DIR ID]`.

Owners write everywhere; readers (`READER_TOKEN`) see what is public and not gated; other tokens are not valid.
"""

import argparse
import base64
import contextlib
import dataclasses
import hashlib
import json
import re
import tempfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from hub_repository import Blob, Commit, HubError, Repo, card_metadata, describe

OWNER_TOKEN, READER_TOKEN = "hf_loopback_owner", "hf_loopback_reader"
USERS = {OWNER_TOKEN: "owner", READER_TOKEN: "reader"}
LFS_SUFFIXES = {".safetensors", ".parquet", ".png", ".jpg", ".bin", ".tar", ".onnx"}
LFS_SIZE = 10 << 20


@dataclasses.dataclass(frozen=True)
class Request:
    method: str
    path: str
    query: dict[str, list[str]]
    user: str | None
    body: bytes

    def flag(self, name: str, default: bool) -> bool:
        return self.query.get(name, [str(default)])[0].lower() in ("true", "1")


class Hub:
    """All repositories, and the answers to API requests about them; every method runs under the server's lock."""

    def __init__(self) -> None:
        self.url = ""
        self.env: dict[str, str] = {}
        self.repos: dict[tuple[str, str], Repo] = {}
        self.lfs: dict[str, bytes] = {}
        self.requests: list[str] = []  # "METHOD /path" in order of arrival
        self.lock = threading.RLock()

    def repo(self, kind: str, repo_id: str) -> Repo:
        """The repository itself, for tests to look into or to make private or gated."""
        return self.repos[kind, repo_id]

    def seed(self, folder: str | Path, repo_id: str, kind: str = "dataset") -> Repo:
        """Makes a repository from the files of a folder."""
        repo = self.repos.setdefault((kind, repo_id), Repo(kind, repo_id))
        files = {
            path.relative_to(folder).as_posix(): Blob(path.read_bytes(), path.suffix in LFS_SUFFIXES)
            for path in sorted(Path(folder).rglob("*"))
            if path.is_file()
        }
        repo.commit("main", files, "seed")
        return repo

    def readable(self, user: str | None, kind: str, repo_id: str, content: bool = False) -> Repo:
        """The repository if `user` may see it; with `content`, if `user` may also fetch its files."""
        repo = self.repos.get((kind, repo_id))
        if repo is None or (repo.private and user != "owner"):
            # The Hub sends no code with 401; the client then reads the code out of https:// addresses only.
            raise HubError(404 if user else 401, "Repository not found", "RepoNotFound")
        if content and repo.gated and user != "owner":
            raise HubError(403 if user else 401, f"Access to {kind} {repo_id} is restricted", "GatedRepo")
        return repo

    def writable(self, user: str | None, kind: str, repo_id: str) -> Repo:
        repo = self.readable(user, kind, repo_id)
        if user != "owner":
            raise HubError(403 if user else 401, "You don't have the rights to write to this repo")
        return repo

    def create(self, user: str | None, body: dict[str, Any]) -> dict[str, Any]:
        if user is None:
            raise HubError(401, "Invalid username or password.")
        kind, repo_id = body.get("type") or "model", f"{body.get('organization') or user}/{body['name']}"
        if user != "owner" and not repo_id.startswith(f"{user}/"):
            raise HubError(403, f"You don't have the rights to create a {kind} under this namespace")
        prefix = "" if kind == "model" else f"{kind}s/"
        answer = {"url": f"{self.url}/{prefix}{repo_id}", "name": repo_id}
        if (kind, repo_id) in self.repos:
            raise HubError(409, json.dumps({"error": "You already created this repo", **answer}))
        private = body.get("visibility") == "private" or bool(body.get("private"))
        self.repos[kind, repo_id] = Repo(kind, repo_id, private)
        return answer

    def preupload(self, repo: Repo, revision: str, body: dict[str, Any]) -> dict[str, Any]:
        present = repo.resolve(revision).files
        files = []
        for file in body["files"]:
            binary = b"\0" in base64.b64decode(file["sample"])
            lfs = binary or file["size"] >= LFS_SIZE or PurePosixPath(file["path"]).suffix in LFS_SUFFIXES
            oid = present[file["path"]].etag if file["path"] in present else None
            mode = "lfs" if lfs else "regular"
            files.append({"path": file["path"], "uploadMode": mode, "shouldIgnore": False, "oid": oid})
        return {"files": files}

    def lfs_batch(self, body: dict[str, Any]) -> dict[str, Any]:
        objects = []
        for item in body["objects"]:
            upload = {"upload": {"href": f"{self.url}/lfs/{item['oid']}", "header": {}}}
            objects.append({**item, "actions": upload} if item["oid"] not in self.lfs else item)
        return {"transfer": "basic", "objects": objects}

    def commit(self, repo: Repo, revision: str, lines: bytes) -> dict[str, Any]:
        parent = repo.resolve(revision)
        files, title = dict(parent.files), ""
        for line in lines.splitlines():
            key, value = (operation := json.loads(line))["key"], operation["value"]
            if key == "header":
                title = value["summary"]
                if value.get("parentCommit", parent.sha) != parent.sha:
                    raise HubError(412, "A commit has happened since. Please refresh and try again.")
            elif key == "file":
                files[value["path"]] = Blob(base64.b64decode(value["content"]), False)
            elif key == "lfsFile":
                if value["oid"] not in self.lfs:
                    raise HubError(400, f"LFS object {value['oid']} was not uploaded")
                files[value["path"]] = Blob(self.lfs[value["oid"]], True)
            elif key == "deletedFile":
                if files.pop(value["path"], None) is None:
                    raise HubError(404, "A file with this name doesn't exist", "EntryNotFound")
            elif key == "deletedFolder":
                files = {
                    path: blob for path, blob in files.items() if not path.startswith(value["path"].rstrip("/") + "/")
                }
        sha = repo.commit(revision, files, title).sha
        prefix = "" if repo.kind == "model" else f"{repo.kind}s/"
        return {"success": True, "commitOid": sha, "commitUrl": f"{self.url}/{prefix}{repo.id}/commit/{sha}"}

    def leaderboard(self, repo: Repo, base_model_only: bool) -> list[dict[str, Any]]:
        """Public models' results on one benchmark, best first; by default without models that have a base_model."""
        rows = []
        for model in self.repos.values():
            files = model.resolve("main").files
            derived = "base_model" in model.card_data(files)
            if model.kind != "model" or model.private or (base_model_only and derived):
                continue
            for entry in model.eval_results(files):
                if "data" in entry and entry["data"]["dataset"]["id"] == repo.id:
                    author = {"type": "user", "name": model.id.split("/")[0], "fullname": "", "avatarUrl": ""}
                    row = {"modelId": model.id, "value": entry["data"]["value"], "notes": entry["data"].get("notes")}
                    rows.append({**row, "filename": entry["filename"], "verified": False, "author": author})
        rows.sort(key=lambda row: -row["value"])
        return [{"rank": rank, **row} for rank, row in enumerate(rows, start=1)]

    def answer(self, request: Request) -> Any:
        """The JSON answer to an API request."""
        method, path, user = request.method, request.path, request.user
        if (method, path) == ("GET", "/api/whoami-v2"):
            if user is None:
                raise HubError(401, "Invalid username or password.")
            return {"type": "user", "name": user, "fullname": user, "orgs": [], "auth": {"type": "access_token"}}
        if (method, path) == ("POST", "/api/repos/create"):
            return self.create(user, json.loads(request.body))
        if (method, path) == ("POST", "/api/validate-yaml"):
            card_metadata(json.loads(request.body)["content"])
            return {"errors": [], "warnings": []}
        if match := re.fullmatch(r"/(datasets/)?([^/]+/[^/]+)\.git/info/lfs/objects/batch", path):
            self.writable(user, "dataset" if match[1] else "model", match[2])
            return self.lfs_batch(json.loads(request.body))
        if match := re.fullmatch(r"/lfs/([0-9a-f]{64})", path):
            data = request.body
            if hashlib.sha256(data).hexdigest() != match[1]:
                raise HubError(400, "the uploaded content does not have the sha256 that was announced")
            self.lfs[match[1]] = data
            return {}
        if match := re.fullmatch(r"/api/(model|dataset)s/([^/]+/[^/]+)(?:/([a-z-]+)(?:/([^/]+)(?:/(.+))?)?)?", path):
            repo, verb = self.readable(user, match[1], match[2]), match[3] or "revision"
            revision, inside = unquote(match[4] or "main"), unquote(match[5] or "")
            if (method, verb) in (("POST", "preupload"), ("POST", "commit"), ("POST", "branch"), ("POST", "tag")):
                return self.write(self.writable(user, repo.kind, repo.id), verb, revision, request.body)
            if method == "GET" or verb == "paths-info":
                return self.read(repo, verb, revision, inside, request)
        raise HubError(404, f"no such route: {method} {path}")

    def read(self, repo: Repo, verb: str, revision: str, inside: str, request: Request) -> Any:
        if verb == "revision":
            info, wanted = repo.info(repo.resolve(revision)), request.query.get("expand", [])
            return {key: value for key, value in info.items() if not wanted or key in ("_id", "id", *wanted)}
        if verb == "tree":
            return repo.tree(repo.resolve(revision), inside, recursive=request.flag("recursive", False))
        if verb == "refs":
            groups: dict[str, list[dict[str, str]]] = {"branches": [], "tags": [], "converts": []}
            for group, refs in repo.refs.items():
                groups[group] = [{"name": n, "ref": f"refs/heads/{n}", "targetCommit": sha} for n, sha in refs.items()]
            return groups
        if verb == "commits":
            authors = [{"user": "owner"}]
            history = repo.history(revision)
            return [
                {"id": c.sha, "title": c.title, "message": "", "date": c.date, "authors": authors} for c in history
            ]
        if verb == "leaderboard":
            return self.leaderboard(repo, request.flag("base_model", True))
        if verb == "paths-info":
            files = repo.resolve(revision).files
            asked = parse_qs(request.body.decode()).get("paths", [])
            return [describe(path, files[path]) for path in asked if path in files]
        raise HubError(404, f"no such route: {request.method} {request.path}")

    def write(self, repo: Repo, verb: str, revision: str, body: bytes) -> Any:
        if verb == "preupload":
            return self.preupload(repo, revision, json.loads(body))
        if verb == "commit":
            return self.commit(repo, revision, body)
        fields = json.loads(body or b"{}")
        group, name = ("branches", revision) if verb == "branch" else ("tags", fields["tag"])
        if name in repo.refs[group]:
            raise HubError(409, f"Reference already exists: {name}")
        start = fields.get("startingPoint", "main") if verb == "branch" else revision
        repo.refs[group][name] = repo.resolve(start).sha
        return {}


class HubRequest(BaseHTTPRequestHandler):
    """HTTP in front of a Hub: bodies, tokens, errors as the client expects them, and files with ranges."""

    protocol_version = "HTTP/1.1"
    hub: Hub
    quiet = True

    def handle_any(self) -> None:
        url, body = urlsplit(self.path), self.body()
        with self.hub.lock:
            self.hub.requests.append(f"{self.command} {url.path}")
        try:
            token = self.headers.get("Authorization", "").removeprefix("Bearer ")
            if token and token not in USERS:
                raise HubError(401, "Invalid credentials in Authorization header")
            user = USERS.get(token)
            with self.hub.lock:
                if match := re.fullmatch(r"/(datasets/)?([^/]+/[^/]+)/resolve/([^/]+)/(.+)", url.path):
                    kind, (repo_id, revision, path) = (
                        "dataset" if match[1] else "model",
                        map(unquote, match.groups()[1:]),
                    )
                    commit = self.hub.readable(user, kind, repo_id, content=True).resolve(revision)
                    if path not in commit.files:
                        raise HubError(404, f"Entry not found: {path}", "EntryNotFound")
                    blob = commit.files[path]
                else:
                    answer = self.hub.answer(Request(self.command, url.path, parse_qs(url.query), user, body))
                    return self.reply(200, json.dumps(answer).encode(), {"Content-Type": "application/json"})
            self.send_blob(commit, blob)
        except HubError as error:
            message = str(error).replace("\n", " ")
            headers = {"X-Error-Message": message, **({"X-Error-Code": error.code} if error.code else {})}
            content = (
                message
                if message.startswith("{")
                else json.dumps({"error": message, "errors": [{"message": message}]})
            )
            self.reply(error.status, content.encode(), {"Content-Type": "application/json", **headers})

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = handle_any

    def body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def send_blob(self, commit: Commit, blob: Blob) -> None:
        headers = {"X-Repo-Commit": commit.sha, "ETag": f'"{blob.etag}"', "Accept-Ranges": "bytes"}
        if blob.lfs:
            headers |= {"X-Linked-Etag": f'"{blob.sha256}"', "X-Linked-Size": str(len(blob.data))}
        total, data, status = len(blob.data), blob.data, 200
        if match := re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range", "")):
            first = int(match[1]) if match[1] else max(0, total - int(match[2] or 0))
            last = min(int(match[2]), total - 1) if match[1] and match[2] else total - 1
            if first > last:
                return self.reply(416, b"", {"Content-Range": f"bytes */{total}"})
            data, status = data[first : last + 1], 206
            headers["Content-Range"] = f"bytes {first}-{last}/{total}"
        self.reply(status, data, {"Content-Type": "application/octet-stream", **headers})

    def reply(self, status: int, data: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(data))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        if not self.quiet:
            super().log_message(format, *args)


@contextlib.contextmanager
def hub_server(port: int = 0, token: str | None = OWNER_TOKEN, quiet: bool = True) -> Iterator[Hub]:
    """Serves an empty Hub on 127.0.0.1 until the block ends."""
    hub = Hub()
    handler = type("BoundHubRequest", (HubRequest,), {"hub": hub, "quiet": quiet})
    server = ThreadingHTTPServer(("127.0.0.1", port), handler)
    server.daemon_threads = True
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    with tempfile.TemporaryDirectory(prefix="hub-home-") as home:
        hub.env = {"HF_ENDPOINT": hub.url, "HF_HUB_DISABLE_XET": "1", "HF_HOME": home, "HF_HUB_DISABLE_TELEMETRY": "1"}
        if token:
            hub.env["HF_TOKEN"] = token
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield hub
        finally:
            server.shutdown()
            server.server_close()
            thread.join()


def main() -> None:
    parser = argparse.ArgumentParser(description="A Hub on loopback, in memory, for trying things out.")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--seed-dataset", nargs=2, action="append", default=[], metavar=("DIR", "ID"))
    args = parser.parse_args()
    with hub_server(args.port, quiet=False) as hub, contextlib.suppress(KeyboardInterrupt):
        for folder, repo_id in args.seed_dataset:
            hub.seed(folder, repo_id)
        print("\n".join(f"export {name}={value}" for name, value in hub.env.items()), flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    main()
