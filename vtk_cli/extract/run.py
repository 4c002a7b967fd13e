"""Extraction from beginning to end: plan, work, and what is told about it."""

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import astuple, dataclass, field
from pathlib import Path

from vtk_cli.catalog import Catalog, CatalogRow, Status
from vtk_cli.console import Progress, duration, size, warn
from vtk_cli.errors import DataError, ItemsFailed
from vtk_cli.extract.engine import check_engine, start_engine
from vtk_cli.extract.forecast import Forecast
from vtk_cli.extract.plan import Plan, Request, make_plan
from vtk_cli.extract.worker import FLOW, FRAMES, WARPED, Begun, Outcome
from vtk_cli.files import write_atomic
from vtk_cli.workspace import DatasetDir

FAILED_LIST = "extract-failed.tsv"
"""In the dataset's folder: id, store and cause of every failure of the last extraction, tab-separated."""
_STATUSES_PER_UPDATE = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A clip that a store lacks, and why."""

    id: str
    store: str
    cause: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What an extraction found and did; `vtk extract --json` prints it."""

    dataset: str
    stores: dict[str, str]
    """"frames", "flow" or "warped" -> the store's name."""
    selected: int
    """Clips that were asked for and are here."""
    absent: int
    """Clips that were asked for and are not here."""
    extracted: int
    """Clips that this run finished."""
    present: dict[str, int]
    """"frames", "flow" or "warped" -> clips of the selection that its store now holds."""
    failed: list[Failure]
    """In the catalog's order, those of earlier runs included."""
    failed_list: str
    """Where `failed` was written; empty if none failed."""
    seconds: float
    decoded: int = 0
    """Pictures that this run decoded."""
    stored_bytes: dict[str, int] = field(default_factory=dict)
    """What this run put into each store."""

    def lines(self) -> list[str]:
        """What a person is told."""
        get = "`vtk download` and `vtk extract` get" if "features" in self.stores else "`vtk download` gets"
        absent = f"; {self.absent} more are not here ({get} them)" if self.absent else ""
        rate = f", {self.extracted / self.seconds:.3g} clips/s" if self.extracted and self.seconds else ""
        if rate and self.decoded:
            rate += f", {self.decoded / self.seconds:.3g} frames/s, {size(sum(self.stored_bytes.values()))} stored"
        stores = [f"{self.stores[name]}: {count} of {self.selected} clips" for name, count in self.present.items()]
        return [*stores, f"{self.extracted} clips extracted in {duration(self.seconds)}{rate}{absent}."]

    def check(self) -> None:
        """Turn failures into the command's exit code.

        Raises:
            DataError: nothing of the selection is in the stores.
            ItemsFailed: something failed; the rest is there.
        """
        if not self.failed:
            return
        clips = len({failure.id for failure in self.failed})
        told = f"{clips} of {self.selected} clips failed; {self.failed_list} names each with its cause"
        again = "Mend or replace them and run the same command with --retry-failed."
        if not any(self.present.values()):
            raise DataError(f"Nothing was extracted: {told}. The first: {self.failed[0].cause}. {again}")
        raise ItemsFailed(f"{told}. {again}")


def extract(dataset: DatasetDir, request: Request) -> Summary:
    """Put frames, flow or both of a dataset's clips into its stores; what is there stays, what is missing is added.

    Raises:
        UsageError, PluginError, StoreError, DataError: see `make_plan`.
        Interrupted: SIGINT or SIGTERM came.
    """
    begun = time.monotonic()
    check_engine(request.engine)
    with Catalog(dataset.catalog) as catalog:
        plan = make_plan(dataset, catalog, request)
        tally = _Tally(plan)
        with _Statuses(catalog, plan).kept() as statuses:
            for outcome in _work(plan, request):
                tally.add(outcome)
                statuses.add(outcome)
    failed = tally.failures()
    path = dataset.path / FAILED_LIST
    write_list(path, failed)
    return Summary(
        dataset=dataset.name,
        stores={name: folder.name for name, folder in plan.job.stores.items()},
        selected=len(plan.rows),
        absent=plan.absent,
        extracted=tally.extracted,
        present={name: len(ids) for name, ids in tally.present.items()},
        failed=failed,
        failed_list=str(path) if failed else "",
        seconds=round(time.monotonic() - begun, 3),
        decoded=tally.decoded,
        stored_bytes=dict(tally.stored_bytes),
    )


