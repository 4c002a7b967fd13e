"""`vtk index`: every row checked, whole or not at all, twice the same changes nothing."""

import json

import numpy as np
import pytest
import simplejpeg

from vtk_cli.catalog import Catalog
from vtk_cli.errors import DataError, StoreError, UsageError, VtkError
from vtk_cli.extract.layouts import export
from vtk_cli.flow.quantize import decode_flow
from vtk_cli.index.request import IndexRequest
from vtk_cli.index.run import make_dataset
from vtk_cli.index.sources import read_classes
from vtk_cli.store.lmdb_store import StoreReader
from vtk_cli.workspace import Workspace


def touch(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")
    return folder


@pytest.fixture
def workspace(tmp_path):
    return Workspace(tmp_path / "ws")


@pytest.fixture
def videos(tmp_path):
    return touch(
        tmp_path / "videos", *(f"{label}/clip {i}.mp4" for label in ("walk", "arm wrestling") for i in range(10))
    )


def run(workspace, path, *, replace=False, **options):
    return make_dataset(workspace, "mine", IndexRequest(path=path, **options), replace=replace)


def catalog(workspace):
    return Catalog(workspace.dataset("mine").catalog)


def snapshot(workspace):
    return {str(p.relative_to(workspace.root)): p.read_bytes() for p in workspace.root.rglob("*") if p.is_file()}


def test_a_folder_per_class(workspace, videos):
    result = run(workspace, videos)
    assert (result.videos, result.classes, result.changed) == (20, 2, True)
    assert result.splits == {"train": 16, "val": 2, "test": 2}
    assert workspace.current() == "mine"
    with catalog(workspace) as found:
        assert found.classes == ("arm wrestling", "walk")
        assert found.counts()["ready"] == 20
        meta = found.meta
        assert (meta["train_split"], meta["val_split"], meta["test_split"]) == ("train", "val", "test")
        assert (meta["dataset"], meta["flip"], meta["multi_label"]) == ("mine", True, False)
        assert meta["label_order"] == "names of the class folders sorted as plain text"
        row = found.rows()[0]
        assert row.path == str(videos / "arm wrestling/clip 0.mp4")
        assert row.labels == (0,)
        assert len({row.id for row in found.rows()}) == 20


def test_twice_the_same_changes_nothing(workspace, videos):
    run(workspace, videos)
    before = snapshot(workspace)
    result = run(workspace, videos)
    assert not result.changed
    assert snapshot(workspace) == before


def test_other_content_needs_replace_and_keeps_what_was_measured(workspace, videos):
    run(workspace, videos)
    with catalog(workspace) as found:
        ids = [row.id for row in found.rows()]
        found.set_probe([(ids[0], {"frames": 9})])
    touch(videos, "walk/new.mp4")
    before = snapshot(workspace)
    with pytest.raises(UsageError, match="--replace"):
        run(workspace, videos)
    assert snapshot(workspace) == before
    assert run(workspace, videos, replace=True).changed
    with catalog(workspace) as found:
        rows = {row.id: row for row in found.rows()}
        assert set(ids) < set(rows)
        assert rows[ids[0]].probe == {"frames": 9}


def test_a_damaged_catalog_is_replaced_only_when_asked(workspace, videos):
    run(workspace, videos)
    path = workspace.dataset("mine").catalog
    path.write_bytes(b"x" * 5000)
    with pytest.raises(VtkError, match="damaged"):
        run(workspace, videos)
    assert path.read_bytes() == b"x" * 5000
    assert run(workspace, videos, replace=True).changed


def test_wrong_rows_are_all_named_and_change_nothing(workspace, videos, tmp_path):
    lines = [f"walk/clip {i}.mp4 1" for i in range(3)]
    lines += [
        "walk/clip 0.mp4 1",
        "walk/clip 1.mp4 0",
        "walk/absent.mp4 1",
        "walk/clip 4.mp4 -1",
        "walk/clip 5.mp4 7",
        "nothing",
    ]
    lines += ["walk/clip 6.mp4 1 1"]
    (tmp_path / "list.txt").write_text("\n".join(lines))
    (tmp_path / "classes.txt").write_text("sit\nwalk\n")
    options = {"videos": videos, "classes": tmp_path / "classes.txt", "format": "mmaction2", "split": "train"}
    with pytest.raises(DataError) as error:
        run(workspace, tmp_path / "list.txt", **options)
    text = str(error.value)
    assert "7 rows cannot be used" in text
    for line, reason in [
        (4, "named before"),
        (5, "has other classes"),
        (6, "no clip"),
        (7, "found -1"),
        (8, "found 7"),
        (9, "should be a path"),
        (10, "twice"),
    ]:
        assert any(f"list.txt:{line}:" in part and reason in part for part in text.splitlines()), (line, text)
    assert not workspace.root.exists()
    result = run(workspace, tmp_path / "list.txt", skip_bad=True, **options)
    assert (result.videos, result.failed, result.splits) == (3, 7, {"train": 3})
    assert len(result.failed_list.read_text().splitlines()) == 7
    with catalog(workspace) as found:
        assert found.classes == ("sit", "walk")


def test_only_the_first_twenty_are_shown(workspace, tmp_path):
    (tmp_path / "list.txt").write_text("".join(f"v{i}.mp4 0\n" for i in range(50)))
    with pytest.raises(DataError, match="and 30 more") as error:
        run(workspace, tmp_path / "list.txt")
    assert str(error.value).count("list.txt:") == 20


def test_lists_of_splits(workspace, videos, tmp_path):
    touch(tmp_path / "lists")
    for split, span in (("train", range(7)), ("val", range(7, 10))):
        text = "".join(f"{label}/clip {i}.mp4 {n}\n" for n, label in enumerate(("walk", "arm wrestling")) for i in span)
        (tmp_path / "lists").mkdir(exist_ok=True)
        (tmp_path / "lists" / f"set_{split}_list.txt").write_text(text)
    result = run(workspace, tmp_path / "lists", videos=videos)
    assert (result.format, result.splits) == ("mmaction2", {"train": 14, "val": 6})
    with catalog(workspace) as found:
        assert found.classes == ("0", "1")
        assert (found.meta["val_split"], found.meta["test_split"]) == ("val", "val")
    named = (("train", tmp_path / "lists/set_train_list.txt"), ("test", tmp_path / "lists/set_val_list.txt"))
    result = run(workspace, videos, lists=named, replace=True)
    assert result.splits == {"train": 14, "test": 6}
    with catalog(workspace) as found:
        assert (found.meta["val_split"], found.meta["test_split"]) == ("test", "test")


def test_a_clip_in_train_and_val_is_a_leak_in_val_and_test_it_is_not(workspace, videos, tmp_path):
    for name in ("train", "val", "test"):
        (tmp_path / f"{name}.txt").write_text("walk/clip 1.mp4 0\n" if name != "train" else "walk/clip 2.mp4 0\n")
    lists = tuple((name, tmp_path / f"{name}.txt") for name in ("train", "val", "test"))
    assert run(workspace, videos, lists=lists).splits == {"train": 1, "val": 1, "test": 1}
    (tmp_path / "val.txt").write_text("walk/clip 2.mp4 0\n")
    with pytest.raises(DataError, match=r"val\.txt:1: clip 2\.mp4 is in train at train\.txt:1, and here in val"):
        run(workspace, videos, lists=lists, replace=True)


def test_ucf101_lists_with_three_divisions(workspace, tmp_path):
    touch(tmp_path / "v", "A/v_A_g01_c01.avi", "B/v_B_g01_c01.avi")
    lists = tmp_path / "lists"
    lists.mkdir()
    (lists / "classInd.txt").write_text("1 B\r\n2 A\r\n")
    (lists / "trainlist01.txt").write_text("A/v_A_g01_c01.avi 2\r\n")
    (lists / "testlist01.txt").write_text("B/v_B_g01_c01.avi\r\n")
    (lists / "trainlist02.txt").write_text("B/v_B_g01_c01.avi 1\r\n")
    (lists / "testlist02.txt").write_text("A/v_A_g01_c01.avi\r\n")
    result = run(workspace, lists, videos=tmp_path / "v")
    assert result.format == "ucf101"
    with catalog(workspace) as found:
        assert found.classes == ("B", "A")
        assert {row.id: (row.labels, set(row.splits)) for row in found.rows()} == {
            "A__v_A_g01_c01": ((1,), {"train1", "test2"}),
            "B__v_B_g01_c01": ((0,), {"test1", "train2"}),
        }
        assert (found.meta["train_split"], found.meta["val_split"], found.meta["test_split"]) == (
            "train1",
            "test1",
            "test1",
        )


def test_kinetics_finds_trimmed_clips_and_cuts_untrimmed_ones(workspace, tmp_path):
    touch(tmp_path / "v", "train/eating/abc_000010_000020.mp4", "-whole.webm")
    text = "label,youtube_id,time_start,time_end,split\neating,abc,10,20,train\neating,-whole,5,15,val\neating,-whole,20,30.5,test\n"
    (tmp_path / "all.csv").write_text(text)
    result = run(workspace, tmp_path / "all.csv", videos=tmp_path / "v")
    assert result.splits == {"train": 1, "val": 1, "test": 1}
    with catalog(workspace) as found:
        rows = found.rows()
        assert [(row.start_seconds, row.end_seconds) for row in rows] == [(None, None), (5, 15), (20, 30.5)]
        assert rows[0].id == "train__eating__abc_000010_000020"
        assert len({row.id for row in rows}) == 3


def test_names_as_they_come(workspace, tmp_path):
    names = [
        "-dash.mp4",
        "a b$(rm).mp4",
        "caf\u00e9.mp4",
        "\u6f22" * 80 + ".mp4",
        "x.mp4",
        "x.avi",
        "X.mp4",
        "!#[]&+;~@.avi",
    ]
    touch(tmp_path / "v", *(f"c/{name}" for name in names))
    run(workspace, tmp_path / "v", val_fraction=0, test_fraction=0)
    with catalog(workspace) as found:
        assert sorted(row.path for row in found.rows()) == sorted(str(tmp_path / "v/c" / name) for name in names)
        assert len({row.id.casefold() for row in found.rows()}) == len(names)


def test_a_name_that_is_no_utf8(workspace, tmp_path):
    touch(tmp_path / "v", "c/good.mp4", "c/bad\udcff.mp4")
    with pytest.raises(DataError, match="no UTF-8"):
        run(workspace, tmp_path / "v")
    assert run(workspace, tmp_path / "v", skip_bad=True).videos == 1


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"format": "mmaction"}, UsageError, 'Did you mean "mmaction2"'),
        ({"path": "absent"}, DataError, "no file or folder"),
        ({"videos": "absent", "path": "list.txt"}, DataError, "--videos"),
        ({"classes": "absent"}, DataError, "cannot be read"),
        ({"val_fraction": 0.9, "test_fraction": 0.2}, UsageError, "Lower them"),
        ({"separator": ",", "path": "list.txt"}, UsageError, "slowfast"),
        ({"format": "kenshohara"}, DataError, "--list"),
        ({"path": "empty"}, DataError, "no clip to index"),
    ],
)
def test_wrong_requests_change_nothing(workspace, videos, tmp_path, options, error, match):
    (tmp_path / "list.txt").write_text("walk/clip 1.mp4 0\n")
    (tmp_path / "empty").mkdir()
    options = {"path": "videos", "videos": None, **options}
    for name in ("path", "videos", "classes"):
        if options.get(name):
            options[name] = tmp_path / options[name]
    with pytest.raises(error, match=match):
        run(workspace, **options)
    assert not workspace.root.exists()


