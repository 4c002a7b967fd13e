"""What every list format is read into, and the small parts that their readers share."""

import json
import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vtk_cli.errors import DataError

VIDEO_SUFFIXES = frozenset(
    {".3gp", ".avi", ".flv", ".gif", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".ogv", ".ts", ".webm", ".wmv"}
)
"""Files that count as clips when a folder is walked; lists may name others. Decoders go by content."""

SPLITS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validate": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}
"""The names that other tools give the three splits."""

_SPLIT_WORD = re.compile(r"(?<![a-z])(train(?:ing)?|val(?:id(?:ate|ation)?)?|test(?:ing)?)(?![a-z])", re.IGNORECASE)
_DIVISION = re.compile(r"(train|val|test)[0-9]+\.[a-z]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class ListRow:
    """One line of a list: a video as the list names it."""

    line: int
    """From 1; in JSON the line where the entry begins."""
    path: str
    """Absolute, relative to the videos' folder, or a clip's name without folder or suffix."""
    labels: tuple[int | str, ...] = ()
    """Class numbers from 0 or class names; empty where the list gives none."""
    splits: tuple[str, ...] = ()
    start_seconds: float | None = None
    """Of the clip in its source video."""
    end_seconds: float | None = None
    frames: int | None = None
    """How many frames the list says the clip has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Why a line of a list cannot be used."""

    file: str
    line: int
    """From 1; 0 when it is the whole file."""
    reason: str

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}" if self.line else self.file
        return f"{where}: {self.reason}"


@dataclass(slots=True)
class Parsed:
    """A list that was read: its rows, the lines that make no row, and the classes where the format states them."""

    rows: list[ListRow] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    classes: tuple[str, ...] | None = None
    label_order: str = ""
    """Which order `classes` is in, in words."""


def read_text(path: Path) -> str:
    """A list file as text, without byte-order mark.

    Raises:
        DataError: the file cannot be read, or is no UTF-8 text.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise DataError(f"The list {path} cannot be read: {error.strerror or error}. Check the path.") from error
    except UnicodeDecodeError as error:
        raise DataError(
            f"The list {path} should be UTF-8 text, found byte {error.object[error.start]:#04x} at {error.start}. "
            "Convert it, or check that it is the list and no video or archive."
        ) from error
    if "\0" in text:
        raise DataError(f"The list {path} should be text, found zero bytes. Check that it is the list.")
    return text


def numbered_lines(text: str) -> Iterator[tuple[int, str]]:
    """(number from 1, line without line end and outer blanks) of every line that is not empty."""
    # str.splitlines would also cut at form feeds and Unicode's separators, which may stand in file names.
    for number, line in enumerate(re.split(r"\r\n|\n|\r", text), 1):
        stripped = line.strip()
        if stripped:
            yield number, stripped


def whole_number(text: str) -> int | None:
    """An integer in plain decimal digits, or None.

    >>> whole_number("12"), whole_number("-1"), whole_number("1.5"), whole_number("")
    (12, -1, None, None)
    """
    return int(text) if re.fullmatch(r"[+-]?[0-9]{1,15}", text) else None


def trailing_numbers(fields: list[str], *, most: int | None = None) -> int:
    """How many fields at the end are whole numbers; the first field never counts, it names the video.

    >>> trailing_numbers(["my", "clip.mp4", "0", "3"])
    2
    """
    count = 0
    for text in reversed(fields[1:]):
        if whole_number(text) is None or count == most:
            break
        count += 1
    return count


def unquoted(text: str) -> str:
    """A field without the pair of quotes round it.

    >>> unquoted('"using segway"')
    'using segway'
    """
    return text[1:-1] if len(text) >= 2 and text[0] == text[-1] and text[0] in "\"'" else text


def split_of(name: str) -> str:
    """The split that a file's or folder's name speaks of, or nothing; a division's number only where nothing else is.

    >>> split_of("kinetics400_val_list_videos.txt"), split_of("trainlist01.txt"), split_of("contest.csv")
    ('val', 'train', '')
    >>> split_of("train1.txt"), split_of("ucf101_train_split_1.txt")
    ('train1', 'train')
    """
    if _DIVISION.fullmatch(name):
        return name.partition(".")[0]
    text = re.sub(r"(?i)(train|test|val)(list)", r"\1_\2", name)
    found = {SPLITS[word.lower()] for word in _SPLIT_WORD.findall(text)}
    return found.pop() if len(found) == 1 else ""


def entries(path: Path, text: str, *inside: str) -> Iterator[tuple[int, str, Any]]:
    """(line, key, value) of each member of a JSON object or array, below the keys `inside`; an array's keys are "".

    `json.loads` would tell no line numbers and drop all but the last of equal keys.

    Raises:
        DataError: this is no JSON, or no object or array is there.
    """
    starts = [0, *(match.end() for match in re.finditer("\n", text))]
    try:
        position = _value_start(text, _skip(text, 0), inside)
        for start, key, value, _ in _members(text, position):
            yield bisect_right(starts, start), key, value
    except (ValueError, IndexError, RecursionError) as error:
        raise DataError(f"{path} should be JSON, found: {error}. Mend or replace it.") from error


def _value_start(text: str, position: int, inside: tuple[str, ...]) -> int:
    for wanted in inside:
        for _, key, _, start in _members(text, position):
            if key == wanted:
                position = start
                break
        else:
            raise ValueError(f'no key "{wanted}"')
    return position


def _members(text: str, position: int) -> Iterator[tuple[int, str, Any, int]]:
    """(where the member begins, key, value, where the value begins) in the object or array at `position`."""
    decoder = json.JSONDecoder(parse_constant=_no_constant)
    closing = {"{": "}", "[": "]"}.get(text[position : position + 1])
    if closing is None:
        raise ValueError("no object or array where the entries should be")
    position = _skip(text, position + 1)
    if text[position] == closing:
        return
    while True:
        begin, key = position, ""
        if closing == "}":
            key, position = decoder.raw_decode(text, position)
            position = _expect(text, _skip(text, position), ":")
            if not isinstance(key, str):
                raise ValueError(f"a key that is no text: {key!r}")
        start = position
        value, position = decoder.raw_decode(text, position)
        yield begin, key, value, start
        position = _skip(text, position)
        if text[position] == closing:
            return
        position = _expect(text, position, ",")


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON number")


def _skip(text: str, position: int) -> int:
    while text[position : position + 1] in (" ", "\t", "\r", "\n"):
        position += 1
    return position


def _expect(text: str, position: int, mark: str) -> int:
    if text[position] != mark:
        raise ValueError(f"{text[position]!r} at character {position} where {mark!r} should stand")
    return _skip(text, position + 1)


def labels_of(value: Any) -> tuple[int | str, ...] | None:
    """A JSON label: a whole number, a name, or a list of these; None when it is neither."""
    values = value if isinstance(value, list) else [value]
    if all((isinstance(v, int) and not isinstance(v, bool)) or (isinstance(v, str) and v.strip()) for v in values):
        return tuple(v.strip() if isinstance(v, str) else v for v in values)
    return None


def plain(rows: Iterable[ListRow], write: Any) -> str:
    """One line of text per row, as `write` puts it."""
    return "".join(f"{write(row)}\n" for row in rows)
