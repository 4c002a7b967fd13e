"""The whole of `vtk index`: read, check, write the catalog, fill stores from frame folders."""

from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from vtk_cli.console import Progress
from vtk_cli.files import write_atomic
from vtk_cli.formats.known import FRAMES
from vtk_cli.index.frames import FrameImport, pack_frames, plan_frames
from vtk_cli.index.make import write_plan
from vtk_cli.index.plan import IndexPlan, make_plan
from vtk_cli.index.request import IndexRequest
from vtk_cli.workspace import DatasetDir, Workspace

LEFT_OUT = "index-skipped.txt"


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexResult:
    """What was made."""

    dataset: str
    path: Path
    changed: bool
    videos: int
    classes: int
    splits: dict[str, int]
    format: str
    label_order: str
    notes: tuple[str, ...]
    failed: int
    """Rows and frame folders that were left out."""
    failed_list: Path | None

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def make_dataset(
    workspace: Workspace, name: str, request: IndexRequest, *, replace: bool = False, workers: int = 1
) -> IndexResult:
    """Make a dataset of the user's own videos and make it current.

    Raises:
        UsageError: a name, format or option is wrong, or the dataset is there with other content.
        DataError: a source is absent or rows are wrong; nothing was changed.
        StoreError: a store of frames cannot be written.
    """
    dataset = workspace.new_dataset(name)
    plan = make_plan(request)
    frames = plan_frames(plan, request) if request.format in FRAMES else None
    changed = write_plan(workspace, dataset, plan, replace=replace, skip_bad=request.skip_bad)
    left_out = [str(problem) for problem in plan.problems]
    if frames is not None:
        left_out += _pack(dataset, frames, workers)
    return IndexResult(
        dataset=name,
        path=dataset.path,
        changed=changed,
        videos=len(plan.rows),
        classes=len(plan.classes),
        splits=_split_sizes(plan),
        format=plan.meta["source"]["format"],
        label_order=plan.meta["label_order"],
        notes=tuple(plan.notes),
        failed=len(left_out),
        failed_list=_write_list(dataset, left_out),
    )


def _pack(dataset: DatasetDir, frames: FrameImport, workers: int) -> list[str]:
    total = sum(bool(f.images) + bool(f.flow_x) for f in frames.folders.values())
    causes = []
    with Progress("storing", total=total, unit="records") as bar:
        for video_id, cause in pack_frames(dataset, frames, workers=workers):
            if cause:
                causes.append(f"{video_id}: {cause}")
            bar.advance()
    return causes


def _split_sizes(plan: IndexPlan) -> dict[str, int]:
    return dict(Counter(split for row in plan.rows for split in row.splits))


def _write_list(dataset: DatasetDir, lines: list[str]) -> Path | None:
    path = dataset.path / LEFT_OUT
    if not lines:
        path.unlink(missing_ok=True)
        return None
    write_atomic(path, "".join(f"{line}\n" for line in lines))
    return path
