"""`vtk download kinetics400`, `vtk extract --flow tvl1`, `vtk train stnet`, with nothing more typed.

The environment says where the workspace is and which host stands for the official one; StNet's ImageNet weights are
imported first, as someone without a network does it.
"""

import json
import re
import shlex
import signal
import time

import pytest
import torch
from command import Vtk
from host import KINETICS, Host
from kinetics_mirror import CLIPS, REPLACED, mirror_files
from safetensors import safe_open

from vtk_cli.catalog import Catalog
from vtk_cli.run_dir import RunDir
from vtk_cli.store.lmdb_store import StoreReader
from vtk_cli.workspace import Workspace
from vtk_models.trunks.resnet import ResNet

FRAMES = 6
IDS = {name for clips in CLIPS.values() for name in clips}


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_download_extract_train(tmp_path):
    with Host(mirror_files(tmp_path / "clips", frames=FRAMES)) as host:
        vtk = Vtk(tmp_path / "home", VTK_MIRROR=host.url + KINETICS)
        _download(vtk)
        _extract(vtk)
        _import_weights(vtk, tmp_path / "resnet50.pth")
    run = _train_until_stopped(vtk)
    _resume_until_stopped(vtk, run)


def test_a_clip_that_no_archive_holds_is_listed_and_the_rest_is_ready(tmp_path):
    absent = "-al2val2va2_000004_000014"
    with Host(mirror_files(tmp_path / "clips", frames=2, absent={absent})) as host:
        vtk = Vtk(tmp_path / "home", VTK_MIRROR=host.url + KINETICS)
        done = vtk("download", "kinetics400", code=3)
    assert "kinetics400: 5 of 6 clips in" in done.stdout
    listed = vtk.home / "kinetics400" / "missing.csv"
    assert str(listed) in done.stderr
    assert "This is normal" in done.stderr
    assert [line.split(",")[0] for line in listed.read_text().splitlines()] == ["id", absent]
    with Catalog(vtk.home / "kinetics400" / "catalog.sqlite") as catalog:
        assert {row.id: row.status for row in catalog.rows()} == {
            name: "missing" if name == absent else "ready" for name in IDS
        }


def _download(vtk):
    done = vtk("download", "kinetics400")
    assert "kinetics400: 6 of 6 clips in" in done.stdout
    workspace = Workspace(vtk.home)
    assert workspace.current() == "kinetics400"
    with Catalog(workspace.dataset().catalog) as catalog:
        assert len(catalog.classes) == 400
        rows = {row.id: row for row in catalog.rows()}
    assert {name: row.status for name, row in rows.items()} == dict.fromkeys(IDS, "ready")
    assert {name: row.splits for name, row in rows.items()} == {
        name: (split,) for split, clips in CLIPS.items() for name in clips
    }


def _extract(vtk):
    done = vtk("extract", "--flow", "tvl1")
    assert "frames-256: 6 of 6 clips" in done.stderr
    dataset = Workspace(vtk.home).dataset()
    for store, pictures in (("frames-256", FRAMES), ("flow-tvl1-256", FRAMES - 1)):
        with StoreReader(dataset.store(store)) as reader:
            assert set(reader.ids()) == IDS
            assert reader.meta.short_side == 256
            assert {reader.num_frames(name) for name in IDS} == {pictures}, REPLACED
    before = {path: path.stat().st_mtime_ns for path in dataset.path.glob("*/*.lmdb")}
    vtk("extract", "--flow", "tvl1")
    assert {path: path.stat().st_mtime_ns for path in dataset.path.glob("*/*.lmdb")} == before


def _import_weights(vtk, file):
    """What `vtk train stnet` says when the weights cannot be fetched, done word by word."""
    refused = vtk("train", "stnet", code=5)
    assert not list(Workspace(vtk.home).runs.glob("*"))
    assert "--from DIR" not in refused.stderr, "that is an option of another command"
    command = re.search(r"`vtk (weights import FILE [^`]*)`", refused.stderr)
    assert command, refused.stderr
    torch.manual_seed(0)
    foreign = ResNet(50).state_dict() | {"fc.weight": torch.zeros(1000, 2048), "fc.bias": torch.zeros(1000)}
    torch.save(foreign, file)
    vtk(*(str(file) if word == "FILE" else word for word in shlex.split(command[1])))
    names = [row["name"] for row in json.loads(vtk("weights", "list", "--json").stdout) if row["here"] == "yes"]
    assert names == ["resnet50-imagenet"]


def _train_until_stopped(vtk):
    err = _stop_after_a_step(vtk, "train", "stnet")
    (run,) = (RunDir(path) for path in Workspace(vtk.home).runs.iterdir())
    assert f"Go on with: vtk train --resume {run.name}" in err
    assert "initial weights: resnet50-imagenet.safetensors" in err
    info = run.info()
    assert (info.model, info.dataset, info.status, len(info.classes)) == ("stnet", "kinetics400", "interrupted", 400)
    assert list(info.stores) == ["frames-256"]
    assert _steps(run) == list(range(len(_steps(run))))
    with safe_open(run.checkpoints / "last.safetensors", "pt") as weights:
        assert weights.get_tensor("fc.weight").shape[0] == 400
    return run


def _resume_until_stopped(vtk, run):
    before = _steps(run)
    _stop_after_a_step(vtk, "train", "--resume", "latest")
    after = _steps(run)
    assert after == list(range(len(after)))
    assert len(after) > len(before)
    shown = json.loads(vtk("runs", "--json").stdout)
    assert [(one["name"], one["status"]) for one in shown] == [(run.name, "interrupted")]


def _stop_after_a_step(vtk, *arguments):
    """Start it, wait until it has logged a step more, send SIGTERM as a scheduler does; what it said on stderr."""
    runs = Workspace(vtk.home).runs
    before = sum(len(_steps(RunDir(path))) for path in runs.glob("*"))
    process = vtk.start(*arguments)
    deadline = time.monotonic() + 150
    while process.poll() is None and sum(len(_steps(RunDir(path))) for path in runs.glob("*")) <= before:
        assert time.monotonic() < deadline, "no step in 150 s"
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=90)
    assert process.returncode == 75, err
    assert "Traceback" not in err
    return err


def _steps(run):
    return [entry["step"] for entry in run.read_log("step")]
