"""Extraction on a local Ray cluster: the same records, whatever dies."""

import dataclasses
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import scripted

from vtk_cli.catalog import Catalog
from vtk_cli.extract.plan import Request
from vtk_cli.extract.run import extract
from vtk_cli.store.lmdb_store import StoreReader

pytest.importorskip("ray")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

OPTIONS = ["--decoder", "scripted", "--short-side", "32", "--flow", "dis", "--set", "flow.preset=fast"]
REQUEST = Request(decoder="scripted", short_side=32, flow="dis", flow_settings=("flow.preset=fast",), shards=4)
BAD = {"crashes": {"do": "crash", "at": 1}, "is_killed": {"do": "killed"}, "is_refused": {"do": "refuse"}}
CLIPS = {f"clip{i:02d}": {"frames": 3 + i % 3, "seed": i} for i in range(16)}


@pytest.fixture(autouse=True)
def _plugin(tmp_path, monkeypatch):
    scripted.install_decoder(tmp_path / "site")
    monkeypatch.syspath_prepend(tmp_path / "site")


@pytest.fixture
def start(tmp_path):
    """Start `vtk extract --engine ray` on a dataset; Ray starts a cluster of its own for each."""

    def run(root, *options):
        environment = {key: value for key, value in os.environ.items() if not key.startswith("RAY_")}
        environment |= {"PYTHONPATH": str(tmp_path / "site"), "HOME": str(tmp_path)}
        command = [sys.executable, "-m", "vtk_cli", "extract", "--root", str(root), *OPTIONS]
        return subprocess.Popen(
            [*command, "--engine", "ray", "--workers", "2", "--json", *options],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    return run


def contents(root):
    found = {}
    for store in ("frames-32", "flow-dis-32"):
        with StoreReader(root / "mine" / store) as reader:
            found[store] = {name: bytes(reader._get(name, b"v")) for name in reader.ids()}
            found[f"{store} failed"] = sorted(name for name, _ in reader.failures())
    return found


def wait_until(condition, seconds=120):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def decoding(root, clip):
    """The process that has begun a clip; 0 while none has."""
    log = root / "mine" / "videos" / "decoded.log"
    lines = [line.split() for line in log.read_text().splitlines()] if log.exists() else []
    return next((int(line[1]) for line in reversed(lines) if line[0] == f"{clip}.json"), 0)


def parent_of(pid):
    return int(re.search(r"PPid:\s+(\d+)", Path(f"/proc/{pid}/status").read_text()).group(1))


def test_the_records_and_failures_are_those_of_the_local_engine(start, tmp_path):
    local = scripted.make_dataset(tmp_path / "local", CLIPS | BAD)
    extract(local, dataclasses.replace(REQUEST, workers=2))
    scripted.make_dataset(tmp_path / "ray", CLIPS | BAD)
    process = start(tmp_path / "ray", "--shards", "4")
    out, err = process.communicate(timeout=300)
    assert process.returncode == 3, err
    found = json.loads(out)
    assert found["present"] == {"frames": 16, "flow": 16}
    causes = {failure["id"]: failure["cause"] for failure in found["failed"]}
    assert causes.keys() == BAD.keys()
    assert "SIGSEGV" in causes["crashes"]
    assert "twice" in causes["is_killed"]
    assert contents(tmp_path / "ray") == contents(tmp_path / "local")
    assert len(err.splitlines()) < 40


def test_a_ray_worker_that_is_killed_loses_nothing(start, tmp_path):
    """Killed with -9 in the middle of a clip, once: the clip and its shard are done by another."""
    clips = CLIPS | {"long": {"frames": 60, "seconds": 0.1}}
    local = scripted.make_dataset(tmp_path / "local", clips)
    extract(local, dataclasses.replace(REQUEST, workers=2))
    root = tmp_path / "ray"
    scripted.make_dataset(root, clips)
    process = start(root, "--shards", "2")
    wait_until(lambda: decoding(root, "long"))
    time.sleep(1)
    worker = parent_of(decoding(root, "long"))
    assert "ray::run_shard" in Path(f"/proc/{worker}/cmdline").read_text()
    os.kill(worker, signal.SIGKILL)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    assert json.loads(out)["present"] == {"frames": 17, "flow": 17}
    assert contents(root) == contents(tmp_path / "local")


def test_a_clip_whose_ray_worker_dies_twice_fails_and_the_others_go_on(start, tmp_path):
    root = tmp_path / "ray"
    dataset = scripted.make_dataset(root, CLIPS | {"long": {"frames": 400, "seconds": 0.1}})
    process = start(root, "--shards", "2")
    killed = set()
    for _ in range(2):
        wait_until(lambda: decoding(root, "long") not in killed | {0})
        time.sleep(1)
        killed.add(decoding(root, "long"))
        os.kill(parent_of(decoding(root, "long")), signal.SIGKILL)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 3, err
    (failure, _) = json.loads(out)["failed"]
    assert failure["id"] == "long"
    assert "the Ray worker died twice while decoding it" in failure["cause"]
    assert json.loads(out)["present"] == {"frames": 16, "flow": 16}
    with Catalog(dataset.catalog) as catalog:
        assert [row.id for row in catalog.rows(status="broken")] == ["long"]


def test_ctrl_c_stops_and_the_same_command_goes_on(start, tmp_path):
    root = tmp_path / "ray"
    clips = {name: {**clip, "seconds": 0.05} for name, clip in CLIPS.items()}
    scripted.make_dataset(root, clips | {"long": {"frames": 2000, "seconds": 0.05}})
    process = start(root, "--shards", "2")
    wait_until(lambda: decoding(root, "long"))
    time.sleep(2)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 75, err
    assert err.splitlines()[-1].startswith("vtk: Extraction was stopped by SIGINT")
    assert "Traceback" not in err
    kept = contents(root)["frames-32"]
    (root / "mine" / "videos" / "long.json").write_text('{"frames": 2}')
    process = start(root)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    assert json.loads(out)["extracted"] == 17 - len(kept)
    after = contents(root)["frames-32"]
    assert {name: after[name] for name in kept} == kept


@pytest.mark.parametrize("address", ["127.0.0.1:9", "ray://127.0.0.1:10001"])
def test_an_address_where_no_cluster_answers(tmp_path, address):
    scripted.make_dataset(tmp_path / "root", {"a": {}})
    command = [sys.executable, "-m", "vtk_cli", "extract", "--root", str(tmp_path / "root"), *OPTIONS]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "site"), "HOME": str(tmp_path)}
    environment["RAY_ADDRESS"] = address
    command += ["--engine", "ray"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (4, "")
    assert f"A Ray cluster should answer at {address}, found: " in done.stderr
