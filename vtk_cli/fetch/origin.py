"""Where a recipe's files come from: the official hosts, a mirror of them, or a folder of files fetched by hand."""

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Protocol
from urllib.parse import unquote, urljoin, urlsplit

from vtk_cli.api.datasets import Source
from vtk_cli.errors import FetchError, UsageError
from vtk_cli.fetch.http import Fetcher
from vtk_cli.fetch.part import Expected, Fetched, verify

ARCHIVE_SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".zip", ".rar")


class Origin(Protocol):
    """Where files come from."""

    def fetch(self, source: Source, target: Path) -> Fetched:
        """The file, whole and verified: at `target`, or where it lies if it need not be moved."""
        ...

    def read(self, source: Source) -> bytes:
        """A small file, into memory."""
        ...

    def size(self, source: Source) -> int | None:
        """Length in bytes, None when nobody says."""
        ...

    def archives(self, sources: Sequence[Source], text: Callable[[Source], bytes]) -> list[Source]:
        """Replace each list among the sources by the archives that it names; those that replace others come first."""
        ...

    def clips(self, clip_path: Callable[[str], str | None]) -> Iterator[tuple[str, Path]]:
        """(path below videos/, file) of clips that are there unpacked."""
        ...


class Remote:
    """The official hosts, or a mirror with the same paths."""

    def __init__(self, fetcher: Fetcher, hosts: Sequence[str], mirror: str) -> None:
        if mirror and not mirror.startswith(("http://", "https://")):
            raise UsageError(f"A mirror should begin with http:// or https://, found {mirror!r}; a folder is --from.")
        self.fetcher, self._hosts, self._mirror = fetcher, hosts, mirror

    def url(self, source: Source) -> str:
        """The URL that is asked for this file."""
        for host in self._hosts:
            if self._mirror and source.url.startswith(host):
                return self._mirror.rstrip("/") + "/" + source.url.removeprefix(host).lstrip("/")
        return source.url

    def fetch(self, source: Source, target: Path) -> Fetched:
        fetched = self.fetcher.fetch(self.url(source), target, expected(source))
        return replace(fetched, url=source.url) if self._mirror else fetched

    def read(self, source: Source) -> bytes:
        return self.fetcher.read(self.url(source))

    def size(self, source: Source) -> int | None:
        return source.bytes or self.fetcher.size(self.url(source))

    def archives(self, sources: Sequence[Source], text: Callable[[Source], bytes]) -> list[Source]:
        found = []
        for source in sources:
            if source.kind == "list":
                found.extend(listed(source, text(source)))
            elif source.kind == "archive":
                found.append(source)
        return _ranked(found)

    def clips(self, clip_path: Callable[[str], str | None]) -> Iterator[tuple[str, Path]]:  # noqa: ARG002  hosts have none
        return iter(())


