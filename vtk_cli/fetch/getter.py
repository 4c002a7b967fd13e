"""Getting a recipe's files one after the other or at once, and writing down each step that is finished."""

import shutil
import threading
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar
from uuid import uuid4

from vtk_cli.api.datasets import Source, VideoRow
from vtk_cli.errors import FetchError
from vtk_cli.fetch.archive import DamagedArchive, Limits, check_name, members, sniff
from vtk_cli.fetch.clips import ClipFolder
from vtk_cli.fetch.manifest import Journal, UnpackRecord
from vtk_cli.fetch.origin import ARCHIVE_SUFFIXES, Origin, Remote, expected
from vtk_cli.fetch.part import DiskFull, verify, writing
from vtk_cli.fetch.rar import rar_members
from vtk_cli.fetch.trial import Trial

T = TypeVar("T")

BEGINNING_BYTES = 32 << 20
"""How much of an archive a trial looks at first; doubled until enough clips are there."""
MOST_FAILURES_IN_A_ROW = 8
"""A host that fails this often has gone; waiting for every other archive to fail as well would take hours."""


class Getter:
    """Brings files of one dataset into its raw/ folder; `archives` uses several threads."""

    def __init__(
        self, origin: Origin, journal: Journal, raw: Path, stop: threading.Event, *, keep_archives: bool
    ) -> None:
        self._origin, self._journal, self._raw, self._stop = origin, journal, raw, stop
        self._keep_archives = keep_archives
        self._scratch = raw / ".scratch"

    def __enter__(self) -> Self:
        """Drop what a killed process left."""
        shutil.rmtree(self._scratch, ignore_errors=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        shutil.rmtree(self._scratch, ignore_errors=True)

    def text(self, source: Source) -> bytes:
        """A list or an annotation, fetched into raw/ if it is not there."""
        return self._fetch(source).read_bytes()

    def annotation(self, source: Source) -> None:
        """Fetch an annotation; one that is an archive is unpacked beside itself.

        Raises:
            FetchError: it cannot be had or unpacked.
        """
        self._undamaged(source, lambda path: self._unpack_annotation(path, source))

    def archive(self, source: Source, rank: int, clips: ClipFolder) -> UnpackRecord:
        """Fetch an archive and place its clips; raises as `ClipFolder.unpack` and `Fetcher.fetch`."""
        scratch = self._scratch / uuid4().hex
        record = self._undamaged(source, lambda path: clips.unpack(path, name=source.path, rank=rank, scratch=scratch))
        self._journal.add_unpacked(record)
        if not self._keep_archives:
            (self._raw / source.path).unlink(missing_ok=True)
        return record

    def archives(
        self,
        todo: Sequence[tuple[int, Source]],
        clips: ClipFolder,
        jobs: int,
        on_done: Callable[[Collection[str]], None],
    ) -> dict[str, str]:
        """Get several archives at once; `on_done` gets the clips of each, in this thread.

        Returns archive -> why it was not had.

        Raises:
            DiskFull, PluginError, Interrupted: everything is stopped then.
            FetchError: the host has gone.
        """
        failures: dict[str, str] = {}
        in_a_row = 0
        with ThreadPoolExecutor(jobs) as pool:
            futures = {pool.submit(self.archive, source, rank, clips): source for rank, source in todo}
            try:
                for future in as_completed(futures):
                    try:
                        on_done(future.result().clips)
                        in_a_row = 0
                    except DiskFull:
                        raise
                    except FetchError as error:
                        failures[futures[future].path] = str(error)
                        in_a_row += 1
                        if in_a_row >= MOST_FAILURES_IN_A_ROW and isinstance(self._origin, Remote):
                            raise FetchError(
                                f"{in_a_row} archives in a row could not be had; the last: {error}"
                            ) from error
            except BaseException:
                self._stop.set()
                pool.shutdown(cancel_futures=True)
                raise
        return failures

    def trial(self, archives: Iterable[tuple[int, Source]], clips: ClipFolder, trial: Trial) -> dict[str, str]:
        """Look into archives, and no further into each than needed, until the trial has its clips."""
        failures: dict[str, str] = {}
        for rank, source in archives:
            if source.replaces or not trial.wants(source.split):
                continue
            try:
                self._look_into(source, rank, clips, trial)
            except DiskFull:
                raise
            except FetchError as error:
                failures[source.path] = str(error)
        return failures

    def _look_into(self, source: Source, rank: int, clips: ClipFolder, trial: Trial) -> None:
        target = self._raw / source.path
        most_bytes = BEGINNING_BYTES
        while isinstance(self._origin, Remote) and not target.exists():
            part = self._origin.fetcher.fetch_beginning(self._origin.url(source), target, most_bytes, expected(source))
            # A tar can be read from its beginning; a zip has its list at the end, a rar's program wants all of it.
            if part is None or sniff(part) in ("zip", "rar"):
                break
            with suppress(DamagedArchive):  # it breaks off where the part ends
                clips.unpack(part, name=source.path, rank=rank, scratch=self._scratch)
            if not trial.wants(source.split):
                return
            most_bytes *= 2
        self.archive(source, rank, clips)

    def _fetch(self, source: Source) -> Path:
        record, target = self._journal.files.get(source.path), self._raw / source.path
        if target.is_file():
            if record is not None and target.stat().st_size == record.bytes:
                return target
            try:  # whole, since it has its name, but the process ended before it was written down
                self._journal.add_file(source.path, verify(target, expected(source)))
            except FetchError:
                target.unlink()
            else:
                return target
        with writing(target):
            fetched = self._origin.fetch(source, target)
        self._journal.add_file(source.path, fetched)
        return fetched.path

    def _undamaged(self, source: Source, use: Callable[[Path], T]) -> T:
        """Use a file; when it turns out damaged, fetch it once more."""
        path = self._fetch(source)
        try:
            return use(path)
        except DamagedArchive:
            if path != self._raw / source.path:  # the user's own file
                raise
            self._drop(source)
        path = self._fetch(source)
        try:
            return use(path)
        except DamagedArchive:
            self._drop(source)
            raise

    def _drop(self, source: Source) -> None:
        self._journal.forget(source.path)
        (self._raw / source.path).unlink(missing_ok=True)

    def _unpack_annotation(self, path: Path, source: Source) -> None:
        suffix = next((s for s in ARCHIVE_SUFFIXES if source.path.endswith(s)), None)
        folder = self._raw / source.path.removesuffix(suffix or "")
        if suffix is None or (source.path in self._journal.unpacked and folder.is_dir()):
            return
        temporary = self._scratch / uuid4().hex
        temporary.mkdir(parents=True)
        rar = sniff(path) == "rar"
        found = rar_members(path, self._scratch / "rar", self._stop, Limits()) if rar else members(path)
        with writing(folder):
            for member in found:
                check_name(path, member.name)
                target = temporary / member.name
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(b"".join(member.chunks()))
            shutil.rmtree(folder, ignore_errors=True)
            temporary.replace(folder)
        self._journal.add_unpacked(UnpackRecord(path=source.path))


def unfinished(
    archives: Sequence[Source],
    journal: Journal,
    clips: ClipFolder,
    present: Mapping[str, int],
    wanted: Mapping[str, VideoRow],
) -> list[tuple[int, Source]]:
    """(rank, archive) of those that have still something to give.

    An archive is done when it was read to its end, its clips are here as it gave them, and it held none that is wanted
    only now. It is needless when everything that could come from it is here from archives of lower ranks. A clip that
    several archives gave, one after another, is asked for again from the lowest only.
    """
    highest: dict[str, float] = {}
    lowest: dict[str, int] = {}
    found = []
    for rank, source in enumerate(archives):
        record = journal.unpacked.get(source.path)
        for path in record.clips if record else ():
            lowest.setdefault(path, rank)
        if source.split not in highest:
            paths = (path for path, row in wanted.items() if source.split in ("", *row.splits))
            highest[source.split] = clips.highest_rank(paths)
        own = record and replace(record, clips={p: size for p, size in record.clips.items() if lowest[p] == rank})
        if highest[source.split] >= rank and not _done(rank, own, clips, present, wanted):
            found.append((rank, source))
    return found


def _done(
    rank: int,
    record: UnpackRecord | None,
    clips: ClipFolder,
    present: Mapping[str, int],
    wanted: Mapping[str, VideoRow],
) -> bool:
    if record is None:
        return False
    whole = all(present.get(path) == size or clips.rank(path) < rank for path, size in record.clips.items())
    return whole and not any(path in wanted and clips.rank(path) > rank for path in record.extra)
