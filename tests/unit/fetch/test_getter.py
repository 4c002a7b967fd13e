"""Which archives have still something to give."""

import threading

from vtk_cli.api.datasets import Source, VideoRow
from vtk_cli.fetch.clips import ClipFolder
from vtk_cli.fetch.getter import unfinished
from vtk_cli.fetch.manifest import Journal, UnpackRecord

REPLACEMENT = Source(url="http://h/replacement.tgz", path="replacement.tgz", kind="archive")
PART = Source(url="http://h/part_0.tar.gz", path="part_0.tar.gz", kind="archive", split="train")
ROW = VideoRow(id="a", path="a.mp4", labels=(0,), splits=("train",))


def todo(tmp_path, present):
    """Both archives gave the clip, the part first, as happens when its thread was quicker."""
    journal = Journal(tmp_path / "journal.jsonl")
    journal.add_unpacked(UnpackRecord(path=PART.path, clips={"a.mp4": 5, "b.mp4": 6}, extra=()))
    journal.add_unpacked(UnpackRecord(path=REPLACEMENT.path, clips={"a.mp4": 9}, extra=()))
    clips = ClipFolder(tmp_path, clip_path=lambda name: name, accept=lambda _: True, stop=threading.Event())
    for rank, source in enumerate((REPLACEMENT, PART)):
        clips.own(journal.unpacked[source.path], rank, present)
    wanted = {"a.mp4": ROW, "b.mp4": VideoRow(id="b", path="b.mp4", labels=(0,), splits=("train",))}
    return [source.path for _, source in unfinished([REPLACEMENT, PART], journal, clips, present, wanted)]


def test_nothing_is_asked_for_when_all_is_here(tmp_path):
    assert todo(tmp_path, {"a.mp4": 9, "b.mp4": 6}) == []


def test_a_lost_clip_is_asked_for_from_its_replacement_only(tmp_path):
    assert todo(tmp_path, {"b.mp4": 6}) == ["replacement.tgz"]
    assert todo(tmp_path, {"a.mp4": 3, "b.mp4": 6}) == ["replacement.tgz"]


def test_a_lost_clip_that_was_never_replaced_comes_from_its_part(tmp_path):
    assert todo(tmp_path, {"a.mp4": 9}) == ["part_0.tar.gz"]
