# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
import collections
import functools
import os
import pickle
import struct
import subprocess
import time

import numpy as np
import pytest

from mscn_hf.hub.conversion import unpickle
from mscn_hf.hub.conversion.files import UnsafePickleError
from mscn_hf.hub.conversion.haiku_checkpoint import read_network
from mscn_hf.hub.conversion.unpickle import PickledArray, Record, load_plain_pickle

ARRAYS = [
    np.arange(6, dtype=np.float32).reshape(2, 3),
    np.asfortranarray(np.arange(24, dtype=np.float64).reshape(2, 3, 4)),
    np.arange(4, dtype=">f4"),
    np.float16([1.5, -2]),
    np.array([[True, False]]),
    np.array(-7, np.int32),
    np.arange(256, dtype=np.uint8),
    np.zeros((0, 3), np.float32),
    np.float32(2.5),
]
RECONSTRUCT = np.zeros(1).__reduce__()[0]


class Calls:
    """Pickles as a call: loading it calls the function, then sets the state."""

    def __init__(self, function, *args, state=None):
        self.parts = (function, args) if state is None else (function, args, state)

    def __reduce__(self):
        return self.parts


def write(path, data, protocol=4):
    path.write_bytes(data if isinstance(data, bytes) else pickle.dumps(data, protocol=protocol))
    return path


def touch(path):
    """A command that leaves a file behind."""
    return f"echo x > '{path}'"


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("writer", ["pickle", "dill"])
def test_arrays_come_back(tmp_path, protocol, writer):
    dump = pytest.importorskip("dill").dumps if writer == "dill" else pickle.dumps
    data = {"arrays": ARRAYS, "rest": [None, True, 2**70, -1.5, "é", (1, {2}), frozenset([3]), {"a": {}}]}
    data["ordered"] = collections.OrderedDict(b=1, a=2)
    found = load_plain_pickle(write(tmp_path / "x.pkl", dump(data, protocol=protocol)))
    for array, expected in zip(found["arrays"], ARRAYS, strict=True):
        assert isinstance(array, PickledArray)
        assert (array.shape, array.dtype, array.nbytes) == (expected.shape, expected.dtype, expected.nbytes)
        np.testing.assert_array_equal(array.array(), expected, strict=False)
        assert not array.array().flags.writeable
    assert found["rest"] == data["rest"]
    assert list(found["ordered"].items()) == [("b", 1), ("a", 2)]


@pytest.mark.parametrize("protocol", [2, 4])
def test_what_haiku_programs_save(tmp_path, protocol):
    dill = pytest.importorskip("dill")
    jax = pytest.importorskip("jax")
    structures = pytest.importorskip("haiku._src.data_structures")
    tree = {"net/~/conv": {"w": np.ones((2, 2), np.float32)}}
    data = {
        "flat": structures.to_immutable_dict(tree),
        "frozen": structures.frozendict(tree),
        "rng": jax.random.PRNGKey(3),
        "state": collections.namedtuple("Made", ["mu", "nu"], module="nowhere.to.import")(tree, (1, 2)),
    }
    found = load_plain_pickle(write(tmp_path / "x.pkl", dill.dumps(data, protocol=protocol)))
    for name in ("flat", "frozen"):
        assert type(found[name]) is dict and type(found[name]["net/~/conv"]) is dict
        assert found[name]["net/~/conv"]["w"].array().tolist() == [[1, 1], [1, 1]]
    assert found["rng"].array().tolist() == np.asarray(data["rng"]).tolist()
    assert isinstance(found["state"], Record)
    assert found["state"].name == "Made" and found["state"].as_dict()["nu"] == (1, 2)


def test_the_danger_is_real(tmp_path):
    """The commands of these tests do leave a file behind when an ordinary unpickler reads them."""
    marker = tmp_path / "marker"
    pickle.loads(pickle.dumps(Calls(os.system, touch(marker))))
    assert marker.exists()


