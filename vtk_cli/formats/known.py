"""Every format by the name that `vtk index --format` takes, and which one a file or folder is in."""

import json
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from vtk_cli.errors import DataError, UsageError, did_you_mean
from vtk_cli.formats import kenshohara, kinetics, mmaction2, moments, slowfast, tsn, twentybn, ucf101
from vtk_cli.formats.rows import (
    VIDEO_SUFFIXES,
    Parsed,
    entries,
    numbered_lines,
    read_text,
    split_of,
    trailing_numbers,
    whole_number,
)


@dataclass(frozen=True, slots=True)
class ListFormat:
    """One kind of list file."""

    read: Callable[[Path], Parsed]
    example: str
    """What a line looks like."""
    flip: bool = True
    """False where the classes change under mirroring."""


LISTS = {
    "mmaction2": ListFormat(mmaction2.read_videos, "abseiling/x.mp4 0 [3 ...]"),
    "mmaction2-json": ListFormat(mmaction2.read_json, '[{"filename": "abseiling/x.mp4", "label": 0}]'),
    "tsn": ListFormat(tsn.read, "v_ApplyEyeMakeup_g01_c01 163 0[,7 ...]"),
    "videomae": ListFormat(tsn.read_videomae, "abseiling/x.mp4 0 -1"),
    "slowfast": ListFormat(slowfast.read, "/data/k400/abseiling/x.mp4 [300] [0]"),
    "kinetics-csv": ListFormat(kinetics.read_csv, "label,youtube_id,time_start,time_end,split[,is_cc]"),
    "kinetics-json": ListFormat(kinetics.read_json, '{"---QUuC4vJs": {"annotations": {...}, "subset": "train"}}'),
    "kenshohara": ListFormat(kenshohara.read, '{"labels": [...], "database": {...}}'),
    "ucf101": ListFormat(ucf101.read_ucf101, "ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01.avi 1"),
    "hmdb51": ListFormat(ucf101.read_hmdb51, "April_09_brush_hair_u_nm_np1_ba_goo_0.avi 1"),
    "something-v2": ListFormat(twentybn.read_something, '[{"id": "78687", "template": "..."}]', flip=False),
    "jester": ListFormat(twentybn.read_csv, "34870;Drumming Fingers", flip=False),
    "moments": ListFormat(moments.read, "blocking/x.mp4,blocking,3,0"),
}
FRAMES = {
    "tsn-frames": ListFormat(tsn.read, "v_ApplyEyeMakeup_g01_c01 163 0"),
    "denseflow-frames": ListFormat(mmaction2.read_frames, "ApplyEyeMakeup/v_ApplyEyeMakeup_g01_c01 164 0 [3 ...]"),
    "mmaction2-rawframes": ListFormat(mmaction2.read_frames, "ApplyEyeMakeup/v_ApplyEyeMakeup_g01_c01 164 0 [3 ...]"),
}
"""Layouts of frame folders, with the lists that go with them."""

FOLDERS = "folders"
NAMES = ("auto", FOLDERS, *LISTS, *FRAMES)

_LIST_SUFFIXES = frozenset({".txt", ".csv", ".json"})


def list_format(name: str) -> ListFormat:
    """The format of this name; raises UsageError when there is none."""
    found = LISTS.get(name) or FRAMES.get(name)
    if found is None:
        raise UsageError(f'There is no format "{name}". {did_you_mean(name, NAMES, most=40)}')
    return found


def list_files(folder: Path) -> list[Path]:
    """The list files in a folder: those whose name speaks of a split, or that are UCF101's or HMDB51's; sorted."""
    return sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in _LIST_SUFFIXES
        and not path.name.startswith(".")
        and (split_of(path.name) or ucf101.HMDB51_LIST.fullmatch(path.name))
        and path.is_file()
    )


def recognise(path: Path) -> str:
    """The name of the format that a list file is in.

    Raises:
        DataError: it is in none of them.
        UsageError: it can be read in two ways.
    """
    if ucf101.HMDB51_LIST.fullmatch(path.name):
        return "hmdb51"
    if ucf101.UCF101_LIST.fullmatch(path.name):
        return "ucf101"
    text = read_text(path)
    found = _json_format(path, text) if text.lstrip()[:1] in ("{", "[") else _text_format(path, text)
    if found is None:
        raise DataError(f"The list {path} is in no format that is known. {_choices()}")
    return found


def _json_format(path: Path, text: str) -> str | None:
    first = next(entries(path, text), None)
    if first is None:
        return None
    _, key, value = first
    if not key:
        names = set(value) if isinstance(value, dict) else set()
        if names & {"filename", "frame_dir"}:
            return "mmaction2-json"
        return "something-v2" if "id" in names else None
    if any(name == "database" for _, name, _ in entries(path, text)):
        return "kenshohara"
    return "kinetics-json" if isinstance(value, dict) and "annotations" in value else None


def _text_format(path: Path, text: str) -> str | None:
    lines = [line for _, line in numbered_lines(text)]
    if not lines:
        raise DataError(f"The list {path} is empty. Check that it was written whole.")
    first = lines[0]
    if "youtube_id" in first or re.search(r",[0-9.]+,[0-9.]+,(train|val|validate|test)(,|$)", first):
        return "kinetics-csv"
    if all(re.match(r"[0-9]+(;|$)", line) for line in lines[:20]) and ";" in "".join(lines[:20]):
        return "jester"
    if re.search(r"[^,],[^,]+,[0-9]+,[0-9]+$", first):
        return "moments"
    return _blank_format(path, lines)


def _blank_format(path: Path, lines: list[str]) -> str | None:
    fields = [line.split() for line in lines]
    if all(parts[-1] == "-1" for parts in fields):
        return "videomae"
    if any(
        re.search(r"[0-9],[0-9]", parts[-1]) and whole_number(parts[-2]) is not None for parts in fields if parts[1:]
    ):
        return "tsn"
    numbers = Counter(trailing_numbers(parts) for parts in fields)
    if 2 * numbers[0] < len(fields):
        numbers.pop(0, None)  # a few wrong lines: reading the list will name them
    counts = set(numbers)
    if counts == {2}:
        if any(Path(parts[-3]).suffix.lower() in VIDEO_SUFFIXES for parts in fields if len(parts) > 2):
            raise UsageError(
                f"The lines of {path} may hold a number of frames and a class (tsn), or two classes (mmaction2), "
                f"found {json.dumps(lines[0][:80])}. Say which with --format tsn or --format mmaction2."
            )
        return "tsn"
    if 0 not in counts:
        return "slowfast" if path.suffix.lower() == ".csv" and counts == {1} else "mmaction2"
    return "slowfast" if path.suffix.lower() == ".csv" and counts == {0} else None


def _choices() -> str:
    examples = "\n".join(f"  {name:15} {known.example}" for name, known in LISTS.items())
    return f"Name the one it is in with --format:\n{examples}"
