"""Reading label files and annotation tables; every refusal names the file and the line."""

import csv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib import resources
from pathlib import Path

from vtk_cli.api.datasets import VideoRow
from vtk_cli.errors import DataError, did_you_mean


def read_labels(name: str) -> tuple[str, ...]:
    """Class names in label order, from the file `labels/<name>.txt` of this package."""
    text = resources.files("vtk_cli.datasets").joinpath("labels", f"{name}.txt").read_text(encoding="utf-8")
    return tuple(text.split("\n")[:-1])


def read_lines(path: Path) -> Iterator[tuple[str, str]]:
    """(where, line) of every line that is not blank; line ends of any system, a byte-order mark is passed over.

    Raises:
        DataError: the file is absent or not text.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        reason = error.strerror or str(error)
        raise DataError(f"The annotation {path} should be there, found: {reason}. Run `vtk download` again.") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path} should be text, found bytes that are not ({error}). Fetch it again.") from error
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip():
            yield f"{path}, line {number}", line


def read_csv(path: Path, columns: Sequence[str]) -> Iterator[tuple[str, dict[str, str]]]:
    """(where, row) of a table with a heading.

    Raises:
        DataError: a column is absent, or a row has too few fields.
    """
    lines = list(read_lines(path))
    heading = next(csv.reader(line for _, line in lines[:1]), [])
    absent = [column for column in columns if column not in heading]
    if absent:
        raise DataError(
            f"{path} should begin with the columns {', '.join(columns)}, found {', '.join(heading) or 'nothing'}. "
            "Delete it and run `vtk download` again; behind a login page, fetch it by hand and use --from DIR."
        )
    for where, line in lines[1:]:
        try:
            fields = next(csv.reader([line]))
        except csv.Error as error:
            raise DataError(f"{where}: should be a csv row, found: {error}. Fetch the file again.") from error
        if len(fields) < len(heading):
            raise DataError(f"{where}: should have {len(heading)} fields, found {len(fields)}. Fetch the file again.")
        yield where, dict(zip(heading, fields, strict=False))


def class_number(where: str, name: str, numbers: Mapping[str, int]) -> int:
    """Raises DataError when there is no class of this name."""
    if name not in numbers:
        raise DataError(f"{where}: should name a class, found {name!r}. {did_you_mean(name, numbers)}")
    return numbers[name]


def merge(rows: Iterable[VideoRow]) -> list[VideoRow]:
    """One row per id: the splits of all that name it, the labels of the first that has any."""
    merged: dict[str, VideoRow] = {}
    for row in rows:
        known = merged.get(row.id)
        if known is None:
            merged[row.id] = row
            continue
        merged[row.id] = VideoRow(
            id=row.id,
            path=known.path,
            labels=known.labels or row.labels,
            splits=tuple(dict.fromkeys((*known.splits, *row.splits))),
            start_seconds=known.start_seconds,
            end_seconds=known.end_seconds,
        )
    return list(merged.values())
