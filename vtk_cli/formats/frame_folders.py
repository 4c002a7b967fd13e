"""Folders of frames and flow as other tools write them, and which frame of the video each file shows.

                     img                                     flow x, y
    tsn-frames       N-1, from 1; img_00001 is the SECOND    N-1 each, from 1; flow_x_00001 from frame 0 to 1
    denseflow-frames N, from 0                               N-1 each, from 0; flow_x_00000 from frame 0 to 1
    mmaction2-rawframes N, from 1 (also ffmpeg's, TSM's      N-1 each, from 1; x_00001 or flow_x_00001 from frame 0 to 1
                     and kenshohara's image_00001)

Pictures are JPEG; flow is JPEG or PNG.

Sources: yjxiong/dense_flow (drops the first picture, so that picture and flow share a number), open-mmlab/denseflow,
mmaction2 tools/data/build_rawframes.py --use-opencv.
"""

import os
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from vtk_cli.errors import DataError
from vtk_cli.formats.folders import LABEL_ORDER
from vtk_cli.formats.rows import SPLITS, ListRow, Parsed, Problem

Kind = Literal["img", "x", "y"]
_IMAGE = re.compile(r"(?:img_|image_)?([0-9]{5,6})\.jpe?g")
_FLOW = re.compile(r"(?:flow_)?([xy])_(?:p1_)?([0-9]{5,6})\.(?:jpe?g|png)")
_OTHER_FLOW = re.compile(r"flow_([xy]_)?(?:[pm]([0-9]+)_)?[0-9]{5,6}\.(jpe?g|png)")


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameLayout:
    """How one tool numbers."""

    first: int
    """Number of the first file of each kind."""
    first_frame: int
    """Which frame of the video, from 0, the first picture shows. The first flow is always from frame 0 to 1."""

    def flows(self, images: int) -> int:
        """Flow pairs that go with so many pictures: one less than the frames of the video."""
        return images + self.first_frame - 1


LAYOUTS = {
    "tsn-frames": FrameLayout(first=1, first_frame=1),
    "denseflow-frames": FrameLayout(first=0, first_frame=0),
    "mmaction2-rawframes": FrameLayout(first=1, first_frame=0),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameFolder:
    """One video's files in the order of their numbers."""

    path: Path
    images: tuple[str, ...]
    """Names; the first shows the layout's `first_frame`."""
    flow_x: tuple[str, ...]
    flow_y: tuple[str, ...]


def read_folder(path: Path, layout: FrameLayout) -> FrameFolder:
    """Take stock of one video's folder.

    Raises:
        DataError: numbers begin elsewhere or leave gaps, or counts do not fit the layout.
    """
    found: dict[Kind, dict[int, str]] = {"img": {}, "x": {}, "y": {}}
    for entry in sorted(child.name for child in path.iterdir()):
        placed = _kind(path, entry)
        if placed is None:
            continue
        kind, number = placed
        if number in found[kind]:
            raise DataError(f"{path}: {found[kind][number]} and {entry} have the same number. Remove one.")
        found[kind][number] = entry
    for kind, files in found.items():
        _check_numbers(path, kind, files, layout)
    images, x, y = (tuple(files[number] for number in sorted(files)) for files in found.values())
    _check_counts(path, (len(images), len(x), len(y)), layout)
    return FrameFolder(path=path, images=images, flow_x=x, flow_y=y)


def frame_folders(root: Path) -> Iterator[Path]:
    """Every folder below the root, itself included, that holds frames or flow, sorted; hidden ones are passed over."""
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        if any(_IMAGE.fullmatch(name) or _FLOW.fullmatch(name) or _OTHER_FLOW.fullmatch(name) for name in files):
            yield Path(folder)


def read_tree(root: Path) -> Parsed:
    """Frame folders as rows: root/<class>/<video>, with {train,val,test} above the classes where there are such."""
    parsed = Parsed(label_order=LABEL_ORDER)
    for folder in frame_folders(root):
        parts = folder.relative_to(root).parts
        splits = (SPLITS[parts[0].lower()],) if len(parts) > 2 and parts[0].lower() in SPLITS else ()
        if len(parts) < 2:
            reason = "lies outside of a class folder; lay frames as <class>/<video>/, or name the classes with --list"
            parsed.problems.append(Problem(file=str(folder), line=0, reason=reason))
            continue
        label = unicodedata.normalize("NFC", parts[len(splits)])
        row = ListRow(line=len(parsed.rows) + 1, path="/".join(parts), labels=(label,), splits=splits)
        parsed.rows.append(row)
    return parsed


def _kind(path: Path, name: str) -> tuple[Kind, int] | None:
    if match := _IMAGE.fullmatch(name):
        return "img", int(match[1])
    if match := _FLOW.fullmatch(name):
        return ("x" if match[1] == "x" else "y"), int(match[2])
    if match := _OTHER_FLOW.fullmatch(name):
        found = f"steps of {match[2]} frames" if match[2] else "x and y in one file"
        raise DataError(
            f"{path}: flow should be flow_x_00000.jpg and flow_y_00000.jpg from each frame to the next, found {name} "
            f"({found}). Extract the flow again with `vtk extract --flow`."
        )
    return None


def _check_numbers(path: Path, kind: Kind, files: dict[int, str], layout: FrameLayout) -> None:
    if not files:
        return
    numbers = sorted(files)
    if numbers[0] != layout.first:
        others = [name for name, other in LAYOUTS.items() if other.first == numbers[0]]
        advice = f"Say --format {' or '.join(others)}" if others else "Copy the folder again"
        raise DataError(
            f"{path}: {kind} files should begin with number {layout.first}, found {files[numbers[0]]}. {advice}."
        )
    missing = next((i for i, number in enumerate(numbers, layout.first) if number != i), None)
    if missing is not None:
        raise DataError(f"{path}: {kind} number {missing} of {numbers[-1]} is not there. Copy the folder again.")


def _check_counts(path: Path, counts: tuple[int, int, int], layout: FrameLayout) -> None:
    images, x, y = counts
    if x != y:
        raise DataError(f"{path}: as many x as y files should be there, found {x} and {y}. Copy the folder again.")
    if images and x and x != layout.flows(images):
        others = [n for n, o in LAYOUTS.items() if o.first == layout.first and x == o.flows(images)]
        advice = f"Say --format {others[0]}" if others else "Copy the folder again, or extract the flow again"
        raise DataError(
            f"{path}: with {images} pictures {layout.flows(images)} flow pairs should be there, found {x}. {advice}."
        )
