"""LMDB environments of this process.

What LMDB asks for and this file gives: an environment is opened once per process however many readers share it; a
forked child opens its own; a file shorter than its own header says is refused, since touching what is missing is a bus
error that no Python code can catch.

No lock files are made (`lock=False`). One writer per shard is ensured by flock on the data file, which the kernel gives
back when a process is killed. Readers take no lock. They hold no transaction between look-ups, and a page of the tree
that a look-up walks is overwritten three commits after it was replaced at the earliest, where a look-up takes 2 us.
Records are never deleted or overwritten, so views of them stay true.
"""

import fcntl
import os
import time
from pathlib import Path
from threading import Lock

import lmdb

from vtk_cli.errors import StoreError

FIRST_MAP_BYTES = 1 << 26
"""A writer's map; it grows when full. Only address space: the file is as large as what is in it."""
READ_AHEAD_OF_FILE_BYTES = 1 << 36
"""Address space that a reader keeps for a file that another process is still writing."""


def open_reading(path: Path) -> lmdb.Environment:
    """An environment to read a shard's file with.

    Raises:
        StoreError: the file is damaged or cut off.
    """
    file_bytes = path.stat().st_size
    try:
        return _open(path, readonly=True, map_size=file_bytes + READ_AHEAD_OF_FILE_BYTES)
    except StoreError as error:
        if not isinstance(error.__cause__, lmdb.MemoryError):
            raise
        # The address space is limited (ulimit -v, small kernels): map the file as it is now.
        return _open(path, readonly=True, map_size=file_bytes)


def open_writing(path: Path) -> lmdb.Environment:
    """An environment to write a shard's file with; the caller holds its lock.

    Raises:
        StoreError: the file is damaged or cut off, or the disk is full.
    """
    return _open(path, readonly=False, map_size=path.stat().st_size + FIRST_MAP_BYTES)


def _open(path: Path, *, readonly: bool, map_size: int) -> lmdb.Environment:
    try:
        env = lmdb.open(
            str(path),
            subdir=False,
            lock=False,
            readonly=readonly,
            readahead=False,  # shuffled reads: with it, 1638 MB are read from disk for 45 MB of values
            meminit=False,
            map_size=map_size,
            max_spare_txns=8,
        )
    except lmdb.Error as error:
        raise StoreError(f"The shard {path} cannot be opened: {error}. {what_to_do(error)}") from error
    needed = (env.info()["last_pgno"] + 1) * env.stat()["psize"]
    found = path.stat().st_size
    if found < needed:
        env.close()
        raise StoreError(
            f"The shard {path} is cut off: it should have {needed} bytes, found {found}. "
            "Remove this file and run `vtk extract` again; the other shards stay as they are."
        )
    return env


def what_to_do(error: lmdb.Error) -> str:
    """The last part of the message about an error of LMDB's."""
    text = str(error)
    full = ("No space left", "File too large", "quota", "Input/output error")  # the last is LMDB's for a short write
    if isinstance(error, lmdb.DiskError) or any(phrase in text for phrase in full):
        return "Is the disk full? What was committed is safe. Free space and run the same command again."
    if "already open" in text:
        return "Close the reader or writer of this shard first."
    if isinstance(error, lmdb.InvalidError | lmdb.CorruptedError | lmdb.PageNotFoundError | lmdb.VersionMismatchError):
        return "Remove this file and run `vtk extract` again; the other shards stay as they are."
    return "Check the disk and its permissions, and run the same command again."


def lock_for_writing(path: Path, patience_seconds: float) -> int:
    """Become the one writer of a shard; returns a file descriptor whose closing gives the lock back.

    Raises:
        StoreError: another process keeps writing it, or the file cannot be made.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise StoreError(
            f"The shard {path} cannot be written: {error.strerror}. Check the disk and permissions."
        ) from error
    deadline = time.monotonic() + patience_seconds
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return descriptor
        except BlockingIOError as error:
            if time.monotonic() >= deadline:
                os.close(descriptor)
                raise StoreError(
                    f"The shard {path} is being written by another process. Wait for it or stop it, or give each its "
                    "own shards with --shard I/N."
                ) from error
            time.sleep(0.1)


class SharedEnvironments:
    """Reading environments, one per file however many readers of this process use it."""

    def __init__(self) -> None:
        self.forget()
        os.register_at_fork(after_in_child=self.forget)

    def forget(self) -> None:
        """Start empty. In a forked child: LMDB refuses a file that the parent's inherited environment has open."""
        for env, _ in getattr(self, "_open", {}).values():
            env.close()
        self._open: dict[Path, tuple[lmdb.Environment, set[int]]] = {}
        self._lock = Lock()

    def acquire(self, path: Path, reader: int) -> lmdb.Environment:
        """The environment of a file, kept open until every reader (a number of its own) has released it."""
        with self._lock:
            if path not in self._open:
                self._open[path] = (open_reading(path), set())
            env, readers = self._open[path]
            readers.add(reader)
            return env

    def release(self, path: Path, reader: int) -> None:
        """`reader` needs this file no more."""
        with self._lock:
            env, readers = self._open[path]
            readers.discard(reader)
            if not readers:
                del self._open[path]
                env.close()


SHARED = SharedEnvironments()
