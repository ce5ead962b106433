# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""A folder on its way to the Hub: the encoder's files, what is known of its training, its scores and pictures."""

import json
import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from mscn_hf.evaluation.results import Result, read_results

from .safe_text import find_secret

logger = logging.getLogger(__name__)

PICKLES = {".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib", ".h5"}
PUBLISHED = {".json", ".safetensors", ".py", ".md", ".txt", ".yaml", ".yml"}
PICTURES = {".png", ".jpg", ".jpeg", ".svg", ".webp"}
BARE_NAMES = {"LICENSE", "NOTICE", "LICENCE", ".gitattributes"}
SAFE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
INTERPOLATIONS = {0: "nearest", 2: "bilinear", 3: "bicubic"}  # PIL's numbers, `resample` in preprocessor_config.json
LENGTH_BYTES = 8  # bytes that give the length of a safetensors header


class UnfitFolderError(ValueError):
    """A folder that cannot be published as it is; the message says what is wrong and what to do."""


@dataclass
class ModelFolder:
    """What `open_model_folder` found.

    Args:
        path: the encoder's folder.
        run: the training run's folder around it, if it lies in one.
        config: config.json.
        training: training.json, empty where there is none.
        results: Results of results.jsonl, of this encoder and of others.
        pictures: name -> path of the pictures, those of the run first.
    """

    path: Path
    run: Path | None
    config: dict[str, Any]
    training: dict[str, Any]
    results: list[Result]
    pictures: dict[str, Path]

    @property
    def name(self) -> str:
        """The run's name, or the folder's where there is no run, fit for a repository."""
        return _fit_name(self.run if self.run is not None else self.path)

    @property
    def folder_name(self) -> str:
        """The name of the encoder's folder, fit for code."""
        return _fit_name(self.path)

    def files(self) -> dict[str, Path]:
        """Published files by their name in the repository, the card, pictures and results left out.

        Raises:
            UnfitFolderError: pickles, weights that are not safetensors, links out of the folder, or secrets.
        """
        found = {}
        for path in _walk(self.path):
            name = path.relative_to(self.path).as_posix()
            if path.suffix.lower() in PICKLES:
                raise UnfitFolderError(
                    f"{path} is a format that can carry code when it is opened; only safetensors are published. "
                    "Remove it, or write the weights with save_pretrained"
                )
            if self.path.resolve() not in path.resolve().parents:
                raise UnfitFolderError(
                    f"{path} is a link to {path.resolve()}, outside of the folder; copy the file in"
                )
            if name in ("README.md", "results.jsonl") or path.suffix.lower() in PICTURES:
                continue
            if path.suffix.lower() in PUBLISHED or path.name in BARE_NAMES:
                found[name] = path
            else:
                logger.warning("%s is left out: not a kind of file that is published", name)
        weights = [path for path in found.values() if path.suffix == ".safetensors"]
        if not weights:
            raise UnfitFolderError(f"{self.path} holds no .safetensors weights; write them with save_pretrained")
        for path in weights:
            count_parameters(path)
        for name, path in {**found, **self.pictures}.items():
            refuse_secrets(name, _head(path) if path.suffix == ".safetensors" else path.read_bytes())
        return found


def open_model_folder(folder: str | Path) -> ModelFolder:
    """Opens an encoder's folder, or the folder of a training run with `encoder/` and `results.jsonl` in it.

    Raises:
        UnfitFolderError: the folder is missing, holds no model, or holds files that cannot be read.
    """
    folder = Path(folder).expanduser()
    if not folder.is_dir():
        raise UnfitFolderError(f"there is no folder {str(folder)!r}")
    in_run = folder / "encoder" / "config.json"
    path = folder / "encoder" if in_run.is_file() else folder
    if not (path / "config.json").is_file():
        raise UnfitFolderError(
            f"{str(folder)!r} holds neither config.json nor encoder/config.json; "
            "give a folder written by save_pretrained, or the output folder of a training run"
        )
    run = folder if in_run.is_file() else None
    if run is None and path.resolve().name == "encoder":
        run = path.resolve().parent
    config = read_json(path / "config.json")
    if not isinstance(config.get("model_type"), str):
        raise UnfitFolderError(f"{path / 'config.json'} has no model_type; it is not a configuration of transformers")
    if not (path / "preprocessor_config.json").is_file():
        raise UnfitFolderError(
            f"{path} has no preprocessor_config.json, without which nobody can feed the model; "
            "save the image processor there with save_pretrained"
        )
    training = read_json(path / "training.json") if (path / "training.json").is_file() else {}
    return ModelFolder(path, run, config, training, _results(path, run), _pictures(path, run))


def _fit_name(folder: Path) -> str:
    return re.sub(r"[^A-Za-z0-9._]+", "-", folder.resolve().name).strip("-.") or "encoder"


def _results(path: Path, run: Path | None) -> list[Result]:
    for folder in (run, path):
        if folder is not None and (folder / "results.jsonl").is_file():
            try:
                return read_results(folder / "results.jsonl")
            except ValueError as error:
                raise UnfitFolderError(str(error)) from error
    return []


def _pictures(path: Path, run: Path | None) -> dict[str, Path]:
    pictures: dict[str, Path] = {}
    for folder in (run, path):
        for file in sorted(folder.iterdir()) if folder is not None else ():
            if file.is_file() and file.suffix.lower() in PICTURES and file.name not in pictures:
                if SAFE_NAME.fullmatch(file.name):
                    pictures[file.name] = file
                else:
                    logger.warning("picture %r is left out: its name may hold letters, digits, - _ . only", file.name)
    return pictures


def _walk(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        hidden = path.name.startswith(".") and path.name not in BARE_NAMES
        if path.is_dir() and not hidden and path.name != "__pycache__" and not path.is_symlink():
            yield from _walk(path)
        elif path.is_file() and not hidden:
            yield path


def read_json(path: Path) -> dict[str, Any]:
    """A file's JSON object; raises UnfitFolderError for anything else."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UnfitFolderError(f"{path} is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise UnfitFolderError(f"{path} must hold a JSON object, not a {type(value).__name__}")
    return value


def count_parameters(weights: Path) -> int:
    """Number of floating-point values in a safetensors file, read from its header.

    Raises:
        UnfitFolderError: the file is something else, whatever its name says.
    """
    total = 0
    try:
        with safe_open(weights, framework="np") as tensors:
            for key in tensors.keys():  # noqa: SIM118  (not a dict)
                part = tensors.get_slice(key)
                size = 1
                for side in part.get_shape():
                    size *= side
                total += size if part.get_dtype().startswith(("F", "BF")) else 0
    except SafetensorError as error:
        raise UnfitFolderError(f"{weights} is named .safetensors but is not such a file ({error})") from error
    return total


def _head(weights: Path) -> bytes:
    with weights.open("rb") as file:
        return file.read(int.from_bytes(file.read(LENGTH_BYTES), "little"))


def refuse_secrets(name: str, data: bytes) -> None:
    """Raises UnfitFolderError if the data holds what looks like an access token; the message does not repeat it."""
    line = find_secret(data)
    if line is not None:
        raise UnfitFolderError(
            f"{name}, line {line}, holds what looks like an access token or private key; "
            "remove it, and revoke it if it was ever shared"
        )
