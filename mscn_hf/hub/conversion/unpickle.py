# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Reading the pickles of Haiku programs without running anything that stands in them.

A pickle is a program: it names functions, and loading it calls them. Here every name is looked up in one list. What is
on it are stand-ins of this module that keep numbers, names and nesting; every other name ends the reading.
"""

import os
import pickletools
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ..safe_text import plain
from .files import UnsafePickleError
from .pickle_keys import KeyCheckingUnpickler, check_keys
from .wording import first_line, shown

# Python 2's names, which pickle protocols below 3 write.
_RENAMED = {"__builtin__": "builtins", "copy_reg": "copyreg"}
MAX_AXES = 64  # numpy's own limit
_REFUSED_OPCODES = {"PERSID", "BINPERSID", "EXT1", "EXT2", "EXT4", "NEXT_BUFFER", "READONLY_BUFFER"}


class PickledArray:
    """An array as it stands in the pickle: shape and dtype are known, the numbers are decoded when asked for.

    Attributes:
        shape: sizes; their product times the item size is exactly the number of bytes in the file.
        dtype: a numeric numpy dtype, never an object one.
    """

    __slots__ = ("_fortran", "_raw", "dtype", "shape")

    def __init__(self) -> None:
        self.shape: tuple[int, ...] = (0,)
        self.dtype = np.dtype(np.uint8)
        self._fortran = False
        self._raw: bytes | bytearray | _Latin1 = b""

    @property
    def nbytes(self) -> int:
        """Size of the numbers in bytes."""
        return len(self._raw)

    def array(self) -> np.ndarray:
        """The numbers, as a read-only array."""
        raw = self._raw.encode() if isinstance(self._raw, _Latin1) else self._raw
        numbers = np.frombuffer(memoryview(raw).toreadonly(), self.dtype)
        return numbers.reshape(self.shape, order="F" if self._fortran else "C")

    def __setstate__(self, state: Any) -> None:
        """Takes what numpy writes: (version, shape, dtype, Fortran order, bytes)."""
        if not isinstance(state, tuple) or len(state) != 5 or not isinstance(state[2], _DType):
            raise UnsafePickleError("an array is described in a way that numpy does not use")
        _, shape, dtype, fortran, raw = state
        sizes = shape if isinstance(shape, tuple) and len(shape) <= MAX_AXES else (None,)
        if not all(type(size) is int and 0 <= size <= sys.maxsize for size in sizes):
            raise UnsafePickleError(f"an array has the shape {shown(shape)}")
        if not isinstance(raw, bytes | bytearray | _Latin1):
            raise UnsafePickleError(f"an array of shape {shown(shape)} holds a {type(raw).__name__} instead of bytes")
        needed = dtype.dtype.itemsize
        for size in shape:
            needed *= size
        if needed != len(raw):
            raise UnsafePickleError(
                f"an array of shape {shown(shape)} and type {dtype.dtype} needs {shown(needed)} bytes, the file holds "
                f"{len(raw)}"
            )
        self.shape, self.dtype, self._fortran, self._raw = shape, dtype.dtype, fortran is True, raw


class _StandIns(type):
    """Classes that a pickle cannot change."""

    def __setattr__(cls, name: str, value: Any) -> None:
        raise UnsafePickleError(f"it sets {shown(name)} on a class")


class Record(metaclass=_StandIns):
    """A named tuple of the program that wrote the pickle: its values, without its class.

    Attributes:
        name: the class's name as the file gives it.
        fields: names of the values.
    """

    __slots__ = ("_values",)
    _values: tuple[Any, ...]
    name = ""
    fields: tuple[str, ...] = ()

    def __new__(cls, *values: Any) -> "Record":
        if len(values) != len(cls.fields):
            raise UnsafePickleError(
                f"{plain(cls.name, 100)} has the fields {shown(cls.fields)} and {len(values)} values"
            )
        record = super().__new__(cls)
        record._values = values
        return record

    def __setstate__(self, state: Any) -> None:
        raise UnsafePickleError(f"it sets attributes of {plain(self.name, 100)}")

    def as_dict(self) -> dict[str, Any]:
        """Field -> value."""
        return dict(zip(self.fields, self._values))


def load_plain_pickle(path: str | Path) -> Any:
    """Reads a pickle (also one of dill) that holds arrays in containers, as Haiku programs save their state.

    Args:
        path: the file; nothing in it is run, whatever it asks for.

    Returns:
        dicts (Haiku's mappings become dicts), lists, tuples, sets, strings, numbers and None, with `PickledArray` for
        arrays of numpy and jax and `Record` for named tuples. Bytes outside of arrays may be stand-ins.

    Raises:
        UnsafePickleError: the file asks for a class or function that is not plain data, which the message names, or
            has keys that take for ever to hash.
        ValueError: the file is no pickle, or a damaged one.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            _check_opcodes(file)
            file.seek(0)
            return _PlainUnpickler(file).load()
    except UnsafePickleError as error:
        raise UnsafePickleError(f"{path} is not read any further: {error}. Nothing in it was run") from None
    except OSError:
        raise
    except Exception as error:
        # Damaged pickles end in errors of every kind: EOFError, KeyError, TypeError, UnicodeDecodeError ….
        raise ValueError(
            f"{path} is not a pickle, or a damaged one ({type(error).__name__}: {first_line(error)})"
        ) from error


def _check_opcodes(file: Any) -> None:
    """Looks through the instructions without following them.

    Python's reader makes room for as many remembered objects as one instruction says, which may be 64 GB; honest
    pickles number them one after the other.
    """
    size = os.fstat(file.fileno()).st_size
    for opcode, argument, _ in pickletools.genops(file):
        if opcode.name in _REFUSED_OPCODES:
            raise UnsafePickleError(f"it uses the instruction {opcode.name}, which points outside of the file")
        if opcode.name in ("PUT", "BINPUT", "LONG_BINPUT") and (argument is None or argument > size):
            raise UnsafePickleError(f"it numbers an object {shown(argument)} in a file of {size} bytes")


class _PlainUnpickler(KeyCheckingUnpickler):
    def find_class(self, module: str, name: str) -> Any:
        known = _KNOWN.get((_RENAMED.get(module, module), name))
        if known is None:
            raise UnsafePickleError(f"it asks for {plain(f'{module}.{name}', 200)}, which is not plain data")
        return known

    def persistent_load(self, pid: Any) -> Any:
        raise UnsafePickleError(f"it asks for an object outside of the file, {shown(pid)}")


class _Latin1:
    """Bytes that a pickle below protocol 3 holds as text; encoded late, so that they are not in memory twice."""

    __slots__ = ("_text",)

    def __init__(self, text: str):
        self._text = text

    def __len__(self) -> int:
        return len(self._text)

    def encode(self) -> bytes:
        return self._text.encode("latin-1")

    def __setstate__(self, state: Any) -> None:
        raise UnsafePickleError("it sets attributes of bytes")


class _DType:
    """A numpy dtype of numbers."""

    __slots__ = ("dtype",)
    CODES = ("b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8")

    def __init__(self, code: Any):
        if code not in self.CODES:
            raise UnsafePickleError(f"it holds arrays of numpy type {shown(code)}, which are not numbers")
        self.dtype = np.dtype(code)

    def __setstate__(self, state: Any) -> None:
        """Takes what numpy writes; only the byte order is of interest for numbers."""
        plain = isinstance(state, tuple) and len(state) >= 5 and state[2:5] == (None, None, None)
        if not plain or state[1] not in ("<", ">", "|", "="):
            raise UnsafePickleError(f"it describes the type {self.dtype} in a way that numpy does not use")
        self.dtype = self.dtype.newbyteorder(state[1])


class _Call:
    """What a name in the pickle stands for; it can be called and nothing else."""

    __slots__ = ("_function",)

    def __init__(self, function: Callable[..., Any]):
        self._function = function

    def __call__(self, *args: Any) -> Any:
        return self._function(*args)

    def __setstate__(self, state: Any) -> None:
        raise UnsafePickleError("it sets attributes of a function")


_NDARRAY = _Call(lambda *args: _refuse("numpy.ndarray"))


def _refuse(name: str) -> Any:
    raise UnsafePickleError(f"it asks for {name} in a way that is not plain data")


def _reconstruct(array_class: Any, shape: Any, code: Any) -> PickledArray:
    return PickledArray() if array_class is _NDARRAY else _refuse("numpy._core.multiarray._reconstruct")


def _array_of(function: Any, args: Any, state: Any, attributes: Any = None) -> PickledArray:
    """dill's and jax's way to write an array: numpy's own function and what it takes."""
    if function is not _RECONSTRUCT or not isinstance(args, tuple):
        _refuse("an array that numpy did not write")
    array = _reconstruct(*args)
    array.__setstate__(state)
    return array


def _array_from_buffer(raw: Any, dtype: Any, shape: Any, order: Any) -> PickledArray:
    array = PickledArray()
    array.__setstate__((1, shape, dtype, order == "F", raw))
    return array


def _scalar(dtype: Any, raw: Any) -> PickledArray:
    return _array_from_buffer(raw, dtype, (), "C")


def _encode(text: Any, encoding: Any) -> _Latin1:
    if type(text) is not str or encoding not in ("latin1", "latin-1"):
        _refuse("_codecs.encode")
    return _Latin1(text)


def _mapping(mapping: Any = ()) -> dict[Any, Any]:
    """Haiku's immutable mappings are written as the dict that they wrap; OrderedDict as pairs, or filled later."""
    if type(mapping) is dict:
        return mapping
    pairs = list(mapping)
    check_keys(pair[0] for pair in pairs)
    return dict(pairs)


def _set(kind: type, items: Any = ()) -> Any:
    items = list(items)
    check_keys(items)
    return kind(items)


def _no_bytes() -> bytes:
    return b""


def _dill_type(name: Any) -> Any:
    known = {"set": _SET, "frozenset": _FROZENSET, "bytes": _NO_BYTES, "OrderedDict": _MAPPING}
    # The type first: to hash a tuple that holds another one twice, and so on, takes for ever.
    return known[name] if type(name) is str and name in known else _refuse(f"dill._dill._load_type({shown(name)})")


def _record_class(name: Any, fields: Any, module: Any = None, defaults: Any = None) -> type[Record]:
    """dill's way to write a named tuple's class: by its fields. dill would import it; here only the fields count."""
    if not isinstance(name, str) or not isinstance(fields, tuple) or not all(isinstance(f, str) for f in fields):
        _refuse(f"a named tuple {shown(name)}")
    return _StandIns("Record", (Record,), {"__slots__": (), "name": name, "fields": fields})  # type: ignore[return-value]


_RECONSTRUCT = _Call(_reconstruct)
_MAPPING = _Call(_mapping)
_NO_BYTES = _Call(_no_bytes)
_SET = _Call(partial(_set, set))
_FROZENSET = _Call(partial(_set, frozenset))
_ARRAY_OF = _Call(_array_of)

_KNOWN: dict[tuple[str, str], Any] = {
    ("builtins", "set"): _SET,
    ("builtins", "frozenset"): _FROZENSET,
    ("builtins", "bytes"): _NO_BYTES,
    ("_codecs", "encode"): _Call(_encode),
    ("collections", "OrderedDict"): _MAPPING,
    ("numpy", "ndarray"): _NDARRAY,
    ("numpy", "dtype"): _Call(lambda code, align=False, copy=True: _DType(code)),
    # jax: since 0.4, and before.
    ("jax._src.array", "_reconstruct_array"): _ARRAY_OF,
    ("jax._src.device_array", "reconstruct_device_array"): _ARRAY_OF,
    ("byol.byol_experiment", "_ByolExperimentState"): _record_class(
        "_ByolExperimentState", ("online_params", "target_params", "online_state", "target_state", "opt_state")
    ),
}
for _core in ("numpy._core", "numpy.core"):  # numpy 2 and 1
    _KNOWN[f"{_core}.multiarray", "_reconstruct"] = _RECONSTRUCT
    _KNOWN[f"{_core}.multiarray", "scalar"] = _Call(_scalar)
    _KNOWN[f"{_core}.numeric", "_frombuffer"] = _Call(_array_from_buffer)
for _class in ("FlatMapping", "FlatMap", "frozendict", "to_immutable_dict", "to_haiku_dict"):
    _KNOWN["haiku._src.data_structures", _class] = _MAPPING
for _dill in ("dill._dill", "dill.dill"):
    _KNOWN[_dill, "_create_array"] = _ARRAY_OF
    _KNOWN[_dill, "_create_namedtuple"] = _Call(_record_class)
    _KNOWN[_dill, "_load_type"] = _Call(_dill_type)
