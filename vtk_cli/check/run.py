"""The whole of `vtk check`: look at what has changed, keep what was found, judge, write the report."""

import signal
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from json import dumps
from pathlib import Path
from types import FrameType
from typing import Any

from vtk_cli.catalog import Catalog, CatalogRow
from vtk_cli.check.findings import KINDS, Finding, Kind, balance, clip_findings, same_content, status_of
from vtk_cli.check.probe import Job, decoder_named, look
from vtk_cli.check.stores import StoreReport, check_store
from vtk_cli.check.workers import Lost, Workers
from vtk_cli.console import Progress
from vtk_cli.errors import Interrupted
from vtk_cli.files import write_atomic
from vtk_cli.workspace import DatasetDir

REPORT = "check.json"
_KEEP_SECONDS = 3.0
"""What was measured goes into the catalog this often; a run that is killed loses no more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckReport:
    """What `vtk check` found."""

    dataset: str
    split: str | None
    decoded: bool
    videos: int
    looked_at: int
    """Clips that had changed since they were last looked at, or never were."""
    seconds: float
    statuses: dict[str, int]
    balance: dict[str, Any]
    stores: tuple[StoreReport, ...]
    findings: tuple[Finding, ...]
    path: Path

    def counts(self) -> dict[Kind, int]:
        """Number of findings by kind, in the order of KINDS."""
        found = Counter(finding.kind for finding in self.findings)
        return {kind: found[kind] for kind in KINDS if found[kind]}

    def as_json(self) -> dict[str, Any]:
        stores = [{"name": s.name, "videos": s.videos, "not_extracted": s.not_extracted} for s in self.stores]
        rest = {"stores": stores, "findings": [asdict(finding) for finding in self.findings], "path": str(self.path)}
        plain = {name: getattr(self, name) for name in self.__slots__ if name not in rest}
        return {**plain, "problems": self.counts(), **rest}


def check(
    dataset: DatasetDir, *, split: str | None, decode: bool, workers: int, limit_seconds: float, decoder: str
) -> CheckReport:
    """Check a dataset, or one split of it; the catalog's statuses and probes are brought up to date.

    Raises:
        UsageError: there is no such split or decoder.
        CatalogError: the catalog is absent or damaged.
        Interrupted: SIGINT or SIGTERM came; what was measured is kept.
    """
    begun = time.monotonic()
    decoder_named(decoder)
    with Catalog(dataset.catalog) as catalog:
        rows = catalog.rows(split)
        jobs, there = _jobs(dataset, rows, decode=decode, decoder=decoder)
        _look_at(catalog, rows, jobs, workers=workers, limit_seconds=limit_seconds)
        rows = _judge(catalog, catalog.rows(split), there)
        everything = {row.id: row for row in catalog.rows()} if split else {row.id: row for row in rows}
        classes = catalog.classes
    probes = {row.id: row.probe for row in rows}
    chosen = {row.id for row in rows}
    stores = tuple(check_store(dataset.store(n), everything, probes, chosen, workers=workers) for n in dataset.stores())
    report = CheckReport(
        dataset=dataset.name,
        split=split,
        decoded=decode,
        videos=len(rows),
        looked_at=len(jobs),
        seconds=round(time.monotonic() - begun, 2),
        statuses=dict(Counter(row.status for row in rows)),
        balance=balance(rows, classes),
        stores=stores,
        findings=(
            *(finding for row in rows for finding in clip_findings(row, row.probe)),
            *same_content(rows, probes),
            *(finding for store in stores for finding in store.findings),
        ),
        path=dataset.path / REPORT,
    )
    stamp = {"finished": datetime.now(UTC).isoformat(timespec="seconds")}
    write_atomic(report.path, dumps({**stamp, **report.as_json()}, indent=1, ensure_ascii=False) + "\n")
    return report


def _jobs(
    dataset: DatasetDir, rows: list[CatalogRow], *, decode: bool, decoder: str
) -> tuple[list[Job], dict[str, bool]]:
    """What has to be looked at, and whether each clip's file (or frame folder) is there."""
    stats = {path: _stat(dataset.video(path)) for path in {row.path for row in rows}}
    sizes: dict[int, int] = defaultdict(int)
    for stat in stats.values():
        if stat is not None:
            sizes[stat[0]] += 1
    jobs, there = [], {}
    for row in rows:
        stat = stats[row.path]
        path = dataset.video(row.path)
        there[row.id] = stat is not None or path.is_dir()
        if stat is None:
            continue
        same = (row.probe.get("size"), row.probe.get("mtime_ns")) == stat and row.probe.get("decoder") == decoder
        needs_decoding = decode and not (same and ("frames" in row.probe or row.probe.get("error")))
        needs_hash = sizes[stat[0]] > 1 and not (same and "sha256" in row.probe)
        if needs_decoding or needs_hash or not same:
            jobs.append(
                Job(
                    id=row.id,
                    path=path,
                    start_seconds=row.start_seconds,
                    end_seconds=row.end_seconds,
                    decoder=decoder,
                    header=not same,
                    decode=needs_decoding,
                    hash=needs_hash,
                )
            )
    return jobs, there


