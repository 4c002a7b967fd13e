"""From parsed lists to the rows of a catalog: every row is checked, nothing is written."""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vtk_cli.api.datasets import VideoRow
from vtk_cli.errors import did_you_mean
from vtk_cli.formats.frame_folders import LAYOUTS
from vtk_cli.formats.kinetics import clip_seconds
from vtk_cli.formats.lookup import FrameFolderLookup, VideoLookup
from vtk_cli.formats.naming import unique_ids
from vtk_cli.formats.rows import ListRow, Problem
from vtk_cli.formats.splitting import share_no_clip, stratified_splits
from vtk_cli.index.request import IndexRequest
from vtk_cli.index.sources import ReadList, Sources, read_classes, read_sources

MOST_NAMELESS_CLASSES = 100_000
"""Class numbers from here on are taken for slips where no class names are given."""


@dataclass(slots=True, kw_only=True)
class IndexPlan:
    """What the catalog will hold, and what stands in the way."""

    classes: tuple[str, ...]
    rows: list[VideoRow] = field(default_factory=list)
    listed_frames: dict[str, int] = field(default_factory=dict)
    """id -> number of frames that the list states."""
    meta: dict[str, Any] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """What the user should know and need not change."""


@dataclass(slots=True, kw_only=True)
class _Found:
    """A clip that the lists name, before it has an id."""

    path: Path
    start_seconds: float | None
    end_seconds: float | None
    labels: tuple[int, ...]
    splits: tuple[str, ...]
    frames: int | None
    where: str
    """file:line that named it first."""


def make_plan(request: IndexRequest) -> IndexPlan:
    """Read and check; see `read_sources` for what is raised. Wrong rows are collected as problems."""
    sources = read_sources(request)
    plan = plan_of(sources, read_classes(request.classes) if request.classes else None, request)
    plan.meta["source"] = {
        "format": sources.format,
        "videos": str(sources.root),
        "lists": [str(read.file.absolute()) for read in sources.lists],
    }
    return plan


def plan_of(sources: Sources, given: tuple[str, ...] | None, request: IndexRequest) -> IndexPlan:
    """The rows of parsed lists; `given` are class names that the user states."""
    problems = [problem for read in sources.lists for problem in read.parsed.problems]
    classes, order = _classes(sources.lists, given, problems)
    plan = IndexPlan(classes=classes, problems=problems)
    found = _collect(sources, plan)
    _name_and_split(found, sources.root, plan, request)
    plan.meta.update(label_order=order, flip=sources.flip, multi_label=any(len(row.labels) > 1 for row in plan.rows))
    plan.meta.update(split_roles(plan.rows))
    _remark(plan)
    return plan


def _classes(
    lists: Sequence[ReadList], given: tuple[str, ...] | None, problems: list[Problem]
) -> tuple[tuple[str, ...], str]:
    """Class names in label order, and which order that is."""
    if given is not None:
        return given, "the order of the file of class names"
    stated = [read for read in lists if read.parsed.classes is not None]
    for other in stated[1:]:
        if other.parsed.classes != stated[0].parsed.classes:
            reason = f"its classes differ from those of {stated[0].file}; give them with --classes"
            problems.append(Problem(file=str(other.file), line=0, reason=reason))
    if stated:
        return stated[0].parsed.classes or (), stated[0].parsed.label_order
    labels = {label for read in lists for row in read.parsed.rows for label in row.labels}
    names = {label for label in labels if isinstance(label, str)}
    numbers = [n for n in labels if isinstance(n, int) and 0 <= n < MOST_NAMELESS_CLASSES]
    if names:
        return tuple(sorted(names)), lists[0].parsed.label_order or "class names sorted as plain text"
    return tuple(map(str, range(max(numbers, default=-1) + 1))), "the numbers of the list"


def _collect(sources: Sources, plan: IndexPlan) -> list[_Found]:
    lookup = FrameFolderLookup(sources.root) if sources.format in LAYOUTS else VideoLookup(sources.root)
    numbers = {name: number for number, name in enumerate(plan.classes)}
    clips: dict[tuple[Path, float | None], _Found] = {}
    for read in sources.lists:
        for row in read.parsed.rows:
            found = _resolve(row, read, lookup, numbers)
            if isinstance(found, str):
                plan.problems.append(Problem(file=str(read.file), line=row.line, reason=found))
                continue
            known = clips.setdefault((found.path, found.start_seconds), found)
            reason = _merge(known, found) if known is not found else ""
            if reason:
                plan.problems.append(Problem(file=str(read.file), line=row.line, reason=reason))
    return list(clips.values())


def _resolve(row: ListRow, read: ReadList, lookup: VideoLookup, numbers: Mapping[str, int]) -> _Found | str:
    """The clip that a row means, or why there is none."""
    labels = _label_numbers(row, numbers)
    place = _place(row, lookup)
    if isinstance(labels, str) or isinstance(place, str):
        return labels if isinstance(labels, str) else str(place)
    path, start, end = place
    splits = row.splits or ((read.split,) if read.split else ())
    return _Found(
        path=path,
        start_seconds=start,
        end_seconds=end,
        labels=labels,
        splits=(read.forced_split,) if read.forced_split else splits,
        frames=row.frames,
        where=f"{read.file.name}:{row.line}",
    )


