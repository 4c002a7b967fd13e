"""From clips to a tested sequence model: train a network of clips, extract its features, train on them, test, predict."""

import json
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
import toy_sequence
from safetensors.torch import load_file
from typed import typed

from vtk_cli.cli import main
from vtk_cli.run_dir import RunDir

CLIPS = [
    *("--init", "none", "--set", "model.trunk=resnet18", "--set", "model.short_side=32", "--set", "model.crop=32"),
    *("--set", "model.segments=2", "--set", "model.test_segments=2", "--set", "train.epochs=1"),
    *("--set", "train.batch_size=3", "--set", "train.micro_batch=3"),
]
HERE = ("--set", "data.workers=0")


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True, scope="module")
def toy_plugin(tmp_path_factory):
    site = tmp_path_factory.mktemp("site")
    toy_sequence.install(site)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(site)
        yield


@pytest.fixture
def vtk(monkeypatch, capsys):
    return typed(monkeypatch, capsys)


@dataclass(frozen=True)
class World:
    tiny: tiny.Tiny
    clips: RunDir
    """A network of clips, trained for one step."""
    store: str
    """Its features."""

    @property
    def root(self) -> Path:
        return self.tiny.root


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    made = tiny.make(tmp_path_factory.mktemp("world") / "root")
    tiny.extract(made)
    quiet("train", "tsn", *CLIPS, *HERE, "--root", made.root)
    run = RunDir.find(made.workspace.runs, "latest")
    quiet("extract", "--features", run.name, "--windows", 4, "--as", "tsn", *HERE, "--root", made.root)
    return World(made, run, "features-tsn")


