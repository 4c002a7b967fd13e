"""Reading and writing the shards of a store.

Keys: "v" + id holds the record of a video, "f" + id why it could not be extracted (UTF-8). A video that is there
counts, whatever failure was recorded before; nothing is ever deleted.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Self, TypeVar

import lmdb

from vtk_cli.api.stores import StoreMeta
from vtk_cli.errors import StoreError
from vtk_cli.store.environments import SHARED, lock_for_writing, open_writing, what_to_do
from vtk_cli.store.meta import read_meta, shard_of, shard_path
from vtk_cli.store.record import Record, pack

ResultT = TypeVar("ResultT")

_VIDEO, _FAILURE = b"v", b"f"
_MAX_ID_BYTES = 510
"""LMDB's longest key is 511 bytes."""
_DAMAGED = "Remove the shard's file and run `vtk extract` again; the other shards stay as they are."


class StoreReader:
    """A `FrameReader` of a folder of shards. Picklable; usable from several threads and after a fork."""

    def __init__(self, folder: Path) -> None:
        """Open a store; its files are opened when they are first read.

        Raises:
            StoreError: there is no store, or its meta.json is damaged.
        """
        self.folder = folder.absolute()
        self.meta: StoreMeta = read_meta(folder)
        self._environments: dict[int, lmdb.Environment] = {}
        self._pid = os.getpid()

    def __getstate__(self) -> dict[str, Any]:
        return {"folder": self.folder, "meta": self.meta}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.folder, self.meta = state["folder"], state["meta"]
        self._environments = {}
        self._pid = os.getpid()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __contains__(self, video_id: str) -> bool:
        return self._get(video_id, _VIDEO) is not None

    def ids(self) -> Iterator[str]:
        """Every video that is there whole, shard by shard."""
        for shard in range(self.meta.shards):
            yield from (key for key, _ in self._scan(shard, _VIDEO))

    def failures(self) -> Iterator[tuple[str, str]]:
        """(id, cause) of every video that could not be extracted."""
        for shard in range(self.meta.shards):
            yield from ((key, value) for key, value in self._scan(shard, _FAILURE) if key not in self)

    def num_frames(self, video_id: str) -> int:
        """Frames stored for a video (flow: pairs); raises StoreError as `read` does."""
        return self._record(video_id).num_frames

    def read(self, video_id: str, indices: Sequence[int]) -> list[memoryview]:
        """Encoded frames, without copying; valid until the reader is closed.

        Raises:
            StoreError: the video is not there, a number lies past its end, or its record is damaged.
        """
        record = self._record(video_id)
        wrong = [index for index in indices if not 0 <= index < record.num_frames]
        if wrong:
            raise StoreError(
                f"{video_id} in {self.folder} has frames 0 to {record.num_frames - 1}, found {wrong[0]} asked for. "
                "Extract again if the clip is longer."
            )
        try:
            return [record.frame(index) for index in indices]
        except StoreError as error:
            raise self._damaged(video_id, error) from error

    def verify(self, video_id: str) -> None:
        """Read every byte of a record against its checksums; raises StoreError as `read` does."""
        self.read(video_id, range(self.num_frames(video_id)))

    def close(self) -> None:
        """Let go of the files; views handed out before must not be used any more."""
        if self._pid == os.getpid():
            for shard in self._environments:
                SHARED.release(shard_path(self.folder, shard), id(self))
        self._environments = {}

    def _record(self, video_id: str) -> Record:
        value = self._get(video_id, _VIDEO)
        if value is None:
            cause = self._get(video_id, _FAILURE)
            reason = f"it failed: {bytes(cause).decode()}" if cause is not None else "it was not extracted"
            raise StoreError(f"{video_id} should be in the store {self.folder}: {reason}. Run `vtk extract`.")
        try:
            return Record(value)
        except StoreError as error:
            raise self._damaged(video_id, error) from error

    def _damaged(self, video_id: str, reason: Exception) -> StoreError:
        path = shard_path(self.folder, shard_of(video_id, self.meta.shards))
        return StoreError(f"The record of {video_id} in {path} is damaged: {reason}. {_DAMAGED}")

    def _get(self, video_id: str, prefix: bytes) -> memoryview | None:
        shard = shard_of(video_id, self.meta.shards)
        env = self._environment(shard)
        if env is None:
            return None
        try:
            with env.begin(buffers=True) as transaction:
                value: memoryview | None = transaction.get(_key(prefix, video_id))
                return value
        except lmdb.Error as error:
            raise self._unreadable(shard, error) from error

    def _scan(self, shard: int, prefix: bytes) -> list[tuple[str, str]]:
        """(id, text of the value) of one kind of key; records are not touched."""
        env = self._environment(shard)
        if env is None:
            return []
        found = []
        try:
            with env.begin(buffers=True) as transaction, transaction.cursor() as cursor:
                there = cursor.set_range(prefix)
                while there and bytes(cursor.key()[:1]) == prefix:
                    text = bytes(cursor.value()).decode() if prefix == _FAILURE else ""
                    found.append((bytes(cursor.key()[1:]).decode(), text))
                    there = cursor.next()
        except (lmdb.Error, UnicodeDecodeError) as error:
            raise self._unreadable(shard, error) from error
        return found

    def _environment(self, shard: int) -> lmdb.Environment | None:
        """None while nothing was written to the shard."""
        if self._pid != os.getpid():
            self._environments, self._pid = {}, os.getpid()
        if shard not in self._environments:
            path = shard_path(self.folder, shard)
            if not path.exists() or path.stat().st_size == 0:
                return None
            self._environments[shard] = SHARED.acquire(path, id(self))
        return self._environments[shard]

    def _unreadable(self, shard: int, error: Exception) -> StoreError:
        path = shard_path(self.folder, shard)
        if isinstance(error, lmdb.MapResizedError):
            return StoreError(f"The shard {path} grew while it was read. Open the store again.")
        return StoreError(f"The shard {path} is damaged: {error}. {_DAMAGED}")


