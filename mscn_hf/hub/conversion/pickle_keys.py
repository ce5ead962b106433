# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""An unpickler that looks at the keys of dictionaries and sets before Python hashes them."""

import pickle
from collections.abc import Callable, Iterable
from typing import Any

from .files import UnsafePickleError

MAX_KEY = 100  # items of one key, over all its levels


def check_keys(keys: Iterable[Any]) -> None:
    """Raises UnsafePickleError for tuples and frozen sets of more than MAX_KEY items; to be called before hashing.

    Python hashes a tuple by all that it holds, what it holds twice twice over: a file of 200 bytes can nest one such
    that this takes for ever. Keys of programs are names and numbers, at most a few of them in a tuple.
    """
    for key in keys:
        found, pending = 0, [key]
        while pending:
            item = pending.pop()
            if isinstance(item, tuple | frozenset):
                found += len(item)
                if found > MAX_KEY:
                    raise UnsafePickleError(f"it uses a {type(key).__name__} of more than {MAX_KEY} items as a key")
                pending.extend(item)


# Instructions that hash: which of the objects that they are given (all since the last mark; for the first, on the
# whole stack) are keys.
_HASHING = {
    pickle.SETITEM: slice(-2, -1),
    pickle.SETITEMS: slice(None, None, 2),
    pickle.DICT: slice(None, None, 2),
    pickle.ADDITEMS: slice(None),
    pickle.FROZENSET: slice(None),
}


def _checked(step: Callable[[Any], None], keys: slice) -> Callable[[Any], None]:
    def check_and_do(unpickler: Any) -> None:
        check_keys(unpickler.stack[keys])
        step(unpickler)

    return check_and_do


class KeyCheckingUnpickler(pickle._Unpickler):
    """Raises UnsafePickleError for keys that `check_keys` refuses; otherwise Python's own.

    It is the one in Python: the one in C lets nobody look at a key before it is hashed. Checkpoints hold few and large
    objects, so its speed does not matter. Functions that make dictionaries or sets have to check their arguments.
    """

    dispatch = {
        **pickle._Unpickler.dispatch,
        **{code[0]: _checked(pickle._Unpickler.dispatch[code[0]], keys) for code, keys in _HASHING.items()},
    }