def _stat(path: Path) -> tuple[int, int] | None:
    """(size, mtime_ns) of a file; None when there is none or it is a frame folder."""
    try:
        found = path.stat()
    except (OSError, ValueError):
        return None
    return None if path.is_dir() else (found.st_size, found.st_mtime_ns)


def _look_at(catalog: Catalog, rows: list[CatalogRow], jobs: list[Job], *, workers: int, limit_seconds: float) -> None:
    """Do the jobs in worker processes and keep what they find."""
    if not jobs:
        return
    known = {row.id: row.probe for row in rows}
    results: dict[str, dict[str, Any]] = {}
    kept = time.monotonic()
    pool = Workers[Job](look, workers=min(workers, len(jobs)), limit_seconds=limit_seconds)
    with Progress("checking", total=len(jobs), unit="clips") as bar, _stoppable(lambda: _keep(catalog, results)):
        bad = 0
        for job, result in pool.run(jobs):
            results[job.id] = _merged(known[job.id], job, result)
            bad += bool(results[job.id].get("error") or results[job.id].get("truncated"))
            bar.advance(note=f"{bad} broken" if bad else "")
            if time.monotonic() - kept > _KEEP_SECONDS:
                _keep(catalog, results)
                kept = time.monotonic()
    _keep(catalog, results)


def _keep(catalog: Catalog, results: dict[str, dict[str, Any]]) -> None:
    catalog.set_probe(list(results.items()))
    results.clear()


def _merged(known: Mapping[str, Any], job: Job, result: dict[str, Any] | Lost) -> dict[str, Any]:
    """The probe of a clip after it was looked at; what a changed file made untrue is dropped."""
    stated = {name: value for name, value in known.items() if name == "listed_frames"}
    if isinstance(result, Lost):
        # Without the file's size and time, so that the clip is looked at again: the machine may have been busy.
        return {**stated, "error": result.cause}
    if job.header or result.get("error"):
        return {**stated, **result}
    return {**known, **result}


def _judge(catalog: Catalog, rows: list[CatalogRow], there: Mapping[str, bool]) -> list[CatalogRow]:
    """The rows with the statuses that they deserve, which the catalog gets too."""
    judged = []
    changes = []
    for row in rows:
        status, cause = status_of(row, there[row.id], row.probe)
        if (status, cause) != (row.status, row.cause):
            changes.append((row.id, status, cause))
        judged.append(replace(row, status=status, cause=cause))
    if changes:
        catalog.set_status(changes)
    return judged


@contextmanager
def _stoppable(keep: Callable[[], None]) -> Iterator[None]:
    """SIGINT and SIGTERM keep what was found so far and end the command with the code for resumable."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    except KeyboardInterrupt as error:
        keep()
        raise Interrupted(
            "The check was stopped. What was looked at is kept; run the same command again to go on."
        ) from error
    finally:
        signal.signal(signal.SIGTERM, before)
