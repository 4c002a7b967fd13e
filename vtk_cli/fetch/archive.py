"""Reading archives member by member, to their very end, believing nothing they say.

The kind is told from the content, never from the name (an official Kinetics `part_120.tar.gz` was a plain tar). A name
that climbs out, a link, a device or a bomb makes the whole archive refused. A damaged byte is noticed: every checksum
that the format has is compared, and a tar that stops without its end mark is not taken for whole.
"""

import bz2
import gzip
import lzma
import re
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Literal, Self, cast

from vtk_cli.errors import FetchError
from vtk_cli.fetch.part import CHUNK_BYTES

Kind = Literal["tar", "gz", "bz2", "xz", "zip", "rar"]
_MAGIC: tuple[tuple[bytes, Kind], ...] = (
    (b"\x1f\x8b", "gz"),
    (b"BZh", "bz2"),
    (b"\xfd7zXZ\x00", "xz"),
    (b"PK\x03\x04", "zip"),
    (b"PK\x05\x06", "zip"),
    (b"Rar!\x1a\x07", "rar"),
)
_MOST_HEADER_BYTES = 1 << 20
_DAMAGE = (tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError, NotImplementedError)


class DamagedArchive(FetchError):
    """It cannot be read to its end; fetching it again may help."""


class UnsafeArchive(FetchError):
    """It does what no data set does; nothing of it is used."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What an archive may become. Video does not compress: whatever swells a lot is no data set."""

    ratio: float = 200.0
    """Bytes that may come out per byte of archive ..."""
    floor_bytes: int = 1 << 28
    """... once more than this has come out."""
    member_bytes: int = 1 << 36

    def total(self, archive_bytes: int) -> int:
        return max(self.floor_bytes, int(archive_bytes * self.ratio))


@dataclass(frozen=True, slots=True)
class Member:
    """One regular file of an archive; read it before asking for the next one."""

    name: str
    size: int
    _archive: Path
    _open: Callable[[], IO[bytes]]

    def chunks(self) -> Iterator[bytes]:
        """Its content.

        Raises:
            DamagedArchive: it is not whole.
        """
        found = 0
        with _explained(self._archive), self._open() as stream:
            while chunk := stream.read(CHUNK_BYTES):
                found += len(chunk)
                yield chunk
        if found != self.size:
            raise DamagedArchive(f"{self._archive}: {self.name!r} should have {self.size} bytes, found {found}.")


