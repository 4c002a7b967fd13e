"""From a dataset's recipe to clips and a catalog: annotation, archives, clips, a status with its cause for each.

    annotation files -> rows -> catalog     lists -> archives -> clips in videos/     manifest.json, last

Every finished step is in raw/journal.jsonl, so running the same command again does what is missing and nothing else.
"""

import shutil
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NoReturn

from vtk_cli import registry
from vtk_cli.api.datasets import DatasetRecipe, Source, VideoRow
from vtk_cli.catalog import Catalog, CatalogRow
from vtk_cli.console import Progress, say
from vtk_cli.console import size as human
from vtk_cli.errors import DataError, FetchError, PluginError, UsageError, did_you_mean
from vtk_cli.fetch.archive import check_name
from vtk_cli.fetch.clips import ClipFolder, files_below
from vtk_cli.fetch.getter import Getter, unfinished
from vtk_cli.fetch.guard import locked, stoppable
from vtk_cli.fetch.http import Fetcher
from vtk_cli.fetch.manifest import Journal, UnpackRecord, write_manifest
from vtk_cli.fetch.origin import Local, Origin, Remote
from vtk_cli.fetch.outcome import Result, open_catalog, set_statuses, write_missing
from vtk_cli.fetch.rar import find_tool
from vtk_cli.fetch.room import Room, free_bytes
from vtk_cli.fetch.trial import Trial
from vtk_cli.files import write_atomic
from vtk_cli.workspace import DatasetDir, Workspace

_LOCAL_RANK = -1
_LOCAL = "from "
"""Journal entries that begin so are clips taken from a folder of the user."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What a user can ask of a download."""

    splits: Sequence[str] = ()
    """All, where empty."""
    limit: int | None = None
    local: Path | None = None
    """A folder of files fetched by hand; nothing is asked of the network then."""
    mirror: str = ""
    jobs: int = 4
    keep_archives: bool = False
    seed: int = 0
    """Of synthetic sets."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a download would do."""

    dataset: str
    folder: Path
    files: list[dict[str, Any]]
    """url, bytes (None where nobody says), done."""
    bytes: int
    """Still to fetch, as far as it is known."""
    disk_bytes: int
    """Needed at most, for clips and for archives while they are unpacked."""
    free_bytes: int


def recipe_of(name: str) -> DatasetRecipe:
    """The dataset plugin of this name.

    Raises:
        UsageError: there is none.
        PluginError: it does not load or is no recipe.
    """
    found = registry.load("vtk.datasets", name)
    if not isinstance(found, DatasetRecipe):
        raise PluginError(
            f'The dataset "{name}" should be a DatasetRecipe, found {type(found).__name__}. Ask its author.'
        )
    return found


def download(name: str, workspace: Workspace, options: Options | None = None) -> Result:
    """Get a dataset and make it the current one.

    Raises:
        UsageError: a wrong name, split, limit or mirror.
        DataError: nothing usable could be had, or the disk is full.
        PluginError: a program for rar archives is missing.
        Interrupted: SIGINT or SIGTERM came; the same command goes on.
    """
    recipe, chosen = recipe_of(name), options or Options()
    folder = workspace.new_dataset(name.rpartition(":")[2])
    splits = chosen_splits(name, recipe, chosen)
    start = time.monotonic()
    with stoppable(ask=recipe.generate is None) as stop:
        job = _Job(name, recipe, folder=folder, splits=splits, options=chosen, stop=stop)
        with locked(folder.raw):
            result = job.run()
    workspace.set_current(folder.name)
    return replace(result, seconds=round(time.monotonic() - start, 1))


def plan(name: str, workspace: Workspace, options: Options | None = None) -> Plan:
    """What `download` would fetch; asks the hosts for lists and lengths and writes nothing.

    Raises:
        UsageError: a wrong name, split, limit or mirror.
        FetchError: a host does not answer.
    """
    recipe, chosen = recipe_of(name), options or Options()
    folder = workspace.new_dataset(name.rpartition(":")[2])
    splits = chosen_splits(name, recipe, chosen)
    with stoppable() as stop:
        return _Job(name, recipe, folder=folder, splits=splits, options=chosen, stop=stop).plan()


