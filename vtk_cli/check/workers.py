"""Worker processes that may crash or hang: each has one job at a time, and is replaced when it does."""

import multiprocessing
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import connection
from multiprocessing.context import SpawnProcess
from typing import Any, Generic, TypeVar

from vtk_cli.errors import PluginError, VtkError

JobT = TypeVar("JobT")
STARTING_SECONDS = 120.0
"""How long a worker may take to import what it needs, on top of its first job; a cold network disk is slow."""
_TICK_SECONDS = 0.5
_MOST_FIRST_DEATHS = 8
_SPAWN = multiprocessing.get_context("spawn")


@dataclass(frozen=True, slots=True)
class Lost:
    """What comes instead of a result when the worker crashed or ran out of time."""

    cause: str


@dataclass(slots=True)
class _Worker(Generic[JobT]):
    process: SpawnProcess
    pipe: "connection.Connection[Any, Any]"
    job: JobT
    deadline: float


class Workers(Generic[JobT]):
    """Applies a function of a module to jobs in processes; leaves none behind."""

    def __init__(self, function: Callable[[JobT], Any], *, workers: int, limit_seconds: float) -> None:
        self._function, self._size, self._limit = function, workers, limit_seconds
        self._workers: list[_Worker[JobT]] = []
        self._answered = False
        self._deaths = 0

    def run(self, jobs: Iterable[JobT]) -> Iterator[tuple[JobT, Any]]:
        """(job, result or Lost) of each job, in the order in which they end.

        Raises:
            VtkError: the function raised it; that ends the run.
        """
        waiting = iter(jobs)
        try:
            for job in waiting:
                self._workers.append(self._start(job))
                if len(self._workers) == self._size:
                    break
            while self._workers:
                ready = connection.wait([worker.pipe for worker in self._workers], timeout=_TICK_SECONDS)
                for worker in list(self._workers):
                    outcome = self._outcome(worker, worker.pipe in ready)
                    if outcome is not None:
                        done = worker.job
                        self._next(worker, waiting, lost=isinstance(outcome, Lost))
                        yield done, outcome
        finally:
            for worker in list(self._workers):
                self._end(worker)

    def _start(self, job: JobT) -> _Worker[JobT]:
        pipe, its_end = _SPAWN.Pipe()
        process = _SPAWN.Process(target=_serve, args=(its_end, self._function), daemon=True)
        process.start()
        its_end.close()
        self._send(pipe, job)
        return _Worker(process, pipe, job, time.monotonic() + STARTING_SECONDS + self._limit)

    def _outcome(self, worker: _Worker[JobT], ready: bool) -> Any:
        """A result, Lost, or None while the job goes on."""
        if ready:
            try:
                result = worker.pipe.recv()
            except (EOFError, ConnectionError):
                worker.process.join(STARTING_SECONDS)
                return self._mourned(_death(worker.process.exitcode))
            if isinstance(result, VtkError):
                raise result
            self._answered = True
            return result
        if time.monotonic() > worker.deadline:
            return Lost(f"it took more than {self._limit:g} s; the decoder hangs, or the limit is too low")
        return None

    def _mourned(self, cause: str) -> Lost:
        """A crash is the clip's fault, unless no worker ever gave an answer."""
        self._deaths += 1
        if not self._answered and self._deaths >= _MOST_FIRST_DEATHS:
            raise PluginError(
                f"Worker processes should run, found that {self._deaths} ended without an answer: {cause}. Try another "
                "--decoder, and run `vtk doctor`."
            )
        return Lost(cause)

    def _next(self, worker: _Worker[JobT], waiting: Iterator[JobT], *, lost: bool) -> None:
        """Give a worker its next job; a lost worker is replaced."""
        if lost:
            self._end(worker)
        for job in waiting:
            if lost:
                self._workers.append(self._start(job))
            else:
                worker.job, worker.deadline = job, time.monotonic() + self._limit
                self._send(worker.pipe, job)
            return
        if not lost:
            self._end(worker)

    @staticmethod
    def _send(pipe: "connection.Connection[Any, Any]", job: JobT) -> None:
        with suppress(ConnectionError):  # a worker that died says so when its pipe is read
            pipe.send(job)

    def _end(self, worker: _Worker[JobT]) -> None:
        self._workers.remove(worker)
        worker.process.kill()
        worker.process.join()
        worker.pipe.close()


def _serve(pipe: "connection.Connection[Any, Any]", function: Callable[[Any], Any]) -> None:
    """A worker's life: job in, result out, until the parent ends it or is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides
    while True:
        try:
            job = pipe.recv()
        except (EOFError, ConnectionError):
            return
        try:
            result = function(job)
        except VtkError as error:
            result = error
        except Exception as error:  # noqa: BLE001  a decoder plugin can raise anything; one clip must not end the run
            result = Lost(f"the decoder raised {type(error).__name__}: {error}")
        try:
            pipe.send(result)
        except (BrokenPipeError, ConnectionError):
            return


def _death(exit_code: int | None) -> str:
    if exit_code is not None and exit_code < 0:
        return f"the decoder crashed ({signal.Signals(-exit_code).name})"
    return f"the decoder's process ended (exit code {exit_code})"