def _label_numbers(row: ListRow, numbers: Mapping[str, int]) -> tuple[int, ...] | str:
    labels = []
    for label in row.labels:
        number = numbers.get(label) if isinstance(label, str) else label
        if number is None:
            return f"there is no class {label!r}. {did_you_mean(str(label), numbers)}"
        if not 0 <= number < len(numbers):
            return f"the class numbers are 0 to {len(numbers) - 1}, found {number}"
        if number in labels:
            return f"the class {label!r} comes twice"
        labels.append(number)
    return tuple(labels)


_Place = tuple[Path, float | None, float | None]
"""Where a clip lies: file, start and end in it."""


def _place(row: ListRow, lookup: VideoLookup) -> _Place | str:
    hint = str(row.labels[0]) if row.labels else ""
    path, reason = lookup.find(row.path, hint=hint)
    start = end = None
    source = clip_seconds(row.path) if row.start_seconds is not None else None
    if path is None and source is not None:
        path, _ = lookup.find(source[0], hint=hint)
        start, end = row.start_seconds, row.end_seconds
        if path is not None and not (end or 0) > (start or 0):
            return f"a part of {path} should end after it starts, found {start} to {end} seconds"
    if path is None:
        return reason
    if not _is_text(str(path)):
        return f"the name {str(path)!r} is no UTF-8; rename the file"
    return path, start, end


def _merge(known: _Found, again: _Found) -> str:
    """Add the splits of a clip that is named again; or say why it should not be."""
    if known.labels != again.labels and known.labels and again.labels:
        return f"{known.path.name} has other classes at {known.where}"
    if set(known.splits) & set(again.splits) or not (known.splits and again.splits):
        return f"{known.path.name} was named before, at {known.where}"
    leak = next(((a, b) for a in known.splits for b in again.splits if share_no_clip(a, b)), None)
    if leak is not None:
        return f"{known.path.name} is in {leak[0]} at {known.where}, and here in {leak[1]}"
    known.splits += again.splits
    known.labels = known.labels or again.labels
    return ""


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _name_and_split(found: list[_Found], root: Path, plan: IndexPlan, request: IndexRequest) -> None:
    parts = ["" if clip.start_seconds is None else _part(clip) for clip in found]
    ids = unique_ids([_short_path(clip.path, root) for clip in found], parts)
    splits = [clip.splits for clip in found]
    if found and not any(splits):
        drawn = stratified_splits(
            ids,
            [clip.labels[:1] for clip in found],
            val_fraction=request.val_fraction,
            test_fraction=request.test_fraction,
            seed=request.seed,
        )
        splits = [(split,) for split in drawn]
        plan.notes.append(
            f"The source names no splits: {request.val_fraction:.0%} of each class were drawn for val and "
            f"{request.test_fraction:.0%} for test, by a hash of the ids (seed {request.seed}). Clips cut from one "
            "recording may be in several splits; where that matters, give lists with --list."
        )
    for clip, video_id, split in zip(found, ids, splits, strict=True):
        if not split:
            reason = "has no split while others have; name it with --split or leave it out"
            plan.problems.append(Problem(file=clip.where, line=0, reason=reason))
            continue
        plan.rows.append(
            VideoRow(
                id=video_id,
                path=str(clip.path),
                labels=clip.labels,
                splits=split,
                start_seconds=clip.start_seconds,
                end_seconds=clip.end_seconds,
            )
        )
        if clip.frames is not None:
            plan.listed_frames[video_id] = clip.frames


def _part(clip: _Found) -> str:
    """What a cut adds to its file's id: the times as in Kinetics' clip names, milliseconds where they are needed."""

    def text(seconds: float | None) -> str:
        whole = math.floor(seconds or 0)
        rest = round(((seconds or 0) - whole) * 1000)
        return f"{whole:06d}" + (f".{rest:03d}" if rest else "")

    return f"_{text(clip.start_seconds)}_{text(clip.end_seconds)}"


def _short_path(path: Path, root: Path) -> str:
    """What an id is made of: the path below the videos' folder, else the last two names, so that trees can be moved."""
    try:
        return path.relative_to(root).as_posix()
    except ValueError:
        return "/".join(path.parts[-2:]).lstrip("/")


def split_roles(rows: Sequence[VideoRow]) -> dict[str, str]:
    """Which split trains, validates and tests.

    Where there is no val or no labelled test the other one serves; a division (train1, test1) counts where the plain
    names are absent. A name of a split that is not there makes the command that needs it say so.
    """
    labelled = Counter(split for row in rows for split in row.splits if row.labels)

    def pick(*wanted: str) -> str:
        present = (name for kind in wanted for name in _spellings(kind, labelled) if labelled[name])
        return next(present, wanted[0])

    return {
        "train_split": pick("train"),
        "val_split": pick("val", "test"),
        "test_split": pick("test", "val"),
    }


def _spellings(kind: str, names: Mapping[str, int]) -> Iterator[str]:
    yield kind
    yield from sorted(name for name in names if name.rstrip("0123456789") == kind and name != kind)


def _remark(plan: IndexPlan) -> None:
    used = Counter(label for row in plan.rows for label in row.labels)
    empty = [name for number, name in enumerate(plan.classes) if not used[number]]
    if empty and used:
        more = ", ..." if len(empty) > 5 else ""
        plan.notes.append(f"{len(empty)} of {len(plan.classes)} classes have no clip: {', '.join(empty[:5])}{more}.")
    if empty and empty[0] == "0" == plan.classes[0] and len(empty) == 1:
        plan.notes.append("No clip has class 0: if the list counts from 1, every label is off by one.")
    if {split for row in plan.rows for split in row.splits} == {"train"}:
        plan.notes.append("There is only a train split; training measures on val: give one with --list val=FILE.")
