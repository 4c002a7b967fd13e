"""The workers on a Ray cluster: a Ray task takes a shard and runs the local pool of one worker on it.

    this process                     a Ray task, somewhere                a process beside it
    hands out shards           ->    Pool of one worker             ->    decodes, computes, writes the shard
    counts, keeps statuses     <-    what the pool tells, as it comes

Crashes and hangs of decoders are so treated as on one machine, by the same code. What can die besides is the Ray task,
with its machine: its shard is handed out again, and its clip is tried again last; the second time it counts as failed.
Stores and videos lie on a file system that all machines see under the same paths.
"""

import os
import socket
import sys
import time
from collections import deque
from collections.abc import Generator, Iterator
from contextlib import closing, redirect_stdout
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any

from vtk_cli.errors import PluginError, StoreError, VtkError
from vtk_cli.extract.pool import Pool, rest_of
from vtk_cli.extract.stopping import STOPPING_SECONDS, StopSignals
from vtk_cli.extract.worker import Begun, Event, Job, Outcome, Task

DIED = "the Ray worker died twice while decoding it"
_TICK_SECONDS = 0.25
_KNOCK_SECONDS = 10.0
_MOST_IDLE_DEATHS = 3
_SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",  # nothing is sent to anybody
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # a flow method may use the machine's GPU
}
_HERE_ONLY = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
"""Of a cluster that is started here: it listens on 127.0.0.1 alone, as it does on those systems by default."""


def check_ray() -> None:
    """Raises PluginError when Ray is not installed."""
    if find_spec("ray") is None:
        raise PluginError('--engine ray needs Ray, which is not installed. Run: pip install "vtk-cli[ray]"')


@dataclass(slots=True)
class _Running:
    """A Ray task and what is known of it."""

    task: Task
    busy_with: str = ""
    reported: set[str] = field(default_factory=set)


class RayEngine:
    """An `Engine` that hands shards to a Ray cluster."""

    def __init__(self, job: Job, tasks: list[Task], *, workers: int | None, time_limit: float) -> None:
        """`workers`: Ray tasks at a time; None for as many as the cluster has CPUs."""
        self.workers = workers or 0
        self._job, self._time_limit = job, time_limit
        self._tasks = deque(tasks)
        self._running: dict[Any, _Running] = {}
        """By the generator of what the Ray task yields."""
        self._died: set[str] = set()
        self._idle_deaths = 0
        self._ray: Any = None

    def run(self) -> Generator[Event]:
        """See `Engine.run`; PluginError also where no cluster can be reached or started."""
        if not self._tasks:
            return
        # Ray prints what its machines say on stdout, which is for results.
        with redirect_stdout(sys.stderr):
            self._ray = _connect()
            self.workers = self.workers or max(1, int(self._ray.cluster_resources().get("CPU", 1)))
            with StopSignals() as signals:
                try:
                    while self._tasks or self._running:
                        self._fill()
                        yield from self._listen()
                        if signals.number is not None:
                            yield from self._stop()
                            raise signals.interrupted()
                finally:
                    self._ray.shutdown()

    def _fill(self) -> None:
        run = self._ray.remote(num_cpus=1, max_retries=0, num_returns="streaming", scheduling_strategy="SPREAD")
        while self._tasks and len(self._running) < self.workers:
            task = self._tasks.popleft()
            self._running[run(run_shard).remote(self._job, task, self._time_limit)] = _Running(task)

    def _listen(self) -> Iterator[Event]:
        """Wait a little for what Ray tasks yield and take it."""
        ready, _ = self._ray.wait(list(self._running), timeout=_TICK_SECONDS, fetch_local=False)
        for generator in ready:
            running = self._running[generator]
            try:
                message = self._ray.get(next(generator))
            except StopIteration:
                del self._running[generator]
            except self._ray.exceptions.RayTaskError:
                raise  # a bug of ours, with its traceback
            except self._ray.exceptions.RayError as error:
                del self._running[generator]
                self._succeed(running, f"{type(error).__name__}: {error}".splitlines()[0])
            else:
                yield from self._take(running, message)

    def _take(self, running: _Running, message: Event | VtkError) -> Iterator[Event]:
        if isinstance(message, VtkError):
            raise message
        if isinstance(message, Begun):
            running.busy_with, self._idle_deaths = message.id, 0
        elif isinstance(message, Outcome):
            running.reported.add(message.id)
        yield message

    def _succeed(self, running: _Running, cause: str) -> None:
        """Hand out again what a Ray task that died has left undone."""
        culprit = running.busy_with if running.busy_with not in running.reported else ""
        if not culprit:
            self._idle_deaths += 1
            if self._idle_deaths >= _MOST_IDLE_DEATHS:
                raise PluginError(
                    f"Ray workers should run, found that {self._idle_deaths} in a row ended without beginning a clip: "
                    f"{cause}. Try --engine local on one of the machines, and `ray status`."
                )
        again = culprit not in self._died
        self._died.add(culprit)
        rest = rest_of(running.task, running.reported, culprit, "" if again else f"{DIED} ({cause})")
        self._tasks.appendleft(rest)

    def _stop(self) -> Iterator[Event]:
        """Let the Ray tasks commit what is finished."""
        for generator in self._running:
            self._ray.cancel(generator)
        self._tasks.clear()
        deadline = time.monotonic() + STOPPING_SECONDS
        while self._running and time.monotonic() < deadline:
            for generator in self._ray.wait(list(self._running), timeout=_TICK_SECONDS, fetch_local=False)[0]:
                try:
                    message = self._ray.get(next(generator))
                except (StopIteration, self._ray.exceptions.RayError):
                    del self._running[generator]
                else:
                    if isinstance(message, Outcome):
                        yield message


