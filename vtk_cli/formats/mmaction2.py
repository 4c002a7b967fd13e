"""MMAction2's lists (datasets/video_dataset.py, rawframe_dataset.py of open-mmlab/mmaction2).

    videos       abseiling/0wR5jVB-WPk_000417_000427.mp4 0        path label [label ...]
    raw frames   ApplyEyeMakeup/v_ApplyEyeMakeup_g01_c01 164 0    dir total_frames label [label ...]
    json         [{"filename": "abseiling/x.mp4", "label": 0}]    or "frame_dir" with "total_frames"

Labels count from 0. A path may hold blanks: the labels are the whole numbers at the end of a line.
"""

import json
from collections.abc import Iterable
from pathlib import Path

from vtk_cli.errors import UsageError
from vtk_cli.formats.rows import (
    ListRow,
    Parsed,
    Problem,
    entries,
    labels_of,
    numbered_lines,
    plain,
    read_text,
    trailing_numbers,
    unquoted,
)


def read_videos(path: Path) -> Parsed:
    """The video list, one or several labels per line."""
    parsed = Parsed()
    for number, line in numbered_lines(read_text(path)):
        fields = line.split()
        count = trailing_numbers(fields)
        if count == 0:
            reason = f"should be a path and one or more class numbers, found {line[:80]!r}"
            parsed.problems.append(Problem(file=str(path), line=number, reason=reason))
            continue
        name = line.rsplit(maxsplit=count)[0]
        parsed.rows.append(ListRow(line=number, path=unquoted(name), labels=tuple(int(f) for f in fields[-count:])))
    return parsed


def read_frames(path: Path) -> Parsed:
    """The list of raw frames: `dir total_frames label [label ...]`; a single -1 stands for no label."""
    parsed = Parsed()
    for number, line in numbered_lines(read_text(path)):
        count = trailing_numbers(line.split())
        if count < 2:
            reason = f"should be a folder, a number of frames and class numbers, found {line[:80]!r}"
            parsed.problems.append(Problem(file=str(path), line=number, reason=reason))
            continue
        name, frames, *labels = line.rsplit(maxsplit=count)
        numbers = tuple(int(label) for label in labels if labels != ["-1"])
        row = ListRow(line=number, path=unquoted(name), labels=numbers, frames=int(frames))
        parsed.rows.append(row)
    return parsed


def read_json(path: Path) -> Parsed:
    """The JSON list of videos or frame folders."""
    parsed = Parsed()
    for number, _, entry in entries(path, read_text(path)):
        row = _json_row(number, entry)
        if row is None:
            reason = 'should hold "filename" or "frame_dir" and "label", found ' + json.dumps(entry)[:80]
            parsed.problems.append(Problem(file=str(path), line=number, reason=reason))
        else:
            parsed.rows.append(row)
    return parsed


def _json_row(number: int, entry: object) -> ListRow | None:
    if not isinstance(entry, dict):
        return None
    name = entry.get("filename", entry.get("frame_dir"))
    labels = labels_of(entry.get("label", []))
    frames = entry.get("total_frames")
    if not isinstance(name, str) or not name.strip() or labels is None or not isinstance(frames, int | None):
        return None
    return ListRow(line=number, path=name, labels=labels, frames=frames)


def write_videos(rows: Iterable[ListRow]) -> str:
    """The video list of these rows.

    Raises:
        UsageError: a row has no class number, or a path that the format cannot hold.
    """
    return plain(rows, _video_line)


def _video_line(row: ListRow) -> str:
    if not row.labels or not all(isinstance(label, int) for label in row.labels):
        raise UsageError(f"MMAction2's list holds class numbers, found {row.labels} for {row.path}. Choose another.")
    check_path(row.path)
    return " ".join([row.path, *map(str, row.labels)])


def check_path(path: str) -> None:
    """Raises UsageError for a path that would not be read back from a line whose fields blanks divide."""
    fields = path.split()
    ambiguous = len(fields) > 1 and trailing_numbers(fields) > 0
    if not fields or path != path.strip() or ambiguous or unquoted(path) != path or any(c in path for c in "\r\n\0"):
        raise UsageError(f"A line of a list cannot hold the path {path!r}. Rename the clip or use a JSON list.")


def write_json(rows: Iterable[ListRow]) -> str:
    """The JSON list of these rows."""
    found = []
    for row in rows:
        label = row.labels[0] if len(row.labels) == 1 else list(row.labels)
        found.append({"filename": row.path, "label": label})
    return json.dumps(found, indent=1, ensure_ascii=False) + "\n"