@pytest.mark.parametrize(
    ("text", "classes"),
    [
        ("b\na c\n", ("b", "a c")),
        ("1 b\r\n2 a c\r\n", ("b", "a c")),
        ("0 b\n1 a c\n", ("b", "a c")),
        ('{"a c": "1", "b": 0}', ("b", "a c")),
        ('["b", "a c"]', ("b", "a c")),
        ("\ufeff\u6f22\n", ("\u6f22",)),
    ],
)
def test_class_files(tmp_path, text, classes):
    (tmp_path / "classes").write_text(text)
    assert read_classes(tmp_path / "classes") == classes


@pytest.mark.parametrize("text", ["", "a\na\n", '{"a": 1}', '{"a": "x"}', "[1]", "{"])
def test_wrong_class_files(tmp_path, text):
    (tmp_path / "classes").write_text(text)
    with pytest.raises(DataError, match="classes"):
        read_classes(tmp_path / "classes")


def test_listed_frames_are_kept_for_the_check(workspace, tmp_path):
    touch(tmp_path / "v", "A/v_A_g01.avi")
    (tmp_path / "l.txt").write_text("v_A_g01 163 0\n")
    run(workspace, tmp_path / "l.txt", videos=tmp_path / "v")
    with catalog(workspace) as found:
        assert found.rows()[0].probe == {"listed_frames": 163}


