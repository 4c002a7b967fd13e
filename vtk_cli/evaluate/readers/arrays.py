"""numpy's `.npz`: a zip of arrays, each checked against the bytes that are there before it is read."""

import math
import zipfile
from pathlib import Path

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from vtk_cli.evaluate.readers.unreadable import Unreadable

_HEADERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
MOST_BYTES = 4 << 30
"""Of all arrays unpacked."""


def read_npz(path: Path) -> dict[str, NDArray[np.generic]]:
    """Arrays by name.

    Raises:
        Unreadable: it is damaged, holds Python objects, or claims more than it has.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > MOST_BYTES:
                raise Unreadable(f"an archive of more than {MOST_BYTES >> 30} GiB")
            return {entry.filename.removesuffix(".npy"): _array(archive, entry) for entry in archive.infolist()}
    except (zipfile.BadZipFile, NotImplementedError, EOFError, OSError, RuntimeError) as error:
        raise Unreadable(f"a damaged archive ({error})") from error


def _array(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> NDArray[np.generic]:
    with archive.open(entry) as file:
        read_header = _HEADERS.get(npy.read_magic(file))
        if read_header is None:
            raise Unreadable(f"{entry.filename} of another version than 1 and 2")
        shape, fortran, dtype = read_header(file)
        if dtype.kind not in "biuf":
            raise Unreadable(f"{entry.filename}, an array of something else than numbers ({dtype})")
        expected = math.prod(shape) * dtype.itemsize
        if file.tell() + expected != entry.file_size:
            raise Unreadable(f"{entry.filename}, which claims {expected} bytes and has {entry.file_size}")
        content = file.read()
    found = np.frombuffer(content, dtype) if content else np.zeros(0, dtype)
    return found.reshape(shape, order="F" if fortran else "C").astype(dtype.newbyteorder("="))
