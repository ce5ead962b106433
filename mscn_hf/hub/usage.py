# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""The usage examples of a model card, run word for word before the card says that they work."""

import ast
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from PIL import Image

PACKAGE = Path(__file__).resolve().parents[1]
TIME_LIMIT = 600  # seconds
# Where the output has no pooler: the class token.
FEATURES = {"vit_msn": "last_hidden_state[:, 0]"}


@dataclass(frozen=True)
class Usage:
    """One example and what came of it: the `shape` it printed, the `error` it ended with, neither if not run."""

    code: str
    needs: str
    shape: tuple[int, ...] | None = None
    error: str | None = None


def usage_examples(model_id: str, config: dict[str, Any]) -> list[Usage]:
    """How to get features from a model: one example, or two for a model whose code lies in this package.

    Args:
        model_id: repository id or folder, as it shall stand in the code.
        config: the model's config.json.
    """
    auto_map = config.get("auto_map") or {}
    module = str(auto_map.get("AutoModel", "")).partition(".")[0]
    features = FEATURES.get(str(config.get("model_type")), "pooler_output.flatten(1)")
    if not auto_map:
        return [Usage(_code(model_id, features), f"transformers {version('transformers')}")]
    encoder = config.get("encoder")
    wraps_timm = isinstance(encoder, dict) and encoder.get("model_type") == "timm_wrapper"
    alone = "transformers and timm" if wraps_timm else "transformers alone"
    remote = Usage(
        _code(model_id, features, trust=", trust_remote_code=True"), f"{alone}, running this repository's code"
    )
    if not module.isidentifier() or not (PACKAGE / "models" / f"{module}.py").is_file():
        return [remote]
    imports = "import mscn_hf  # makes transformers know the architecture\n"
    return [Usage(_code(model_id, features, imports), "the package mscn-hf"), remote]


def _code(model_id: str, features: str, imports: str = "", trust: str = "") -> str:
    return f"""\
import torch
from PIL import Image
from transformers import AutoImageProcessor, AutoModel
{imports}
processor = AutoImageProcessor.from_pretrained({model_id!r})
model = AutoModel.from_pretrained({model_id!r}{trust}).eval()

image = Image.open("photo.jpg").convert("RGB")
with torch.no_grad():
    features = model(**processor(image, return_tensors="pt")).{features}
print(tuple(features.shape))
""".replace("'", '"')


def run_usage(examples: list[Usage], model_id: str, folder: Path) -> list[Usage]:
    """Runs each example as it stands, in a new process without access to the Hub, and records its outcome.

    The process starts where `model_id` is a link to `folder` and `photo.jpg` is a grey ramp, so not a word of the
    code has to be changed.
    """
    with tempfile.TemporaryDirectory(prefix="usage-") as temporary:
        place = Path(temporary) / "work"
        link = place / model_id
        link.parent.mkdir(parents=True)
        link.symlink_to(folder.resolve(), target_is_directory=True)
        Image.linear_gradient("L").convert("RGB").save(place / "photo.jpg")
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("HF_", "HUGGING"))},
            "HF_HOME": str(Path(temporary) / "home"),
            "HF_HUB_OFFLINE": "1",
            "CUDA_VISIBLE_DEVICES": "",
            "PYTHONPATH": os.pathsep.join(filter(None, [str(PACKAGE.parent), os.environ.get("PYTHONPATH")])),
        }
        processes = [
            subprocess.Popen(
                [sys.executable, "-c", example.code],
                cwd=place,
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            for example in examples
        ]
        return [_outcome(example, process) for example, process in zip(examples, processes, strict=True)]


def _outcome(example: Usage, process: "subprocess.Popen[str]") -> Usage:
    try:
        printed, errors = process.communicate(timeout=TIME_LIMIT)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return Usage(example.code, example.needs, error=f"it took more than {TIME_LIMIT} s")
    if process.returncode != 0:
        return Usage(
            example.code, example.needs, error=(errors.strip().splitlines() or ["it ended without a word"])[-1]
        )
    try:
        shape = ast.literal_eval(printed.strip().splitlines()[-1])
        return Usage(example.code, example.needs, shape=tuple(int(side) for side in shape))
    except (IndexError, SyntaxError, TypeError, ValueError):
        return Usage(example.code, example.needs, error=f"it printed {printed.strip()[-80:]!r} instead of a shape")
