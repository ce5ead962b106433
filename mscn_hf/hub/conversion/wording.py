# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Values and names out of files that nobody vouches for, as short text for messages."""

from collections.abc import Sequence
from typing import Any

from ..safe_text import plain

LIMIT = 100  # characters of one value
ITEMS = 8
BITS = 4096  # Python refuses to write much larger integers


def shown(value: Any) -> str:
    """A text, an integer or a few of them as Python writes them, of anything else the type.

    A tuple that holds another one twice, and so on, fills gigabytes when it is written out.
    """
    if type(value) is tuple and len(value) <= ITEMS and all(type(item) in (int, str) for item in value):
        return f"({', '.join(map(shown, value))}{',' * (len(value) == 1)})"
    if type(value) is str:
        return repr(plain(value, LIMIT))
    if type(value) is int and value.bit_length() <= BITS:
        return plain(value, LIMIT)
    return f"a {type(value).__name__}"


def key_text(key: Any) -> str:
    """A dictionary's key: a text as it is, anything else as by `shown`."""
    return key if isinstance(key, str) else shown(key)


def some(names: Sequence[str]) -> str:
    """The first three names, and how many there are besides."""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(plain(name, 120) for name in names[:3]) + more


def first_line(error: BaseException) -> str:
    """The first line of an error's message, or its class."""
    lines = (line for line in str(error).splitlines() if line.strip())
    return plain(next(lines, type(error).__name__), 300)
