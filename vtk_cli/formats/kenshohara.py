"""kenshohara's json (3D-ResNets-PyTorch), in the old form and that of 2020, which adds the numbers of frames.

    {"labels": ["ApplyEyeMakeup"], "database": {"v_ApplyEyeMakeup_g08_c01":
        {"subset": "training", "annotations": {"label": "ApplyEyeMakeup", "segment": [1, 165]}}}}

Frames count from 1 and the segment's end is exclusive: [1, 165] are 164 frames. The order of "labels" is the labels'.
"""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from vtk_cli.errors import UsageError
from vtk_cli.formats.rows import SPLITS, ListRow, Parsed, Problem, entries, read_text

_SUBSETS = {"train": "training", "val": "validation", "test": "testing"}


def read(path: Path) -> Parsed:
    """Either form."""
    text = read_text(path)
    top = {key: value for _, key, value in entries(path, text) if key == "labels"}
    labels = top.get("labels")
    parsed = Parsed(label_order=f'the order of "labels" in {path.name}')
    if isinstance(labels, list) and all(isinstance(label, str) for label in labels) and len(set(labels)) == len(labels):
        parsed.classes = tuple(labels)
    else:
        reason = '"labels" should be a list of different class names'
        parsed.problems.append(Problem(file=str(path), line=0, reason=reason))
    for line, name, entry in entries(path, text, "database"):
        row = _row(line, name, entry)
        if row is None:
            reason = f'should hold "subset" and "annotations" with "label", found {json.dumps(entry)[:80]}'
            parsed.problems.append(Problem(file=str(path), line=line, reason=reason))
        else:
            parsed.rows.append(row)
    return parsed


def _row(line: int, name: str, entry: object) -> ListRow | None:
    if not isinstance(entry, dict) or not name:
        return None
    subset, noted = entry.get("subset"), entry.get("annotations", {})
    if not isinstance(subset, str) or not isinstance(noted, dict):
        return None
    label, segment = noted.get("label", ""), noted.get("segment")
    if not isinstance(label, str):
        return None
    return ListRow(
        line=line,
        path=name,
        labels=(label,) if label else (),
        splits=(SPLITS.get(subset, subset),) if subset else (),
        frames=_frames(segment),
    )


def _frames(segment: object) -> int | None:
    """Number of frames of a segment in frames; None where there is none or it is in seconds."""
    if not isinstance(segment, list) or len(segment) != 2 or not all(type(value) is int for value in segment):
        return None
    begin, end = segment
    return end - begin if begin == 1 and end > begin else None


def write(rows: Iterable[ListRow], classes: Sequence[str]) -> str:
    """The json of 2020 of these rows; several splits of one clip cannot be told apart in it."""
    database: dict[str, object] = {}
    for row in rows:
        if len(row.labels) > 1 or len(row.splits) > 1 or row.path in database:
            raise UsageError(f"kenshohara's json cannot hold {row.path!r} with {row.labels} in {row.splits}.")
        noted: dict[str, object] = {"label": _name(row.labels[0], classes)} if row.labels else {}
        if row.frames is not None:
            noted["segment"] = [1, row.frames + 1]
        split = row.splits[0] if row.splits else ""
        database[row.path] = {"subset": _SUBSETS.get(split, split), "annotations": noted}
    return json.dumps({"labels": list(classes), "database": database}, ensure_ascii=False) + "\n"


def _name(label: int | str, classes: Sequence[str]) -> str:
    return classes[label] if isinstance(label, int) else label
