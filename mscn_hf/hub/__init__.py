# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""From a trained encoder to a model repository: card, scores for leaderboards, push."""

from .card import write_card
from .model_folder import UnfitFolderError
from .publish import Push, PushError, push
from .results_yaml import eval_results_files

__all__ = ["Push", "PushError", "UnfitFolderError", "eval_results_files", "push", "write_card"]
