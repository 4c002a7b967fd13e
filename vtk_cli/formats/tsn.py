"""The lists of TSN, TSM, TRN and X-Temporal, and of VideoMAE V2's pre-training.

    v_ApplyEyeMakeup_g01_c01 163 0                       folder or video, number of frames, class number from 0
    cooking/yt-SSLy25MQb9g_307.mp4 91 264,311,7          X-Temporal with several labels
    abseiling/x.mp4 0 -1                                 VideoMAE V2: no label; -1 says that this is a video

Sources: tsn-pytorch dataset.py, X-Temporal dataset/video_dataset.py, VideoMAEv2 dataset/pretrain_datasets.py. TSN's own
lists count N-1 of a clip's N frames, because its tool writes one picture per flow pair.
"""

from collections.abc import Iterable
from pathlib import Path

from vtk_cli.errors import UsageError
from vtk_cli.formats.mmaction2 import check_path
from vtk_cli.formats.rows import ListRow, Parsed, Problem, numbered_lines, plain, read_text, unquoted, whole_number


def read(path: Path) -> Parsed:
    """`name frames label[,label ...]`; a single -1 stands for no label."""
    parsed = Parsed()
    for number, line in numbered_lines(read_text(path)):
        fields = line.rsplit(maxsplit=2)
        frames = whole_number(fields[1]) if len(fields) == 3 else None
        labels = [whole_number(label) for label in fields[-1].rstrip(",").split(",")]
        if frames is None or frames < 0 or None in labels:
            reason = f"should be a name, a number of frames and a class number, found {line[:80]!r}"
            parsed.problems.append(Problem(file=str(path), line=number, reason=reason))
            continue
        numbers = tuple(label for label in labels if label is not None and labels != [-1])
        parsed.rows.append(ListRow(line=number, path=unquoted(fields[0]), labels=numbers, frames=frames))
    return parsed


def write(rows: Iterable[ListRow]) -> str:
    """The list of these rows; raises UsageError for a row without number of frames or class numbers."""
    return plain(rows, _line)


def _line(row: ListRow) -> str:
    if row.frames is None or not row.labels or not all(isinstance(label, int) for label in row.labels):
        raise UsageError(
            f"TSN's list holds a number of frames and class numbers, {row.path} lacks one. Choose another."
        )
    check_path(row.path)
    return f"{row.path} {row.frames} {','.join(map(str, row.labels))}"


def read_videomae(path: Path) -> Parsed:
    """`path 0 -1`: videos without labels."""
    parsed = Parsed()
    for number, line in numbered_lines(read_text(path)):
        fields = line.rsplit(maxsplit=2)
        if len(fields) < 3 or whole_number(fields[1]) is None or fields[2] != "-1":
            reason = f"should be a path, 0 and -1, found {line[:80]!r}; lists with numbers of frames name frame folders"
            parsed.problems.append(Problem(file=str(path), line=number, reason=reason))
            continue
        parsed.rows.append(ListRow(line=number, path=unquoted(fields[0])))
    return parsed