def sniff(path: Path) -> Kind | None:
    """What kind of archive a file is, by its content; None when it is none."""
    with path.open("rb") as file:
        head = file.read(512)
    for magic, kind in _MAGIC:
        if head.startswith(magic):
            return kind
    try:
        tarfile.TarInfo.frombuf(head, "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        return None
    return "tar"


def members(path: Path, limits: Limits | None = None) -> Iterator[Member]:
    """The regular files of a tar or zip, whatever its name says; folders are passed over.

    When the iterator ends, the archive was read to its end and is whole, as far as the caller read each member.

    Raises:
        DamagedArchive: it is no archive or not whole.
        UnsafeArchive: a member climbs out, is a link or a device, or swells beyond the limits.
    """
    kind = sniff(path)
    bounds = limits or Limits()
    if kind is None:
        with path.open("rb") as file:
            page = file.read(512).lstrip().startswith(b"<")
        found = "a web page or error message" if page else "something else"
        raise DamagedArchive(f"{path} should be a tar, zip or rar archive, found {found}. Fetch it again or by hand.")
    if kind == "zip":
        yield from _zip_members(path, bounds)
    else:
        yield from _tar_members(path, kind, bounds)


def check_name(archive: Path, name: str) -> None:
    """Raises UnsafeArchive when a member's name is absolute or climbs out of where it is unpacked.

    >>> check_name(Path("a.tar"), "./train/-x_000001_000011.mp4")
    """
    slashed = name.replace("\\", "/")
    if slashed.startswith("/") or ".." in PurePosixPath(slashed).parts or re.match(r"[A-Za-z]:/", slashed):
        raise refused(archive, f"the member {name!r}, which leads out of the folder it is unpacked into")
    if "\0" in name:
        raise refused(archive, f"the member {name!r}, whose name holds a zero byte")


def refused(archive: Path, found: str) -> UnsafeArchive:
    return UnsafeArchive(
        f"{archive} should hold plain files only, found {found}. The archive is refused and nothing of it is used; "
        "get the official one."
    )


def check_sizes(archive: Path, sizes: dict[str, int], limits: Limits) -> None:
    """Raises UnsafeArchive when members declare more than the limits allow."""
    for name, size in sizes.items():
        if size > limits.member_bytes:
            raise refused(archive, f"the member {name!r} of {size} bytes")
    total = sum(sizes.values())
    if total > limits.total(archive.stat().st_size):
        raise refused(archive, f"{total} bytes packed into {archive.stat().st_size}")


class _StrictTarInfo(tarfile.TarInfo):
    """tarfile takes a damaged header for the end of the archive; here it is an error."""

    @classmethod
    def fromtarfile(cls, tarfile: tarfile.TarFile) -> Self:
        try:
            return super().fromtarfile(tarfile)
        except _EndMark:
            raise
        except _HeaderError as error:
            raise _ReadError(f"damaged header at byte {tarfile.offset}: {error}") from error

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        info = super().frombuf(buf, encoding, errors)
        if info.type in _HEADER_TYPES and info.size > _MOST_HEADER_BYTES:  # tarfile reads these into memory whole
            raise _ReadError(f"an extended header of {info.size} bytes")
        return info


_EndMark = tarfile.EOFHeaderError  # type: ignore[attr-defined]  # the type stubs lack it
_HeaderError, _ReadError = tarfile.HeaderError, tarfile.ReadError
_HEADER_TYPES = frozenset(
    {tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK}
)


class _Bounded:
    """A stream that refuses to give more than `most` bytes."""

    def __init__(self, stream: IO[bytes], archive: Path, most: int) -> None:
        self._stream, self._archive, self._most = stream, archive, most
        self._found = 0

    def read(self, size: int = CHUNK_BYTES) -> bytes:
        data = self._stream.read(size)
        self._found += len(data)
        if self._found > self._most:
            raise refused(self._archive, f"more than {self._most} bytes in {self._archive.stat().st_size}")
        return data


def _tar_members(path: Path, kind: Kind, limits: Limits) -> Iterator[Member]:
    with _explained(path), _decompressed(path, kind) as plain:
        stream = _Bounded(plain, path, limits.total(path.stat().st_size))
        # The "|" mode never seeks, so a compressed archive is read exactly once.
        with tarfile.open(fileobj=cast("IO[bytes]", stream), mode="r|", tarinfo=_StrictTarInfo) as tar:
            for info in tar:
                check_name(path, info.name)
                if info.isdir():
                    continue
                if not info.isfile():
                    raise refused(path, f"the link or device {info.name!r}")
                check_sizes(path, {info.name: info.size}, limits)
                yield Member(info.name, info.size, path, _opener(tar, info))
        while stream.read():  # gzip's and xz's checksums stand behind the tar's end
            pass


def _opener(tar: tarfile.TarFile, info: tarfile.TarInfo) -> Callable[[], IO[bytes]]:
    return lambda: cast("IO[bytes]", tar.extractfile(info))


def _decompressed(path: Path, kind: Kind) -> IO[bytes]:
    if kind == "gz":
        return cast("IO[bytes]", gzip.open(path, "rb"))
    if kind == "bz2":
        return cast("IO[bytes]", bz2.open(path, "rb"))
    if kind == "xz":
        return cast("IO[bytes]", lzma.open(path, "rb"))
    return path.open("rb")


def _zip_members(path: Path, limits: Limits) -> Iterator[Member]:
    with _explained(path), zipfile.ZipFile(path) as archive:
        infos = [info for info in archive.infolist() if not info.is_dir()]
        for info in archive.infolist():
            check_name(path, info.orig_filename)
            form = stat.S_IFMT(info.external_attr >> 16)
            if form not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise refused(path, f"the link or device {info.filename!r}")
            if info.flag_bits & 1:
                raise DamagedArchive(f"{path} should be readable by all, found a password. Get the official archive.")
        check_sizes(path, {info.filename: info.file_size for info in infos}, limits)
        for info in infos:
            yield Member(info.filename, info.file_size, path, _zip_opener(archive, info))


def _zip_opener(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Callable[[], IO[bytes]]:
    return lambda: archive.open(info)


@contextmanager
def _explained(archive: Path) -> Iterator[None]:
    try:
        yield
    except _DAMAGE as error:
        raise DamagedArchive(
            f"{archive} should be a whole archive, found damage: {type(error).__name__}: {error}. Fetch it again."
        ) from error
