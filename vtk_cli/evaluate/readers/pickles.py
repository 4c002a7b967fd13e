"""Pickles as plain data, for `.pdparams`, `.pdopt` and Caffe2's `.pkl`: numbers, texts, containers and numpy arrays.

A small machine of its own carries out the instructions. Names of Python objects are looked up in a table of our own
functions and nowhere else, so no code is imported or called by a file; every size is checked against what is there
before anything of that size is made. Written by Python 2 or 3, protocols 0 to 5.
"""

import codecs
import math
import mmap
import pickletools
import re
import warnings
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from vtk_cli.evaluate.readers.unreadable import Unreadable

Make = Callable[..., Any]

_MARK = object()
_NUMBER = re.compile(r"[<>=|]?(?:[iu][1248]|f[248]|b1|\?)")
_MOST_DIMS = 32
_DEPTH = 4
"""How deep dictionaries in dictionaries are looked through for arrays."""

_VALUE = re.compile(r"(SHORT_)?(BIN)?(INT|LONG|FLOAT|STRING|BYTES|BYTEARRAY|UNICODE)\d?")
"""Instructions that push what is written beside them."""
_DAMAGE = (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError, MemoryError)
_ORDERS: dict[Any, Literal["<", ">", "|", "="]] = {"<": "<", ">": ">", "|": "|", "=": "="}
_CONSTANTS: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_LIST": list,
    "EMPTY_DICT": dict,
    "EMPTY_TUPLE": tuple,
    "MARK": lambda: _MARK,
}
_INSTRUCTIONS = {instruction.code: instruction for instruction in pickletools.opcodes}
_LENGTHS = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


class Name:
    """A Python object that a pickle names: its name, and what we make in place of calling it."""

    def __init__(self, name: str, make: Make) -> None:
        self.name = name
        self.make = make


class Buildable:
    """An object that a pickle fills after making it."""

    def build(self, state: Any) -> None:
        raise NotImplementedError


class _Type(Buildable):
    """numpy.dtype of numbers."""

    def __init__(self, code: Any, *_flags: Any) -> None:
        text = code.decode("latin-1") if isinstance(code, bytes) else code
        if not isinstance(text, str) or not _NUMBER.fullmatch(text):
            raise Unreadable("an array of something else than numbers")
        self.dtype = np.dtype(text)

    def build(self, state: Any) -> None:
        order = state[1].decode("latin-1") if isinstance(state[1], bytes) else state[1]
        if order not in _ORDERS or any(part is not None for part in state[2:5]):
            raise Unreadable("an array of something else than numbers")
        self.dtype = self.dtype.newbyteorder(_ORDERS[order])


class _Array(Buildable):
    """numpy.ndarray: made empty, then filled with (version, shape, type, is_fortran, bytes)."""

    def __init__(self, *_subtype_shape_type: Any) -> None:
        self.value: NDArray[Any] | None = None

    def build(self, state: Any) -> None:
        shape, kind, fortran, raw = state[-4:]
        self.value = _array(raw, kind, shape, "F" if fortran else "C")


def _array(raw: Any, kind: Any, shape: Any, order: Any) -> NDArray[Any]:
    content = raw.encode("latin-1") if isinstance(raw, str) else raw
    if not isinstance(content, bytes | bytearray) or not isinstance(kind, _Type):
        raise Unreadable("an array of Python objects")
    sizes = tuple(shape)
    if len(sizes) > _MOST_DIMS or not all(isinstance(size, int) and size >= 0 for size in sizes):
        raise Unreadable("an array of an impossible shape")
    if math.prod(sizes) * kind.dtype.itemsize != len(content):
        raise Unreadable(f"an array that claims {math.prod(sizes)} numbers and has {len(content)} bytes")
    if not content:
        return np.zeros(sizes, kind.dtype.newbyteorder("="))
    found = np.frombuffer(content, kind.dtype).reshape(sizes, order="F" if order == "F" else "C")
    return found.astype(kind.dtype.newbyteorder("="))


def _scalar(kind: Any, raw: Any = b"") -> NDArray[Any]:
    return _array(raw, kind, (), "C")


def _frombuffer(raw: Any, kind: Any, shape: Any, order: Any) -> NDArray[Any]:
    return _array(raw, kind, shape, order)


