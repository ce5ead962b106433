# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""`mscn-hf push`: an encoder, its card, scores and pictures as one commit to a model repository."""

import argparse
import dataclasses
import logging
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, ModelCard, get_token
from huggingface_hub.constants import ENDPOINT
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
)
from huggingface_hub.utils import validate_repo_id

from .card import is_handwritten, render_card, scores_of
from .model_folder import PICKLES, ModelFolder, UnfitFolderError, open_model_folder, read_json, refuse_secrets
from .results_yaml import OWN_FILE, eval_results_files
from .safe_text import public_json

try:  # the HTTP client of huggingface_hub 2, then that of 1
    from httpx2 import TransportError
except ImportError:
    from httpx import TransportError  # type: ignore[assignment]

logger = logging.getLogger(__name__)

WEIGHT_FILES = (".safetensors", ".safetensors.index.json")


class PushError(RuntimeError):
    """The Hub did not take the folder; the message says why and what to do."""


@dataclasses.dataclass(frozen=True)
class Push:
    """What was (or, in a dry run, would be) published.

    Args:
        repo_id: the repository.
        files: name in the repository -> size in bytes.
        deleted: files of earlier pushes that this one takes away (other weights, scores of other weights).
        commit: sha of the branch afterwards, None in a dry run.
        changed: whether a commit was made.
    """

    repo_id: str
    files: dict[str, int]
    deleted: tuple[str, ...] = ()
    commit: str | None = None
    changed: bool = False


def push(
    folder: str | Path,
    repo_id: str,
    private: bool = False,
    dry_run: bool = False,
    *,
    revision: str | None = None,
    commit_message: str | None = None,
    license: str | None = None,
    pictures: bool = True,
    force: bool = False,
    check_usage: bool = True,
) -> Push:
    """Publishes an encoder's folder, or the run's folder around it, as one commit.

    Nothing in the folder is changed: card, scores and the public form of training.json are made on the way. A
    README.md from another hand goes up as it is.

    Args:
        folder: with config.json and safetensors weights in it or in its `encoder/`.
        repo_id: `namespace/name`; made if it does not exist.
        private: a repository that exists must be private already.
        dry_run: tell what would go up, without a single request.
        revision: branch, made from main if it does not exist; default main.
        commit_message: default "Upload NAME with mscn-hf".
        license: the weights' licence by the Hub's identifier.
        pictures: whether the run's pictures go up; the contact sheet shows training images.
        force: replace a model of another model_type.
        check_usage: run the card's usage examples, and refuse to publish a model that they cannot load.

    Raises:
        UnfitFolderError: the folder is not fit to be published (not a model, pickles, secrets, examples that fail).
        PushError: the repository's name is not valid, or the Hub refuses.
    """
    try:
        validate_repo_id(repo_id)
    except HFValidationError as error:
        raise PushError(f"{repo_id!r} is not a valid repository id: {error}") from error
    if repo_id.count("/") != 1:
        raise PushError(
            f"the repository must be given as namespace/name (for example my-org/{repo_id}), got {repo_id!r}"
        )
    model = open_model_folder(folder)
    if not pictures:
        model.pictures = {}
    files = assemble(model, repo_id, license, check_usage)
    sizes = {
        name: content.stat().st_size if isinstance(content, Path) else len(content) for name, content in files.items()
    }
    if dry_run:
        return Push(repo_id, sizes)
    if get_token() is None:
        raise PushError("there is no access token: run `hf auth login`, or set HF_TOKEN to a token that may write")
    with _explained(repo_id):
        return _commit(model, repo_id, files, sizes, private, revision, commit_message, force)


def assemble(
    model: ModelFolder, repo_id: str, license: str | None, check_usage: bool = True
) -> dict[str, bytes | Path]:
    """Everything that goes up, by its name in the repository, checked: model files, card, scores, pictures."""
    files: dict[str, bytes | Path] = {**model.files(), **model.pictures}
    if "training.json" in files:
        files["training.json"] = public_json((model.path / "training.json").read_bytes())
    scores = scores_of(model)
    readme = model.path / "README.md"
    if is_handwritten(readme):
        logger.warning("%s was not written by mscn-hf; it goes up as it is, without new scores", readme)
        files["README.md"] = readme.read_bytes()
        try:
            ModelCard.load(readme)
        except (ValueError, yaml.YAMLError) as error:
            raise UnfitFolderError(f"the metadata of {readme} cannot be read: {error}") from error
    else:
        card = render_card(model, scores, repo_id=repo_id, license=license, check_usage=check_usage, strict=True)
        files["README.md"] = str(card).encode()
    files |= {name: text.encode() for name, text in eval_results_files(scores.own).items()}
    for name, content in files.items():
        if isinstance(content, bytes):
            refuse_secrets(name, content)
    return dict(sorted(files.items()))