def malicious(marker):
    command = touch(marker)
    code = f"__import__('os').system({command!r})"
    weights = {"w": np.ones(3, np.float32)}
    return {
        "system": (Calls(os.system, command), "posix.system|nt.system"),
        "after good data": ([weights, {"a": Calls(os.system, command)}], "posix.system|nt.system"),
        "popen": (Calls(subprocess.check_output, command), "check_output"),
        "eval": (Calls(eval, code), "builtins.eval|__builtin__.eval"),
        "exec": (Calls(exec, code), "builtins.exec|__builtin__.exec"),
        "getattr": (Calls(getattr, "x", "upper"), "getattr"),
        "import": (Calls(__import__, "antigravity"), "__import__"),
        "open": (Calls(open, str(marker), "w"), r"(_?io)\.open"),
        "partial": (Calls(functools.partial, os.system, command), "functools.partial"),
        "map": (Calls(map, eval, [code]), "builtins.map|itertools.imap"),
        "object array": (np.array([Calls(os.system, command)], dtype=object), "'O8'"),
        "key": ({Calls(os.system, command): 1}, "posix.system|nt.system"),
        "argument of numpy": (Calls(RECONSTRUCT, Calls(os.system, command)), "posix.system"),
        "state": (Calls(collections.OrderedDict, state={"a": Calls(os.system, command)}), "posix.system"),
        "defaultdict": (collections.defaultdict(list), "collections.defaultdict"),
        "bytes by length": (Calls(bytearray, 10**12), "bytearray"),
    }


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
@pytest.mark.parametrize("case", malicious("m"))
def test_code_is_refused_by_name_and_not_run(tmp_path, case, protocol):
    marker = tmp_path / "marker"
    data, name = malicious(marker)[case]
    path = write(tmp_path / "x.pkl", data, protocol)
    with pytest.raises(UnsafePickleError, match=f"({name}).*(not plain data|not numbers).*was run"):
        load_plain_pickle(path)
    assert not marker.exists()


def test_functions_that_dill_writes_are_refused(tmp_path):
    dill = pytest.importorskip("dill")
    path = write(tmp_path / "x.pkl", dill.dumps(lambda: os.system("true")))
    with pytest.raises(UnsafePickleError, match=r"dill\._dill\._create_function"):
        load_plain_pickle(path)


def call(module, name, *arguments):
    """Instructions that call a function with strings and whatever instructions are given as bytes."""
    made = b"".join(a if isinstance(a, bytes) else text(a) for a in arguments)
    return f"c{module}\n{name}\n(".encode() + made + b"tR"


def text(value):
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


MADE_BY_HAND = {
    # A name is looked up as a whole: no walking from a known function to its globals.
    "walk": (
        b"\x80\x04" + text("numpy._core.multiarray") + text("_reconstruct.__globals__") + b"\x93.",
        "__globals__",
    ),
    "dill's import": (call("dill._dill", "_import_module", "os.system") + b".", "_import_module"),
    "dill's types": (call("dill._dill", "_load_type", "CodeType") + b".", "CodeType"),
    "dill's arrays": (call("dill._dill", "_create_array", b"cposix\nsystem\n", b"(", b"t") + b".", "posix.system"),
    "array by another": (call("dill._dill", "_create_array", b"c_codecs\nencode\n", b"()t", b"N") + b".", "numpy"),
    "codec": (call("_codecs", "encode", "x", "zip") + b".", "_codecs.encode"),
    "ndarray of any size": (call("numpy", "ndarray", b"J\xff\xff\xff\x7f") + b".", "numpy.ndarray"),
    "state of a function": (
        b"chaiku._src.data_structures\nFlatMapping\n}" + text("x") + b"Nsb.",
        "attributes of a funct",
    ),
    "state of a record": (
        call("dill._dill", "_create_namedtuple", "A", b"(" + text("f") + b"t", "os") + b")\x81}b.",
        "has the fields",
    ),
    "state of a record, filled": (
        call("dill._dill", "_create_namedtuple", "A", b"(" + text("f") + b"t", "os") + b"(Nt\x81}b.",
        "attributes of A",
    ),
    "outside": (b"Pfile\n.", "PERSID"),
    "extension": (b"\x80\x02\x82\x01.", "EXT1"),
    "buffer": (b"\x80\x05\x97.", "NEXT_BUFFER"),
    # Python's own reader would make room for 8 billion objects.
    "memory": (b"\x80\x02]r\xf0\xff\xff\xff.", "numbers an object 4294967280"),
}


