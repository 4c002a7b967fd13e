"""UCF101 (Soomro et al. 2012, arXiv 1212.0402): 13,320 clips, three official divisions into train and test.

The authors' rar comes from a host with a faulty TLS chain, so the zip of the THUMOS'14 organisers is fetched; its
length and sha256 are known from TensorFlow Datasets.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from vtk_cli.api.datasets import DatasetRecipe, Source, VideoRow
from vtk_cli.datasets.tables import class_number, merge, read_labels, read_lines
from vtk_cli.errors import DataError

_LISTS = "UCF101TrainTestSplits-RecognitionTask"
_SPLITS = ("train1", "test1", "train2", "test2", "train3", "test3")
_CLIP = re.compile(r"v_(?P<name>\w+?)_g(?P<rest>\d\d_c\d\d)\.avi")


def _classes() -> tuple[str, ...]:
    return read_labels("ucf101")


def _sources(_splits: Sequence[str]) -> list[Source]:
    return [
        Source(
            url=f"https://www.crcv.ucf.edu/wp-content/uploads/2019/03/{_LISTS}.zip",
            path=f"{_LISTS}.zip",
            kind="annotation",
            bytes=113_943,
            sha256="5c0d1a53b8ed364a2ac830a73f405e51bece7d98ce1254fd19ed4a36b224bd27",
        ),
        Source(
            url="https://storage.googleapis.com/thumos14_files/UCF101_videos.zip",
            path="UCF101_videos.zip",
            kind="archive",
            bytes=6_960_400_115,
            sha256="dabf56f573cd19c79e096563529fec8126a2a34e18e10c72eb621dd687532b0d",
        ),
    ]


def _rows(raw: Path, splits: Sequence[str]) -> list[VideoRow]:
    return merge(row for split in splits for row in _split_rows(raw / _LISTS / "ucfTrainTestlist", split))


def _split_rows(folder: Path, split: str) -> Iterator[VideoRow]:
    numbers = {name: number for number, name in enumerate(_classes())}
    for where, line in read_lines(folder / f"{split[:-1]}list0{split[-1]}.txt"):
        name, *label = line.split()  # train: "Class/v_Class_g08_c01.avi 1"; test: no number
        path = _clip_path(name)
        if path is None:
            raise DataError(f"{where}: should name Class/v_Class_gNN_cNN.avi, found {name!r}. Fetch the file again.")
        number = class_number(where, PurePosixPath(path).parent.name, numbers)
        if label and label[0] != str(number + 1):
            raise DataError(f"{where}: {name} should have class {number + 1}, found {label[0]}. Fetch the file again.")
        yield VideoRow(id=PurePosixPath(path).stem, path=path, labels=(number,), splits=(split,))


def _clip_path(member: str) -> str | None:
    """One spelling for the rar (a folder per class), the zip (flat) and the lists.

    The class HandstandPushups has files v_HandStandPushups_* in lists and rar, v_HandstandPushups_* in the zip.
    """
    found = _CLIP.fullmatch(PurePosixPath(member).name)
    if not found:
        return None
    name = "HandstandPushups" if found["name"] == "HandStandPushups" else found["name"]
    return f"{name}/v_{name}_g{found['rest']}.avi"


RECIPE = DatasetRecipe(
    title="UCF101",
    classes=_classes,
    label_order="classInd.txt less 1, as TSN, MMAction2 and every official list number them; not sorted()",
    splits=_SPLITS,
    train_split="train1",
    val_split="test1",
    test_split="test1",
    sources=_sources,
    rows=_rows,
    clip_path=_clip_path,
    hosts=("https://www.crcv.ucf.edu/", "https://storage.googleapis.com/"),
    licence="none stated; research use",
    videos=13_320,
    size_gb=7.0,
    home="https://www.crcv.ucf.edu/research/data-sets/ucf101/",
    notes=(
        (
            "Three official divisions: train1/test1 is used; `vtk download ucf101 --split train2,test2` changes to the "
            "second without fetching anything again. Papers report the mean of the three."
        ),
        "There is no validation split: the test split is measured after each epoch, as everybody does.",
        "torchvision numbers 34/35 (HammerThrow, Hammering) and 46/47 (JumpRope, JumpingJack) the other way round.",
        "The clips of class HandstandPushups are named v_HandStandPushups_* in the lists; here they have one spelling.",
    ),
)
