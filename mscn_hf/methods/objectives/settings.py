# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Checks of the numbers that objectives are set with."""

import math


def require_positive(**settings: float) -> None:
    """Raise ValueError for the first setting that is not a finite number above 0."""
    for name, value in settings.items():
        if not (_is_number(value) and value > 0):
            raise ValueError(f"{name} must be a positive number, got {value!r}")


def require_not_negative(**settings: float) -> None:
    """Raise ValueError for the first setting that is not a finite number of at least 0."""
    for name, value in settings.items():
        if not (_is_number(value) and value >= 0):
            raise ValueError(f"{name} must be a number of at least 0, got {value!r}")


def require_integer(least: int, **settings: int) -> None:
    """Raise ValueError for the first setting that is not an integer of at least `least`."""
    for name, value in settings.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise ValueError(f"{name} must be an integer of at least {least}, got {value!r}")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
