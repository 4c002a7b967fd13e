import errno
import threading
from collections.abc import Callable
from pathlib import Path, PurePosixPath

import pytest
from host import tar

from vtk_cli.errors import FetchError, Interrupted
from vtk_cli.fetch.archive import DamagedArchive, UnsafeArchive
from vtk_cli.fetch.clips import ClipFolder, files_below
from vtk_cli.fetch.manifest import UnpackRecord


def by_name(member: str) -> str | None:
    name = PurePosixPath(member).name
    return name if name.endswith(".mp4") and not name.startswith("._") else None


def folder(
    tmp_path: Path,
    *,
    clip_path: Callable[[str], str | None] = by_name,
    accept: Callable[[str], bool] = lambda _: True,
    stop: threading.Event | None = None,
) -> ClipFolder:
    return ClipFolder(tmp_path / "videos", clip_path=clip_path, accept=accept, stop=stop or threading.Event())


def archive(tmp_path: Path, files: dict[str, bytes], name: str = "a.tar.gz") -> Path:
    path = tmp_path / name
    path.write_bytes(tar(files))
    return path


def test_wanted_clips_are_placed_and_others_counted(tmp_path: Path) -> None:
    path = archive(tmp_path, {"./x/1.mp4": b"1", "./._1.mp4": b"no", "2.mp4": b"22", "read.me": b"no"})
    with folder(tmp_path, accept=lambda path: path != "2.mp4") as clips:
        record = clips.unpack(path, name="a", rank=0, scratch=tmp_path / "s")
    assert record == UnpackRecord(path="a", clips={"1.mp4": 1}, extra=("2.mp4",))
    assert files_below(tmp_path / "videos") == {"1.mp4": 1}
    assert not (tmp_path / "videos" / ".tmp").exists()


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_the_lower_rank_wins_in_any_order(tmp_path: Path, order: tuple[int, int]) -> None:
    files = [archive(tmp_path, {"1.mp4": b"zero", "2.mp4": b"0"}, "0"), archive(tmp_path, {"1.mp4": b"one"}, "1")]
    with folder(tmp_path) as clips:
        for rank in order:
            clips.unpack(files[rank], name=str(rank), rank=rank, scratch=tmp_path / "s")
    assert (tmp_path / "videos" / "1.mp4").read_bytes() == b"zero"


def test_a_clip_of_an_earlier_run_keeps_its_rank_if_it_is_as_it_was(tmp_path: Path) -> None:
    path = archive(tmp_path, {"1.mp4": b"one", "2.mp4": b"two"})
    with folder(tmp_path) as clips:
        (tmp_path / "videos" / "1.mp4").write_bytes(b"zero")
        (tmp_path / "videos" / "2.mp4").write_bytes(b"cut")
        clips.own(UnpackRecord(path="0", clips={"1.mp4": 4, "2.mp4": 9}), 0, files_below(tmp_path / "videos"))
        clips.unpack(path, name="1", rank=1, scratch=tmp_path / "s")
    assert (tmp_path / "videos" / "1.mp4").read_bytes() == b"zero"
    assert (tmp_path / "videos" / "2.mp4").read_bytes() == b"two"


def test_a_damaged_archive_gives_the_clips_before_the_damage(tmp_path: Path) -> None:
    import random

    path = archive(tmp_path, {f"{n}.mp4": random.Random(n).randbytes(50_000) for n in range(4)})
    path.write_bytes(path.read_bytes()[:-60_000])
    with folder(tmp_path) as clips, pytest.raises(DamagedArchive):
        clips.unpack(path, name="a", rank=0, scratch=tmp_path / "s")
    assert files_below(tmp_path / "videos") == {"0.mp4": 50_000, "1.mp4": 50_000}


def test_a_refused_archive_gives_nothing(tmp_path: Path) -> None:
    path = archive(tmp_path, {"1.mp4": b"1", "../2.mp4": b"2"})
    before = sorted(tmp_path.rglob("*"))
    with folder(tmp_path) as clips, pytest.raises(UnsafeArchive):
        clips.unpack(path, name="a", rank=0, scratch=tmp_path / "s")
    assert [p for p in sorted(tmp_path.rglob("*")) if p not in before] == [tmp_path / "videos"]


def test_a_recipe_that_leads_out_is_refused(tmp_path: Path) -> None:
    path = archive(tmp_path, {"1.mp4": b"1"})
    with folder(tmp_path, clip_path=lambda name: f"../{name}") as clips, pytest.raises(UnsafeArchive):
        clips.unpack(path, name="a", rank=0, scratch=tmp_path / "s")
    assert not (tmp_path / "1.mp4").exists()


def test_what_a_killed_process_left_goes(tmp_path: Path) -> None:
    (tmp_path / "videos" / ".tmp").mkdir(parents=True)
    (tmp_path / "videos" / ".tmp" / "half").write_bytes(b"x")
    with folder(tmp_path):
        assert not list((tmp_path / "videos" / ".tmp").iterdir())


def test_stop_ends_between_chunks(tmp_path: Path) -> None:
    stop = threading.Event()
    stop.set()
    path = archive(tmp_path, {"1.mp4": b"1"})
    with folder(tmp_path, stop=stop) as clips, pytest.raises(Interrupted):
        clips.unpack(path, name="a", rank=0, scratch=tmp_path / "s")
    assert files_below(tmp_path / "videos") == {}


def test_a_full_disk_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = archive(tmp_path, {"1.mp4": b"1"})

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with folder(tmp_path) as clips:
        monkeypatch.setattr(clips, "_write", full)
        with pytest.raises(FetchError, match=r"no space left.*--root"):
            clips.unpack(path, name="a", rank=0, scratch=tmp_path / "s")
    assert files_below(tmp_path / "videos") == {}


def test_clips_of_the_user_are_linked_once(tmp_path: Path) -> None:
    mine = tmp_path / "mine.mp4"
    mine.write_bytes(b"mine")
    with folder(tmp_path, accept=lambda path: path == "a/1.mp4") as clips:
        record = clips.adopt({"a/1.mp4": mine, "2.mp4": mine}, {}, name="from here", rank=-1)
        assert record.clips == {"a/1.mp4": 4}
        assert clips.rank("a/1.mp4") == -1
        assert clips.adopt({"a/1.mp4": mine}, {"a/1.mp4": 4}, name="from here", rank=-1) == record
    assert (tmp_path / "videos" / "a" / "1.mp4").samefile(mine)


def test_where_links_are_impossible_clips_are_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = tmp_path / "mine.mp4"
    mine.write_bytes(b"mine")

    def refuse(*_: object) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr("os.link", refuse)
    with folder(tmp_path) as clips:
        clips.adopt({"1.mp4": mine}, {}, name="from here", rank=-1)
    assert (tmp_path / "videos" / "1.mp4").read_bytes() == b"mine"
    assert not (tmp_path / "videos" / "1.mp4").samefile(mine)
