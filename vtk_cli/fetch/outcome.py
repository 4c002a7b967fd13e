"""What came of a download: the catalog with a status and a cause for every clip, and the list of missing ones."""

import csv
import hashlib
import io
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vtk_cli.api.datasets import DatasetRecipe, VideoRow
from vtk_cli.catalog import Catalog, CatalogRow, Status
from vtk_cli.fetch.manifest import write_changed


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What there is after a download."""

    dataset: str
    folder: Path
    listed: int
    ready: int
    missing: int
    extra: int
    """Clips in the archives that the annotation does not name."""
    splits: dict[str, dict[str, int]]
    """Split -> status -> clips."""
    bytes_fetched: int
    seconds: float
    failures: dict[str, str] = field(default_factory=dict)
    """Archive -> why it could not be had."""
    missing_list: Path | None = None


def open_catalog(path: Path, classes: Sequence[str], rows: Sequence[VideoRow], meta: Mapping[str, Any]) -> Catalog:
    """The catalog of these rows: the one that is there if it is of the same, else a new one.

    A new one keeps what is known of clips that were in the old one as well.
    """
    digest = hashlib.sha256(repr((classes, meta, rows)).encode("utf-8", "surrogateescape")).hexdigest()
    known: list[CatalogRow] = []
    if path.is_file():
        old = Catalog(path)
        if old.meta.get("rows_sha256") == digest:
            return old
        with old:
            known = [row for row in old.rows() if row.probe or row.status != "listed"]
    catalog = Catalog.create(path, classes, rows, {**meta, "rows_sha256": digest})
    catalog.set_probe((row.id, row.probe) for row in known if row.probe)
    catalog.set_status((row.id, row.status, row.cause) for row in known)
    return catalog


def set_statuses(
    catalog: Catalog, present: Collection[str], placed: Collection[str], cause: Callable[[CatalogRow], str]
) -> None:
    """Say of every clip whether it is there; one that was placed just now is no longer known to be broken."""
    changes: list[tuple[str, Status, str]] = []
    renewed = []
    for row in catalog.rows():
        if row.path in placed and row.probe:
            renewed.append(row.id)
        found: tuple[Status, str] = ("ready", "")
        if row.path not in present:
            found = ("missing", cause(row))
        elif row.status == "broken" and row.path not in placed:
            found = (row.status, row.cause)
        if found != (row.status, row.cause):
            changes.append((row.id, *found))
    catalog.set_status(changes)
    catalog.set_probe((clip, {}) for clip in renewed)


def write_missing(path: Path, catalog: Catalog) -> Path | None:
    """List the clips that are not there with their causes; without any the list goes."""
    missing = catalog.rows(status="missing")
    if not missing:
        path.unlink(missing_ok=True)
        return None
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["id", "path", "splits", "cause"])
    table.writerows([row.id, row.path, " ".join(row.splits), row.cause] for row in missing)
    write_changed(path, text.getvalue())
    return path


def explain_missing(result: Result, recipe: DatasetRecipe) -> str:
    """What was not had of a finished download, whether that is normal, and what to do."""
    parts = [f"{result.ready} of {result.listed} clips of {result.dataset} are here"]
    if result.missing_list:
        parts[0] += f"; missing: {result.missing}, listed with their causes in {result.missing_list}"
    if result.failures:
        name, cause = next(iter(result.failures.items()))
        parts.append(f"{len(result.failures)} archives could not be had, {name} for one: {cause}")
        parts.append("Run the same command again to try once more; what is here can be used meanwhile.")
    elif recipe.missing:
        parts.append(f"This is normal: {recipe.missing}. What is here can be used: go on with `vtk extract`.")
    else:
        parts.append("What is here can be used; for the rest, look for the files elsewhere and use --from DIR.")
    return ". ".join(part.rstrip(".") for part in parts) + "."
