"""Kinetics-400 (Kay et al. 2017, arXiv 1705.06950) as the CVDF hosts it: tars of clips that were cut to 10 seconds.

github.com/cvdfoundation/kinetics-dataset describes the layout: an annotation csv per split, a text file per split that
names its tars, and one archive with clips that replace damaged ones.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from vtk_cli.api.datasets import DatasetRecipe, Source, VideoRow
from vtk_cli.datasets.tables import class_number, merge, read_csv, read_labels
from vtk_cli.errors import DataError

_HOST = "https://s3.amazonaws.com/kinetics/"
_SPLITS = ("train", "val", "test")


def _classes() -> tuple[str, ...]:
    return read_labels("kinetics400")


def _sources(splits: Sequence[str]) -> list[Source]:
    found = []
    for split in splits:
        csv = f"400/annotations/{split}.csv"
        tars = f"400/{split}/k400_{split}_path.txt"
        found.append(Source(url=_HOST + csv, path=f"annotations/{split}.csv", kind="annotation", split=split))
        found.append(Source(url=_HOST + tars, path=f"lists/k400_{split}_path.txt", kind="list", split=split))
    if "train" in splits:
        mended = "replacement_for_corrupted_k400.tgz"
        found.append(Source(url=f"{_HOST}400/{mended}", path=mended, kind="archive", split="train", replaces=True))
    return found


def _rows(raw: Path, splits: Sequence[str]) -> list[VideoRow]:
    numbers = {name: number for number, name in enumerate(_classes())}
    return merge(row for split in splits for row in _split_rows(raw / "annotations" / f"{split}.csv", split, numbers))


def _split_rows(path: Path, split: str, numbers: dict[str, int]) -> Iterator[VideoRow]:
    for where, row in read_csv(path, ("youtube_id", "time_start", "time_end")):
        try:
            start, end = int(float(row["time_start"])), int(float(row["time_end"]))
        except ValueError as error:
            raise DataError(f"{where}: should have times in seconds, found {error}. Fetch the file again.") from error
        name = f"{row['youtube_id'].strip()}_{start:06d}_{end:06d}"
        # The label column holds names with blanks in (sometimes doubled) quotes; crawled test files have none.
        label = row.get("label", "").strip().strip('"')
        labels = (class_number(where, label, numbers),) if label else ()
        yield VideoRow(id=name, path=f"{name}.mp4", labels=labels, splits=(split,))


def _clip_path(member: str) -> str | None:
    """The tars are flat or have folders in front (part_120 once had 7), and AppleDouble files (`._x.mp4`) inside."""
    name = PurePosixPath(member).name
    return name if name.endswith(".mp4") and not name.startswith("._") else None


RECIPE = DatasetRecipe(
    title="Kinetics-400",
    classes=_classes,
    label_order="sorted names, as I3D, MMAction2, TSM and non-local number them",
    splits=_SPLITS,
    test_split="val",
    sources=_sources,
    rows=_rows,
    clip_path=_clip_path,
    hosts=(_HOST,),
    licence="annotations CC BY 4.0; each video remains its uploader's",
    videos=246_534 + 19_906 + 39_805,
    size_gb=456.0,
    home="https://github.com/cvdfoundation/kinetics-dataset",
    missing=(
        "8 to 10 thousand clips of the annotation are in none of the official archives, so a complete download ends "
        "with a list of missing clips"
    ),
    notes=(
        "1 to 2 thousand clips of the archives are in no annotation; they are counted and left out.",
        "Papers report on val, so `vtk test` uses val; test is 56 GB, `--split train,val` does without it.",
        "About 1,400 damaged training clips are replaced by copies from an archive of their own.",
        "DeepMind's own csv has shrunk (219,782 training rows); these are the full lists of the CVDF.",
        (
            "Clip ids can begin with '-' (3 % of val) and differ in upper and lower case only: on a file system that "
            "ignores case two clips may collide."
        ),
        "The host publishes no checksums: lengths and a full reading of every archive are compared instead.",
    ),
)
