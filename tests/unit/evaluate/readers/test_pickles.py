"""Plain pickles: everything that Paddle and Caffe2 wrote is read, nothing of what an attacker writes is run."""

import codecs
import io
import os
import pickle
import pickletools
import struct
import subprocess
import time
from collections import OrderedDict

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from vtk_cli.errors import CheckpointError
from vtk_cli.evaluate.readers import read_foreign
from vtk_cli.evaluate.readers.pickles import read_pickle
from vtk_cli.evaluate.readers.unreadable import Unreadable

ARRAYS = {
    "conv1_weights": np.arange(24, dtype=np.float32).reshape(2, 3, 4),
    "columns first": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "big-endian": np.arange(3, dtype=">f4"),
    "half": np.arange(4, dtype=np.float16),
    "count": np.array([7], dtype=np.int64),
    "empty": np.zeros((0, 3), dtype=np.float32),
    "flags": np.array([True, False]),
}


def written(path, content):
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("wrap", [dict, OrderedDict, lambda found: {"blobs": dict(found)}])
def test_arrays_come_back_from_every_protocol(tmp_path, protocol, wrap):
    found = read_foreign(written(tmp_path / "w.pdparams", pickle.dumps(wrap(ARRAYS), protocol)))
    found = found.get("blobs", found)
    assert list(found) == list(ARRAYS)
    for name, array in ARRAYS.items():
        assert np.array_equal(found[name], array)
        assert found[name].dtype.isnative
        assert found[name].flags.writeable


def python2(content):
    """What Python 2 wrote: modules as numpy 1 names them, texts and numbers of arrays as `str`."""
    raw = content.tobytes()
    return (
        b"\x80\x02}q\x00U\x05blobsq\x01}q\x02U\x07conv1_wq\x03cnumpy.core.multiarray\n_reconstruct\nq\x04"
        b"cnumpy\nndarray\nq\x05K\x00\x85q\x06U\x01b\x87q\x07Rq\x08(K\x01"
        + b"".join(b"K" + bytes([size]) for size in content.shape)
        + {1: b"\x85", 2: b"\x86"}[content.ndim]
        + b"cnumpy\ndtype\nq\x09U\x02f4K\x00K\x01\x87Rq\x0a(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89"
        b"T" + struct.pack("<i", len(raw)) + raw + b"tbss."
    )


def test_what_python_2_wrote_is_read(tmp_path):
    array = np.linspace(-3e30, 3e-30, 6, dtype=np.float32).reshape(2, 3)
    found = read_foreign(written(tmp_path / "r50.pkl", python2(array)))
    assert np.array_equal(found["blobs"]["conv1_w"], array)


def test_texts_of_protocol_0_of_python_2_are_read(tmp_path):
    array = np.array([1.5, -2.0], dtype=np.float32)
    raw = repr(array.tobytes())[1:].encode()
    text = (
        b"(dp0\nS'fc.w_0'\np1\ncnumpy.core.multiarray\n_reconstruct\np2\n(cnumpy\nndarray\np3\n(I0\ntp4\nS'b'\np5\n"
        b"tp6\nRp7\n(I1\n(I2\ntp8\ncnumpy\ndtype\np9\n(S'f4'\np10\nI0\nI1\ntp11\nRp12\n(I3\nS'<'\np13\nNNNI-1\nI-1\n"
        b"I0\ntp14\nbI00\nS" + raw + b"\np15\ntp16\nbs."
    )
    assert np.array_equal(read_foreign(written(tmp_path / "w.pkl", text))["fc.w_0"], array)


def test_paddles_table_of_names_is_no_tensor_and_its_tuples_are(tmp_path):
    class Variable:
        """As Paddle 2 reduces a tensor."""

        def __reduce__(self):
            return (tuple, (("linear_0.w_0", ARRAYS["half"]),))

    content = {"fc.w": Variable(), "StructuredToParameterName@@": {"fc.w": "linear_0.w_0"}}
    found = read_foreign(written(tmp_path / "w.pdparams", pickle.dumps(content, 2)))
    assert list(found) == ["fc.w"]
    assert np.array_equal(found["fc.w"], ARRAYS["half"])


def test_numbers_of_numpy_are_arrays_without_dimensions(tmp_path):
    found = read_foreign(written(tmp_path / "w.pkl", pickle.dumps({"lr": np.float32(0.5), "iteration": 7}, 2)))
    assert (found["lr"].shape, float(found["lr"]), found["iteration"]) == ((), 0.5, 7)


