"""SIGTERM, then kill -9 at some moment, then the same command again: the same vectors as without."""

import os
import signal
import subprocess
import sys
import time

import pytest
import tiny
import torch

from vtk_cli.evaluate.classifier import load
from vtk_cli.evaluate.feature_store import FeatureRequest, extract_features
from vtk_cli.evaluate.feature_windows import FeatureWindows
from vtk_cli.loader.options import DataOptions
from vtk_cli.store.lmdb_store import StoreReader

VIDEOS = 24
REQUEST = FeatureRequest(windows=FeatureWindows(stride=1), options=DataOptions(workers=0))


@pytest.fixture(autouse=True)
def one_thread():
    """As the processes that are killed have: sums in another order would give other bits."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_stopped_and_killed_the_vectors_are_the_same(tmp_path):
    world = tiny.make(tmp_path / "root", videos=VIDEOS)
    run = tiny.make_run(world)
    store = world.dataset.store("features-mine")
    stopped = _until(world, run, store, 2)
    stopped.send_signal(signal.SIGTERM)
    _, said = stopped.communicate(timeout=60)
    assert stopped.returncode == 75, said
    assert "Extraction was stopped. What was finished is kept" in said
    assert "Traceback" not in said
    first = len(_records(store))
    assert 2 <= first < VIDEOS
    killed = _until(world, run, store, first + 2)
    os.killpg(killed.pid, signal.SIGKILL)
    killed.communicate()
    second = len(_records(store))
    assert first < second < VIDEOS
    network = load(run.path)
    summary = extract_features(world.dataset, network, _named("mine"))
    assert summary.extracted == VIDEOS - second
    extract_features(world.dataset, network, _named("undisturbed"))
    assert _records(store) == _records(world.dataset.store("features-undisturbed"))


def _named(name):
    return FeatureRequest(windows=REQUEST.windows, options=REQUEST.options, name=name)


def _until(world, run, store, videos):
    """An extraction that has stored so many videos."""
    command = [sys.executable, "-m", "vtk_cli", "extract", "--features", run.name, "--stride", "1", "--as", "mine"]
    process = subprocess.Popen(
        [*command, "--set", "data.workers=0", "--root", str(world.root)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    deadline = time.monotonic() + 120
    while process.poll() is None and len(_records(store)) < videos:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return process


def _records(store):
    """Every record that is there, each verified."""
    if not (store / "meta.json").exists():
        return {}
    with StoreReader(store) as reader:
        return {name: [bytes(f) for f in reader.read(name, range(reader.num_frames(name)))] for name in reader.ids()}
