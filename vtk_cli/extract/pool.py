"""The parent's side: worker processes that may crash, hang or be killed, and are replaced.

A worker that dies or goes silent takes one clip with it: the one it was busy with is recorded as failed by its
successor, which goes on with the rest of the shard.
"""

import multiprocessing
import signal
import sys
import time
from collections import deque
from collections.abc import Container, Generator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from multiprocessing import connection
from multiprocessing.context import SpawnProcess
from types import ModuleType
from typing import Any

from vtk_cli.errors import PluginError, VtkError
from vtk_cli.extract import worker as child
from vtk_cli.extract.stopping import STOP_SIGNALS, STOPPING_SECONDS, StopSignals
from vtk_cli.extract.worker import Beat, Begun, Event, Finished, Job, ShardDone, Task

STARTING_SECONDS = 120.0
"""How long a worker may take to import its decoder; a cold network disk is slow."""
KILLED = "the worker was killed (SIGKILL) twice while decoding it, as the system does when memory runs out"
_TICK_SECONDS = 0.25
_MOST_IDLE_DEATHS = 3
_SPAWN = multiprocessing.get_context("spawn")


@dataclass(slots=True)
class _Worker:
    """A process and what is known of it."""

    process: SpawnProcess
    pipe: "connection.Connection[Any, Any]"
    task: Task | None
    busy_with: str = ""
    reported: set[str] = field(default_factory=set)
    last_heard: float = field(default_factory=time.monotonic)