def _encode(text: Any, encoding: Any = "latin1") -> bytes:
    if encoding not in ("latin1", "latin-1", "utf-8", "utf8", "ascii"):
        raise Unreadable("a text in an unusual encoding")
    encoded: bytes = text.encode(encoding)
    return encoded


def _dictionary(pairs: Iterable[Any] = ()) -> dict[Any, Any]:
    found = {}
    for key, value in pairs:
        if not isinstance(key, str | bytes | int | float | None):  # hashing a tuple of tuples of ... has no end
            raise Unreadable("a dictionary of other keys than names and numbers")
        found[key] = value
    return found


def _no_call(*_: Any) -> Any:
    raise Unreadable("a call of numpy.ndarray")


_NUMPY = ("numpy.core.multiarray", "numpy._core.multiarray")
TABLE: Mapping[str, Make] = {
    "numpy.dtype": _Type,
    "numpy.ndarray": _no_call,  # only ever handed to _reconstruct
    "collections.OrderedDict": _dictionary,
    "_codecs.encode": _encode,
    "__builtin__.bytes": lambda: b"",  # how Python 3 writes an empty one for Python 2
    "__builtin__.tuple": tuple,  # Paddle 2 writes a tensor as tuple((name, array))
    "builtins.tuple": tuple,
    **{f"{module}._reconstruct": _Array for module in _NUMPY},
    **{f"{module}.scalar": _scalar for module in _NUMPY},
    **{f"{module}._frombuffer": _frombuffer for module in ("numpy.core.numeric", "numpy._core.numeric")},
}
"""Every name that a pickle may use, and our own function in its place."""


def read_pickle(path: Path) -> Any:
    """What a pickle of plain data holds; dictionaries hold numpy arrays of their own memory.

    Raises:
        Unreadable: it is none, is cut off, names anything but numpy arrays, or claims more than it has.
    """
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return _plain(Machine(content, TABLE.get).run(), _DEPTH)


def _plain(value: Any, depth: int) -> Any:
    """Arrays in place of what stood for them."""
    if isinstance(value, dict) and depth:
        return {key: _plain(inner, depth - 1) for key, inner in value.items()}
    if isinstance(value, tuple) and len(value) == 2 and isinstance(value[1], _Array):
        value = value[1]
    if isinstance(value, _Array):
        if value.value is None:
            raise Unreadable("an array without content")
        return value.value
    if isinstance(value, Name | Buildable):
        raise Unreadable("a Python object that is no array")
    return value


