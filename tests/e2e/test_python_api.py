"""A trained model from Python, in three lines."""

import subprocess
import sys

import pytest
import tiny
import torch

import vtk_cli
from vtk_cli.errors import CheckpointError, UsageError, VideoError

LINES = """
import sys
import vtk_cli
light = [name for name in ("torch", "numpy", "av", "cv2", "PIL", "lmdb", "pydantic") if name in sys.modules]
classifier = vtk_cli.load(sys.argv[1])
print(light, classifier.predict(sys.argv[2])[0])
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return tiny.make(tmp_path_factory.mktemp("home"), videos=2)


@pytest.fixture(scope="module")
def run(made):
    return tiny.make_run(made)


@pytest.fixture
def here(made, monkeypatch):
    """The workspace is found by the environment, as a user's script finds it."""
    monkeypatch.setenv("VTK_HOME", str(made.root))
    return made


def test_the_three_lines_in_a_process_of_their_own(made, run):
    done = subprocess.run(
        [sys.executable, "-c", LINES, run.path, made.video(0)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    name, probability = vtk_cli.load(run.path, device="cpu").predict(made.video(0))[0]
    assert done.stdout.startswith(f"[] ('{name}', {probability:.3f}")
    assert done.stderr == ""


def test_a_run_by_name_by_folder_and_its_weights_say_the_same(here, run, tmp_path):
    best = run.checkpoints / "best.safetensors"
    moved = tmp_path / "mine.safetensors"
    moved.write_bytes(best.read_bytes())
    ways = [run.path, str(run.path), run.name, run.name[:-2], "latest", best, str(moved)]
    answers = [vtk_cli.load(way).predict(str(here.video(1))) for way in ways]
    assert all(answer == answers[0] for answer in answers)
    assert answers[0] != vtk_cli.load(run.path, weights="last").predict(here.video(1))


def test_what_it_says_of_a_clip(here, run):
    classifier = vtk_cli.load(run.name)
    found = classifier.predict(here.video(0))
    assert sorted(name for name, _ in found) == list(classifier.classes) == ["bend", "climb", "dive"]
    probabilities = [value for _, value in found]
    assert probabilities == sorted(probabilities, reverse=True)
    assert sum(probabilities) == pytest.approx(1, abs=1e-5)
    assert classifier.predict(here.video(0), top=1) == found[:1]


def test_classes_spec_and_module_are_at_hand(here, run):
    classifier = vtk_cli.load(run.name, clips=2, crops=3)
    assert classifier.info.model == "tsn"
    assert classifier.spec.paper.startswith("Wang et al.")
    assert classifier.config == tiny.CONFIG
    assert (classifier.inputs.test.clips, classifier.inputs.test.crops) == (2, 3)
    assert isinstance(classifier.module, torch.nn.Module)
    assert not classifier.module.training
    clip_BTNCHW = torch.zeros(2, tiny.CONFIG.segments, 1, 3, tiny.SIDE, tiny.SIDE)
    with torch.no_grad():
        assert classifier.module(clip_BTNCHW).shape == (2, 3)
    uint8_BVTNCHW = torch.zeros(2, 6, 3, 1, 3, tiny.SIDE, tiny.SIDE, dtype=torch.uint8)
    assert classifier.probabilities(uint8_BVTNCHW).sum(1).tolist() == pytest.approx([1, 1])


def test_errors_are_sentences(here, run, tmp_path):
    with pytest.raises(UsageError, match='There is no run "nothing"'):
        vtk_cli.load("nothing")
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(b"not weights")
    with pytest.raises(CheckpointError, match=r"broken\.safetensors"):
        vtk_cli.load(broken)
    classifier = vtk_cli.load(run.path)
    with pytest.raises(VideoError, match="There is no video file at"):
        classifier.predict(tmp_path / "absent.mp4")
    empty = tmp_path / "empty.mp4"
    empty.touch()
    with pytest.raises(VideoError, match="is empty: 0 bytes"):
        classifier.predict(empty)


def test_a_real_clip(here, run, shared):
    classifier = vtk_cli.load(run.path)
    found = classifier.predict(shared / "data" / "videos" / "kinetics_R6llTwEh07w.mp4", top=2)
    assert len(found) == 2


def test_the_version_is_the_distributions(here):
    from importlib.metadata import version

    assert vtk_cli.__version__ == version("vtk-cli")
    with pytest.raises(AttributeError, match="no attribute 'laod'"):
        _ = vtk_cli.laod
