"""kill -9 at any moment, then the same command again: the same records as without."""

import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress

import av
import numpy as np
import pytest

from vtk_cli.api.datasets import VideoRow
from vtk_cli.catalog import Catalog
from vtk_cli.store.lmdb_store import StoreReader
from vtk_cli.workspace import Workspace

CLIPS, FRAMES = 24, 7
OPTIONS = [
    "--short-side",
    "96",
    "--flow",
    "tvl1",
    "--warped",
    "--workers",
    "2",
    "--shards",
    "6",
]
STORES = ("frames-96", "flow-tvl1-96", "warped-tvl1-96")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


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
            with suppress(ProcessLookupError):  # it had finished
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


def test_two_parts_at_once_on_one_store_and_one_of_them_killed(videos, undisturbed, tmp_path):
    """As two jobs of an array do, of which one is killed and submitted again."""
    _make_dataset(tmp_path, videos)
    parts = [_extract(tmp_path, "--shard", f"{number}/2", "--workers", "1") for number in range(2)]
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and _present(tmp_path) < 3:
        time.sleep(0.02)
    os.killpg(parts[0].pid, signal.SIGKILL)
    parts[0].wait()
    again = _extract(tmp_path, "--shard", "0/2", "--workers", "1")
    assert {again.wait(), parts[1].wait()} == {0, 3}
    assert _records(tmp_path) == undisturbed


def _extract(root, *options):
    command = [sys.executable, "-m", "vtk_cli", "extract", "--root", str(root), *OPTIONS, *options]
    return subprocess.Popen(command, start_new_session=True, stderr=subprocess.DEVNULL)


def _records(root):
    found = {}
    for store in STORES:
        with StoreReader(root / "real" / store) as reader:
            found[store] = {name: bytes(reader._get(name, b"v")) for name in reader.ids()}
            found[f"{store} failed"] = dict(reader.failures())
    for store in STORES:
        assert len(found[store]) == CLIPS - 1
        assert found[f"{store} failed"].keys() == {"clip03"}
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
    return len(set.intersection(*there))


def _make_dataset(root, videos):
    workspace = Workspace(root)
    dataset = workspace.new_dataset("real")
    rows = [VideoRow(id=path.stem, path=str(path), labels=(0,), splits=("train",)) for path in sorted(videos.iterdir())]
    with Catalog.create(dataset.catalog, ("a",), rows, {"dataset": "real"}) as catalog:
        catalog.set_status([(row.id, "ready", "") for row in rows])
    workspace.set_current("real")


def _write_clip(path, seed):
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (18, 24, 3), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 128, 96, "yuv420p"
        for number in range(FRAMES):
            picture = np.ascontiguousarray(coarse[number : number + 96, 2 * number : 2 * number + 128])
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
