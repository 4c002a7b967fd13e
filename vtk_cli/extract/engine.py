"""Who runs the workers: processes of this machine, or a Ray cluster. Shards, records and rules are the same."""

from collections.abc import Generator
from typing import Protocol

from vtk_cli.extract.plan import Request, default_workers
from vtk_cli.extract.pool import Pool
from vtk_cli.extract.worker import Event, Job, Task


class Engine(Protocol):
    """Runs tasks in the order given; each shard has one writer at a time."""

    workers: int
    """Tasks in work at the same time."""

    def run(self) -> Generator[Event]:
        """What workers do, and what became of each clip when it is on the disk.

        Raises:
            Interrupted: SIGINT or SIGTERM came; what was finished is committed.
            StoreError: a store cannot be written, e.g. because the disk is full.
            PluginError: workers die without having begun a clip.
        """


def check_engine(name: str) -> None:
    """Raises PluginError when an engine is not installed."""
    if name == "ray":
        from vtk_cli.extract.ray_engine import check_ray

        check_ray()


def start_engine(job: Job, tasks: list[Task], request: Request) -> Engine:
    """The engine that was asked for, ready to run."""
    if request.engine == "ray":
        from vtk_cli.extract.ray_engine import RayEngine

        return RayEngine(job, tasks, workers=request.workers, time_limit=request.time_limit)
    workers = default_workers() if request.workers is None else request.workers
    return Pool(job, tasks, workers=workers, time_limit=request.time_limit)
