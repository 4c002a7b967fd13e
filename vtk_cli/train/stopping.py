"""Signals that end a run after the step it is in."""

import os
import signal
from types import FrameType, TracebackType
from typing import Any, Self

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
"""What schedulers and people send; Slurm's `--signal=USR1@300` is the usual warning before a time limit."""

_WARNING = frozenset({signal.SIGUSR1})


class StopRequest:
    """While it is entered, the first of `SIGNALS` is remembered; a SIGINT after it ends the process at once.

    A scheduler signals every process of a run. SIGUSR1 would end those that started without knowing of it (loader
    processes and Python's servers for them), so it is blocked here, which they inherit, and looked for between steps.
    """

    def __init__(self) -> None:
        self.signal = ""
        self._before: dict[signal.Signals, Any] = {}

    def __bool__(self) -> bool:
        if not self.signal and signal.SIGUSR1 in signal.sigpending():
            self._remember(signal.SIGUSR1)
        return bool(self.signal)

    def __enter__(self) -> Self:
        # The handler of SIGUSR1 is for threads that were there before and do not block it.
        self._before = {number: signal.signal(number, self._handle) for number in SIGNALS}
        signal.pthread_sigmask(signal.SIG_BLOCK, _WARNING)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if signal.SIGUSR1 in signal.sigpending():
            signal.sigwait(_WARNING)  # answered; it must not be delivered when it is no longer blocked
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _WARNING)
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002  the signature of a handler
        if self.signal and number == signal.SIGINT:
            raise KeyboardInterrupt
        if not self.signal:
            self._remember(number)

    def _remember(self, number: int) -> None:
        self.signal = signal.Signals(number).name
        # Written past the buffered stderr, which may be in the middle of a line and cannot be entered twice.
        message = f"\n{self.signal}: finishing this step, then writing a checkpoint (Ctrl-C again ends at once)\n"
        os.write(2, message.encode())
