# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""What a network's features look like: numbers that no classifier stands behind, and pictures."""

from .collapse import feature_std, rankme

__all__ = ["feature_std", "rankme"]