def test_something_is_not_flipped(workspace, tmp_path):
    touch(tmp_path / "v", "1.webm", "2.webm")
    (tmp_path / "train.json").write_text(
        json.dumps([{"id": "1", "template": "Moving [something] left"}, {"id": "2", "template": "x"}])
    )
    run(workspace, tmp_path / "train.json", videos=tmp_path / "v")
    with catalog(workspace) as found:
        assert found.meta["flip"] is False
        assert found.classes == ("Moving something left", "x")


def picture(value, height=24, width=32):
    grey = np.full((height, width, 1), value, np.uint8)
    return simplejpeg.encode_jpeg(grey, quality=95, colorspace="GRAY", colorsubsampling="Gray")


def frames_of(folder, layout, count):
    """The files of a video of `count` frames: frame k of value 2k, flow k -> k+1 of x = 3k and y = 200 - 3k."""
    folder.mkdir(parents=True)
    first, first_frame = {"tsn-frames": (1, 1), "denseflow-frames": (0, 0), "mmaction2-rawframes": (1, 0)}[layout]
    for number, frame in enumerate(range(first_frame, count), first):
        (folder / f"img_{number:05d}.jpg").write_bytes(picture(2 * frame))
    for number, pair in enumerate(range(count - 1), first):
        (folder / f"flow_x_{number:05d}.jpg").write_bytes(picture(3 * pair))
        (folder / f"flow_y_{number:05d}.jpg").write_bytes(picture(200 - 3 * pair))


