"""Stores against the catalog: every record's checksums, its number of frames, and what has no counterpart."""

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vtk_cli.catalog import CatalogRow
from vtk_cli.check.findings import Finding
from vtk_cli.errors import StoreError
from vtk_cli.store.lmdb_store import StoreReader
from vtk_cli.store.meta import PAIRS
from vtk_cli.store.vectors import unpack_vectors


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreReport:
    """One store: its findings, and how many clips are in it and how many ready ones are not yet."""

    name: str
    videos: int
    not_extracted: int
    findings: tuple[Finding, ...]


def check_store(
    folder: Path,
    rows: Mapping[str, CatalogRow],
    probes: Mapping[str, Mapping[str, Any]],
    chosen: set[str],
    *,
    workers: int,
) -> StoreReport:
    """Read every byte of every chosen clip's record.

    `rows`: the whole catalog by id; `chosen`: the ids that are looked at.
    """
    try:
        with StoreReader(folder) as reader:
            there = set(reader.ids())
            findings = [
                *_damaged(reader, sorted(there & chosen), probes, workers),
                *_failed(reader, rows, chosen),
                *(_finding("orphan", name, folder, "the catalog has no such id") for name in sorted(there - set(rows))),
            ]
    except StoreError as error:
        broken = Finding(kind="store", id="", path=folder.name, cause=str(error))
        return StoreReport(name=folder.name, videos=0, not_extracted=0, findings=(broken,))
    ready = {video_id for video_id in chosen if rows[video_id].status == "ready"}
    failed = {finding.id for finding in findings if finding.kind == "failed"}
    left = len(ready - there - failed)
    return StoreReport(name=folder.name, videos=len(there & chosen), not_extracted=left, findings=tuple(findings))


def _finding(kind: Any, video_id: str, folder: Path, cause: str) -> Finding:
    return Finding(kind=kind, id=video_id, path=folder.name, cause=cause)


def _damaged(
    reader: StoreReader, ids: list[str], probes: Mapping[str, Mapping[str, Any]], workers: int
) -> Iterator[Finding]:
    def cause(video_id: str) -> str:
        try:
            reader.verify(video_id)
            return _misfit(reader, video_id, probes.get(video_id, {}))
        except StoreError as error:
            return str(error)

    # Checksums are computed outside of Python's lock, so threads share the work.
    with ThreadPoolExecutor(workers) as pool:
        for video_id, found in zip(ids, pool.map(cause, ids), strict=True):
            if found:
                yield _finding("store", video_id, reader.folder, found)


def _misfit(reader: StoreReader, video_id: str, probe: Mapping[str, Any]) -> str:
    """Whether a record has other frames than its clip has now, as the same decoder counts them.

    Of features only the size of the vectors is looked at; raises StoreError where it is another.
    """
    if reader.meta.modality == "features":
        unpack_vectors(reader.read(video_id, range(reader.num_frames(video_id))), reader.meta)
        return ""
    frames = probe.get("frames")
    if frames is None or probe.get("error") or probe.get("decoder") != reader.meta.decoder:
        return ""
    wanted = max(frames - 1, 1) if reader.meta.modality in PAIRS else frames
    found = reader.num_frames(video_id)
    if found == wanted:
        return ""
    return f"it has {found} frames where the clip gives {wanted}: the clip was changed after it was extracted"


def _failed(reader: StoreReader, rows: Mapping[str, CatalogRow], chosen: set[str]) -> Iterator[Finding]:
    for video_id, cause in reader.failures():
        if video_id in chosen or video_id not in rows:
            yield _finding("failed", video_id, reader.folder, cause)
