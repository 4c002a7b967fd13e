"""What stands around a download: one at a time per dataset, and a stop that leaves everything resumable."""

import fcntl
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from vtk_cli.console import say
from vtk_cli.errors import DataError, Interrupted


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the folder for this process; the system lets go of it however the process ends.

    Raises:
        DataError: another process holds it, or the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / ".lock").open("w")
    except OSError as error:
        raise DataError(
            f"{folder} should be a folder that can be written, found: {error.strerror}. Choose another with --root."
        ) from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise DataError(f"Another vtk is downloading into {folder}. Wait until it ends, or stop it.") from error
        yield


@contextmanager
def stoppable(*, ask: bool = True) -> Iterator[threading.Event]:
    """An event that SIGINT and SIGTERM set; a second signal ends the process at once.

    Without `ask`, for work that never looks at the event, and in a thread other than the main one, where Python
    installs no handlers, signals do what they always do.

    Raises:
        Interrupted: in place of KeyboardInterrupt.
    """
    stop = threading.Event()
    if not ask or threading.current_thread() is not threading.main_thread():
        try:
            yield stop
        except KeyboardInterrupt as error:
            raise Interrupted("Stopped; run the same command to go on.") from error
        return

    def handle(number: int, _frame: FrameType | None) -> None:
        stop.set()
        signal.signal(number, signal.SIG_DFL)
        say("stopping; once more ends at once")

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number in before:
        signal.signal(number, handle)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
