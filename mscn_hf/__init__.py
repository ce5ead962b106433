# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Self-supervised ConvNets for Hugging Face. Importing this package makes transformers' Auto classes know them."""

from importlib import import_module
from typing import Any

from .models import *  # noqa: F403
from .models import __all__ as _models

# Imported when asked for: whoever only loads a model waits for neither datasets nor timm.
_LATER = {
    "MSCNForPreTraining": "methods.siamese",
    "ReLICv2ForPreTraining": "methods.siamese",
    "Result": "evaluation.results",
    "SiameseConfig": "methods.configuration",
    "SiameseForPreTraining": "methods.siamese",
    "ViewCollator": "views.collator",
    "ViewRecipe": "views.recipe",
    "ViewSpec": "views.recipe",
    "export_model": "hub.export.exporting",
    "open_source": "data.source",
    "push": "hub.publish",
    "write_card": "hub.card",
}

__all__ = [*_models, *sorted(_LATER)]


def __getattr__(name: str) -> Any:
    if name in _LATER:
        return getattr(import_module(f".{_LATER[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_LATER])
