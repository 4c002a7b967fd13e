"""A file on its way: `NAME.part` holds the bytes that have arrived, `NAME.part.json` says of which remote file.

Only a whole and verified file ever gets its name, so a name that is there means a file that is done.
"""

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vtk_cli.console import size as human
from vtk_cli.errors import FetchError
from vtk_cli.files import write_atomic

CHUNK_BYTES = 1 << 16
_FULL = (errno.ENOSPC, errno.EDQUOT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What is known of a file beforehand."""

    bytes: int | None = None
    sha256: str | None = None
    md5: str | None = None

    def check(self, what: str, found_bytes: int, sha256: str, md5: str | None) -> None:
        """Raises FetchError when a found value is not the expected one."""
        pairs = [("bytes", self.bytes, found_bytes), ("sha256", self.sha256, sha256), ("md5", self.md5, md5)]
        for name, expected, found in pairs:
            if expected is not None and expected != found:
                raise FetchError(
                    f"{what} should have {name} {expected}, found {found}. The file was changed or damaged; "
                    "get it from another place and hand it over with --from DIR."
                )


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """A file that is whole."""

    path: Path
    url: str
    bytes: int
    sha256: str


class Hashes:
    """sha256, and md5 where a host publishes nothing better, of the same bytes."""

    def __init__(self, expected: Expected, path: Path | None = None) -> None:
        """Start with nothing, or with what is in the file at `path`."""
        self._sha256 = hashlib.sha256()
        self._md5 = hashlib.md5(usedforsecurity=False) if expected.md5 else None
        if path is not None:
            with path.open("rb") as file:
                while chunk := file.read(CHUNK_BYTES):
                    self.update(chunk)

    def update(self, data: bytes) -> None:
        self._sha256.update(data)
        if self._md5:
            self._md5.update(data)

    @property
    def sha256(self) -> str:
        return self._sha256.hexdigest()

    @property
    def md5(self) -> str | None:
        return self._md5.hexdigest() if self._md5 else None


def verify(path: Path, expected: Expected) -> Fetched:
    """Check a file that is here already.

    Raises:
        FetchError: it is not the expected one.
    """
    hashes, size = Hashes(expected, path), path.stat().st_size
    expected.check(str(path), size, hashes.sha256, hashes.md5)
    return Fetched(path=path, url=path.absolute().as_uri(), bytes=size, sha256=hashes.sha256)


class DiskFull(FetchError):
    """Nothing more can be written; every transfer ends."""


def disk_full(error: OSError, path: Path, needed: int | None = None) -> DiskFull | None:
    """What a user should read when this OSError means a full disk; None when it means something else."""
    if error.errno not in _FULL:
        return None
    there = next(parent for parent in path.parents if parent.exists())
    free = shutil.disk_usage(there).free
    wanted = f"{human(needed)} more are needed, " if needed else ""
    return DiskFull(
        f"There is no space left to write {path}: {wanted}{human(free)} are free. Free some, or choose another disk "
        "with --root; what has arrived is kept, running the same command again goes on."
    )


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn a failure to write below `path` into a sentence.

    Raises:
        DiskFull: nothing fits any more.
        FetchError: anything else that the system refuses.
    """
    try:
        yield
    except OSError as error:
        full = disk_full(error, path)
        raise full or FetchError(f"{path} cannot be written: {error}. Choose another folder with --root.") from error


class Part:
    """The unfinished state of one download; remembers which version of the remote file its bytes belong to."""

    def __init__(self, target: Path, url: str, expected: Expected) -> None:
        self.target, self.url, self._expected = target, url, expected
        self.path = target.with_name(target.name + ".part")
        self._state_path = target.with_name(target.name + ".part.json")
        self._state: dict[str, Any] = {}
        self.size = 0
        self._hashes = Hashes(expected)
        target.parent.mkdir(parents=True, exist_ok=True)
        self._resume()

    def _resume(self) -> None:
        try:
            state = json.loads(self._state_path.read_text(encoding="utf-8"))
            present = self.path.stat().st_size
        except (OSError, ValueError):
            self.reset()
            return
        total = state.get("total") if isinstance(state, dict) else None
        if not isinstance(state, dict) or state.get("url") != self.url or (total is not None and present > total):
            self.reset()
            return
        self._state, self.size = state, present
        self._hashes = Hashes(self._expected, self.path)

    @property
    def total(self) -> int | None:
        """Length of the remote file in bytes, as far as it is known."""
        total = self._state.get("total")
        return total if isinstance(total, int) else None

    @property
    def validator(self) -> str | None:
        """What If-Range takes: a strong ETag, else the date (RFC 9110, section 13.1.5)."""
        etag = self._state.get("etag")
        if isinstance(etag, str) and etag and not etag.startswith("W/"):
            return etag
        date = self._state.get("last_modified")
        return date if isinstance(date, str) else None

    @property
    def whole(self) -> bool:
        return self.total is not None and self.size == self.total

    def reset(self) -> None:
        """Forget what has arrived: it belongs to another file or to another version of it."""
        self.path.unlink(missing_ok=True)
        self._state_path.unlink(missing_ok=True)
        self._state, self.size, self._hashes = {}, 0, Hashes(self._expected)

    def begin(self, total: int | None, headers: Mapping[str, str]) -> None:
        """Note the version of the remote file before its first byte is written."""
        state = {
            "url": self.url,
            "total": total,
            "etag": headers.get("ETag"),
            "last_modified": headers.get("Last-Modified"),
        }
        if state != self._state:
            self._state = state
            write_atomic(self._state_path, json.dumps(state))

    def same_version(self, total: int | None, headers: Mapping[str, str]) -> bool:
        """Whether a partial answer belongs to the bytes that are here."""
        if total is not None and self.total is not None and total != self.total:
            return False
        for name, key in (("ETag", "etag"), ("Last-Modified", "last_modified")):
            known, found = self._state.get(key), headers.get(name)
            if known and found:
                return bool(known == found)
        return self.total is not None

    def append(self, chunks: Iterable[bytes], on_bytes: Callable[[int], None]) -> None:
        """Write what arrives; every byte that was counted is in the file.

        Raises:
            FetchError: the disk is full; the bytes that fitted are kept.
        """
        try:
            with self.path.open("ab", buffering=0) as file:
                for chunk in chunks:
                    view = memoryview(chunk)
                    while view:
                        written = file.write(view)
                        self._hashes.update(bytes(view[:written]))
                        self.size += written
                        view = view[written:]
                    on_bytes(len(chunk))
        except OSError as error:
            needed = None if self.total is None else self.total - self.size
            full = disk_full(error, self.path, needed)
            if full is None:
                raise
            raise full from error

    def finish(self) -> Fetched:
        """Verify and give the file its name.

        Raises:
            FetchError: it is not the expected file; nothing of it is kept.
        """
        sha256, size = self._hashes.sha256, self.size
        try:
            self._expected.check(f"The file from {self.url}", size, sha256, self._hashes.md5)
        except FetchError:
            self.reset()
            raise
        sync(self.path)
        self.path.replace(self.target)
        sync(self.target.parent)
        self._state_path.unlink(missing_ok=True)
        return Fetched(path=self.target, url=self.url, bytes=size, sha256=sha256)


def sync(path: Path) -> None:
    """Make a file's content, or the renames inside a folder, survive a power failure."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