@pytest.mark.parametrize("case", MADE_BY_HAND)
def test_instructions_made_by_hand_are_refused(tmp_path, case):
    data, name = MADE_BY_HAND[case]
    with pytest.raises(UnsafePickleError, match=f"{name}.*Nothing in it was run"):
        load_plain_pickle(write(tmp_path / "x.pkl", data))


@pytest.mark.parametrize("state", [b"}" + text("fields") + b")s", b"N}" + text("fields") + b")s\x86"])
def test_stand_ins_cannot_be_changed(tmp_path, state):
    known = unpickle._KNOWN["byol.byol_experiment", "_ByolExperimentState"]
    before = known.fields
    with pytest.raises(ValueError):
        load_plain_pickle(write(tmp_path / "x.pkl", b"cbyol.byol_experiment\n_ByolExperimentState\n" + state + b"b."))
    assert known.fields == before == ("online_params", "target_params", "online_state", "target_state", "opt_state")
    with pytest.raises(UnsafePickleError, match="'fields'"):
        known.fields = ()


def array_state(shape=(3,), code="f4", raw=b"\0" * 12, order="<", rest=(None, None, None, -1, -1, 0)):
    """An array as numpy pickles it, with parts of it wrong."""
    dtype = Calls(np.dtype, code, False, True, state=(3, order, *rest))
    return Calls(RECONSTRUCT, np.ndarray, (0,), b"b", state=(1, shape, dtype, False, raw))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"shape": (10**9, 10**9)}, r"needs 4000000000000000000 bytes, the file holds 12"),
        ({"shape": (2,)}, "needs 8 bytes, the file holds 12"),
        ({"shape": (-1, -3)}, r"shape \(-1, -3\)"),
        ({"shape": 3}, "shape 3"),
        ({"shape": (1,) * 65}, "shape a tuple"),
        ({"shape": (2**64, 0)}, r"shape \(18446744073709551616, 0\)"),
        ({"raw": [1, 2, 3]}, "holds a list instead of bytes"),
        ({"code": "O"}, "'O', which are not numbers"),
        ({"code": "V12"}, "'V12'"),
        ({"order": "|", "rest": (("f4", (2,)), None, None, -1, -1, 0)}, "float32 in a way that numpy does not use"),
    ],
)
def test_arrays_are_what_the_file_holds(tmp_path, wrong, message):
    assert load_plain_pickle(write(tmp_path / "good.pkl", array_state())).array().tolist() == [0, 0, 0]
    with pytest.raises(UnsafePickleError, match=message):
        load_plain_pickle(write(tmp_path / "x.pkl", array_state(**wrong)))


@pytest.mark.parametrize(
    "data", [b"", b"hello", b"\x80\x04", pickle.dumps([1, 2])[:-1], b"PK\x03\x04" + bytes(50), b"R."]
)
def test_what_is_no_pickle_is_said(tmp_path, data):
    path = write(tmp_path / "x.pkl", data)
    with pytest.raises(ValueError, match=r"x\.pkl is not a pickle, or a damaged one"):
        load_plain_pickle(path)
    with pytest.raises(FileNotFoundError):
        load_plain_pickle(tmp_path / "absent.pkl")


def test_names_cannot_draw_on_the_terminal(tmp_path):
    path = write(tmp_path / "x.pkl", b"\x80\x04" + text("o\x1b[31ms") + text("sys\ntem") + b"\x93.")
    with pytest.raises(UnsafePickleError) as caught:
        load_plain_pickle(path)
    assert str(caught.value).isprintable()


NESTED = b"(t" + b"2\x86" * 20  # a tuple that holds the same tuple twice, and so on: a million when written out
LONG = text("x" * 100_000)