class Machine:
    """Carries out one pickle.

    `find` gives what stands for a named Python object, None for one that is refused; `persistent` hears of objects that
    are kept outside the pickle (PyTorch's storages) and gives what stands for them.
    """

    def __init__(
        self,
        content: mmap.mmap,
        find: Callable[[str], Make | None],
        persistent: Callable[[Any], Any] | None = None,
    ) -> None:
        self._content = content
        self._find = find
        self._persistent = persistent
        self.stack: list[Any] = []
        self._memo: dict[Any, Any] = {}
        self._room = 4 * len(content)
        """Bytes and items that calls may still copy: a file that names its one array a million times ends here."""

    def run(self) -> Any:
        """The object that the pickle describes; the content's position is behind it then."""
        try:
            while True:
                kind, argument = self._next()
                if kind == "STOP":
                    return self._result()
                self._step(kind, argument)
        except Unreadable:
            raise
        except _DAMAGE as error:
            raise Unreadable(f"a damaged pickle ({type(error).__name__}: {error})") from error

    def _result(self) -> Any:
        found = self.stack.pop()
        if found is _MARK:
            raise Unreadable("a damaged pickle (no value)")
        return found

    def _next(self) -> tuple[str, Any]:
        code = self._content.read(1)
        if not code:
            raise Unreadable("a pickle that is cut off")
        instruction = _INSTRUCTIONS.get(code.decode("latin-1"))
        if instruction is None:
            raise Unreadable("bytes that are no pickle")
        if instruction.arg is None:
            return instruction.name, None
        if instruction.name == "STRING":  # pickletools takes ASCII alone; Python 2 wrote bytes so
            return "STRING", _unescaped(self._content.readline().strip()[1:-1])
        return instruction.name, instruction.arg.reader(self._content)  # type: ignore[arg-type]

    def _step(self, kind: str, argument: Any) -> None:
        stack = self.stack
        if _VALUE.fullmatch(kind):
            stack.append(argument)
        elif kind in _CONSTANTS:
            stack.append(_CONSTANTS[kind]())
        elif kind in _LENGTHS:
            stack[-_LENGTHS[kind] :] = [tuple(stack[-_LENGTHS[kind] :])]
        elif kind in ("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"):
            self._memo[len(self._memo) if argument is None else argument] = stack[-1]
        elif kind in ("GET", "BINGET", "LONG_BINGET"):
            stack.append(self._memo[argument])
        elif kind not in ("PROTO", "FRAME"):
            step = _STEPS.get(kind)
            if step is None:
                raise Unreadable(f"the instruction {kind}, which data have no use for")
            step(self, argument)

    def to_mark(self) -> list[Any]:
        place = len(self.stack) - 1
        while self.stack[place] is not _MARK:
            place -= 1
            if place < 0:
                raise Unreadable("a damaged pickle (no mark)")
        items = self.stack[place + 1 :]
        del self.stack[place:]
        return items

    def name(self, argument: str | None) -> None:
        if argument is None:
            module, name = self.stack[-2:]
            del self.stack[-2:]
        else:
            module, _, name = argument.partition(" ")
        full = f"{module}.{name}"
        make = self._find(full)
        if make is None:
            raise Unreadable(f"a pickle that would run code: it names {full[:100]}")
        self.stack.append(Name(full, make))

    def reduce(self, _: Any) -> None:
        arguments, function = self.stack.pop(), self.stack.pop()
        if not isinstance(function, Name) or not isinstance(arguments, tuple):
            raise Unreadable("a pickle that would run code: it calls what is no known name")
        self._charge(sum(len(item) for item in arguments if hasattr(item, "__len__")))
        self.stack.append(function.make(*arguments))

    def build(self, _: Any) -> None:
        state, target = self.stack.pop(), self.stack[-1]
        if not isinstance(target, Buildable):
            raise Unreadable("a pickle that would change what is no array")
        self._charge(len(state[-1]) if isinstance(state, tuple) and isinstance(state[-1], str | bytes) else 0)
        target.build(state)

    def _charge(self, count: int) -> None:
        self._room -= count
        if self._room < 0:
            raise Unreadable("more data than the file has bytes")

    def refer(self, _: Any) -> None:
        if self._persistent is None:
            raise Unreadable("a pickle that refers to what is not in it")
        self.stack.append(self._persistent(self.stack.pop()))

    def collect(self, make: Callable[[list[Any]], Any]) -> None:
        self.stack.append(make(self.to_mark()))

    def append(self, items: list[Any]) -> None:
        if type(self.stack[-1]) is not list:
            raise Unreadable("a damaged pickle (no list)")
        self.stack[-1].extend(items)

    def set_items(self, items: list[Any]) -> None:
        if type(self.stack[-1]) is not dict:
            raise Unreadable("a damaged pickle (no dictionary)")
        self.stack[-1].update(_dictionary(zip(items[::2], items[1::2], strict=True)))

    def pop(self, count: int) -> list[Any]:
        items = self.stack[-count:]
        del self.stack[-count:]
        return items


_STEPS: dict[str, Callable[[Machine, Any], Any]] = {
    "GLOBAL": Machine.name,
    "STACK_GLOBAL": Machine.name,
    "REDUCE": Machine.reduce,
    "NEWOBJ": Machine.reduce,
    "BUILD": Machine.build,
    "BINPERSID": Machine.refer,
    "TUPLE": lambda machine, _: machine.collect(tuple),
    "LIST": lambda machine, _: machine.collect(list),
    "DICT": lambda machine, _: machine.collect(_pairs),
    "APPEND": lambda machine, _: machine.append(machine.pop(1)),
    "APPENDS": lambda machine, _: machine.append(machine.to_mark()),
    "SETITEM": lambda machine, _: machine.set_items(machine.pop(2)),
    "SETITEMS": lambda machine, _: machine.set_items(machine.to_mark()),
    "POP": lambda machine, _: machine.pop(1),
    "POP_MARK": lambda machine, _: machine.to_mark(),
    "DUP": lambda machine, _: machine.stack.append(machine.stack[-1]),
}


def _unescaped(text: bytes) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of escapes that Python 2 never wrote
        return codecs.escape_decode(text)[0].decode("latin-1")


def _pairs(items: list[Any]) -> dict[Any, Any]:
    return _dictionary(zip(items[::2], items[1::2], strict=True))