class ShardWriter:
    """The one writer of a shard. What is put is kept in memory until `commit`, which stores all of it or nothing."""

    def __init__(self, folder: Path, shard: int, *, patience_seconds: float = 15) -> None:
        """Lock and open a shard, making its file if there is none.

        `patience_seconds`: how long to wait for another writer, such as a worker whose parent was killed.

        Raises:
            StoreError: another process keeps writing this shard, its file is damaged, or the disk is full.
        """
        self.path = shard_path(folder, shard)
        self._pending: dict[bytes, bytes] = {}
        self._lock = lock_for_writing(self.path, patience_seconds)
        try:
            self._env = open_writing(self.path)
        except BaseException:
            os.close(self._lock)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __contains__(self, video_id: str) -> bool:
        return self._get(_key(_VIDEO, video_id), lambda _: True) is not None

    def failure(self, video_id: str) -> str | None:
        """Why a video could not be extracted; None where no failure is recorded."""
        return self._get(_key(_FAILURE, video_id), lambda value: bytes(value).decode())

    @property
    def pending_bytes(self) -> int:
        """Size of what waits for `commit`."""
        return sum(len(value) for value in self._pending.values())

    def put(self, video_id: str, frames: Sequence[bytes]) -> None:
        """Keep a video's encoded frames for the next commit.

        Raises:
            StoreError: the video is there already, or does not fit a record.
        """
        if video_id in self:
            raise StoreError(f"{video_id} is already in {self.path}. Records are never changed.")
        self._pending[_key(_VIDEO, video_id)] = pack(frames)

    def fail(self, video_id: str, cause: str) -> None:
        """Keep the reason why a video could not be extracted for the next commit."""
        self._pending[_key(_FAILURE, video_id)] = cause.encode(errors="backslashreplace")

    def commit(self) -> None:
        """Store what is pending in one transaction, durably. The map grows as needed.

        Raises:
            StoreError: the disk is full or failing; everything committed before stays, what is pending stays pending.
        """
        while self._pending:
            try:
                with self._env.begin(write=True) as transaction:
                    for key, value in self._pending.items():
                        transaction.put(key, value)
                self._pending.clear()
            except lmdb.MapFullError:
                self._grow()
            except lmdb.Error as error:
                raise self._unwritable(error) from error

    def close(self) -> None:
        """Give the shard back. What was not committed is dropped."""
        self._env.close()
        os.close(self._lock)

    def _get(self, key: bytes, read: Callable[[Any], ResultT]) -> ResultT | None:
        """`read` of a pending or stored value; None where there is none."""
        if key in self._pending:
            return read(self._pending[key])
        try:
            with self._env.begin(buffers=True) as transaction:
                value = transaction.get(key)
                return None if value is None else read(value)
        except lmdb.Error as error:
            raise self._unwritable(error) from error

    def _grow(self) -> None:
        old = self._env.info()["map_size"]
        try:
            self._env.set_mapsize(max(2 * old, old + 2 * self.pending_bytes))
        except lmdb.Error as error:
            raise self._unwritable(error) from error

    def _unwritable(self, error: lmdb.Error) -> StoreError:
        return StoreError(f"The shard {self.path} cannot be written: {error}. {what_to_do(error)}")


def _key(prefix: bytes, video_id: str) -> bytes:
    name = video_id.encode()
    if not 0 < len(name) <= _MAX_ID_BYTES:
        raise StoreError(
            f"An id has 1 to {_MAX_ID_BYTES} bytes, found {len(name)}: {video_id[:60]!r}. Rename the clip."
        )
    return prefix + name
