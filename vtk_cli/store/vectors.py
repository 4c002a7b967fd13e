"""The bytes of features: one frame of a record is the vectors of one time step, every stream beside the next.

For the streams rgb of 3 numbers and audio of 2:

    r r r a a | r r r a a | ...     10 bytes per frame in float16, little-endian
"""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from vtk_cli.api.stores import StoreMeta
from vtk_cli.errors import StoreError

CODEC: Final = "raw"
"""What the meta of a feature store says of its frames."""


def vector_bytes(meta: StoreMeta) -> int:
    """Bytes of one frame of a feature store."""
    return sum(size for _, size in meta.streams) * _dtype(meta).itemsize


def pack_vectors(feature_FD: NDArray[Any], meta: StoreMeta) -> list[bytes]:
    """The frames of a video's record; the streams of the store side by side, in its order.

    Raises:
        StoreError: it is not what the store holds, or a number lies outside of what its type can say.
    """
    size = sum(size for _, size in meta.streams)
    if feature_FD.ndim != 2 or feature_FD.shape[1] != size or not len(feature_FD):
        raise StoreError(f"Features of this store are vectors of {size} numbers, found the shape {feature_FD.shape}.")
    if feature_FD.dtype.kind != _dtype(meta).kind:
        raise StoreError(f"The store holds {meta.dtype}, found {feature_FD.dtype}. Bring the numbers to that type.")
    with np.errstate(over="ignore"):
        stored = feature_FD.astype(_dtype(meta))
    if not np.isfinite(stored).all():
        kind = "numbers that are not finite" if not np.isfinite(feature_FD).all() else f"more than {meta.dtype} holds"
        raise StoreError(f"Features are finite numbers of the type {meta.dtype}, found {kind}. Store them as float32.")
    return [row.tobytes() for row in stored]


def unpack_vectors(frames: Sequence[memoryview], meta: StoreMeta) -> NDArray[Any]:
    """feature_FD of frames that were read, of the store's type; a copy that can be written.

    Raises:
        StoreError: a frame has another length than the store's vectors.
    """
    expected = vector_bytes(meta)
    wrong = next((len(frame) for frame in frames if len(frame) != expected), None)
    if wrong is not None:
        raise StoreError(f"a vector should have {expected} bytes, found {wrong}")
    return np.frombuffer(bytearray().join(frames), dtype=_dtype(meta)).reshape(len(frames), -1)


def _dtype(meta: StoreMeta) -> np.dtype[Any]:
    return np.dtype(meta.dtype).newbyteorder("<")
