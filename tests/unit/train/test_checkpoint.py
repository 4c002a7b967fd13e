import errno
import os
import shutil
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from vtk_cli.errors import CheckpointError, DataError
from vtk_cli.train import checkpoint
from vtk_cli.train.checkpoint import Checkpoints


def save(folder, value, *, best=False):
    tensors = {"w": torch.full((3,), float(value))}
    Checkpoints(folder).save(tensors, {"step": value}, {"model": "toy"}, best=best)


def load(folder):
    weights, state = Checkpoints(folder).load()
    assert set(weights["w"].tolist()) == {float(state["step"])}, "weights and state of two checkpoints"
    return state["step"]


def test_a_pair_comes_back(tmp_path):
    save(tmp_path, 1, best=True)
    save(tmp_path, 2)
    assert load(tmp_path) == 2
    with safe_open(tmp_path / "best.safetensors", framework="pt") as best:
        assert best.get_tensor("w").tolist() == [1.0, 1.0, 1.0]
        assert best.metadata()["model"] == "toy"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["best.safetensors", "last.safetensors", "last.state"]


def test_a_kill_at_any_moment_leaves_a_whole_pair(tmp_path, monkeypatch):
    """Every change of the folder is a moment; the folder as it stands before and after each must load."""
    folder, moments = tmp_path / "checkpoints", []
    save(folder, 1, best=True)

    def watched(function):
        def call(*args, **kwargs):
            shutil.copytree(folder, tmp_path / f"moment{len(moments)}")
            moments.append(len(moments))
            result = function(*args, **kwargs)
            shutil.copytree(folder, tmp_path / f"moment{len(moments)}")
            moments.append(len(moments))
            return result

        return call

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", watched(Path.replace))
        patch.setattr(os, "fsync", watched(os.fsync))
        save(folder, 2, best=True)
    found = [load(tmp_path / f"moment{number}") for number in moments]
    assert found == sorted(found)
    assert set(found) == {1, 2}
    assert len(found) >= 16
    for number in moments:
        left = {p.name for p in (tmp_path / f"moment{number}").iterdir()}
        assert left == {"best.safetensors", "last.safetensors", "last.state"}, "what a kill left was not removed"
        assert load(tmp_path / f"moment{number}") == found[number]


@pytest.mark.parametrize("failing", [1, 2, 3])
def test_a_full_disk_is_said_and_the_previous_pair_stays(tmp_path, monkeypatch, failing):
    save(tmp_path, 1)
    calls = []

    def full(descriptor):
        calls.append(descriptor)
        if len(calls) == failing:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(DataError, match="No space left on device"):
            save(tmp_path, 2, best=True)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["last.safetensors", "last.state"]
    assert load(tmp_path) == 1
    save(tmp_path, 3)
    assert load(tmp_path) == 3


def test_tied_and_strided_tensors_are_kept(tmp_path):
    image = torch.arange(24.0).view(1, 2, 3, 4).to(memory_format=torch.channels_last)
    Checkpoints(tmp_path).save({"a": image, "b": image, "c": image.mT}, {}, {}, best=False)
    weights, _ = Checkpoints(tmp_path).load()
    assert torch.equal(weights["a"], image)
    assert torch.equal(weights["b"], image)
    assert torch.equal(weights["c"], image.mT)


def test_optimizer_state_comes_back_without_pickle(tmp_path):
    net = torch.nn.Linear(2, 2)
    optimizer = torch.optim.AdamW(net.parameters(), lr=0.1)
    net(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    Checkpoints(tmp_path).save({}, {"optimizer": optimizer.state_dict()}, {}, best=False)
    _, state = Checkpoints(tmp_path).load()
    kept = state["optimizer"]["state"][0]
    assert torch.equal(kept["exp_avg"], optimizer.state_dict()["state"][0]["exp_avg"])


def test_an_absent_checkpoint_is_said(tmp_path):
    with pytest.raises(CheckpointError, match="no checkpoint to resume from"):
        Checkpoints(tmp_path).load()


@pytest.mark.parametrize("keep", [0, 10, 200])
def test_a_cut_state_is_said(tmp_path, keep):
    save(tmp_path, 1)
    state = tmp_path / "last.state"
    state.write_bytes(state.read_bytes()[:keep])
    with pytest.raises(CheckpointError, match=r"last\.state should hold the state of a run"):
        Checkpoints(tmp_path).load()


def test_a_state_that_runs_code_is_refused(tmp_path):
    save(tmp_path, 1)
    torch.save({"version": 1, "checkpoint": "x", "evil": os.system}, tmp_path / "last.state")
    with pytest.raises(CheckpointError, match="should hold the state of a run"):
        Checkpoints(tmp_path).load()


def test_a_state_of_another_version_is_refused(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "VERSION", 99)
        save(tmp_path, 1)
    with pytest.raises(CheckpointError, match="should have version 1"):
        Checkpoints(tmp_path).load()


@pytest.mark.parametrize("damage", ["other", "cut", "absent"])
def test_weights_that_do_not_belong_to_the_state_are_refused(tmp_path, damage):
    save(tmp_path / "a", 1)
    save(tmp_path / "b", 2)
    weights = tmp_path / "a" / "last.safetensors"
    if damage == "other":
        shutil.copy(tmp_path / "b" / "last.safetensors", weights)
    elif damage == "cut":
        weights.write_bytes(weights.read_bytes()[:-4])
    else:
        weights.unlink()
    with pytest.raises(CheckpointError, match=r"should belong to one checkpoint|should be there whole"):
        Checkpoints(tmp_path / "a").load()
