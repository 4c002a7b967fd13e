"""Finding the files that a list names, which may be paths, paths without suffix, or bare clip names."""

import os
from collections.abc import Iterable
from pathlib import Path

from vtk_cli.formats.folders import clips
from vtk_cli.formats.frame_folders import frame_folders
from vtk_cli.formats.rows import VIDEO_SUFFIXES


class VideoLookup:
    """The clips below one folder; the folder is walked once, when the first name is no path."""

    kind = "clip"

    def __init__(self, root: Path) -> None:
        self.root = root
        self._by_name: dict[str, list[str]] | None = None

    def find(self, name: str, *, hint: str = "") -> tuple[Path | None, str]:
        """(absolute path, "") of the one clip that a list means by `name`, or (None, why there is none).

        `name` is tried as a path below the root, then without its suffix, then by its last part alone. `hint` is the
        class name: where several clips have the name, the one in a folder of that name is meant.
        """
        direct = Path(os.path.normpath(self.root / name))
        if self.is_there(direct):
            return direct, ""
        if Path(name).is_absolute():
            return None, f"there is no {self.kind} {name}"
        found = self._named(name)
        if len(found) > 1:
            found = [path for path in found if hint and Path(path).parent.name == hint] or found
        if not found:
            return None, f"there is no {self.kind} {name!r} below {self.root}"
        if len(found) > 1:
            return None, f"{name!r} may be {found[0]} or {found[1]} below {self.root}"
        return self.root / found[0], ""

    def is_there(self, path: Path) -> bool:
        try:
            return path.is_file()
        except (OSError, ValueError):  # names too long for the file system, or with a zero byte
            return False

    def all_names(self) -> Iterable[str]:
        """Relative path of every clip, with "/"."""
        return clips(self.root)

    def stem(self, path: str) -> str:
        """A path without the suffix of a video."""
        suffix = Path(path).suffix
        return path[: -len(suffix)] if suffix.lower() in VIDEO_SUFFIXES else path

    def _named(self, name: str) -> list[str]:
        if self._by_name is None:
            self._by_name = {}
            for path in self.all_names():
                stem = self.stem(path)
                # A clip answers to its path and to its last part, each with and without suffix.
                for key in {path, stem, path.rsplit("/", 1)[-1], stem.rsplit("/", 1)[-1]}:
                    self._by_name.setdefault(key, []).append(path)
        tidy = os.path.normpath(name).replace(os.sep, "/")
        last = tidy.rsplit("/", 1)[-1]
        for key in (tidy, self.stem(tidy), last, self.stem(last)):
            if key in self._by_name:
                return self._by_name[key]
        return []


class FrameFolderLookup(VideoLookup):
    """The same for folders of frames; a list may name them by the video's file."""

    kind = "frame folder"

    def is_there(self, path: Path) -> bool:
        try:
            return path.is_dir()
        except (OSError, ValueError):
            return False

    def all_names(self) -> Iterable[str]:
        return (folder.relative_to(self.root).as_posix() for folder in frame_folders(self.root))
