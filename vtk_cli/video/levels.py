"""Stretching the levels of limited-range pictures to the full range that JPEG has:

    luma 16..235, colours 16..240 around 128    ->    0..255, around 128

Exact, to the nearest level; libswscale 9 brings no colour, 128, to 127.5, so that its pictures are half a level too
green. Compiled (csrc/levels.c, built by hatch_build.py); in numpy, with the same result, where there was no compiler.
"""

import ctypes
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from av.video.frame import VideoFrame
from av.video.plane import VideoPlane

if TYPE_CHECKING:
    from vtk_cli.api.video import Picture

LIBRARY = Path(__file__).with_name("_levels.so")


def _stretching(lowest: int, highest: int, fixed: int, at: int) -> bytes:
    """A table that stretches the levels from `lowest` to `highest` to 255 steps and brings level `fixed` to `at`."""
    stretched = (np.arange(256) - fixed) * 255 / (highest - lowest) + at
    return np.floor(stretched + 0.5).clip(0, 255).astype(np.uint8).tobytes()


LUMA, COLOUR = _stretching(16, 235, 16, 0), _stretching(16, 240, 128, 128)


def stretched(frame: VideoFrame) -> tuple["Picture", "Picture", "Picture"]:
    """Luma, blue and red of a yuv420p frame, with sides as `vtk_cli.api.video.Planes` has them; the frame stays."""
    library = load()
    luma, blue, red = frame.planes
    if library is None:
        return even(levels(luma, LUMA)), levels(blue, COLOUR), levels(red, COLOUR)
    height, width = blue.height, blue.width
    half = height * width
    picture = np.empty(6 * half, np.uint8)
    sources = luma.buffer_ptr, blue.buffer_ptr, red.buffer_ptr
    strides = luma.line_size, blue.line_size, red.line_size
    to = ctypes.addressof(ctypes.c_char.from_buffer(picture.data))  # ndarray.ctypes.data takes ten times as long
    library.vtk_levels_stretch(*sources, *strides, frame.width, frame.height, to)
    return (
        picture[: 4 * half].reshape(2 * height, 2 * width),
        picture[4 * half : 5 * half].reshape(height, width),
        picture[5 * half :].reshape(height, width),
    )


def levels(plane: VideoPlane, table: bytes | None = None) -> "Picture":
    """HW, through a table of 256; without one a view of the frame's own memory, which is not to be written to."""
    found = memoryview(plane) if table is None else bytearray(plane).translate(table)
    return np.frombuffer(found, np.uint8).reshape(plane.height, plane.line_size)[:, : plane.width]


def even(plane_HW: "Picture") -> "Picture":
    """With the last column and row twice where a side is odd."""
    height, width = plane_HW.shape
    if height % 2 == 0 and width % 2 == 0:
        return plane_HW
    even_HW = np.empty((height + height % 2, width + width % 2), np.uint8)
    even_HW[:height, :width] = plane_HW
    even_HW[:height, width:] = plane_HW[:, -1:]
    even_HW[height:] = even_HW[height - 1]
    return even_HW


def sources() -> str:
    """A digest of the sources that the library was built from; empty if there is none."""
    library = load()
    if library is None:
        return ""
    found: bytes = library.vtk_levels_sources()
    return found.decode()


@cache
def load() -> ctypes.CDLL | None:
    """The library with its functions declared; None if it was not built or is of another system."""
    if not LIBRARY.is_file():
        return None
    try:
        library = ctypes.CDLL(str(LIBRARY))
    except OSError:
        return None
    addresses, strides, sides = [ctypes.c_void_p] * 3, [ctypes.c_ssize_t] * 3, [ctypes.c_int32] * 2
    library.vtk_levels_stretch.argtypes = [*addresses, *strides, *sides, ctypes.c_void_p]
    library.vtk_levels_stretch.restype = None
    library.vtk_levels_sources.restype = ctypes.c_char_p
    return library
