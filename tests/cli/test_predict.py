"""`vtk predict` as it is typed."""

import json

import pytest
import tiny


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return tiny.make(tmp_path_factory.mktemp("world"), videos=3)


@pytest.fixture(scope="module")
def run(world):
    return tiny.make_run(world)


def test_a_file_gets_its_classes(vtk, world, run):
    code, out, err = vtk("predict", run.path, world.video(0), "--top", 2)
    assert code == 0, err
    lines = out.splitlines()
    assert lines[0] == str(world.video(0))
    assert len(lines) == 3
    assert lines[1].split()[0].endswith("%")
    assert lines[1].split()[1] in tiny.CLASSES


def test_folders_and_json_lines(vtk, world, run):
    code, out, err = vtk("predict", "latest", world.dataset.videos, "--json", "--root", world.root)
    assert code == 0, err
    found = [json.loads(line) for line in out.splitlines()]
    assert [entry["path"] for entry in found] == [str(world.video(number)) for number in range(3)]
    for entry in found:
        assert sorted(answer["class"] for answer in entry["predictions"]) == sorted(tiny.CLASSES)
        assert sum(answer["probability"] for answer in entry["predictions"]) == pytest.approx(1)


def test_a_list_comes_from_stdin(vtk, world, run):
    names = f"{world.video(1)}\n\n{world.video(2)}\n"
    code, out, err = vtk("predict", run.path, "-", "--json", stdin=names)
    assert code == 0, err
    assert [json.loads(line)["path"] for line in out.splitlines()] == [str(world.video(1)), str(world.video(2))]


def test_unreadable_files_are_told_and_the_rest_goes_on(vtk, world, run, tmp_path):
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(world.video(0).read_bytes()[:200])
    gone = tmp_path / "gone.mp4"
    code, out, err = vtk("predict", run.path, broken, world.video(0), gone, "--json")
    assert code == 3
    found = [json.loads(line) for line in out.splitlines()]
    assert [("error" in entry, entry["path"]) for entry in found] == [
        (True, str(broken)),
        (False, str(world.video(0))),
        (True, str(gone)),
    ]
    assert "no video file" in found[2]["error"]
    assert "2 of 3 videos could not be read" in err


def test_windows_have_times(vtk, world, run, tmp_path):
    path = tiny.write_video(tmp_path / "long.mp4", frames=36)  # 3 s
    code, out, err = vtk("predict", run.path, path, "--window", 1, "--step", 1, "--json")
    assert code == 0, err
    found = [json.loads(line) for line in out.splitlines()]
    assert [(entry["start_seconds"], entry["end_seconds"]) for entry in found] == [(0, 1), (1, 2), (2, 3)]
    code, out, _ = vtk("predict", run.path, path, "--window", 2)
    assert code == 0
    assert [line for line in out.splitlines() if line.startswith("/")] == [
        f"{path}  0.0 s to 2.0 s",
        f"{path}  1.0 s to 3.0 s",
    ]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--step", "1"), "--step goes with --window"),
        (("--window", "0"), "seconds above 0"),
        (("--crops", "2"), "1, 3, 5 or 10"),
        (("--device", "abacus"), "--device takes"),
    ],
)
def test_wrong_options_are_one_sentence(vtk, world, run, arguments, said):
    code, out, err = vtk("predict", run.path, world.video(0), *arguments)
    assert (code, out) == (2, "")
    assert said in err


def test_an_empty_folder_is_an_error(vtk, run, tmp_path):
    code, _, err = vtk("predict", run.path, tmp_path)
    assert code == 2
    assert "found none" in err


@pytest.mark.parametrize("name", ["ucf101_v_ApplyEyeMakeup_g01_c01.avi", "asl_again.mkv", "tcodec_nasa_13013.mp4"])
def test_real_clips(vtk, run, shared, name):
    code, out, err = vtk("predict", run.path, shared / "data/videos" / name, "--json")
    assert code == 0, err
    assert len(json.loads(out)["predictions"]) == 3