def _work(plan: Plan, request: Request) -> Iterator[Outcome]:
    if not plan.tasks:
        return
    engine = start_engine(plan.job, plan.tasks, request)
    _warn_of_idle(plan, request)
    forecast = Forecast(plan)
    names = " and ".join(folder.name for folder in plan.job.stores.values())
    with Progress(f"extracting {names}", total=plan.todo, unit="clips") as progress:
        for event in engine.run():
            if isinstance(event, Begun):
                continue
            forecast.count(event)
            progress.advance(int(isinstance(event, Outcome)), note=forecast.note(), share=forecast.share)
            if isinstance(event, Outcome):
                yield event


def _warn_of_idle(plan: Plan, request: Request) -> None:
    if request.workers is not None and len(plan.tasks) < min(request.workers, plan.todo):
        warn(
            f"{request.workers} workers were asked for and {len(plan.tasks)} will work: each shard has one writer, and "
            f"so many have clips to do. A store that is made with --shards {4 * request.workers} keeps all busy."
        )


class _Tally:
    """What is there and what failed, store by store."""

    def __init__(self, plan: Plan) -> None:
        self.extracted = self.decoded = 0
        self.stored_bytes: Counter[str] = Counter(dict.fromkeys(plan.job.stores, 0))
        self.present = {name: set(ids) for name, ids in plan.present.items()}
        self._failed = {name: dict(causes) for name, causes in plan.failed.items()}
        self._plan = plan

    def add(self, outcome: Outcome) -> None:
        flow_cause = outcome.cause or outcome.flow_cause
        causes = {FRAMES: outcome.cause, FLOW: flow_cause, WARPED: flow_cause}
        for name, present in self.present.items():
            if outcome.id in present:
                continue
            if causes[name]:
                self._failed[name][outcome.id] = causes[name]
            elif outcome.id not in self._failed[name] or self._plan.job.retry_failed:
                self._failed[name].pop(outcome.id, None)
                present.add(outcome.id)
        self.extracted += not any(causes[name] for name in self.present)
        self.decoded += outcome.pictures
        self.stored_bytes.update(outcome.stored)

    def failures(self) -> list[Failure]:
        """Everything that failed, in the catalog's order."""
        return [
            Failure(id=video_id, store=self._plan.job.stores[name].name, cause=causes[video_id])
            for video_id in self._plan.rows
            for name, causes in self._failed.items()
            if video_id in causes
        ]


@dataclass(slots=True)
class _Statuses:
    """Keeps the catalog's statuses in step with what extraction finds out about clips."""

    catalog: Catalog
    plan: Plan
    changes: list[tuple[str, Status, str]] = field(default_factory=list)

    @contextmanager
    def kept(self) -> Iterator["_Statuses"]:
        """On leaving, however that comes about, everything is in the catalog."""
        for video_id, cause in self.plan.failed.get(FRAMES, {}).items():  # of a run that was killed
            self._change(self.plan.rows[video_id], "broken", cause)
        try:
            yield self
        finally:
            self._write()

    def add(self, outcome: Outcome) -> None:
        self._change(self.plan.rows[outcome.id], "broken" if outcome.cause else "ready", outcome.cause or outcome.note)
        if len(self.changes) >= _STATUSES_PER_UPDATE:
            self._write()

    def _change(self, row: CatalogRow, status: Status, cause: str) -> None:
        if (row.status, row.cause) != (status, cause):
            self.changes.append((row.id, status, cause))

    def _write(self) -> None:
        if self.changes:
            self.catalog.set_status(self.changes)
            self.changes.clear()


def write_list(path: Path, failed: list[Failure]) -> None:
    """The list of failures; none where nothing failed."""
    if not failed:
        path.unlink(missing_ok=True)
        return
    lines = ["id\tstore\tcause", *("\t".join(" ".join(part.split()) for part in astuple(row)) for row in failed)]
    write_atomic(path, "\n".join(lines) + "\n")
