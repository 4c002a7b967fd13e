"""The folder of clips: what is placed there, from which archive, and what is there already.

Archives have a rank, and of clips that are in several archives the one of the lowest rank wins, whatever order threads
finish in. A clip is written beside the folder's content and renamed, so each that is there is whole.
"""

import os
import shutil
import threading
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from math import inf
from pathlib import Path
from types import TracebackType
from typing import Self

from vtk_cli.errors import Interrupted
from vtk_cli.fetch.archive import Limits, Member, UnsafeArchive, check_name, members, sniff
from vtk_cli.fetch.manifest import UnpackRecord
from vtk_cli.fetch.part import CHUNK_BYTES, sync, writing
from vtk_cli.fetch.rar import rar_members


class ClipFolder:
    """videos/ while it is being filled; any number of threads may unpack into it."""

    def __init__(
        self,
        folder: Path,
        *,
        clip_path: Callable[[str], str | None],
        accept: Callable[[str], bool],
        stop: threading.Event,
    ) -> None:
        """`clip_path` says where a member belongs, `accept` whether that clip is wanted."""
        self.folder, self._clip_path, self._accept, self._stop = folder, clip_path, accept, stop
        self._temporary = folder / ".tmp"
        self._lock = threading.Lock()
        self._ranks: dict[str, int] = {}

    def __enter__(self) -> Self:
        """Make the folder and drop what a killed process left half-written."""
        shutil.rmtree(self._temporary, ignore_errors=True)
        self._temporary.mkdir(parents=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        shutil.rmtree(self._temporary, ignore_errors=True)

    def own(self, record: UnpackRecord, rank: int, present: Mapping[str, int]) -> None:
        """Take note of clips of an earlier run, from an archive of this rank, that are still as they were."""
        for path, size in record.clips.items():
            if present.get(path) == size:
                self._ranks[path] = int(min(rank, self.rank(path)))

    def rank(self, path: str) -> float:
        """Rank of the archive that this clip came from; infinite while it is not here."""
        return self._ranks.get(path, inf)

    def highest_rank(self, paths: Iterable[str]) -> float:
        return max((self.rank(path) for path in paths), default=-inf)

    def unpack(
        self, archive: Path, *, name: str, rank: int, scratch: Path, limits: Limits | None = None
    ) -> UnpackRecord:
        """Place the wanted clips of an archive, reading it to its end.

        Raises:
            DamagedArchive: it is not whole; clips that were whole stay.
            UnsafeArchive: it is refused; none of its clips stays.
            FetchError: the disk is full.
            PluginError: it is a rar and no program can unpack it.
            Interrupted: on `stop`.
        """
        placed: dict[str, int] = {}
        extra: set[str] = set()
        bounds = limits or Limits()
        rar = sniff(archive) == "rar"
        found = rar_members(archive, scratch, self._stop, bounds) if rar else members(archive, bounds)
        try:
            with writing(self.folder):
                for member in found:
                    path = self._destination(archive, member.name)
                    if path is not None and not self._accept(path):
                        extra.add(path)
                        path = None
                    self._take(member, path, rank, placed)
                self._flush(placed)
        except UnsafeArchive:
            self._withdraw(placed)
            raise
        return UnpackRecord(path=name, clips=dict(sorted(placed.items())), extra=tuple(sorted(extra)))

    def adopt(self, files: Mapping[str, Path], present: Mapping[str, int], *, name: str, rank: int) -> UnpackRecord:
        """Take clips that the user has already, as hard links where the disk is the same, else as copies.

        `files` are theirs by their path below videos/, `present` the sizes of what is here. Raises as `unpack`.
        """
        placed = {}
        with writing(self.folder):
            for path, file in files.items():
                self._check_stop()
                if not self._accept(path):
                    continue
                size = file.stat().st_size
                if present.get(path) != size:
                    temporary = self._temporary / uuid.uuid4().hex
                    _link_or_copy(file, temporary)
                    self._place(temporary, path, rank)
                self._ranks[path] = rank
                placed[path] = size
            self._flush(placed)
        return UnpackRecord(path=name, clips=dict(sorted(placed.items())))

    def _destination(self, archive: Path, member: str) -> str | None:
        path = self._clip_path(member)
        if path is not None:
            check_name(archive, path)
        return path

    def _take(self, member: Member, path: str | None, rank: int, placed: dict[str, int]) -> None:
        if path is None or self.rank(path) < rank:
            for _ in member.chunks():  # read all the same: that is how damage shows
                self._check_stop()
            return
        temporary = self._temporary / uuid.uuid4().hex
        try:
            self._write(temporary, member.chunks())
            if self._place(temporary, path, rank):
                placed[path] = member.size
        finally:
            temporary.unlink(missing_ok=True)

    def _write(self, temporary: Path, chunks: Iterator[bytes]) -> None:
        with temporary.open("wb") as file:
            for chunk in chunks:
                self._check_stop()
                file.write(chunk)

    def _place(self, temporary: Path, path: str, rank: int) -> bool:
        target = self.folder / path
        with self._lock:
            if self.rank(path) < rank:
                return False
            target.parent.mkdir(parents=True, exist_ok=True)
            temporary.replace(target)
            self._ranks[path] = rank
        return True

    def _withdraw(self, placed: Collection[str]) -> None:
        with self._lock:
            for path in placed:
                (self.folder / path).unlink(missing_ok=True)
                self._ranks.pop(path, None)

    def _flush(self, placed: Collection[str]) -> None:
        """One pass over the clips of an archive: cheaper than one flush after each."""
        for path in placed:
            if (self.folder / path).exists():  # an archive of a lower rank that was refused has taken its clips away
                sync(self.folder / path)
        for folder in {(self.folder / path).parent for path in placed}:
            sync(folder)

    def _check_stop(self) -> None:
        if self._stop.is_set():
            raise Interrupted("The download was stopped. What has arrived is kept; run the same command to go on.")


def files_below(folder: Path) -> dict[str, int]:
    """Path below the folder -> bytes, for every file that is there; hidden ones are passed over."""
    found = {}
    for where, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            file = Path(where) / name
            found[file.relative_to(folder).as_posix()] = file.stat().st_size
    return found


def _link_or_copy(source: Path, target: Path) -> None:
    try:
        os.link(source.resolve(), target)
    except OSError:  # another disk, or a file system without links
        with source.open("rb") as read, target.open("wb") as write:
            shutil.copyfileobj(read, write, CHUNK_BYTES)
