# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Checks of settings, a recipe's and a command's, whose errors name the setting and what it was."""

import difflib
import math
from collections.abc import Iterable
from typing import Any

import torch


class WrongType(TypeError, ValueError):
    """A setting of the wrong type; a ValueError as well, like all that a user can mend."""


def nearest(word: str, known: Iterable[str]) -> str:
    match = difflib.get_close_matches(word, list(known), n=1, cutoff=0.0)
    return f"; did you mean {match[0]!r}?" if match else ""


def listed(words: Iterable[str]) -> str:
    return ", ".join(repr(word) for word in words)


def check(condition: bool, message: str, value: Any) -> None:
    if not condition:
        raise ValueError(f"{message}, got {value}")


def check_number(name: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        hint = " (YAML reads 1e-1 as text: write 0.1 or 1.0e-1)" if isinstance(value, str) else ""
        raise WrongType(f"{name} must be a number, got {value!r}{hint}")
    check(math.isfinite(value), f"{name} must be finite", value)


def check_integer(name: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        raise WrongType(f"{name} must be an integer, got {value!r}")
    check(value >= 1, f"{name} must be at least 1", value)


def as_range(name: str, value: Any) -> tuple[float, float]:
    if not isinstance(value, list | tuple) or len(value) != 2:
        raise WrongType(f"{name} must be two numbers, least and greatest, got {value!r}")
    for bound in value:
        check_number(name, bound)
    check(0 < value[0] <= value[1], f"{name} must be positive and ascending", value)
    return float(value[0]), float(value[1])


def as_three(name: str, value: Any) -> tuple[float, float, float]:
    if not isinstance(value, list | tuple) or len(value) != 3:
        raise WrongType(f"{name} must be three numbers, one for each colour channel, got {value!r}")
    for number in value:
        check_number(name, number)
    red, green, blue = value
    return float(red), float(green), float(blue)


def as_device(name: str, value: str) -> torch.device:
    """The device called `cuda`, `cuda:1`, `cpu` or the like, tried out.

    Raises:
        ValueError: there is no such kind of device, or none of it here.
    """
    try:
        device = torch.device(value)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:  # each backend raises one of its own
        said = next(iter(str(error).splitlines()), "")
        raise ValueError(f"{name} {value}: no such device can be used here ({said})") from error
    return device
