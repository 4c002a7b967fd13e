"""HMDB51 (Kuehne et al., ICCV 2011): 6,766 clips, three official divisions of 70 training and 30 test clips per class.

Everything comes as rar: hmdb51_org.rar holds one rar per class, test_train_splits.rar the lists.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from vtk_cli.api.datasets import DatasetRecipe, Source, VideoRow
from vtk_cli.datasets.tables import merge, read_labels, read_lines
from vtk_cli.errors import DataError

_HOST = "https://serre-lab.clps.brown.edu/"
_FILES = f"{_HOST}wp-content/uploads/2013/10/"
_SPLITS = ("train1", "test1", "train2", "test2", "train3", "test3")
_CODES = {"1": "train", "2": "test"}
"""What the number behind a clip means; 0 is in neither."""


def _classes() -> tuple[str, ...]:
    return read_labels("hmdb51")


def _sources(_splits: Sequence[str]) -> list[Source]:
    return [
        Source(
            url=f"{_FILES}test_train_splits.rar",
            path="test_train_splits.rar",
            kind="annotation",
            md5="15e67781e70dcfbdce2d7dbb9b3344b5",
        ),
        Source(url=f"{_FILES}hmdb51_org.rar", path="hmdb51_org.rar", kind="archive"),
    ]


def _rows(raw: Path, splits: Sequence[str]) -> list[VideoRow]:
    folder = raw / "test_train_splits" / "testTrainMulti_7030_splits"
    divisions = dict.fromkeys(split[-1] for split in splits)
    return merge(
        row
        for number, name in enumerate(_classes())
        for division in divisions
        for row in _list_rows(folder / f"{name}_test_split{division}.txt", number, name, division, splits)
    )


def _list_rows(path: Path, number: int, name: str, division: str, splits: Sequence[str]) -> Iterator[VideoRow]:
    for where, line in read_lines(path):
        file, _, code = line.strip().rpartition(" ")
        if code not in ("0", "1", "2") or not file.endswith(".avi"):
            raise DataError(f"{where}: should be `NAME.avi` and 0, 1 or 2, found {line!r}. Fetch the file again.")
        split = f"{_CODES.get(code, '')}{division}"
        if split in splits:
            file = file.strip()
            yield VideoRow(id=file.removesuffix(".avi"), path=f"{name}/{file}", labels=(number,), splits=(split,))


def _clip_path(member: str) -> str | None:
    path = PurePosixPath(member)
    if path.suffix != ".avi" or path.name.startswith("._") or path.parent.name not in _classes():
        return None
    return f"{path.parent.name}/{path.name}"


RECIPE = DatasetRecipe(
    title="HMDB51",
    classes=_classes,
    label_order="sorted names, as MMAction2 and torchvision number them; TSN's list swaps 20 and 21 (kick, kick_ball)",
    splits=_SPLITS,
    train_split="train1",
    val_split="test1",
    test_split="test1",
    sources=_sources,
    rows=_rows,
    clip_path=_clip_path,
    hosts=(_HOST, "http://serre-lab.clps.brown.edu/"),
    licence="CC BY 4.0",
    videos=6_766,
    size_gb=2.1,
    home="https://serre.lab.brown.edu/hmdb51.html",
    notes=(
        (
            "The host has been reported gone since November 2025: fetch hmdb51_org.rar and test_train_splits.rar from "
            "another place and use --from DIR, or name a --mirror."
        ),
        "Unpacking needs a rar program: unrar, bsdtar, unar or 7z.",
        (
            "Three official divisions: train1/test1 is used; `vtk download hmdb51 --split train2,test2` changes to the "
            "second without fetching anything again. Papers report the mean of the three."
        ),
        "Each division leaves 1,666 of the 6,766 clips unused; a clip that no division uses is left out.",
        "There is no validation split: the test split is measured after each epoch, as everybody does.",
    ),
)
