"""How many bytes a download brings, and whether the disk has room for them."""

import shutil
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from vtk_cli.api.datasets import Source
from vtk_cli.errors import FetchError
from vtk_cli.fetch.origin import Origin

_ASK_AT_ONCE = 16
"""Requests for lengths at the same time."""


@dataclass(frozen=True, slots=True)
class Room:
    """The lengths of some files, as far as their hosts say them."""

    sources: Sequence[Source]
    sizes: Mapping[str, int | None]
    """Source.path -> bytes."""
    raw: Path

    @classmethod
    def ask(cls, origin: Origin, sources: Sequence[Source], raw: Path) -> "Room":
        """Ask for every length, several at once."""

        def size(source: Source) -> int | None:
            try:
                return origin.size(source)
            except FetchError:  # fetching it will say why
                return None

        with ThreadPoolExecutor(_ASK_AT_ONCE) as pool:
            found = pool.map(size, sources)
            return cls(sources, dict(zip((source.path for source in sources), found, strict=True)), raw)

    def only(self, sources: Sequence[Source]) -> "Room":
        """Some of the files."""
        return replace(self, sources=sources)

    @property
    def known(self) -> bool:
        """Whether every length is known."""
        return all(self.sizes[source.path] is not None for source in self.sources)

    @property
    def missing(self) -> int:
        """Bytes that have not arrived."""
        files = [self.raw / f"{source.path}{end}" for source in self.sources for end in ("", ".part")]
        arrived = sum(file.stat().st_size for file in files if file.is_file())
        return max(sum(self.sizes[source.path] or 0 for source in self.sources) - arrived, 0)

    @property
    def clips(self) -> int:
        """Bytes of the clips in the archives: as many as the archives', since video does not compress."""
        return sum(self._archives())

    def largest(self, count: int) -> int:
        """Bytes of the largest archives: what is on the disk besides while so many are in work."""
        return sum(self._archives()[:count])

    def _archives(self) -> list[int]:
        return sorted((self.sizes[s.path] or 0 for s in self.sources if s.kind == "archive"), reverse=True)


def free_bytes(folder: Path) -> int:
    """Of the disk on which the folder is or will be."""
    there = next(parent for parent in (folder, *folder.parents) if parent.exists())
    return shutil.disk_usage(there).free
