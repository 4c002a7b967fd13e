"""The annotation of Kinetics, as csv and as DeepMind's json.

    label,youtube_id,time_start,time_end,split[,is_cc]     testifying,---QUuC4vJs,84,94,train
    youtube_id,time_start,time_end,split[,is_cc]           --6bJUbfpnQ,17,27,test             (no labels)
    {"---QUuC4vJs": {"annotations": {"label": "testifying", "segment": [84.0, 94.0]}, "subset": "train", ...}}

The clip is {youtube_id}_{start:06d}_{end:06d}.mp4; its name is what a row's path holds. The order of columns is taken
from the header; a file without one has the orders above. The crawler of ActivityNet calls the first `label-name`.
"""

import csv
import io
import json
import math
import re
from collections.abc import Iterable
from pathlib import Path

from vtk_cli.errors import DataError, UsageError
from vtk_cli.formats.rows import SPLITS, ListRow, Parsed, Problem, entries, read_text

COLUMNS = ("label", "youtube_id", "time_start", "time_end", "split", "is_cc")
_CLIP = re.compile(r"(?s)(.+)_([0-9]{6})_([0-9]{6})")
LABEL_ORDER = "class names sorted as plain text, as I3D, MMAction2 and TSM order Kinetics"


def clip_name(youtube_id: str, start_seconds: float, end_seconds: float) -> str:
    """The name of a trimmed clip, without suffix.

    >>> clip_name("0wR5jVB-WPk", 417, 427)
    '0wR5jVB-WPk_000417_000427'
    """
    return f"{youtube_id}_{int(start_seconds):06d}_{int(end_seconds):06d}"


def clip_seconds(name: str) -> tuple[str, int, int] | None:
    """(id, start, end) that a clip's name without suffix speaks of, or None.

    >>> clip_seconds("0wR5jVB-WPk_000417_000427")
    ('0wR5jVB-WPk', 417, 427)
    """
    match = _CLIP.fullmatch(name)
    return (match[1], int(match[2]), int(match[3])) if match else None


def read_csv(path: Path) -> Parsed:
    """The csv, with or without labels, with or without header."""
    parsed = Parsed(label_order=LABEL_ORDER)
    reader = csv.reader(io.StringIO(read_text(path), newline=""), skipinitialspace=True)
    columns: list[str] | None = None
    try:
        for fields in reader:
            values = [field.strip() for field in fields]
            if not any(values):
                continue
            if columns is None:
                columns = _columns(values)
                if "youtube_id" in values:
                    continue
            _add(parsed, path, reader.line_num, dict(zip(columns, values, strict=False)))
    except csv.Error as error:
        raise DataError(f"{path} should be csv, found at line {reader.line_num}: {error}. Mend it.") from error
    return parsed


def _columns(first: list[str]) -> list[str]:
    if "youtube_id" in first:
        return ["label" if name == "label-name" else name for name in first]
    timed = len(first) >= 3 and _seconds(first[1]) is not None and _seconds(first[2]) is not None
    return list(COLUMNS[1:] if timed else COLUMNS)


def _add(parsed: Parsed, path: Path, line: int, values: dict[str, str]) -> None:
    start, end = _seconds(values.get("time_start", "")), _seconds(values.get("time_end", ""))
    name = values.get("youtube_id", "")
    if not name or start is None or end is None or end < start:
        reason = f"should be {','.join(COLUMNS[:5])} with times in seconds, found {','.join(values.values())[:80]!r}"
        parsed.problems.append(Problem(file=str(path), line=line, reason=reason))
        return
    label = values.get("label", "")
    parsed.rows.append(_row(line, name, label, (start, end), values.get("split", "")))


def _row(line: int, name: str, label: str, seconds: tuple[float, float], split: str) -> ListRow:
    start, end = seconds
    return ListRow(
        line=line,
        path=clip_name(name, start, end),
        labels=(label,) if label else (),
        splits=(SPLITS.get(split.lower(), split),) if split else (),
        start_seconds=start,
        end_seconds=end,
    )


def _seconds(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) and 0 <= value < 1e6 else None


def read_json(path: Path) -> Parsed:
    """DeepMind's json."""
    parsed = Parsed(label_order=LABEL_ORDER)
    for line, name, entry in entries(path, read_text(path)):
        row = _json_row(line, name, entry)
        if row is None:
            found = json.dumps(entry)[:80]
            reason = f'should hold "annotations" with "label" and "segment", and "subset"; found {found}'
            parsed.problems.append(Problem(file=str(path), line=line, reason=reason))
        else:
            parsed.rows.append(row)
    return parsed


def _json_row(line: int, name: str, entry: object) -> ListRow | None:
    noted = entry.get("annotations") if isinstance(entry, dict) else None
    if not isinstance(noted, dict) or not isinstance(entry, dict) or not name:
        return None
    segment, label, subset = noted.get("segment"), noted.get("label", ""), entry.get("subset", "")
    if not isinstance(segment, list) or len(segment) != 2 or not isinstance(label, str) or not isinstance(subset, str):
        return None
    start, end = (_seconds(str(value)) for value in segment)
    if start is None or end is None or end < start:
        return None
    return _row(line, name, label.strip(), (start, end), subset.strip())


def write_csv(rows: Iterable[ListRow]) -> str:
    """The csv with header of these rows; all labelled or none.

    Raises:
        UsageError: a row's path is no Kinetics clip name, or it has several labels or splits.
    """
    found = list(rows)
    labelled = any(row.labels for row in found)
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS[0 if labelled else 1 : 5])
    for row in found:
        clip = clip_seconds(row.path)
        if clip is None or len(row.labels) != labelled or len(row.splits) > 1:
            raise UsageError(f"The Kinetics csv cannot hold the clip {row.path!r}. Choose another format.")
        writer.writerow([*row.labels, *clip, *(row.splits or ("",))])
    return text.getvalue()