class Pool:
    """Runs tasks on worker processes; a context manager that leaves none behind."""

    def __init__(self, job: Job, tasks: list[Task], *, workers: int, time_limit: float) -> None:
        """Tasks are begun in the order given. `time_limit`: seconds that a clip may go without a new picture."""
        self._job = job
        self._tasks = deque(tasks)
        self.workers = workers
        self._time_limit = time_limit
        self._workers: list[_Worker] = []
        self._idle_deaths = 0
        self._killed: set[str] = set()

    def run(self) -> Generator[Event]:
        """What workers do, and what became of each clip when it is on the disk.

        Raises:
            Interrupted: SIGINT or SIGTERM came; what was finished is committed.
            StoreError: a store cannot be written, e.g. because the disk is full.
            PluginError: workers die without having begun a clip.
        """
        with StopSignals() as signals:
            try:
                while self._tasks or self._workers:
                    self._fill()
                    yield from self._listen()
                    yield from self._bury()
                    if signals.number is not None:
                        yield from self._stop()
                        raise signals.interrupted()
            finally:
                self._kill_all()

    def _fill(self) -> None:
        for worker in [worker for worker in self._workers if worker.task is None]:
            if self._tasks:
                self._give(worker, self._tasks.popleft())
            else:
                self._remove(worker)  # idle: it has closed its shard
        while self._tasks and len(self._workers) < self.workers:
            self._workers.append(self._start(self._tasks.popleft()))

    def _start(self, task: Task) -> _Worker:
        pipe, its_end = _SPAWN.Pipe()
        process = _SPAWN.Process(target=child.main, args=(its_end, self._job), daemon=True)
        # Ctrl-C reaches the whole group; a worker that is still starting would answer with a traceback.
        signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
        try:
            with _no_main():
                process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
        its_end.close()
        worker = _Worker(process, pipe, task)
        self._give(worker, task)
        return worker

    def _give(self, worker: _Worker, task: Task) -> None:
        worker.task, worker.busy_with, worker.last_heard = task, "", time.monotonic()
        worker.reported.clear()
        with suppress(OSError):  # it died; _bury sees that and gives the task to another
            worker.pipe.send(task)

    def _listen(self) -> Iterator[Event]:
        """Wait a little for messages and take them."""
        ready = connection.wait([worker.pipe for worker in self._workers], timeout=_TICK_SECONDS)
        for worker in self._workers:
            if worker.pipe in ready:
                yield from self._take(worker)

    def _take(self, worker: _Worker) -> Iterator[Event]:
        """Everything that a worker has said so far."""
        try:
            while worker.pipe.poll():
                message = worker.pipe.recv()
                worker.last_heard = time.monotonic()
                if isinstance(message, VtkError):
                    raise message
                if isinstance(message, Begun):
                    worker.busy_with, self._idle_deaths = message.id, 0
                    yield message
                elif isinstance(message, Beat):
                    yield message
                elif isinstance(message, Finished):
                    worker.reported.update(outcome.id for outcome in message.outcomes)
                    yield from message.outcomes
                elif isinstance(message, ShardDone):
                    worker.task, worker.busy_with = None, ""
        except (EOFError, OSError):
            worker.process.join(STOPPING_SECONDS)  # the pipe closes a moment before the process ends

    def _bury(self) -> Iterator[Event]:
        """Replace workers that have died, and those that have gone silent."""
        for worker in list(self._workers):
            silent = time.monotonic() - worker.last_heard
            limit = self._time_limit if worker.busy_with else STARTING_SECONDS
            if worker.process.is_alive() and worker.task is not None and silent > limit:
                worker.process.kill()
                worker.process.join()
                yield from self._take(worker)
                self._succeed(worker, f"it gave no new picture for {limit:g} s (--time-limit); the decoder hangs")
            elif not worker.process.is_alive():
                yield from self._take(worker)
                self._succeed(worker, _death(worker.process.exitcode))

    def _succeed(self, worker: _Worker, cause: str) -> None:
        """Give what a dead worker has left undone to the next one."""
        self._remove(worker)
        if worker.task is None:
            return
        culprit = worker.busy_with if worker.busy_with not in worker.reported else ""
        if not culprit:
            self._count_idle_death(cause)
        again = cause == KILLED and culprit not in self._killed
        if again:
            self._killed.add(culprit)  # memory may have been short for another reason: once more, at the end
        self._tasks.appendleft(rest_of(worker.task, worker.reported, culprit, "" if again else cause))

    def _count_idle_death(self, cause: str) -> None:
        self._idle_deaths += 1
        if self._idle_deaths >= _MOST_IDLE_DEATHS:
            raise PluginError(
                f"Extraction workers should run, found that {self._idle_deaths} in a row ended without beginning a "
                f"clip: {cause}. Try --workers 1, another --decoder, and `vtk doctor`."
            )

    def _stop(self) -> Iterator[Event]:
        for worker in self._workers:
            self._ask_to_stop(worker)
        deadline = time.monotonic() + STOPPING_SECONDS
        while time.monotonic() < deadline and any(worker.process.is_alive() for worker in self._workers):
            yield from self._listen()
        for worker in self._workers:
            yield from self._take(worker)

    @staticmethod
    def _ask_to_stop(worker: _Worker) -> None:
        with suppress(OSError):  # it has stopped already
            worker.pipe.send(None)

    def _kill_all(self) -> None:
        for worker in list(self._workers):
            self._remove(worker)

    def _remove(self, worker: _Worker) -> None:
        self._workers.remove(worker)
        worker.process.kill()
        worker.process.join()
        worker.pipe.close()


@contextmanager
def _no_main() -> Iterator[None]:
    """Keep a new process from importing the program that this one runs, as it does with whatever is `__main__`.

    A worker needs nothing of it: vtk's command line costs it 0.15 s, a Ray worker 0.7 s, and a user's own script
    without a guard would run once more.
    """
    program = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = program


def rest_of(task: Task, reported: Container[str], culprit: str, cause: str) -> Task:
    """What a dead worker has left of its task: `culprit`, if any, failed for this cause, or comes last if it is empty.

    `reported`: clips that are done.
    """
    left = [clip for clip in task.clips if clip.id not in reported and clip.id != culprit]
    lost = [(clip, why) for clip, why in task.lost if clip.id not in reported]
    suspects = [clip for clip in task.clips if clip.id == culprit]
    if cause:
        lost += [(clip, cause) for clip in suspects]
    else:
        left += suspects
    return replace(task, clips=tuple(left), lost=tuple(lost))


def _death(exitcode: int | None) -> str:
    if exitcode == -signal.SIGKILL:
        return KILLED
    if exitcode is not None and exitcode < 0:
        return f"the decoder crashed on it ({signal.Signals(-exitcode).name})"
    return f"the worker ended while decoding it (exit code {exitcode})"