class Calls:
    def __init__(self, function, *arguments):
        self.reduced = (function, arguments)

    def __reduce__(self):
        return self.reduced


class State:
    """Sets what it likes where a pickle is loaded."""

    def __reduce__(self):
        return (OrderedDict, (), {"x": 1})


class Sub(np.ndarray):
    pass


def evil(protocol):
    """Pickles that run code, or try to, when `pickle.load` reads them."""
    yield "os.system", pickle.dumps({"a": Calls(os.system, "echo executed")}, protocol)
    yield "eval", pickle.dumps({"a": Calls(eval, "print('executed')")}, protocol)
    yield "exec", pickle.dumps({"a": Calls(exec, "print('executed')")}, protocol)
    yield "getattr", pickle.dumps({"a": Calls(getattr, np.ndarray, "tofile")}, protocol)
    yield "chain", pickle.dumps({"a": Calls(getattr, Calls(__import__, "os"), "system")}, protocol)
    yield "popen", pickle.dumps({"a": Calls(subprocess.Popen, ["echo", "executed"])}, protocol)
    yield "open", pickle.dumps({"a": Calls(open, "executed.txt", "w")}, protocol)
    yield "bytearray", pickle.dumps({"a": Calls(bytearray, 1 << 45)}, protocol)
    yield "codecs", pickle.dumps({"a": Calls(codecs.decode, b"x", "unicode_escape")}, protocol)
    yield "numpy load", pickle.dumps({"a": Calls(np.load, "x.npy", None, True)}, protocol)
    yield "numpy memmap", pickle.dumps({"a": Calls(np.memmap, "/etc/passwd")}, protocol)
    yield "dtype of objects", pickle.dumps({"a": np.array([Calls(print, "executed")], dtype=object)}, protocol)
    yield "dtype of fields", pickle.dumps({"a": np.zeros(2, dtype=[("a", "f4"), ("b", "O")])}, protocol)
    yield "texts", pickle.dumps({"a": np.array(["a", "b"])}, protocol)
    yield "dates", pickle.dumps({"a": np.array(["2020-01-01"], dtype="M8[D]")}, protocol)
    yield "subclass", pickle.dumps({"a": np.zeros(2).view(Sub)}, protocol)
    yield "state of a class", pickle.dumps({"a": State()}, protocol)
    yield "instance", pickle.dumps({"a": pickle.PickleBuffer}, protocol)
    yield "set", pickle.dumps({"a": {1, 2}}, protocol)


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_nothing_of_an_evil_pickle_is_run(tmp_path, capfd, monkeypatch, protocol):
    monkeypatch.chdir(tmp_path)
    for name, content in evil(protocol):
        path = written(tmp_path / "w.pkl", content)
        with pytest.raises(CheckpointError, match="found: ") as error:
            read_foreign(path)
        assert "w.pkl" in str(error.value), name
    out, err = capfd.readouterr()
    assert "executed" not in out + err
    assert [path.name for path in tmp_path.iterdir()] == ["w.pkl"]


@pytest.mark.parametrize(
    "content",
    [
        b"(S'echo executed'\nios\nsystem\n.",
        b"(cos\nsystem\nS'echo executed'\no.",
        b"\x80\x02cos\nsystem\nU\x0decho executed\x85R.",
        b"\x80\x04\x8c\x05posix\x8c\x06system\x93\x8c\x04echo\x85R.",
        b"\x80\x02cnumpy\ndtype\nU\x02f4\x85\x81.",
        b"\x80\x02\x82\x01.",
        b"\x80\x02U\x01xQ.",
        b"Pname\n.",
        b"\x80\x02cnumpy\nndarray\nK\x09\x85R.",
        b"\x80\x02cnumpy\ndtype\n(cnumpy\ndtype\n}tb.",
        b"\x80\x02ccollections\nOrderedDict\n}U\x01aK\x01sb.",
        b"\x80\x02U\x06upper!U\x03abc\x85R.",
    ],
    ids=["INST", "OBJ", "REDUCE", "STACK_GLOBAL", "NEWOBJ", "EXT1", "BINPERSID", "PERSID", "ndarray", "BUILD a name",
         "BUILD a class", "call a text"],
)  # fmt: skip
def test_every_instruction_that_could_call_something_is_refused(tmp_path, capfd, content):
    path = written(tmp_path / "w.pkl", content)
    with pytest.raises(Unreadable):
        read_pickle(path)
    assert "executed" not in capfd.readouterr().out


