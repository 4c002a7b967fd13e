"""The parent's side: worker processes that may crash, hang or be killed, and are replaced.

A worker that dies or goes silent takes one clip with it: the one it was busy with is recorded as failed by its
successor, which goes on with the rest of the shard.
"""

import multiprocessing
import signal
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from multiprocessing import connection
from multiprocessing.context import SpawnProcess
from typing import Any

from vtk_cli.errors import Interrupted, PluginError, VtkError
from vtk_cli.extract import worker as child
from vtk_cli.extract.worker import Begun, Finished, Job, Outcome, ShardDone, Task

STARTING_SECONDS = 120.0
"""How long a worker may take to import its decoder; a cold network disk is slow."""
STOPPING_SECONDS = 10.0
"""How long a worker that was asked to stop may take before it is killed."""
KILLED = "the worker was killed (SIGKILL) twice while decoding it, as the system does when memory runs out"
_TICK_SECONDS = 0.25
_MOST_IDLE_DEATHS = 3
_SPAWN = multiprocessing.get_context("spawn")
_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


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
        """`time_limit`: seconds that a clip may go without a new picture or flow pair."""
        self._job = job
        # The largest shards first, so that none is begun when the others are nearly done.
        self._tasks = deque(sorted(tasks, key=lambda task: -len(task.clips)))
        self._size = min(workers, len(tasks))
        self._time_limit = time_limit
        self._workers: list[_Worker] = []
        self._idle_deaths = 0
        self._killed: set[str] = set()
        self._stopped_by: int | None = None

    def run(self) -> Iterator[Outcome]:
        """What became of each clip, when it is on the disk.

        Raises:
            Interrupted: SIGINT or SIGTERM came; what was finished is committed.
            StoreError: a store cannot be written, e.g. because the disk is full.
            PluginError: workers die without having begun a clip.
        """
        with self._signals():
            try:
                while self._tasks or self._workers:
                    self._fill()
                    yield from self._listen()
                    yield from self._bury()
                    if self._stopped_by is not None:
                        yield from self._stop()
            finally:
                self._kill_all()

    def _fill(self) -> None:
        for worker in [worker for worker in self._workers if worker.task is None]:
            if self._tasks:
                self._give(worker, self._tasks.popleft())
            else:
                self._remove(worker)  # idle: it has closed its shard
        while self._tasks and len(self._workers) < self._size:
            self._workers.append(self._start(self._tasks.popleft()))

    def _start(self, task: Task) -> _Worker:
        pipe, its_end = _SPAWN.Pipe()
        process = _SPAWN.Process(target=child.main, args=(its_end, self._job), daemon=True)
        # Ctrl-C reaches the whole group; a worker that is still starting would answer with a traceback.
        signal.pthread_sigmask(signal.SIG_BLOCK, _STOP_SIGNALS)
        try:
            process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOP_SIGNALS)
        its_end.close()
        worker = _Worker(process, pipe, task)
        self._give(worker, task)
        return worker

    def _give(self, worker: _Worker, task: Task) -> None:
        worker.task, worker.busy_with, worker.last_heard = task, "", time.monotonic()
        worker.reported.clear()
        with suppress(OSError):  # it died; _bury sees that and gives the task to another
            worker.pipe.send(task)

    def _listen(self) -> Iterator[Outcome]:
        """Wait a little for messages and take them."""
        ready = connection.wait([worker.pipe for worker in self._workers], timeout=_TICK_SECONDS)
        for worker in self._workers:
            if worker.pipe in ready:
                yield from self._take(worker)

    def _take(self, worker: _Worker) -> Iterator[Outcome]:
        """Everything that a worker has said so far."""
        try:
            while worker.pipe.poll():
                message = worker.pipe.recv()
                worker.last_heard = time.monotonic()
                if isinstance(message, VtkError):
                    raise message
                if isinstance(message, Begun):
                    worker.busy_with, self._idle_deaths = message.id, 0
                elif isinstance(message, Finished):
                    worker.reported.update(outcome.id for outcome in message.outcomes)
                    yield from message.outcomes
                elif isinstance(message, ShardDone):
                    worker.task, worker.busy_with = None, ""
        except (EOFError, OSError):
            worker.process.join(STOPPING_SECONDS)  # the pipe closes a moment before the process ends

    def _bury(self) -> Iterator[Outcome]:
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
        left = [clip for clip in worker.task.clips if clip.id not in worker.reported and clip.id != culprit]
        lost = [(clip, why) for clip, why in worker.task.lost if clip.id not in worker.reported]
        suspects = [clip for clip in worker.task.clips if clip.id == culprit]
        if cause == KILLED and culprit not in self._killed:
            self._killed.add(culprit)  # memory may have been short for another reason: once more, at the end
            left += suspects
        else:
            lost += [(clip, cause) for clip in suspects]
        self._tasks.appendleft(replace(worker.task, clips=tuple(left), lost=tuple(lost)))

    def _count_idle_death(self, cause: str) -> None:
        self._idle_deaths += 1
        if self._idle_deaths >= _MOST_IDLE_DEATHS:
            raise PluginError(
                f"Extraction workers should run, found that {self._idle_deaths} in a row ended without beginning a "
                f"clip: {cause}. Try --workers 1, another --decoder, and `vtk doctor`."
            )

    def _stop(self) -> Iterator[Outcome]:
        for worker in self._workers:
            self._ask_to_stop(worker)
        deadline = time.monotonic() + STOPPING_SECONDS
        while time.monotonic() < deadline and any(worker.process.is_alive() for worker in self._workers):
            yield from self._listen()
        for worker in self._workers:
            yield from self._take(worker)
        name = signal.Signals(self._stopped_by or signal.SIGINT).name
        raise Interrupted(
            f"Extraction was stopped by {name}. What was finished is kept; run the same command again to go on."
        )

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
    def _signals(self) -> Iterator[None]:
        """Note SIGINT and SIGTERM instead of dying in the middle; only a main thread can."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self._note_signal) for number in _STOP_SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _note_signal(self, number: int, _: Any) -> None:
        self._stopped_by = number


def _death(exitcode: int | None) -> str:
    if exitcode == -signal.SIGKILL:
        return KILLED
    if exitcode is not None and exitcode < 0:
        return f"the decoder crashed on it ({signal.Signals(-exitcode).name})"
    return f"the worker ended while decoding it (exit code {exitcode})"