@pytest.mark.parametrize("layout", ["tsn-frames", "denseflow-frames", "mmaction2-rawframes"])
@pytest.mark.parametrize("workers", [1, 2])
def test_frame_folders_become_stores(workspace, tmp_path, layout, workers):
    for name in ("A/v1", "B/v2"):
        frames_of(tmp_path / "frames" / name, layout, 12)
    request = IndexRequest(path=tmp_path / "frames", format=layout, bound=32)
    result = make_dataset(workspace, "mine", request, workers=workers)
    assert (result.videos, result.failed) == (2, 0)
    dataset = workspace.dataset("mine")
    assert dataset.stores() == ["flow-tvl1-24", "frames-24"]
    first_frame = 1 if layout == "tsn-frames" else 0
    with StoreReader(dataset.store("frames-24")) as reader:
        assert reader.num_frames("A__v1") == 12 - first_frame
        number = {"tsn-frames": 3, "denseflow-frames": 2, "mmaction2-rawframes": 3}[layout]
        stored = bytes(reader.read("A__v1", [2])[0])
        assert stored == (tmp_path / f"frames/A/v1/img_{number:05d}.jpg").read_bytes()
        # What a store's frame 2 shows: frame 2 of the video, or with TSN's files its frame 3.
        assert abs(int(simplejpeg.decode_jpeg(stored).mean()) - 2 * (2 + first_frame)) <= 1
        assert dict(reader.meta.parameters) == {"first_frame": first_frame}
    with StoreReader(dataset.store("flow-tvl1-24")) as reader:
        assert (reader.num_frames("B__v2"), reader.meta.bound) == (11, 32)
        x, y = decode_flow(reader.read("B__v2", [5])[0])
        assert x.shape == (24, 32)
        assert abs(x.astype(int) - 15).max() <= 1
        assert abs(y.astype(int) - 185).max() <= 1
    before = snapshot(workspace)
    assert not make_dataset(workspace, "mine", request).changed
    assert snapshot(workspace) == before
    with pytest.raises(StoreError, match="bound"):
        make_dataset(workspace, "mine", IndexRequest(path=tmp_path / "frames", format=layout, bound=20))


