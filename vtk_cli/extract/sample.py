"""What stands in for the store and for most of the flow where extraction is only tried, to see what it costs.

Clips are decoded and encoded whole. Of flow, one call in `EVERY` is computed, and its result stands for the calls up to
the next one; what those would have taken is told, so that a slow method is estimated in seconds.
"""

import time
from collections.abc import Container, Sequence
from typing import TYPE_CHECKING, Self

from vtk_cli.api.flow import BatchFlowMethod
from vtk_cli.store.record import pack

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

EVERY = 32
"""Of so many batches in a row, one is computed; most methods take pairs one at a time."""
MOST_SECONDS = 2.0
"""Of a clip's flow; when it has taken so long, the last result stands for the rest of the clip."""


class SampledFlow:
    """A flow method, or a `vtk_cli.flow.motion.Motion`, that computes some batches of pairs and leaves out the rest."""

    def __init__(self, method: BatchFlowMethod) -> None:
        self.batch = method.batch
        self._method = method
        self._calls = self._left_out = 0
        self._seconds = 0.0
        self._last: NDArray[np.float32] | None = None

    def __call__(self, previous_HW: "NDArray[np.uint8]", following_HW: "NDArray[np.uint8]") -> "NDArray[np.float32]":
        result: NDArray[np.float32] = self.many(previous_HW[None], following_HW[None])[0]
        return result

    def many(self, previous_NHW: "NDArray[np.uint8]", following_NHW: "NDArray[np.uint8]") -> "NDArray[np.float32]":
        due = self._calls % EVERY == 0 and self._seconds < MOST_SECONDS
        self._calls += 1
        if not due and self._last is not None and len(self._last) >= len(previous_NHW):
            self._left_out += 1
            return self._last[: len(previous_NHW)]
        begun = time.perf_counter()
        self._last = self._method.many(previous_NHW, following_NHW)
        self._seconds += time.perf_counter() - begun
        return self._last

    def take_seconds_left_out(self) -> float:
        """What the calls left out since the last question would have taken; a clip ends here."""
        computed = self._calls - self._left_out
        seconds = self._left_out * self._seconds / computed if computed else 0.0
        self._calls = self._left_out = 0
        self._seconds, self._last = 0.0, None
        return seconds


class CountingWriter:
    """Takes what a `ShardWriter` takes and keeps its size only."""

    def __init__(self, lacking: Container[str]) -> None:
        """`lacking`: the clips that the store does not have."""
        self.pending_bytes = 0
        self._lacking = lacking

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def __contains__(self, video_id: str) -> bool:
        return video_id not in self._lacking

    def failure(self, _video_id: str) -> str | None:
        return None

    def put(self, _video_id: str, frames: Sequence[bytes]) -> None:
        self.pending_bytes += len(pack(frames))

    def fail(self, _video_id: str, _cause: str) -> None:
        pass

    def commit(self) -> None:
        self.pending_bytes = 0