def chosen_splits(name: str, recipe: DatasetRecipe, options: Options) -> tuple[str, ...]:
    """Raises UsageError when there is no such split, or the limit is below 1."""
    for split in options.splits:
        if split not in recipe.splits:
            raise UsageError(f'The dataset {name} has no split "{split}". {did_you_mean(split, recipe.splits)}')
    if options.limit is not None and options.limit < 1:
        raise UsageError(f"--limit should be at least 1, found {options.limit}.")
    return tuple(split for split in recipe.splits if not options.splits or split in options.splits)


def roles(recipe: DatasetRecipe, splits: Sequence[str]) -> dict[str, str | None]:
    """Which of the chosen splits train, measure and test: the recipe's, else the chosen one of the same kind.

    With train2 and test2 of UCF101 chosen, the second division takes the first one's place.
    """
    wanted = {"train_split": recipe.train_split, "val_split": recipe.val_split, "test_split": recipe.test_split}
    return {
        role: next((s for s in (split, *splits) if s in splits and _kind(s) == _kind(split)), None)
        for role, split in wanted.items()
    }


def _kind(split: str) -> str:
    return split.rstrip("0123456789")


class _Job:
    """One download; its methods are the steps in their order."""

    def __init__(
        self,
        name: str,
        recipe: DatasetRecipe,
        *,
        folder: DatasetDir,
        splits: Sequence[str],
        options: Options,
        stop: threading.Event,
    ) -> None:
        self._name, self._recipe, self._folder, self._splits = name, recipe, folder, splits
        self._options, self._stop = options, stop
        self._lock = threading.Lock()
        self._bar: Progress | None = None
        self._bytes = 0
        self._placed: set[str] = set()
        self._failures: dict[str, str] = {}
        self._journal = Journal(folder.raw / "journal.jsonl")
        self._origin: Origin = (
            Local(options.local)
            if options.local
            else Remote(Fetcher(stop=stop, on_bytes=self._count), recipe.hosts, options.mirror)
        )
        if recipe.gate and not options.local:
            raise DataError(
                f"{recipe.title} cannot be fetched without its owner's leave: {recipe.gate} Then run "
                f"`vtk download {name} --from DIR` with the folder of those files."
            )

    def run(self) -> Result:
        if self._recipe.generate is not None:
            return self._generated()
        sources = self._recipe.sources(self._splits)
        if any(source.path.endswith(".rar") and self._is_ahead(source) for source in sources):
            find_tool()  # told now, not after gigabytes
        # A whole download that follows a trial goes on with the trial's archives.
        keep = self._options.keep_archives or self._options.limit is not None
        with Getter(self._origin, self._journal, self._folder.raw, self._stop, keep_archives=keep) as getter:
            for source in sources:
                if source.kind == "annotation":
                    getter.annotation(source)
            rows = self._rows()
            archives = self._origin.archives(sources, getter.text)
            if self._options.limit is not None:
                rows = self._some(rows, archives, getter, self._options.limit)
            with self._catalog(rows) as catalog:
                if self._options.limit is None:
                    self._all(rows, archives, getter, catalog)
                return self._finish(rows, archives, catalog)

    def _is_ahead(self, source: Source) -> bool:
        there = not isinstance(self._origin, Local) or self._origin.find(source) is not None
        return there and source.path not in self._journal.unpacked

    def _generated(self) -> Result:
        assert self._recipe.generate is not None
        seed, mark = f"{self._options.seed}\n", self._folder.raw / "seed"
        if mark.is_file() and mark.read_text() != seed:
            shutil.rmtree(self._folder.videos, ignore_errors=True)
            self._folder.manifest.unlink(missing_ok=True)
        rows: list[VideoRow] = []
        if self._folder.manifest.is_file():
            with suppress(OSError, DataError):  # its annotation was deleted: it is made again
                rows = self._rows()
        present = files_below(self._folder.videos)
        if not rows or any(row.path not in present for row in rows):
            say(f"making {self._recipe.title}")
            write_atomic(mark, seed)
            self._recipe.generate(self._folder.path, self._options.seed)
            rows = self._rows()
        if self._options.limit is not None:
            trial = Trial(rows, self._trial_splits(), self._options.limit)
            rows = [row for row in rows if trial.accept(row.path)]
        with self._catalog(rows) as catalog:
            return self._finish(rows, [], catalog)

    def _rows(self) -> list[VideoRow]:
        rows = list(self._recipe.rows(self._folder.raw, self._splits))
        for row in rows:
            check_name(self._folder.raw, row.path)
        if not rows:
            raise FetchError(f"The annotation of {self._name} should name videos, found none. Fetch it by hand.")
        return rows

    def _all(self, rows: Sequence[VideoRow], archives: Sequence[Source], getter: Getter, catalog: Catalog) -> None:
        """Everything that archives have still to give."""
        wanted = {row.path: row for row in rows}

        def note(placed: Collection[str]) -> None:
            self._placed.update(placed)
            catalog.set_status([(wanted[path].id, "ready", "") for path in placed])

        with self._clips(lambda path: path in wanted) as clips:
            present = self._own(archives, clips)
            note(self._adopt(clips, present))
            todo = unfinished(archives, self._journal, clips, present, wanted)
            if todo:
                with self._progress([source for _, source in todo]):
                    self._failures = getter.archives(todo, clips, self._options.jobs, note)

    def _some(self, rows: Sequence[VideoRow], archives: Sequence[Source], getter: Getter, limit: int) -> list[VideoRow]:
        """A trial's clips."""
        trial = Trial(rows, self._trial_splits(), limit)
        with self._clips(trial.accept) as clips:
            present = self._own(archives, clips)
            for row in rows:
                if row.path in present:
                    trial.accept(row.path)
            self._adopt(clips, present)
            with self._progress([]):
                self._failures = getter.trial(enumerate(archives), clips, trial)
        if not trial.rows:
            self._nothing(len(archives))
        return trial.rows

    def _clips(self, accept: Callable[[str], bool]) -> ClipFolder:
        return ClipFolder(self._folder.videos, clip_path=self._recipe.clip_path, accept=accept, stop=self._stop)

    def _own(self, archives: Sequence[Source], clips: ClipFolder) -> dict[str, int]:
        """What is in videos/ already, and which archive each clip came from."""
        present = files_below(self._folder.videos)
        for rank, source in enumerate(archives):
            if source.path in self._journal.unpacked:
                clips.own(self._journal.unpacked[source.path], rank, present)
        for path, record in self._journal.unpacked.items():
            if path.startswith(_LOCAL):
                clips.own(record, _LOCAL_RANK, present)
        return present

    def _adopt(self, clips: ClipFolder, present: dict[str, int]) -> set[str]:
        """Take clips that lie unpacked in the user's folder; those that were not here before."""
        found = dict(self._origin.clips(self._recipe.clip_path))
        if not found:
            return set()
        name = f"{_LOCAL}{self._options.local}"
        record = clips.adopt(found, present, name=name, rank=_LOCAL_RANK)
        known = self._journal.unpacked.get(name, UnpackRecord(path=name)).clips
        if not record.clips.items() <= known.items():
            self._journal.add_unpacked(replace(record, clips={**known, **record.clips}))
        new = {path for path, size in record.clips.items() if present.get(path) != size}
        present.update(record.clips)
        return new

    def _trial_splits(self) -> list[str]:
        named = [split for split in roles(self._recipe, self._splits).values() if split]
        return list(dict.fromkeys(named or self._splits))

    def _catalog(self, rows: Sequence[VideoRow]) -> Catalog:
        meta = {
            "dataset": self._folder.name,
            "title": self._recipe.title,
            "label_order": self._recipe.label_order,
            "flip": self._recipe.flip,
            "multi_label": any(len(row.labels) > 1 for row in rows),
            "limit": self._options.limit,
            **roles(self._recipe, self._splits),
        }
        return open_catalog(self._folder.catalog, self._recipe.classes(), rows, meta)

    def _finish(self, rows: Sequence[VideoRow], archives: Sequence[Source], catalog: Catalog) -> Result:
        present = files_below(self._folder.videos)
        set_statuses(catalog, present, self._placed, lambda row: self._cause(row, archives))
        counts = catalog.counts()
        ready = counts["ready"] + counts["broken"]
        if not ready:
            self._nothing(len(archives))
        missing_list = write_missing(self._folder.path / "missing.csv", catalog)
        wanted = {row.path for row in rows}
        extra = {path for record in self._journal.unpacked.values() for path in record.extra} - wanted
        summary = {"dataset": self._folder.name, "splits": list(self._splits), "limit": self._options.limit}
        clips = {"listed": len(rows), "ready": ready, "missing": counts["missing"], "extra": len(extra)}
        write_manifest(self._folder.manifest, {**summary, "clips": clips}, self._journal.files.values())
        return Result(
            dataset=self._folder.name,
            folder=self._folder.path,
            listed=len(rows),
            ready=ready,
            missing=counts["missing"],
            extra=len(extra),
            splits={split: catalog.counts(split) for split in catalog.splits()},
            bytes_fetched=self._bytes,
            seconds=0.0,
            failures=self._failures,
            missing_list=missing_list,
        )

    def _cause(self, row: CatalogRow, archives: Sequence[Source]) -> str:
        asked = [source for source in archives if source.split in ("", *row.splits)]
        failed = [source.path for source in asked if source.path in self._failures]
        if failed:
            return f"its archive could not be had, most likely: {', '.join(failed[:3])}{', ...' if failed[3:] else ''}"
        return f"in none of the {len(asked)} archives" if asked else "the clip is not there"

    def _nothing(self, num_archives: int) -> NoReturn:
        reason = next(iter(self._failures.values()), f"none is in the {num_archives} archives")
        raise FetchError(f"Clips of {self._name} should have been found, there is not one: {reason}")

    def plan(self) -> Plan:
        sources = self._recipe.sources(self._splits) if self._recipe.generate is None else []
        archives = self._origin.archives(sources, self._origin.read)
        if self._options.limit is not None:  # what a trial looks into first
            wanted = self._trial_splits()
            firsts = (next((a for a in archives if a.split in ("", s) and not a.replaces), None) for s in wanted)
            archives = [archive for archive in dict.fromkeys(firsts) if archive is not None]
        files = [source for source in sources if source.kind != "archive"] + archives
        done = {*self._journal.files, *self._journal.unpacked}
        room = Room.ask(self._origin, files, self._folder.raw)
        left = room.only([source for source in files if source.path not in done])
        return Plan(
            dataset=self._folder.name,
            folder=self._folder.path,
            files=[{"url": s.url, "bytes": room.sizes[s.path], "done": s.path in done} for s in files],
            bytes=left.missing,
            disk_bytes=self._disk(left),
            free_bytes=free_bytes(self._folder.path),
        )

    @contextmanager
    def _progress(self, todo: Sequence[Source]) -> Iterator[None]:
        """A bar over the bytes of these archives, once the disk is known to have room for them."""
        room = Room.ask(self._origin, todo, self._folder.raw)
        needed, free = self._disk(room), free_bytes(self._folder.path)
        if needed > free:
            raise DataError(
                f"{self._name} needs about {human(needed)} more on the disk of {self._folder.path}, {human(free)} are "
                "free. Free some, choose another disk with --root, or take less with --split or --limit."
            )
        total = room.missing if room.known else None
        with Progress(f"downloading {self._name}", total=total, unit="bytes") as self._bar:
            yield
        self._bar = None

    def _disk(self, room: Room) -> int:
        """Bytes needed at most; files of the user are read where they lie."""
        if self._options.local:
            return room.clips
        return room.missing + (room.clips if self._options.keep_archives else room.largest(self._options.jobs))

    def _count(self, amount: int) -> None:
        with self._lock:
            self._bytes += amount
            if self._bar is not None:
                self._bar.advance(amount)