def quiet(*arguments):
    """A command that has to work."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["vtk", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
    assert not ended.value.code, arguments


@pytest.fixture(scope="module")
def sequence(world):
    """A sequence model, trained for an epoch."""
    return train(world, epochs=1)


def train(world, *, epochs, more=()):
    settings = ("--set", 'model.streams=["rgb:512"]', "--set", f"train.epochs={epochs}", *more)
    quiet("train", "toy_sequence", "tiny", *settings, *HERE, "--root", world.root)
    return RunDir.find(world.tiny.workspace.runs, "latest")


def test_the_error_suggests_the_streams_that_are_there(vtk, world):
    code, _, err = vtk("train", "toy_sequence", *HERE, "--root", world.root)
    assert code == 5
    assert "streams rgb:6" in err
    code, out, err = vtk(
        *("train", "toy_sequence", "--dry-run", "--json", "--set", toy_sequence.streams_in(err)),
        *(*HERE, "--root", world.root),
    )
    assert code == 0, err
    found = json.loads(out)
    assert found["feature_BFD"] == [2, 5, 512]
    assert found["mask_BF"] == [2, 5]
    assert found["logits_BK"] == [2, 3]
    assert found["reads"] == world.store


def test_a_run_knows_what_its_features_come_from(world, sequence):
    info = sequence.info()
    origin = info.stores[world.store]["origin"]
    assert origin["run"] == world.clips.name
    assert origin["windows"] == 4
    assert info.best.keys() >= {"top1", "epoch"}
    steps = list(sequence.read_log("step"))
    assert steps
    assert all(np.isfinite(step["loss"]) for step in steps)


def test_it_is_tested_reported_and_listed(vtk, world, sequence):
    code, out, err = vtk("test", sequence.name, *HERE, "--json", "--root", world.root)
    assert code == 0, err
    found = json.loads(out)
    assert (found["videos"], found["left_out"]) == (3, 0)
    assert found["protocol"] == {"vectors": 5, "streams": "rgb:512", "features": world.store}
    with np.load(sequence.scores / "val.npz") as scores:
        assert scores["scores_BK"].shape == (3, 3)
        right = (scores["scores_BK"].argmax(1) == scores["labels"]).mean()
    assert found["metrics"]["top1"] == pytest.approx(right)
    assert vtk("report", sequence.name, "--root", world.root)[0] == 0
    page = sequence.report.read_text()
    assert "at most 5 vectors per video" in page
    assert f"vtk extract tiny --features {world.clips.name} --windows 4 --dtype float16 --as tsn" in page
    code, out, _ = vtk("runs", "--root", world.root)
    assert code == 0
    assert sequence.name in out
    assert vtk("runs", "show", sequence.name, "--root", world.root)[0] == 0


def test_a_file_is_predicted_through_both_networks(vtk, world, sequence):
    video = world.tiny.video(4)
    code, out, err = vtk("predict", sequence.name, video, "--json", "--root", world.root)
    assert code == 0, err
    found = {entry["class"]: entry["probability"] for entry in json.loads(out)["predictions"]}
    assert sum(found.values()) == pytest.approx(1)
    assert vtk("test", sequence.name, *HERE, "--root", world.root)[0] == 0
    with np.load(sequence.scores / "val.npz") as scores:
        logits = scores["scores_BK"][scores["ids"].tolist().index("clip-4")].astype(np.float64)
    expected = np.exp(logits) / np.exp(logits).sum()
    assert [found[name] for name in tiny.CLASSES] == pytest.approx(expected.tolist(), abs=0.1)  # JPEG in the store


def test_a_part_of_a_file_is_predicted(vtk, world, sequence):
    arguments = ("--window", 0.5, "--json", "--root", world.root)
    code, out, err = vtk("predict", sequence.name, world.tiny.video(1), *arguments)
    assert code == 0, err
    assert len(out.splitlines()) == 3


def test_without_its_network_it_predicts_nothing_and_says_why(vtk, world, sequence, tmp_path):
    root = tmp_path / "root"
    shutil.copytree(sequence.path, root / "runs" / sequence.name)
    file = root / "runs" / sequence.name / "checkpoints" / "best.safetensors"
    hidden = world.clips.checkpoints.rename(tmp_path / "hidden")
    try:
        code, _, err = vtk("predict", file, world.tiny.video(1), "--root", root)
    finally:
        hidden.rename(world.clips.checkpoints)
    assert code in (3, 5)
    assert "reads features that tsn made with weights of sha256" in err
    assert "Bring those weights back" in err


def test_views_of_clips_are_refused(vtk, world, sequence):
    for option in (("--crops", 3), ("--clips", 2), ("--segments", 4)):
        code, _, err = vtk("test", sequence.name, *option, "--root", world.root)
        assert code == 2
        assert f"found {option[0]}, which is of models of clips" in err
    code, _, err = vtk("extract", "--features", sequence.name, *HERE, "--root", world.root)
    assert code == 2
    assert "one that reads features" in err


def test_features_of_another_network_are_refused(vtk, world, sequence):
    other = tiny.make_run(world.tiny)
    quiet("extract", "--features", other.name, "--windows", 4, "--as", "other", *HERE, "--root", world.root)
    try:
        store = ("--set", "data.store=features-other")
        code, _, err = vtk("test", sequence.name, *store, *HERE, "--root", world.root)
        assert code == 5
        assert f"trained on {world.store}; features-other differs: origin" in err
        assert vtk("test", sequence.name, *HERE, "--root", world.root)[0] == 0  # of two that fit, its own
    finally:
        shutil.rmtree(world.tiny.dataset.store("features-other"))
        shutil.rmtree(other.path)


def test_a_resumed_run_ends_as_one_that_was_not_interrupted(vtk, world):
    straight = train(world, epochs=3)
    resumed = train(world, epochs=1)
    more = ("--set", "train.epochs=3", *HERE)
    code, _, err = vtk("train", "--resume", resumed.name, *more, "--root", world.root)
    assert code == 0, err
    ours, theirs = (load_file(run.checkpoints / "last.safetensors") for run in (resumed, straight))
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--features", "latest", "--flow", "tvl1"), "found --flow on the command line"),
        (("--features", "latest", "--frames"), "found --frames on the command line"),
        (("--features", "latest", "--short-side", "64"), "found --short-side"),
        (("--features", "latest", "--windows", "3", "--stride", "4"), "Name one"),
        (("--features", "latest", "--windows", "0"), "--windows is a whole number"),
        (("--features", "latest", "--dtype", "float64"), "--dtype takes float16 or float32"),
        (("--features", "latest", "--shard", "2/2"), "from 0 to N-1"),
        (("--features", "latest", "--set", "data.on_error=skip"), "found data.on_error"),
        (("--features", "latest", "--set", "data.stor=x"), "found data.stor"),
        (("--features", "latest", "--set", "flow.levels=2"), 'no section "flow"'),
        (("--features", "latest", "--weights", "worst"), "--weights takes best, last"),
        (("--features", "nothing"), "--features takes a run"),
        (("--windows", "3"), "found --windows on the command line"),
        (("--stride", "3"), "--features RUN"),
        (("--as", "x"), "found --as"),
    ],
)
def test_wrong_options_are_one_sentence_and_change_nothing(vtk, world, arguments, said):
    before = sorted(path.name for path in world.tiny.dataset.path.iterdir())
    code, out, err = vtk("extract", "tiny", *arguments, "--root", world.root)
    assert (code, out) == (2, ""), err
    assert said in err
    assert "Traceback" not in err
    assert sorted(path.name for path in world.tiny.dataset.path.iterdir()) == before


def test_a_summary_as_json(vtk, world):
    arguments = ("--windows", 4, "--as", "tsn", *HERE, "--json", "--root", world.root)
    code, out, err = vtk("extract", "--no-frames", "--features", world.clips.path, *arguments)
    assert code == 0, err
    found = json.loads(out)
    assert found["stores"] == {"features": "features-tsn"}
    assert (found["present"], found["extracted"]) == ({"features": 6}, 0)
