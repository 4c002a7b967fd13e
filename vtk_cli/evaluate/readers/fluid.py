"""Baidu's old library (PaddlePaddle's fluid): one binary file per variable in a folder, or a tar of such a folder.

A variable, little-endian (Paddle's `SerializeToStream`):

    uint32 0   uint64 levels   levels x (uint64 n, n bytes)                its "levels of detail"; none in weights
    uint32 0   int32 n         n bytes: protobuf TensorDesc                field 1 data type, field 2 dimensions
    numbers

The one file into which `save_inference_model` puts all variables has no names; they are those of the persistable
variables, sorted, that the program (`__model__`, `NAME.pdmodel`) beside it declares.
"""

import math
import struct
import tarfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from vtk_cli.evaluate.readers.protobuf import fields, numbers
from vtk_cli.evaluate.readers.unreadable import Unreadable

PROGRAM = "__model__"
MOST_BYTES = 4 << 30
"""Of an unpacked archive; the largest model of this library has 0.4 GB."""

_TYPES = {0: "?", 1: "<i2", 2: "<i4", 3: "<i8", 4: "<f2", 5: "<f4", 6: "<f8", 20: "u1", 21: "i1"}
"""framework.proto, `VarType.Type`."""
_MOST_LEVELS = 8
_MOST_DIMS = 16
_MOST_DESC = 1024


def looks_like_variable(beginning: bytes) -> bool:
    """Whether a file's first bytes can be a variable without levels of detail."""
    return len(beginning) >= 20 and beginning[:16] == bytes(16)


def read_variable(content: bytes) -> NDArray[np.generic]:
    """One variable's file.

    Raises:
        Unreadable: it is none, or has fewer or more bytes than it says.
    """
    found, end = _variable(memoryview(content), 0)
    if end != len(content):
        raise Unreadable(f"{len(content) - end} bytes behind the numbers of a variable")
    return found


def read_folder(folder: Path) -> dict[str, NDArray[np.generic]]:
    """Variables by the names of their files; a program and hidden files are passed over.

    Raises:
        Unreadable: a file is no variable; it is named.
    """
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and not _passed_over(path.relative_to(folder)))
    if not paths:
        raise Unreadable("a folder without variables")
    return {path.relative_to(folder).as_posix(): _named(path.name, path.read_bytes()) for path in paths}


def read_tar(path: Path) -> dict[str, NDArray[np.generic]]:
    """As `read_folder`, out of an archive; what lies above all files is no part of their names.

    Raises:
        Unreadable: it is damaged, holds links or other than variables, or unpacks to more than 4 GiB.
    """
    found = {}
    try:
        with tarfile.open(path, "r:*") as archive:
            for name, content in _members(archive):
                found[name] = _named(name, content)
    except (tarfile.TarError, EOFError, OSError) as error:
        raise Unreadable(f"a damaged archive ({error})") from error
    if not found:
        raise Unreadable("an archive without variables")
    return _without_common_folder(found)


def read_combined(path: Path) -> dict[str, NDArray[np.generic]]:
    """All variables of one file, named by the program that lies beside it.

    Raises:
        Unreadable: there is no program, or it declares other variables than the file holds.
    """
    content = memoryview(path.read_bytes())
    found, place = [], 0
    while place < len(content):
        variable, place = _variable(content, place)
        found.append(variable)
    programs = [path.with_suffix(".pdmodel"), path.with_name(PROGRAM)]
    program = next((candidate for candidate in programs if candidate.is_file()), None)
    if program is None:
        raise Unreadable(
            f"{len(found)} variables without names, and no program beside them that has the names "
            f"({programs[0].name} or {PROGRAM})"
        )
    names = sorted(_persistable(program.read_bytes()))
    if len(names) != len(found):
        raise Unreadable(f"{len(found)} variables where {program.name} declares {len(names)}")
    return dict(zip(names, found, strict=True))