class Local:
    """A folder of files fetched by hand; nothing is asked of the network."""

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise UsageError(f"--from should name a folder, found none at {folder}. Check the path.")
        self.folder = folder
        self._files: dict[str, list[Path]] = {}
        self._holders: dict[Path, Source] = {}
        for where, _, names in os.walk(folder):
            for name in names:
                self._files.setdefault(name, []).append(Path(where) / name)

    def find(self, source: Source) -> Path | None:
        """The file of this source: of those with its name the one whose folders agree best with its URL."""
        wanted = _path(source)
        found = max(self._files.get(wanted.name, []), key=lambda file: _agreement(file, wanted), default=None)
        # A file serves the one source that it agrees with best: part_0.tar.gz exists once per split.
        return found if found is None or self._holders.get(found, source) == source else None

    def fetch(self, source: Source, target: Path) -> Fetched:
        found = self._require(source)
        fetched = verify(found, expected(source))
        if source.kind == "archive":
            return fetched
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f"{target.name}.part")
        shutil.copyfile(found, temporary)
        temporary.replace(target)
        return replace(fetched, path=target)

    def read(self, source: Source) -> bytes:
        return self._require(source).read_bytes()

    def size(self, source: Source) -> int | None:
        return self._require(source).stat().st_size

    def archives(self, sources: Sequence[Source], text: Callable[[Source], bytes]) -> list[Source]:
        """Those that are here; where a list is absent, every archive that is here."""
        named = []
        for source in sources:
            if source.kind == "archive":
                named.append(source)
            elif source.kind == "list" and self.find(source) is not None:
                named.extend(listed(source, text(source)))
        if any(source.kind == "list" and self.find(source) is None for source in sources):
            annotations = {self.find(source) for source in sources if source.kind == "annotation"}
            known = {self.find(source) for source in named}
            named.extend(self._unnamed(annotations | known))
        self._assign(named)
        return _ranked(named)

    def clips(self, clip_path: Callable[[str], str | None]) -> Iterator[tuple[str, Path]]:
        for files in self._files.values():
            for file in files:
                path = clip_path(file.relative_to(self.folder).as_posix())
                if path is not None:
                    yield path, file

    def _require(self, source: Source) -> Path:
        found = self.find(source)
        if found is None:
            name = PurePosixPath(unquote(urlsplit(source.url).path)).name
            raise FetchError(
                f"{self.folder} should hold {name}, found none. Fetch it from {source.url} and put it there."
            )
        return found

    def _unnamed(self, known: set[Path | None]) -> list[Source]:
        found = sorted(f for files in self._files.values() for f in files if f.name.endswith(ARCHIVE_SUFFIXES))
        return [
            Source(
                url=file.absolute().as_uri(), path=f"from/{file.relative_to(self.folder).as_posix()}", kind="archive"
            )
            for file in found
            if file not in known
        ]

    def _assign(self, sources: Sequence[Source]) -> None:
        holders: dict[Path, Source] = {}
        for source in sources:
            file = self.find(source)
            if file is None:
                continue
            holder = holders.get(file)
            if holder is None or _agreement(file, _path(source)) > _agreement(file, _path(holder)):
                holders[file] = source
        self._holders = holders


def expected(source: Source) -> Expected:
    return Expected(bytes=source.bytes, sha256=source.sha256, md5=source.md5)


def listed(source: Source, content: bytes) -> list[Source]:
    """The archives that a list names, one URL per line, absolute or beside the list.

    Raises:
        FetchError: it is no such list.
    """
    found: dict[str, Source] = {}
    for number, line in enumerate(content.decode("utf-8-sig", "replace").splitlines(), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        url = urljoin(source.url, line.strip())
        name = PurePosixPath(unquote(urlsplit(url).path)).name
        folder = f"archives/{source.split or 'all'}"
        taken = any(other.path == f"{folder}/{name}" for other in found.values() if other.url != url)
        if line.lstrip().startswith("<") or not name.endswith(ARCHIVE_SUFFIXES):
            raise FetchError(
                f"{source.url}, line {number}: should be the URL of an archive, found {line[:80]!r}. "
                "Fetch the list by hand and use --from DIR."
            )
        path = f"{folder}/{number}-{name}" if taken else f"{folder}/{name}"
        found[url] = Source(url=url, path=path, kind="archive", split=source.split)
    if not found:
        raise FetchError(f"{source.url} should name archives, found none. Fetch the list by hand and use --from DIR.")
    return list(found.values())


def _ranked(archives: Sequence[Source]) -> list[Source]:
    return sorted(archives, key=lambda source: not source.replaces)


def _path(source: Source) -> PurePosixPath:
    return PurePosixPath(unquote(urlsplit(source.url).path))


def _agreement(file: Path, wanted: PurePosixPath) -> int:
    """Number of trailing path components in common."""
    count = 0
    for mine, theirs in zip(reversed(file.parts), reversed(wanted.parts), strict=False):
        if mine != theirs:
            break
        count += 1
    return count