def _commit(
    model: ModelFolder,
    repo_id: str,
    files: dict[str, bytes | Path],
    sizes: dict[str, int],
    private: bool,
    revision: str | None,
    message: str | None,
    force: bool,
) -> Push:
    api = HfApi(library_name="mscn-hf")
    branch = revision or "main"
    try:
        info = api.model_info(repo_id)
    except RepositoryNotFoundError:
        api.create_repo(repo_id, private=private, exist_ok=False)
        info = api.model_info(repo_id)
    if private and not info.private:
        raise PushError(f"{repo_id} is public; make it private in its settings first, or push without --private")
    if branch != "main":
        api.create_branch(repo_id, branch=branch, exist_ok=True)
        info = api.model_info(repo_id, revision=branch)
    present = [sibling.rfilename for sibling in info.siblings or []]
    if "config.json" in present and not force:
        there = _remote_model_type(api, repo_id, info.sha)
        if there != model.config["model_type"]:
            raise PushError(
                f"{repo_id} holds a model of type {there!r}, this one is {model.config['model_type']!r}; "
                "choose another repository, or replace it with --force"
            )
    stale = [name for name in present if name not in files and _belongs_to_a_push(name, force)]
    commit = api.create_commit(
        repo_id,
        [*(CommitOperationDelete(name) for name in stale), *(CommitOperationAdd(n, c) for n, c in files.items())],
        commit_message=message or f"Upload {repo_id.rpartition('/')[2]} with mscn-hf",
        revision=branch,
        # Somebody who pushed in between would be overwritten unseen.
        parent_commit=info.sha,
    )
    return Push(repo_id, sizes, tuple(stale), commit.oid, commit.oid != info.sha)


def _belongs_to_a_push(name: str, force: bool) -> bool:
    """Whether a file must go when it is not pushed again, lest it be taken for a part of the new model."""
    if OWN_FILE.fullmatch(name):
        return True
    at_root = "/" not in name
    return at_root and (name.endswith(WEIGHT_FILES) or (force and name.endswith((".py", *PICKLES))))


def _remote_model_type(api: HfApi, repo_id: str, commit: str | None) -> str | None:
    with tempfile.TemporaryDirectory() as temporary:
        path = api.hf_hub_download(repo_id, "config.json", revision=commit, local_dir=temporary)
        try:
            return read_json(Path(path)).get("model_type")
        except UnfitFolderError:
            return None


@contextmanager
def _explained(repo_id: str) -> Iterator[None]:
    """Says the Hub's refusals again with the repository's name and what to do."""
    try:
        yield
    except GatedRepoError as error:
        raise PushError(f"{repo_id} is gated and your account has no access; ask its owners on its page") from error
    except HfHubHTTPError as error:
        status = error.response.status_code if error.response is not None else None
        said = (error.server_message or "").strip()
        if status == 401:
            why = "the access token is missing or not valid; run `hf auth login` with one that may write"
        elif status == 403:
            why = "your account or token may not write there; check the namespace and the token's permissions"
        elif status == 404:
            why = "there is no such repository or branch, or you may not see it"
        elif status == 409:
            why = "a repository of that name exists, and you may not see it"
        elif status == 412:
            why = "somebody else pushed at the same time; look at their commit and push again"
        else:
            why = f"the Hub answered {status}"
        raise PushError(f"cannot push to {repo_id}: {why}" + (f" (the Hub says: {said})" if said else "")) from error
    except (TransportError, OfflineModeIsEnabled) as error:
        raise PushError(
            f"cannot push to {repo_id}: the Hub cannot be reached ({error or type(error).__name__})"
        ) from error


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `mscn-hf push`."""
    parser.add_argument("folder", metavar="DIR", help="output folder of a training run, or an encoder's folder")
    parser.add_argument("repo_id", metavar="ORG/NAME", help="model repository; made if it does not exist")
    parser.add_argument("--private", action="store_true", help="make it a private repository")
    parser.add_argument("--dry-run", action="store_true", help="list what would go up, without a single request")
    parser.add_argument("--license", metavar="ID", help="licence of the weights, for example apache-2.0")
    parser.add_argument("--message", metavar="TEXT", help="commit message")
    parser.add_argument("--revision", metavar="BRANCH", help="branch, made if it does not exist (default main)")
    parser.add_argument(
        "--no-pictures", action="store_true", help="leave pictures out: views.png shows training images"
    )
    parser.add_argument("--force", action="store_true", help="replace a model of another type")


def run(args: argparse.Namespace) -> int:
    """Does what `add_arguments` describes; returns the exit status."""
    try:
        done = push(
            args.folder,
            args.repo_id,
            private=args.private,
            dry_run=args.dry_run,
            revision=args.revision,
            commit_message=args.message,
            license=args.license,
            pictures=not args.no_pictures,
            force=args.force,
        )
    except (PushError, UnfitFolderError) as error:
        print(f"mscn-hf push: {error}", file=sys.stderr)
        return 1
    width = max(len(name) for name in done.files)
    for name, size in done.files.items():
        print(f"{name:<{width}}  {size:>12,} bytes")
    for name in done.deleted:
        print(f"{name:<{width}}  {'removed':>12}")
    total = f"{len(done.files)} files, {sum(done.files.values()):,} bytes"
    if args.dry_run:
        print(f"dry run: {total} would go to {done.repo_id}; nothing was sent")
    elif done.changed:
        print(f"pushed: {total}, {ENDPOINT}/{done.repo_id}/tree/{done.commit}")
    else:
        print(f"{ENDPOINT}/{done.repo_id} holds all of this already: no new commit")
    return 0
