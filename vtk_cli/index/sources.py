"""From what the user names to parsed lists: which files are read, in which format, and where their videos lie."""

import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from vtk_cli.errors import DataError, UsageError
from vtk_cli.formats import folders, known, slowfast
from vtk_cli.formats.frame_folders import read_tree
from vtk_cli.formats.rows import Parsed, numbered_lines, read_text, split_of, whole_number
from vtk_cli.index.request import IndexRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadList:
    """One list file, or the folder tree, after reading."""

    file: Path
    forced_split: str = ""
    """What all its rows get, whatever they name."""
    split: str = ""
    """What its rows get that name no split."""
    parsed: Parsed


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    format: str
    root: Path
    """The folder of the videos, absolute."""
    lists: tuple[ReadList, ...]
    flip: bool


def read_sources(request: IndexRequest) -> Sources:
    """Read everything that the request names.

    Raises:
        UsageError: a wrong format name, or a source that can be read in two ways.
        DataError: a file or folder is absent, unreadable, or in no known format.
    """
    if request.format not in ("auto", known.FOLDERS):
        known.list_format(request.format)
    if not request.path.exists():
        raise DataError(f"There is no file or folder {request.path}. Check the path.")
    files = _files(request)
    if not files:
        root = (request.videos or request.path).absolute()
        frames = request.format in known.FRAMES
        tree = ReadList(file=root, split=request.split, parsed=(read_tree if frames else folders.read)(root))
        return Sources(format=request.format if frames else known.FOLDERS, root=root, lists=(tree,), flip=True)
    name = _agreed_format(request, [path for _, path in files])
    lists = tuple(_read(request, name, split, path) for split, path in files)
    beside = request.path if request.path.is_dir() else request.path.parent
    root = (request.videos or beside).absolute()
    if not root.is_dir():
        raise DataError(f"The folder of the videos should be at {root}, found none. Name it with --videos.")
    return Sources(format=name, root=root, lists=lists, flip=known.list_format(name).flip)


def _files(request: IndexRequest) -> list[tuple[str, Path]]:
    """(split, list file) of every list; none when the path is a folder of class folders."""
    if request.lists:
        if request.format == known.FOLDERS:
            raise UsageError("--format folders reads no lists, found --list. Drop one of the two.")
        return list(request.lists)
    if request.path.is_file():
        return [("", request.path)]
    if request.format == known.FOLDERS:
        return []
    found = known.list_files(request.path)
    if not found and request.format in known.LISTS:
        raise DataError(
            f"There is no list file in {request.path} whose name says train, val or test. Name the files with "
            "--list train=FILE --list val=FILE."
        )
    return [("", path) for path in found]


def _agreed_format(request: IndexRequest, files: list[Path]) -> str:
    if request.format != "auto":
        return request.format
    names = {known.recognise(path): path for path in files}
    if len(names) > 1:
        listed = ", ".join(f"{path.name} is {name}" for name, path in names.items())
        raise UsageError(f"The lists should be in one format, found: {listed}. Name files with --list or say --format.")
    return next(iter(names))


def _read(request: IndexRequest, name: str, split: str, path: Path) -> ReadList:
    read = known.list_format(name).read
    if name == "slowfast" and request.separator:
        read = partial(slowfast.read, separator=request.separator)
    elif request.separator:
        raise UsageError(f"--separator is for the format slowfast, found {name}. Drop it or say --format slowfast.")
    parsed = read(path)
    return ReadList(file=path, forced_split=split, split=request.split or split_of(path.name), parsed=parsed)


def read_classes(path: Path) -> tuple[str, ...]:
    """Class names from a file: one per line in label order, `number name` lines, or a JSON object name -> number.

    Raises:
        DataError: a name or number comes twice, or numbers are left out.
    """
    text = read_text(path)
    lines = [line for _, line in numbered_lines(text)]
    if text.lstrip()[:1] in ("{", "["):
        names = _json_classes(path, text)
    else:
        first = [whole_number(line.split()[0]) for line in lines]
        numbered = first in (list(range(len(lines))), list(range(1, len(lines) + 1)))
        numbered = numbered and all(len(line.split()) > 1 for line in lines)
        names = [line.split(maxsplit=1)[1] for line in lines] if numbered else lines
    twice = sorted({name for name in names if names.count(name) > 1}) if len(set(names)) < len(names) else []
    if not names or twice:
        found = f"{twice[0]!r} twice" if twice else "none"
        raise DataError(f"{path} should hold different class names, found {found}. Mend the file.")
    return tuple(names)


def _json_classes(path: Path, text: str) -> list[str]:
    try:
        found = json.loads(text)
    except ValueError as error:
        raise DataError(f"{path} should be JSON, found: {error}. Mend it or write one name per line.") from error
    if isinstance(found, list) and all(isinstance(name, str) for name in found):
        return found
    if isinstance(found, dict):
        numbers = {whole_number(str(value)): name for name, value in found.items()}
        if set(numbers) == set(range(len(found))):
            return [numbers[number] for number in range(len(found))]
    raise DataError(f"{path} should be a JSON list of names, or name -> number from 0. Write one name per line.")