@pytest.mark.parametrize(
    "hostile", [NESTED, LONG, b"(" + LONG + b"2" * 7 + b"t", b"\x8b" + struct.pack("<I", 9000) + b"\x01" * 9000]
)
@pytest.mark.parametrize("place", ["shape", "raw", "type", "dill's type", "record", "fields", "class", "persistent"])
def test_messages_stay_short_whatever_stands_in_the_file(tmp_path, hostile, place):
    dtype = call("numpy", "dtype", "f4")
    array = b"cnumpy._core.multiarray\n_reconstruct\n(cnumpy\nndarray\n)" + text("b") + b"tR"
    record = b"cdill._dill\n_create_namedtuple\n("
    data = {
        "shape": array + b"(K\x01" + hostile + dtype + b"\x89Ntb.",
        "raw": array + b"(K\x01)" + dtype + b"\x89" + hostile + b"tb.",
        "type": call("numpy", "dtype", hostile) + b".",
        "dill's type": call("dill._dill", "_load_type", hostile) + b".",
        "record": record + hostile + b"NtR.",
        "fields": record + text("A") + hostile + b"\x85tR)\x81.",
        "class": record + hostile + b")tRN}" + LONG + b"Ns\x86b.",
        "persistent": hostile + b"Q.",
    }[place]
    begin = time.monotonic()
    with pytest.raises(ValueError) as caught:
        load_plain_pickle(write(tmp_path / "x.pkl", data))
    assert len(str(caught.value)) < 1500 + len(str(tmp_path)) and time.monotonic() - begin < 5


def test_tuples_are_not_hashed_to_look_up_a_type(tmp_path):
    data = call("dill._dill", "_load_type", b"(t" + b"2\x86" * 60) + b"."
    with pytest.raises(UnsafePickleError, match=r"_load_type\(a tuple\)"):
        load_plain_pickle(write(tmp_path / "x.pkl", data))


DEEP = b"(t" + b"2\x86" * 24  # half a second to hash; a few levels more take a year
HASHED = {
    "item": b"}" + DEEP + b"Ns.",
    "items": b"}(K\x01N" + DEEP + b"Nu.",
    "dictionary": b"(K\x01N" + DEEP + b"Nd.",
    "set": b"\x8f(" + DEEP + b"\x90.",
    "frozen set": b"(" + DEEP + b"\x91.",
    "set of a list": b"c__builtin__\nset\n(](" + DEEP + b"etR.",
    "dill's frozen set": call("dill._dill", "_load_type", "frozenset") + b"(](" + DEEP + b"etR.",
    "pairs": b"ccollections\nOrderedDict\n(](](" + DEEP + b"NeetR.",
    "inside a key": b"}K\x01" + DEEP + b"\x86Ns.",
}


@pytest.mark.parametrize("case", HASHED)
def test_large_keys_are_refused_before_they_are_hashed(tmp_path, case):
    with pytest.raises(UnsafePickleError, match="of more than 100 items as a key"):
        load_plain_pickle(write(tmp_path / "x.pkl", HASHED[case]))


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
def test_keys_that_programs_use(tmp_path, protocol):
    names = tuple(f"layer{i}" for i in range(50))
    data = {("a", ("b", 1)): 1, names: 2, 2.5: {names}, None: frozenset([(1, 2), frozenset([3])]), "d": {1: {2: 3}}}
    assert load_plain_pickle(write(tmp_path / "x.pkl", data, protocol)) == data


def test_keys_of_every_kind_are_told_in_few_words(tmp_path):
    nested = ()
    for _ in range(5):
        nested = (nested, nested)
    with pytest.raises(ValueError, match=r"holds no online_params\. Found: a tuple, 3, x$"):
        read_network(write(tmp_path / "x.pkl", {nested: 1, 3: 1, "x": 1}))
    state = {"online_params": {nested: {"w": np.ones(1)}}, "online_state": {"a": {"b": np.ones(1)}}, nested: 1}
    found = read_network(write(tmp_path / "y.pkl", state))
    assert list(found.arrays) == ["a tuple/w", "a/b"] and found.beside == ("a tuple",)
