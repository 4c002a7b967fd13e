"""A folder per class: root/<class>/clip, or root/{train,val,test}/<class>/clip.

torchvision and FiftyOne keep Kinetics so; the former writes class names with "_" for blanks. Clips may lie deeper in a
class's folder. Classes are the folders' names sorted as plain text; an empty folder is a class too.
"""

import os
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

from vtk_cli.errors import DataError
from vtk_cli.formats.rows import SPLITS, VIDEO_SUFFIXES, ListRow, Parsed, Problem

LABEL_ORDER = "names of the class folders sorted as plain text"


def read(root: Path) -> Parsed:
    """Walk the folders; every row's path is relative to the root."""
    tops = _folders(root)
    parsed = Parsed(label_order=LABEL_ORDER)
    split_tree = bool(tops) and all(top.lower() in SPLITS for top in tops)
    names: set[str] = set()
    for top in tops:
        if split_tree:
            for name in _folders(root / top):
                names.add(_nfc(name))
                _add(parsed, root, f"{top}/{name}", _nfc(name), (SPLITS[top.lower()],))
            _stray(parsed, root, f"{top}/")
        else:
            names.add(_nfc(top))
            _add(parsed, root, top, _nfc(top), ())
    _stray(parsed, root, "")
    parsed.classes = tuple(sorted(names))
    return parsed


def clips(root: Path) -> Iterator[str]:
    """Every clip below a folder, as a relative path with "/", sorted; hidden files and AppleDouble are passed over."""
    for folder, folders, files in os.walk(root, onerror=_unreadable):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        relative = os.path.relpath(folder, root)
        prefix = "" if relative == "." else relative.replace(os.sep, "/") + "/"
        yield from (prefix + name for name in sorted(files) if _is_clip(name))


def _is_clip(name: str) -> bool:
    return not name.startswith(".") and Path(name).suffix.lower() in VIDEO_SUFFIXES


def _add(parsed: Parsed, root: Path, folder: str, label: str, splits: tuple[str, ...]) -> None:
    for clip in clips(root / folder):
        line = len(parsed.rows) + 1
        parsed.rows.append(ListRow(line=line, path=f"{folder}/{clip}", labels=(label,), splits=splits))


def _stray(parsed: Parsed, root: Path, folder: str) -> None:
    """A clip beside the class folders has no class: say so instead of leaving it out."""
    for entry in sorted((root / folder).iterdir()):
        if _is_clip(entry.name) and entry.is_file():
            reason = "lies beside the class folders; move it into one"
            parsed.problems.append(Problem(file=str(entry), line=0, reason=reason))


def _folders(root: Path) -> list[str]:
    try:
        with os.scandir(root) as found:
            return sorted(entry.name for entry in found if entry.is_dir() and not entry.name.startswith("."))
    except OSError as error:
        _unreadable(error)


def _unreadable(error: OSError) -> NoReturn:
    raise DataError(f"The folder {error.filename} cannot be read: {error.strerror}. Check the path.") from error


def _nfc(name: str) -> str:
    return unicodedata.normalize("NFC", name)
