# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""The model that is exported: a published folder, a run's folder or a Hub repository, opened and checked."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
import yaml
from huggingface_hub import metadata_load, snapshot_download
from huggingface_hub.errors import (
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    StrictDataclassError,
)
from safetensors import SafetensorError
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, AutoModelForImageClassification, PreTrainedModel

import mscn_hf.models  # noqa: F401  (registers its classes with the Auto classes)

from ..conversion.wording import first_line
from ..model_folder import UnfitFolderError, open_model_folder, read_json
from ..safe_text import is_local_path

DOWNLOADED = ("*.json", "*.safetensors", "README.md", "LICENSE", "NOTICE")


class ExportError(ValueError):
    """A model that cannot be exported as asked; the message says why and what to do."""


@dataclass
class Source:
    """A model opened for export; its weights are read when they are first asked for.

    Args:
        name: Hub id or name of the folder, as it may be published.
        folder: where its files lie.
        config: the network's configuration, of whatever class.
        preprocessor: preprocessor_config.json.
        license: the weights' licence by the Hub's identifier, None where the card names none.
        tags: the card's tags.
        base_model: Hub id, None for a folder.
    """

    name: str
    folder: Path
    config: Any
    preprocessor: dict[str, Any]
    license: str | None
    tags: tuple[str, ...]
    base_model: str | None

    @cached_property
    def network(self) -> PreTrainedModel:
        """Encoder or classifier in float32 and eval mode, on the CPU.

        Raises:
            ExportError: AutoModel cannot load it, or the weights lack a tensor.
        """
        classifier = str((self.config.architectures or [""])[0]).endswith("ForImageClassification")
        auto_class: Any = AutoModelForImageClassification if classifier else AutoModel
        try:
            network, info = auto_class.from_pretrained(
                self.folder, dtype=torch.float32, output_loading_info=True, trust_remote_code=False
            )
        except (OSError, RuntimeError, SafetensorError, ValueError) as error:
            raise ExportError(f"cannot load the weights of {self.name!r}: {first_line(error)}") from error
        missing = sorted(info["missing_keys"])
        if missing:
            raise ExportError(
                f"{self.name!r} lacks {len(missing)} tensors of {type(network).__name__}, which would stay random: "
                f"{', '.join(missing[:5])}"
            )
        return network.requires_grad_(False).eval()

    @property
    def encoder(self) -> PreTrainedModel:
        """The network without its classifier."""
        return self.network.base_model  # type: ignore[return-value]

    @property
    def is_classifier(self) -> bool:
        """Whether the network has a classifier on top of its encoder."""
        return self.encoder is not self.network

    @property
    def head(self) -> nn.Linear | None:
        """The linear classifier of a ResNet, None for an encoder."""
        layers = [m for name, m in self.network.named_modules() if name == "classifier.1" and isinstance(m, nn.Linear)]
        return layers[0] if layers else None

    @torch.no_grad()
    def features(self, images_BCHW: Tensor) -> Tensor:
        """Pooled features z_BD of a ResNet, or its scores logits_BK where it has a classifier."""
        if self.is_classifier:
            return self.network(pixel_values=images_BCHW).logits
        return self.network(pixel_values=images_BCHW).pooler_output.flatten(1)


def open_model(folder_or_id: str | Path, revision: str | None = None) -> Source:
    """Opens an encoder's or classifier's folder, the run's folder around it, or a Hub repository.

    Args:
        folder_or_id: `namespace/name` is taken for a repository unless it is a folder here.
        revision: branch, tag or commit of a repository.

    Raises:
        ExportError: a repository that cannot be read, or a configuration that AutoConfig does not know.
        UnfitFolderError: a folder that does not exist or holds no model.
    """
    name = str(folder_or_id)
    repository = not (Path(name).expanduser().is_dir() or is_local_path(name) or name.count("/") != 1)
    if not repository and revision is not None:
        raise ExportError(f"{name!r} is a folder here and has no revision {revision!r}; leave it out")
    found = open_model_folder(_download(name, revision) if repository else name)
    if not any(found.path.glob("*.safetensors")):
        raise UnfitFolderError(f"{name!r} holds no .safetensors weights; write them with save_pretrained")
    try:
        # Without a question whether to run a repository's code.
        config = AutoConfig.from_pretrained(found.path, trust_remote_code=False)
    except (OSError, StrictDataclassError, ValueError) as error:
        raise ExportError(f"cannot load the model {name!r}: {first_line(error)}") from error
    card = _card_metadata(found.path / "README.md")
    license, tags = card.get("license"), card.get("tags")
    return Source(
        name=name if repository else found.name,
        folder=found.path,
        config=config,
        preprocessor=read_json(found.path / "preprocessor_config.json"),
        license=license if isinstance(license, str) else None,
        tags=tuple(tag for tag in tags if isinstance(tag, str)) if isinstance(tags, list) else (),
        base_model=name if repository else None,
    )


def _download(repo_id: str, revision: str | None) -> str:
    try:
        return snapshot_download(repo_id, revision=revision, allow_patterns=list(DOWNLOADED))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OfflineModeIsEnabled, OSError) as error:
        raise ExportError(
            f"{repo_id!r} is neither a folder here nor a Hub repository that can be read: {first_line(error)}"
        ) from error


def _card_metadata(readme: Path) -> dict[str, Any]:
    """The YAML head of a card of any hand; empty where it cannot be read."""
    if not readme.is_file():
        return {}
    try:
        return metadata_load(readme) or {}
    except (ValueError, yaml.YAMLError):
        return {}
