"""SlowFast's and pytorchvideo's csv: no header, one separator (DATA.PATH_LABEL_SEPARATOR, a blank unless told).

    /data/k400/abseiling/x.mp4 0           path label
    /data/k400/abseiling/x.mp4 300 0       path frames label
    /data/k400/abseiling/x.mp4             path alone, for pre-training: no label

Source: SlowFast datasets/kinetics.py `_construct_loader`, which splits at every separator, so that a path must not
hold one. Here the numbers at the end of a line are taken off and the rest is the path.
"""

from collections.abc import Iterable
from pathlib import Path

from vtk_cli.errors import UsageError
from vtk_cli.formats.rows import (
    ListRow,
    Parsed,
    Problem,
    numbered_lines,
    plain,
    read_text,
    trailing_numbers,
    unquoted,
    whole_number,
)

SEPARATOR = " "


def read(path: Path, separator: str = SEPARATOR) -> Parsed:
    """One to three fields per line."""
    parsed = Parsed()
    for number, line in numbered_lines(read_text(path)):
        fields = [unquoted(text.strip()) for text in line.split(separator)]
        count = trailing_numbers(fields, most=2)
        name = separator.join(line.split(separator)[: len(fields) - count]).strip()
        if not name:
            reason = f"should be a path and a class number, found {line[:80]!r}"
            parsed.problems.append(Problem(file=str(path), line=number, reason=reason))
            continue
        labels = (int(fields[-1]),) if count else ()
        frames = whole_number(fields[-2]) if count == 2 else None
        parsed.rows.append(ListRow(line=number, path=unquoted(name), labels=labels, frames=frames))
    return parsed


def write(rows: Iterable[ListRow], separator: str = SEPARATOR) -> str:
    """The csv of these rows; raises UsageError for a path or labels that it cannot hold."""
    return plain(rows, lambda row: _line(row, separator))


def _line(row: ListRow, separator: str) -> str:
    labels = [label for label in row.labels if isinstance(label, int)]
    if len(labels) > 1 or len(labels) < len(row.labels):
        raise UsageError(f"SlowFast's csv holds one class number, found {row.labels} for {row.path}. Choose another.")
    name = row.path
    if (
        separator in name
        or name != name.strip()
        or unquoted(name) != name
        or not name
        or any(c in name for c in "\r\n")
    ):
        raise UsageError(f"SlowFast's csv cannot hold the path {name!r}. Choose another separator or rename the clip.")
    frames = [row.frames] if row.frames is not None and labels else []
    return separator.join([name, *map(str, frames), *map(str, labels)])
