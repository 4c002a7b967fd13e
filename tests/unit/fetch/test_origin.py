from pathlib import Path

import pytest

from vtk_cli.api.datasets import Source
from vtk_cli.errors import FetchError, UsageError
from vtk_cli.fetch.http import Fetcher
from vtk_cli.fetch.origin import Local, Remote, listed

HOST = "https://s3.amazonaws.com/kinetics/"


def archive(path: str, split: str = "train", **more: object) -> Source:
    return Source(url=HOST + path, path=f"archives/{path}", kind="archive", split=split, **more)


LIST = Source(url=f"{HOST}600/val/k600_val_path.txt", path="lists/val.txt", kind="list", split="val")


@pytest.mark.parametrize("mirror", ["http://127.0.0.1:1/base", "http://127.0.0.1:1/base/"])
def test_a_mirror_stands_for_the_hosts(mirror: str) -> None:
    origin = Remote(Fetcher(), (HOST,), mirror)
    assert origin.url(archive("400/train/part_0.tar.gz")) == "http://127.0.0.1:1/base/400/train/part_0.tar.gz"
    other = Source(url="https://elsewhere/x", path="x", kind="archive")
    assert origin.url(other) == "https://elsewhere/x"


def test_a_folder_is_no_mirror() -> None:
    with pytest.raises(UsageError, match="a folder is --from"):
        Remote(Fetcher(), (HOST,), "/data")


def test_a_list_names_archives() -> None:
    text = f"\ufeff{HOST}600/val/mountain climber (exercise).tar.gz\r\n\r\n# no\nb.tgz\n{HOST}x/b.tgz\nb.tgz\n"
    found = listed(LIST, text.encode())
    assert [source.url for source in found] == [
        f"{HOST}600/val/mountain climber (exercise).tar.gz",
        f"{HOST}600/val/b.tgz",
        f"{HOST}x/b.tgz",
    ]
    assert [source.path for source in found] == [
        "archives/val/mountain climber (exercise).tar.gz",
        "archives/val/b.tgz",
        "archives/val/5-b.tgz",
    ]
    assert {source.split for source in found} == {"val"}


@pytest.mark.parametrize("text", ["", "\n\n", "<html>\n", "https://host/readme.txt\n"])
def test_what_is_no_list_is_refused(text: str) -> None:
    with pytest.raises(FetchError, match="--from DIR"):
        listed(LIST, text.encode())


def test_replacements_come_first() -> None:
    first, mended = archive("a.tar"), archive("b.tar", replaces=True)
    assert Remote(Fetcher(), (), "").archives([first, mended], lambda _: b"") == [mended, first]


def put(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(name.encode())


def test_files_by_hand_are_told_apart_by_their_folders(tmp_path: Path) -> None:
    put(tmp_path, "train/part_0.tar.gz", "somewhere/val/part_0.tar.gz", "part_1.tar.gz")
    origin = Local(tmp_path)
    sources = [archive(f"400/{s}/part_{n}.tar.gz", s) for s in ("train", "val") for n in (0, 1)]
    origin.archives(sources, lambda _: b"")
    assert origin.find(sources[0]) == tmp_path / "train/part_0.tar.gz"
    assert origin.find(sources[1]) == tmp_path / "part_1.tar.gz"
    assert origin.find(sources[2]) == tmp_path / "somewhere/val/part_0.tar.gz"
    assert origin.find(sources[3]) is None
    with pytest.raises(FetchError, match=r"should hold part_1.tar.gz, found none. Fetch it from https://s3"):
        origin.fetch(sources[3], tmp_path / "target")


def test_an_archive_by_hand_stays_where_it_is_and_is_verified(tmp_path: Path) -> None:
    put(tmp_path, "a.tar.gz")
    found = Local(tmp_path).fetch(archive("a.tar.gz", bytes=8), tmp_path / "raw" / "a.tar.gz")
    assert found.path == tmp_path / "a.tar.gz"
    assert found.url.startswith("file://")
    for wrong in ({"bytes": 9}, {"sha256": "0" * 64}, {"md5": "0" * 32}):
        with pytest.raises(FetchError, match="should have"):
            Local(tmp_path).fetch(archive("a.tar.gz", **wrong), tmp_path / "raw" / "a.tar.gz")


def test_an_annotation_by_hand_is_copied(tmp_path: Path) -> None:
    put(tmp_path / "mine", "train.csv")
    source = Source(url=f"{HOST}400/annotations/train.csv", path="annotations/train.csv", kind="annotation")
    target = tmp_path / "raw" / "annotations" / "train.csv"
    assert Local(tmp_path / "mine").fetch(source, target).path == target
    assert target.read_bytes() == b"train.csv"


def test_without_the_list_every_archive_that_is_there_counts(tmp_path: Path) -> None:
    put(tmp_path, "x/b.tar.gz", "a.zip", "labels.zip", "notes.txt")
    labels = Source(url="https://host/labels.zip", path="labels.zip", kind="annotation")
    found = Local(tmp_path).archives([labels, LIST], lambda _: b"")
    assert [source.path for source in found] == ["from/a.zip", "from/x/b.tar.gz"]
    assert Local(tmp_path).fetch(found[1], tmp_path / "t").path == tmp_path / "x/b.tar.gz"


def test_clips_by_hand(tmp_path: Path) -> None:
    put(tmp_path, "val/using segway/-x.mp4", "notes.txt")
    found = list(Local(tmp_path).clips(lambda name: name.rpartition("/")[2] if name.endswith("mp4") else None))
    assert found == [("-x.mp4", tmp_path / "val/using segway/-x.mp4")]


def test_no_folder(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--from should name a folder"):
        Local(tmp_path / "absent")