def test_frame_lists_are_held_against_the_folders(workspace, tmp_path):
    frames_of(tmp_path / "frames/v1", "tsn-frames", 12)
    frames_of(tmp_path / "frames/v2", "tsn-frames", 12)
    (tmp_path / "train.txt").write_text("v1 11 0\nv2 12 1\n")
    lists = (("train", tmp_path / "train.txt"),)
    with pytest.raises(DataError, match="should hold 12 frames by the list, found 11"):
        run(workspace, tmp_path / "frames", lists=lists, format="tsn-frames")
    assert not workspace.root.exists()
    assert run(workspace, tmp_path / "frames", lists=lists, format="tsn-frames", skip_bad=True).videos == 1


def test_bad_pictures_are_recorded_and_the_rest_is_stored(workspace, tmp_path):
    for name in ("A/v1", "A/v2", "A/v3"):
        frames_of(tmp_path / "frames" / name, "denseflow-frames", 4)
    (tmp_path / "frames/A/v1/img_00000.jpg").write_bytes(b"no jpeg")
    (tmp_path / "frames/A/v2/flow_y_00001.jpg").write_bytes(picture(0, height=48, width=64))
    result = run(workspace, tmp_path / "frames", format="denseflow-frames", bound=20)
    assert result.failed == 2
    dataset = workspace.dataset("mine")
    with StoreReader(dataset.store("frames-24")) as reader:
        assert sorted(reader.ids()) == ["A__v2", "A__v3"]
        assert dict(reader.failures()).keys() == {"A__v1"}
    with StoreReader(dataset.store("flow-tvl1-24")) as reader:
        assert sorted(reader.ids()) == ["A__v1", "A__v3"]
        assert "short side of 24" in dict(reader.failures())["A__v2"]


def test_denseflows_bound_has_to_be_said(workspace, tmp_path):
    frames_of(tmp_path / "frames/A/v1", "denseflow-frames", 4)
    with pytest.raises(UsageError, match=r"--bound"):
        run(workspace, tmp_path / "frames", format="denseflow-frames")
    assert not workspace.root.exists()


@pytest.mark.parametrize("layout", ["tsn", "denseflow"])
def test_what_extract_exports_is_read_back(workspace, tmp_path, layout):
    frames_of(tmp_path / "frames/A/v1", "mmaction2-rawframes", 12)
    frames_of(tmp_path / "frames/B/v2", "mmaction2-rawframes", 7)
    run(workspace, tmp_path / "frames", format="mmaction2-rawframes", split="train")
    first = workspace.dataset("mine")
    export(first, ["frames-24", "flow-tvl1-24"], tmp_path / "out", layout)
    request = IndexRequest(path=tmp_path / "out", format=f"{layout}-frames", bound=20)
    result = make_dataset(workspace, "again", request)
    assert (result.videos, result.splits, result.failed) == (2, {"train": 2}, 0)
    second = workspace.dataset("again")
    skipped = 1 if layout == "tsn" else 0
    with StoreReader(first.store("frames-24")) as old, StoreReader(second.store("frames-24")) as new:
        assert new.num_frames("A__v1") == 12 - skipped
        for k in range(12 - skipped):
            assert bytes(new.read("A__v1", [k])[0]) == bytes(old.read("A__v1", [k + skipped])[0])
    with StoreReader(first.store("flow-tvl1-24")) as old, StoreReader(second.store("flow-tvl1-24")) as new:
        assert new.num_frames("B__v2") == 6
        for k in range(6):
            before, after = (decode_flow(reader.read("B__v2", [k])[0]).astype(int) for reader in (old, new))
            assert abs(before - after).max() <= 2
    with Catalog(first.catalog) as one, Catalog(second.catalog) as other:
        assert [row.labels for row in one.rows()] == [row.labels for row in other.rows()]
