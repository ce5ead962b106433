# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""From a published model to a folder in another library's format."""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from ..conversion.files import refuse_used_folder
from .capability import TARGETS, refuse_losses
from .readme import write_readme
from .source import ExportError, Source, open_model
from .written import Written


@dataclass(frozen=True)
class Export:
    """What `export_model` wrote.

    Args:
        folder: the new folder.
        files: name -> size in bytes.
        load: one line of Python that loads it as `model`.
        notes: what else the user has to know.
        difference: largest difference of features from the source's, as a share of the largest; None: not compared.
    """

    folder: Path
    files: dict[str, int]
    load: str
    notes: tuple[str, ...]
    difference: float | None


def export_model(
    folder_or_id: str | Path, target: str, out: str | Path, *, revision: str | None = None, check: bool = True
) -> Export:
    """Writes a published model in the format of another library.

    Args:
        folder_or_id: a folder with config.json and safetensors weights in it or in its `encoder/`, or a Hub id.
        target: timm, torchvision, detectron2, resnet (transformers' own, without this package's code) or onnx.
        out: folder to write, new or empty. Nothing is left there if the export fails.
        revision: branch, tag or commit of a Hub id.
        check: load what was written and compare its features with the source's (not for detectron2).

    Raises:
        ExportError: the target would drop a part of the network (filter, SAME padding, stem, width), `out` is not
            empty, or the model cannot be loaded.
        UnfitFolderError: the folder holds no model.
    """
    if target not in TARGETS:
        raise ExportError(f"the target must be one of {', '.join(TARGETS)}, got {target!r}")
    out = Path(out).expanduser()
    try:
        refuse_used_folder(out)
    except FileExistsError as error:
        raise ExportError(str(error)) from None
    source = open_model(folder_or_id, revision)
    refuse_losses(source.config, target)
    write: Callable[[Source, Path, bool], Written] = import_module(f".to_{target}", __package__).write
    made = not out.exists()
    out.mkdir(parents=True, exist_ok=True)
    try:
        # Only what is complete and compared is moved to its place.
        with tempfile.TemporaryDirectory(dir=out, prefix=".unfinished-") as temporary:
            unfinished = Path(temporary)
            written = write(source, unfinished, check)
            write_readme(source, target, written, unfinished)
            files = sorted(unfinished.iterdir())
            sizes = {path.name: path.stat().st_size for path in files}
            for path in files:
                path.replace(out / path.name)
    except BaseException:
        if made:
            out.rmdir()
        raise
    return Export(out, sizes, written.load_from(out), written.notes, written.difference)
