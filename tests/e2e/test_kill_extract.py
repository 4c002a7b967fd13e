"""kill -9 at any moment, then the same command again: the same records as without."""

import os
import random
import signal
import subprocess
import sys
import time

import av
import numpy as np
import pytest

from vtk_cli.api.datasets import VideoRow
from vtk_cli.catalog import Catalog
from vtk_cli.store.lmdb_store import StoreReader
from vtk_cli.workspace import Workspace

CLIPS, FRAMES = 24, 5
OPTIONS = [
    "--short-side",
    "48",
    "--flow",
    "tvl1",
    "--set",
    "flow.scales=2",
    "--set",
    "flow.outer_iterations=2",
    "--workers",
    "2",
    "--shards",
    "6",
]
STORES = ("frames-48", "flow-tvl1-48")


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    """Small real H.264 files, one of them cut off."""
    folder = tmp_path_factory.mktemp("videos")
    for number in range(CLIPS):
        _write_clip(folder / f"clip{number:02d}.mp4", number)
    whole = (folder / "clip03.mp4").read_bytes()
    (folder / "clip03.mp4").write_bytes(whole[: len(whole) // 2])
    return folder


@pytest.fixture(scope="module")
def undisturbed(videos, tmp_path_factory):
    root = tmp_path_factory.mktemp("undisturbed")
    _make_dataset(root, videos)
    assert _extract(root).wait() == 3
    return _records(root)


@pytest.mark.parametrize(("whom", "times"), [("everyone", 4), ("parent", 2)])
def test_killed_at_random_moments_the_records_are_the_same(videos, undisturbed, tmp_path, whom, times):
    _make_dataset(tmp_path, videos)
    draw = random.Random(len(whom))
    seen = [0]
    for _ in range(times):
        process = _extract(tmp_path)
        before = time.monotonic()
        # Not before a worker can have started, then anywhere: while opening, decoding, computing flow, committing.
        while time.monotonic() < before + 15 and process.poll() is None and _present(tmp_path) <= seen[-1]:
            time.sleep(0.02)
        time.sleep(draw.uniform(0, 0.5))
        if whom == "everyone":
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
        process.wait()
        seen.append(_present(tmp_path))
    assert seen == sorted(seen)
    assert any(0 < present < CLIPS - 1 for present in seen), seen
    assert _extract(tmp_path).wait() == 3
    assert _records(tmp_path) == undisturbed
    with Catalog(tmp_path / "real" / "catalog.sqlite") as catalog:
        assert [row.id for row in catalog.rows(status="broken")] == ["clip03"]


def _extract(root):
    command = [sys.executable, "-m", "vtk_cli", "extract", "--root", str(root), *OPTIONS]
    return subprocess.Popen(command, start_new_session=True, stderr=subprocess.DEVNULL)


def _records(root):
    found = {}
    for store in STORES:
        with StoreReader(root / "real" / store) as reader:
            found[store] = {name: bytes(reader._get(name, b"v")) for name in reader.ids()}
            found[f"{store} failed"] = dict(reader.failures())
    assert len(found["frames-48"]) == len(found["flow-tvl1-48"]) == CLIPS - 1
    assert found["frames-48 failed"].keys() == found["flow-tvl1-48 failed"].keys() == {"clip03"}
    return found


def _present(root):
    """Videos that are whole in both stores, also while others write."""
    there = []
    for store in STORES:
        if not (root / "real" / store / "meta.json").exists():
            return 0
        with StoreReader(root / "real" / store) as reader:
            there.append(set(reader.ids()))
            for name in there[-1]:
                reader.verify(name)
    return len(there[0] & there[1])


def _make_dataset(root, videos):
    workspace = Workspace(root)
    dataset = workspace.new_dataset("real")
    rows = [VideoRow(id=path.stem, path=str(path), labels=(0,), splits=("train",)) for path in sorted(videos.iterdir())]
    with Catalog.create(dataset.catalog, ("a",), rows, {"dataset": "real"}) as catalog:
        catalog.set_status([(row.id, "ready", "") for row in rows])
    workspace.set_current("real")


def _write_clip(path, seed):
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (12, 14, 3), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for number in range(FRAMES):
            picture = np.ascontiguousarray(coarse[number : number + 48, 2 * number : 2 * number + 64])
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