@pytest.mark.parametrize(
    "content",
    [
        b"\x80\x03B\xff\xff\xff\x7fab.",
        b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x7fab.",
        b"\x80\x05\x96\x00\x00\x00\x00\x00\x01\x00\x00ab.",
        b"\x80\x02X\xff\xff\xff\x7fab.",
        b"\x80\x02T\xff\xff\xff\x7fab.",
        b"\x80\x02\x8b\xff\xff\xff\x7fab.",
        python2(np.zeros((2, 3), np.float32)).replace(b"K\x02K\x03\x86", b"K\x02J\xff\xff\xff\x7f\x86"),
    ],
)
def test_huge_claims_are_refused_before_there_is_room_for_them(tmp_path, content):
    path = written(tmp_path / "w.pkl", content)
    started = time.perf_counter()
    with pytest.raises(CheckpointError, match="found: "):
        read_foreign(path)
    assert time.perf_counter() - started < 2


def test_a_memo_of_a_huge_number_costs_nothing(tmp_path):
    path = written(tmp_path / "w.pkl", b"\x80\x02}r\xff\xff\xff\xff0j\xff\xff\xff\xff.")
    assert read_foreign(path) == {}


def test_an_array_that_is_named_again_and_again_ends_at_the_files_size(tmp_path):
    one = python2(np.zeros((9, 9), np.float32))
    build = one[one.index(b"cnumpy.core") : -3]  # leaves one array on the stack
    repeated = b"".join(b"h\x04h\x05K\x00\x85U\x01b\x87R(K\x01K\x09K\x09\x86h\x0a\x89h\x63tb0" for _ in range(5000))
    stored = build.replace(b"\x00" * 324 + b"tb", b"\x00" * 324 + b"q\x63tb")
    path = written(tmp_path / "w.pkl", b"\x80\x02" + stored + repeated + b"}.")
    with pytest.raises(CheckpointError, match="more data than the file has bytes"):
        read_foreign(path)


def test_keys_that_are_nested_without_end_are_refused(tmp_path):
    nested = b"\x80\x02})" + b"\x85" * 50_000 + b"K\x01s."
    with pytest.raises(CheckpointError, match="other keys than names"):
        read_foreign(written(tmp_path / "w.pkl", nested))


GOOD = pickle.dumps({"a": np.arange(4, dtype=np.float32), "b": {"c": [1, (2.0, None)]}}, 2)


@given(st.integers(0, len(GOOD) - 1))
def test_a_pickle_that_is_cut_off_is_refused(tmp_path_factory, length):
    path = tmp_path_factory.getbasetemp() / "cut.pkl"
    path.write_bytes(GOOD[:length] or b"\x80")
    with pytest.raises(Unreadable):
        read_pickle(path)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from([code.code.encode("latin-1") for code in pickletools.opcodes]) | st.binary(max_size=6)))
@example([b"\x80\x02", b"cnumpy\ndtype\n", b"U\x02f4", b"\x85R", b"(", b"K\x03U\x01<NNN", b"t", b"b", b"."])
def test_garbage_ends_in_values_or_a_refusal(tmp_path_factory, parts):
    path = tmp_path_factory.getbasetemp() / "garbage.pkl"
    path.write_bytes(b"\x80\x02" + b"".join(parts) + b".")
    try:
        found = read_pickle(path)
    except Unreadable:
        return
    assert isinstance(found, int | float | str | bytes | bytearray | list | tuple | dict | np.ndarray | None)


@settings(max_examples=200, deadline=None)
@given(st.integers(0, len(GOOD) - 1), st.integers(0, 255))
def test_a_flipped_byte_ends_in_values_or_a_refusal(tmp_path_factory, place, byte):
    path = tmp_path_factory.getbasetemp() / "flipped.pkl"
    path.write_bytes(GOOD[:place] + bytes([byte]) + GOOD[place + 1 :])
    try:
        found = read_pickle(path)
    except Unreadable:
        return
    assert isinstance(found, int | float | str | bytes | list | tuple | dict | np.ndarray | None)


def test_reading_does_not_use_the_pickle_module(tmp_path, monkeypatch):
    path = written(tmp_path / "w.pkl", GOOD)
    for name in ("load", "loads", "Unpickler"):
        monkeypatch.setattr(pickle, name, None)
    assert read_foreign(path)["a"].tolist() == [0, 1, 2, 3]
    assert io.BytesIO(GOOD).read(2) == b"\x80\x02"