def run_shard(job: Job, task: Task, time_limit: float) -> Iterator[Event | VtkError]:
    """What a Ray task does; what it yields reaches the process that handed it out at once."""
    try:
        _check_paths(job)
        with closing(Pool(job, [task], workers=1, time_limit=time_limit).run()) as events:
            for event in events:  # noqa: UP028  Ray sends values in, which are not for the pool
                yield event
    except VtkError as error:
        yield error


def _check_paths(job: Job) -> None:
    for folder in job.stores.values():
        if job.sample is None and not folder.is_dir():
            raise StoreError(
                f"Every machine of the cluster should see the store {folder}, found no such folder on "
                f"{os.uname().nodename}. Put the workspace (--root) on a file system that all of them share."
            )


def _knock(address: str) -> None:
    """Raises OSError or ValueError where nothing listens at host:port; Ray itself would go on asking for minutes."""
    if address in ("auto", "local"):
        return
    host, colon, port = address.rpartition(":")
    if "://" in address or not (colon and port.isdecimal()):
        raise ValueError("an address that is not HOST:PORT, as `ray start` prints it")
    socket.create_connection((host, int(port)), timeout=_KNOCK_SECONDS).close()


def _connect() -> Any:
    """Ray, connected to the cluster of RAY_ADDRESS, else to one that is started here for this run.

    Raises:
        PluginError: Ray does not import, or the cluster does not answer.
    """
    check_ray()
    address = os.environ.get("RAY_ADDRESS") or "local"
    for name, value in (_SETTINGS | (_HERE_ONLY if address == "local" else {})).items():
        os.environ.setdefault(name, value)
    try:
        import ray

        _knock(address)
        ray.init(address, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    except (ImportError, RuntimeError, ValueError, OSError) as error:
        raise PluginError(
            f"A Ray cluster should answer at {address}, found: {error}. Start one with `ray start --head` and set "
            "RAY_ADDRESS to what it prints (`ray status` tells whether it runs; where it asks for a token, set "
            "RAY_AUTH_MODE=token too), or leave RAY_ADDRESS out for one on this machine."
        ) from error
    return ray
