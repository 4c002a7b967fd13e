"""Writing a plan into the workspace: whole or not at all, and twice the same changes nothing."""

from collections.abc import Iterable
from typing import Any

from vtk_cli.catalog import Catalog
from vtk_cli.errors import CatalogError, DataError, UsageError
from vtk_cli.formats.rows import Problem
from vtk_cli.index.plan import IndexPlan
from vtk_cli.workspace import DatasetDir, Workspace

SHOWN = 20
"""Problems that a message lists; all of them are in the written list."""


def write_plan(workspace: Workspace, dataset: DatasetDir, plan: IndexPlan, *, replace: bool, skip_bad: bool) -> bool:
    """Make the plan's catalog and the dataset current; returns whether anything changed.

    Raises:
        DataError: rows are wrong (and not to be skipped), or none is left; nothing is changed.
        UsageError: the dataset is there with other content and is not to be replaced; nothing is changed.
    """
    if plan.problems and not skip_bad:
        raise DataError(
            f"{len(plan.problems)} rows cannot be used, and nothing was changed:\n{listed(plan.problems)}\n"
            "Mend them, or leave them out with --skip-bad."
        )
    if not plan.rows:
        more = f"\n{listed(plan.problems)}" if plan.problems else ""
        raise DataError(f"There is no clip to index. Check the path, or say --format and --videos.{more}")
    meta = {**plan.meta, "dataset": dataset.name}
    old = _contents(dataset, damaged_is_absent=replace)
    changed = old is None or not _same(old, plan, meta)
    if changed and old is not None and not replace:
        raise UsageError(
            f"The dataset {dataset.name} is there already with other content. Say --replace to put this in its place "
            "(stores of clips that keep their ids stay valid), or choose another name."
        )
    if changed:
        probes = _probes(plan, old)
        Catalog.create(dataset.catalog, plan.classes, plan.rows, meta, status="ready", probes=probes).close()
    workspace.set_current(dataset.name)
    return changed


def listed(problems: Iterable[Problem]) -> str:
    """The first problems, one per line, and how many more there are."""
    found = list(problems)
    more = [f"  ... and {len(found) - SHOWN} more"] if len(found) > SHOWN else []
    return "\n".join([*(f"  {problem}" for problem in found[:SHOWN]), *more])


_Contents = tuple[tuple[str, ...], dict[str, Any], dict[str, tuple[Any, ...]], dict[str, dict[str, Any]]]
"""Classes, meta, id -> what a list states of a row, id -> probe."""


def _contents(dataset: DatasetDir, *, damaged_is_absent: bool) -> _Contents | None:
    if not dataset.catalog.exists():
        return None
    try:
        with Catalog(dataset.catalog) as catalog:
            rows = catalog.rows()
            stated = {r.id: (r.path, r.labels, set(r.splits), r.start_seconds, r.end_seconds) for r in rows}
            return catalog.classes, catalog.meta, stated, {r.id: dict(r.probe) for r in rows}
    except CatalogError:
        if damaged_is_absent:
            return None
        raise


def _same(old: _Contents, plan: IndexPlan, meta: dict[str, Any]) -> bool:
    classes, old_meta, stated, probes = old
    old_meta.pop("version", None)
    wanted = {r.id: (r.path, r.labels, set(r.splits), r.start_seconds, r.end_seconds) for r in plan.rows}
    frames = {video_id: probe["listed_frames"] for video_id, probe in probes.items() if "listed_frames" in probe}
    same_rows = stated == wanted and list(stated) == list(wanted)
    return same_rows and classes == plan.classes and old_meta == meta and frames == plan.listed_frames


def _probes(plan: IndexPlan, old: _Contents | None) -> dict[str, dict[str, Any]]:
    """What is known of the files: what was measured of those that stay, and what the lists state."""
    probes: dict[str, dict[str, Any]] = {}
    if old is not None:
        _, _, stated, measured = old
        for row in plan.rows:
            if row.id in stated and stated[row.id][0] == row.path:
                probes[row.id] = {k: v for k, v in measured[row.id].items() if k != "listed_frames"}
    for video_id, frames in plan.listed_frames.items():
        probes.setdefault(video_id, {})["listed_frames"] = frames
    return probes
