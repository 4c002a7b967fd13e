"""Numbering of other tools' frame folders."""

import pytest

from vtk_cli.errors import DataError
from vtk_cli.formats.frame_folders import LAYOUTS, read_folder, read_tree


def touch(folder, *names):
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_bytes(b"")
    return folder


def tsn(folder, frames):
    """What TSN's tool writes of a video of N frames: N-1 of each, from 1."""
    return touch(folder, *(f"{kind}_{n:05d}.jpg" for kind in ("img", "flow_x", "flow_y") for n in range(1, frames)))


def denseflow(folder, frames):
    """N pictures and N-1 flows, from 0."""
    flows = (f"flow_{axis}_{n:05d}.jpg" for axis in "xy" for n in range(frames - 1))
    return touch(folder, *(f"img_{n:05d}.jpg" for n in range(frames)), *flows)


def mmaction2(folder, frames):
    """N pictures and N-1 flows, from 1."""
    flows = (f"{axis}_{n:05d}.jpg" for axis in "xy" for n in range(1, frames))
    return touch(folder, *(f"img_{n:05d}.jpg" for n in range(1, frames + 1)), *flows)


WRITERS = {"tsn-frames": tsn, "denseflow-frames": denseflow, "mmaction2-rawframes": mmaction2}


def test_layouts_are_all_here():
    assert set(WRITERS) == set(LAYOUTS)


@pytest.mark.parametrize(
    ("name", "images", "first", "first_frame"),
    [
        ("tsn-frames", 163, "img_00001.jpg", 1),  # UCF101's ApplyEyeMakeup g01 c01: lists say 163, 164 decode
        ("denseflow-frames", 164, "img_00000.jpg", 0),
        ("mmaction2-rawframes", 164, "img_00001.jpg", 0),
    ],
)
def test_a_video_of_164_frames(tmp_path, name, images, first, first_frame):
    found = read_folder(WRITERS[name](tmp_path, 164), LAYOUTS[name])
    assert len(found.images) == images
    assert len(found.flow_x) == len(found.flow_y) == 163
    assert found.images[0] == first
    assert LAYOUTS[name].first_frame == first_frame
    assert [int(file[-9:-4]) for file in found.flow_x] == list(range(LAYOUTS[name].first, LAYOUTS[name].first + 163))


@pytest.mark.parametrize(
    ("written", "said", "advice"),
    [
        ("tsn-frames", "mmaction2-rawframes", "--format tsn-frames"),
        ("mmaction2-rawframes", "tsn-frames", "--format mmaction2-rawframes"),
        ("denseflow-frames", "tsn-frames", "--format denseflow-frames"),
        ("tsn-frames", "denseflow-frames", "--format tsn-frames or mmaction2-rawframes"),
    ],
)
def test_one_layout_is_not_taken_for_another(tmp_path, written, said, advice):
    with pytest.raises(DataError, match=advice):
        read_folder(WRITERS[written](tmp_path, 5), LAYOUTS[said])


@pytest.mark.parametrize("name", LAYOUTS)
@pytest.mark.parametrize("lost", ["img_00003.jpg", "_x_00002.jpg", "_y_00003.jpg"])
def test_a_lost_file_is_noticed(tmp_path, name, lost):
    folder = WRITERS[name](tmp_path, 6)
    (path,) = [path for path in folder.iterdir() if path.name.endswith(lost) or f"_{path.name}" == lost]
    path.unlink()
    with pytest.raises(DataError, match=str(tmp_path)):
        read_folder(folder, LAYOUTS[name])


@pytest.mark.parametrize("pattern", ["img_{:05d}.jpg", "image_{:05d}.jpg", "{:05d}.jpg", "{:06d}.jpg"])
def test_names_of_other_tools_that_count_from_one(tmp_path, pattern):
    touch(tmp_path, *(pattern.format(n) for n in range(1, 4)), "n_frames", "Thumbs.db")
    assert len(read_folder(tmp_path, LAYOUTS["mmaction2-rawframes"]).images) == 3


@pytest.mark.parametrize("name", ["flow_x_p2_00000.jpg", "flow_y_m2_00002.jpg", "flow_00000.png"])
def test_flow_that_is_not_from_frame_to_frame(tmp_path, name):
    with pytest.raises(DataError, match="from each frame to the next"):
        read_folder(touch(tmp_path, name), LAYOUTS["denseflow-frames"])


def test_a_tree_of_frame_folders(tmp_path):
    denseflow(tmp_path / "train/A/v1", 3)
    denseflow(tmp_path / "val/B/v2", 3)
    touch(tmp_path / ".done/A", "v1")
    parsed = read_tree(tmp_path)
    assert [(row.path, row.labels, row.splits) for row in parsed.rows] == [
        ("train/A/v1", ("A",), ("train",)),
        ("val/B/v2", ("B",), ("val",)),
    ]
    denseflow(tmp_path / "v3", 3)
    assert [problem.file for problem in read_tree(tmp_path).problems] == [str(tmp_path / "v3")]