def _variable(content: memoryview, start: int) -> tuple[NDArray[np.generic], int]:
    """The variable at a place, and where it ends."""
    version, levels = _unpack("<IQ", content, start)
    place = start + 12
    if version != 0 or levels > _MOST_LEVELS:
        raise Unreadable("bytes that are no variable")
    for _ in range(levels):
        (size,) = _unpack("<Q", content, place)
        place += 8 + size
    version, size = _unpack("<Ii", content, place)
    place += 8
    if version != 0 or not 0 < size <= _MOST_DESC or place + size > len(content):
        raise Unreadable("bytes that are no variable")
    dtype, shape = _description(bytes(content[place : place + size]))
    place += size
    end = place + math.prod(shape) * dtype.itemsize
    if end > len(content):
        raise Unreadable(f"a variable that claims {math.prod(shape)} numbers and has {len(content) - place} bytes")
    numbers_ = np.frombuffer(content[place:end], dtype) if end > place else np.zeros(0, dtype)
    return numbers_.reshape(shape).astype(dtype.newbyteorder("=")), end


def _description(message: bytes) -> tuple[np.dtype[np.generic], tuple[int, ...]]:
    kinds, shape = [], []
    for field, value in fields(message):
        if field == 1 and isinstance(value, int):
            kinds.append(value)
        elif field == 2:
            shape.extend([value] if isinstance(value, int) else numbers(value))
        else:
            raise Unreadable("a variable whose description cannot be read")
    if len(kinds) != 1 or kinds[0] not in _TYPES:
        raise Unreadable(f"a variable of another type than numbers ({kinds})")
    if len(shape) > _MOST_DIMS or any(size >= 1 << 63 for size in shape):
        raise Unreadable("a variable of an impossible shape")
    return np.dtype(_TYPES[kinds[0]]), tuple(shape)


def _persistable(program: bytes) -> Iterator[str]:
    """Names of the variables of a ProgramDesc that are saved: persistable ones that hold a tensor (type 7)."""
    for block in _messages(program, 1):
        for variable in _messages(block, 3):
            parts = dict(fields(variable))
            kind, name = parts.get(2), parts.get(1)
            held = dict(fields(kind)).get(1) if isinstance(kind, bytes) else None
            if parts.get(3) == 1 and held == 7 and isinstance(name, bytes):
                yield name.decode("utf-8")


def _messages(message: bytes, wanted: int) -> Iterator[bytes]:
    return (value for field, value in fields(message) if field == wanted and isinstance(value, bytes))


def _members(archive: tarfile.TarFile) -> Iterator[tuple[str, bytes]]:
    room = MOST_BYTES
    for member in archive:
        name = PurePosixPath(member.name)
        if member.isdir() or _passed_over(name):
            continue
        if not member.isreg() or member.issparse() or ".." in name.parts:
            raise Unreadable(f"{member.name}, which is no plain file")
        room -= member.size
        if room < 0:
            raise Unreadable(f"an archive of more than {MOST_BYTES >> 30} GiB")
        file = archive.extractfile(member)
        assert file is not None  # it is a plain file
        yield str(name), file.read()


def _without_common_folder(found: dict[str, NDArray[np.generic]]) -> dict[str, NDArray[np.generic]]:
    folders = [PurePosixPath(name).parent.parts for name in found]
    common = 0
    for parts in zip(*folders, strict=False):
        if len(set(parts)) > 1:
            break
        common += 1
    return {"/".join(PurePosixPath(name).parts[common:]): value for name, value in found.items()}


def _passed_over(name: Path | PurePosixPath) -> bool:
    return name.name == PROGRAM or any(part.startswith(".") and part not in (".", "..") for part in name.parts)


def _named(name: str, content: bytes) -> NDArray[np.generic]:
    try:
        return read_variable(content)
    except ValueError as error:
        raise Unreadable(f"{name}: {error}") from error


def _unpack(layout: str, content: memoryview, place: int) -> tuple[int, ...]:
    if place + struct.calcsize(layout) > len(content):
        raise Unreadable("a variable that is cut off")
    return struct.unpack_from(layout, content, place)
