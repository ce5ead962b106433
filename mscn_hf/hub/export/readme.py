# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""The README.md of an exported folder: where it comes from, under which licence, how it is loaded."""

import shutil
from pathlib import Path

from huggingface_hub import ModelCardData

from ..safe_text import fenced, markdown
from .source import Source
from .written import Written

SOURCE_CARD = "SOURCE_README.md"


def write_readme(source: Source, target: str, written: Written, folder: Path) -> None:
    """Writes README.md and takes along the source's own card and licence files, which name the weights' authors."""
    carried = []
    for name, new_name in (("README.md", SOURCE_CARD), ("LICENSE", "LICENSE"), ("NOTICE", "NOTICE")):
        if (source.folder / name).is_file():
            shutil.copyfile(source.folder / name, folder / new_name)
            carried.append(new_name)
    data = ModelCardData(
        license=source.license,
        library_name=written.library,
        pipeline_tag="image-classification" if source.is_classifier else "image-feature-extraction",
        base_model=source.base_model,
        # How the weights were trained is the source's to say.
        tags=list(source.tags or (source.config.model_type, "vision")),
    )
    told = f"Licence: {source.license}." if source.license else "The source states no licence."
    if carried:
        told += f" The source's own files: {', '.join(carried)}."
    code = "\n".join([written.load_from("."), *written.usage])
    notes = "\n".join(f"- {note}" for note in written.notes)
    kind = type(source.network).__name__
    text = (
        f"---\n{data.to_yaml()}\n---\n\n# {markdown(source.name)}, for {target}\n\n"
        f"The weights of `{kind}` {markdown(source.name)}, written by `mscn-hf export --to {target}`.\n\n"
        f"In this folder:\n\n{fenced(code, 'python')}\n\n{notes}\n\n{told}\n"
    )
    (folder / "README.md").write_text(text, encoding="utf-8")
