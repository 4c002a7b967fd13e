"""TV-L1 on the CPU: the compiled kernel of csrc/, one thread, float32.

The library is built with the wheel (hatch_build.py) and loaded through ctypes, which is bound to no version of Python
and lets other threads run meanwhile.
"""

import ctypes
import weakref
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vtk_cli.errors import PluginError, VideoError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from vtk_cli.flow.tvl1 import TvL1Config

LIBRARY = Path(__file__).with_name("_tvl1.so")
VARIANTS = ("avx512", "avx2", "baseline")
"""Instruction sets that the library holds code for, the fastest first; baseline runs everywhere."""
INSTALL = "install a C compiler (Debian: apt install gcc) and vtk again from its source"


class _Params(ctypes.Structure):
    """Kept equal to tvl1_params of csrc/tvl1.h."""

    _fields_ = (
        *((name, ctypes.c_double) for name in ("tau", "lambda_", "theta", "scale_step", "epsilon")),
        *((name, ctypes.c_int32) for name in ("scales", "warps", "inner_iterations", "outer_iterations", "median")),
    )


class KernelTvL1:
    """A solver; it keeps its memory for pictures of the size it saw last, so one object serves one thread."""

    batch = 1

    def __init__(self, config: "TvL1Config", variant: str = "") -> None:
        """Take the parameters; `variant` of VARIANTS, empty for the fastest that this processor runs.

        Raises:
            PluginError: the library is not there, or the processor does not run the variant.
        """
        self._library = load()
        self._params = _Params(**{name: getattr(config, name) for name, *_ in _Params._fields_})
        self._name = variant.encode() or None
        self._size = (0, 0)
        self._solver: int | None = None
        self._release: Any = None
        self._open(LEAST_SIDE, LEAST_SIDE)
        self.variant: str = self._library.vtk_tvl1_variant(self._solver).decode()

    def __call__(self, previous_HW: "NDArray[np.uint8]", following_HW: "NDArray[np.uint8]") -> "NDArray[np.float32]":
        import numpy as np

        height, width = previous_HW.shape
        if (height, width) != self._size:
            self._open(height, width)
        previous = np.ascontiguousarray(previous_HW, dtype=np.uint8)
        following = np.ascontiguousarray(following_HW, dtype=np.uint8)
        if following.shape != previous.shape:
            raise VideoError(
                f"Both pictures of a pair should have one size, found {width}x{height} and "
                f"{following.shape[1]}x{following.shape[0]}. Decode the clip at one size."
            )
        flow_2HW = np.empty((2, height, width), np.float32)
        self._library.vtk_tvl1_flow(self._solver, *(array.ctypes.data for array in (previous, following, flow_2HW)))
        return flow_2HW

    def _open(self, height: int, width: int) -> None:
        if self._release is not None:
            self._release()
        self._solver = self._library.vtk_tvl1_open(self._params, width, height, self._name)
        if self._solver is None and (height, width) == (LEAST_SIDE, LEAST_SIDE):
            raise PluginError(f"This processor should run {(self._name or b'').decode()}, but does not. Leave it out.")
        if self._solver is None:
            raise VideoError(f"TV-L1 of {width}x{height} pixels needs more memory than there is. Use smaller pictures.")
        self._release = weakref.finalize(self, self._library.vtk_tvl1_close, self._solver)
        self._size = (height, width)


LEAST_SIDE = 16
"""Pixels of the smallest level of a pyramid."""


def absence() -> str:
    """Why the kernel cannot be used; empty if it can."""
    try:
        load()
    except PluginError as error:
        return str(error)
    return ""


def sources() -> str:
    """A digest of the sources that the library was built from; hatch_build.digest gives that of the ones there."""
    found: bytes = load().vtk_tvl1_sources()
    return found.decode()


@cache
def load() -> ctypes.CDLL:
    """The library with its functions declared.

    Raises:
        PluginError: it was not built, or is of another system.
    """
    if not LIBRARY.is_file():
        raise PluginError(
            f"TV-L1's compiled kernel should lie at {LIBRARY}, found none: there was no C compiler when vtk was "
            f"installed. Use --set flow.engine=torch, or {INSTALL}."
        )
    try:
        library = ctypes.CDLL(str(LIBRARY))
    except OSError as error:
        raise PluginError(
            f"TV-L1's compiled kernel does not load ({error}). Use --set flow.engine=torch, or {INSTALL}."
        ) from error
    library.vtk_tvl1_open.restype = ctypes.c_void_p
    library.vtk_tvl1_open.argtypes = [ctypes.POINTER(_Params), ctypes.c_int32, ctypes.c_int32, ctypes.c_char_p]
    library.vtk_tvl1_close.argtypes = [ctypes.c_void_p]
    library.vtk_tvl1_close.restype = None
    library.vtk_tvl1_flow.argtypes = [ctypes.c_void_p] * 4
    library.vtk_tvl1_flow.restype = None
    for function in (library.vtk_tvl1_variant, library.vtk_tvl1_sources):
        function.restype = ctypes.c_char_p
    library.vtk_tvl1_variant.argtypes = [ctypes.c_void_p]
    return library
