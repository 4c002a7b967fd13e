"""SIGINT and SIGTERM, noted instead of dying in the middle."""

import signal
import threading
from types import TracebackType
from typing import Any, Self

from vtk_cli.errors import Interrupted

STOPPING_SECONDS = 10.0
"""How long a worker that was asked to stop may take before it is killed."""
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopSignals:
    """A context in which a signal to stop is noted; only in a main thread, as others get none."""

    def __init__(self) -> None:
        self.number: int | None = None
        """The signal that came; None while none has."""
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._note) for number in STOP_SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def interrupted(self) -> Interrupted:
        """What is raised when workers have stopped."""
        name = signal.Signals(self.number or signal.SIGINT).name
        return Interrupted(
            f"Extraction was stopped by {name}. What was finished is kept; run the same command again to go on."
        )

    def _note(self, number: int, _: Any) -> None:
        self.number = number
