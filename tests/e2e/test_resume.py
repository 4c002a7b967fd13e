"""A run that is stopped or killed, whenever and however often, ends as if nothing had happened."""

import json
import multiprocessing
import os
import random
import runpy
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import toy
from safetensors.torch import load_file

from vtk_cli.run_dir import RunDir

TOY = Path(toy.__file__)
TIMED = {"time", "seconds", "clips_per_second", "wait_share"}


def start(folder, *settings):
    """The toy run in a process of its own, forked from a server that has imported torch once."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["torch._dynamo", "vtk_cli.train.trainer"])
    arguments = {"init_globals": {"ARGUMENTS": [str(folder), *settings]}, "run_name": "__main__"}
    process = context.Process(target=runpy.run_path, args=(str(TOY),), kwargs=arguments)
    process.start()
    return process


def finish(process):
    process.join(60)
    assert process.exitcode is not None, "the run does not end"
    return process.exitcode


def wait_until(ready, process, seconds=60):
    deadline = time.monotonic() + seconds
    while not ready() and process.exitcode is None:
        assert time.monotonic() < deadline
        time.sleep(0.005)


def logged(folder, kind=None):
    return [
        {k: v for k, v in e.items() if k not in TIMED} for e in RunDir(folder).read_log(kind) if e["kind"] != "event"
    ]


def weights(folder, name="last"):
    return load_file(folder / "checkpoints" / f"{name}.safetensors")


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed") / "run"
    assert finish(start(folder, "epochs=4")) == 0
    return folder


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
def test_a_signal_ends_the_step_and_the_run_goes_on(tmp_path, undisturbed, number):
    folder = tmp_path / "run"
    process = start(folder, "epochs=4", "delay=0.02")
    wait_until(lambda: len(logged(folder, "step")) >= 4, process)
    os.kill(process.pid, number)
    assert finish(process) == 75
    said = [event["message"] for event in RunDir(folder).read_log("event")][-1]
    assert f"{number.name} stopped the run after step" in said
    assert said.endswith("Go on with: vtk train --resume run")
    assert RunDir(folder).info().status == "interrupted"
    assert 4 <= len(logged(folder, "step")) < 12
    assert finish(start(folder, "epochs=4")) == 0
    assert logged(folder) == logged(undisturbed)
    assert same(weights(folder), weights(undisturbed))


def test_kill_9_at_random_moments_leaves_a_run_that_goes_on_to_the_bit(tmp_path, undisturbed):
    seed = int(time.time())
    rng, folder, kills = random.Random(seed), tmp_path / "run", 0
    while kills < 6:
        process = start(folder, "epochs=4", "delay=0.005", "every=1")
        state = folder / "checkpoints" / "last.state"
        seen = state.stat().st_mtime_ns if state.exists() else 0
        wait_until(lambda s=state, t=seen: s.exists() and s.stat().st_mtime_ns != t, process)
        time.sleep(rng.uniform(0, 0.06))
        process.kill()
        if finish(process) == 0:
            break
        kills += 1
    assert kills >= 1, f"seed {seed}"
    assert finish(start(folder, "epochs=4", "every=1")) == 0
    assert logged(folder) == logged(undisturbed), f"seed {seed}"
    assert same(weights(folder), weights(undisturbed)), f"seed {seed}"
    assert same(weights(folder, "best"), weights(undisturbed, "best")), f"seed {seed}"
    assert {p.name for p in (folder / "checkpoints").iterdir()} == {
        "best.safetensors",
        "last.safetensors",
        "last.state",
    }


TRAIN = [
    *("train", "tsn", "--init", "none", "--set", "model.trunk=resnet18", "--set", "model.short_side=32"),
    *("--set", "model.crop=32", "--set", "train.batch_size=8", "--set", "train.micro_batch=4"),
    *("--set", "train.epochs=2", "--set", "run.log_every=1"),
]


def vtk(root, *arguments):
    environment = {**os.environ, "VTK_HOME": str(root), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "vtk_cli", *arguments],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def test_the_command_goes_on_to_the_bit_with_another_number_of_workers(tmp_path):
    toy.make_dataset(tmp_path)
    whole = vtk(tmp_path, *TRAIN, "--set", "data.workers=0", "--json")
    out, err = whole.communicate(timeout=120)
    assert whole.returncode == 0, err
    reference = Path(json.loads(out)["path"])

    stopped = vtk(tmp_path, *TRAIN, "--set", "data.workers=2")
    runs = tmp_path / "runs"

    def other():
        return next((p for p in runs.iterdir() if p != reference and (p / "log.jsonl").exists()), None)

    deadline = time.monotonic() + 90
    while stopped.poll() is None and not ((run := other()) and logged(run, "step")):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.killpg(stopped.pid, signal.SIGTERM)  # a scheduler's signal reaches the loader's processes too
    _, err = stopped.communicate(timeout=60)
    assert stopped.returncode == 75, err
    run = other()
    assert f"vtk train --resume {run.name}" in err
    assert len(logged(run, "step")) < 6

    resumed = vtk(tmp_path, "train", "--resume", run.name, "--set", "data.workers=1", "--json")
    out, err = resumed.communicate(timeout=120)
    assert resumed.returncode == 0, err
    assert json.loads(out)["status"] == "finished"
    assert logged(run) == logged(reference)
    assert same(weights(run), weights(reference))
    assert "workers = 1  # --resume --set" in (run / "config.toml").read_text()
