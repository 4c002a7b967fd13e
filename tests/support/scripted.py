"""A decoder plugin whose clips are small JSON files that say what decoding them does, and datasets of such clips."""

import json
import textwrap
from pathlib import Path

from vtk_cli.api.datasets import VideoRow
from vtk_cli.catalog import Catalog
from vtk_cli.workspace import Workspace

DECODER = """
import json, multiprocessing, os, resource, signal, time
import numpy as np
from vtk_cli.api.video import DecoderSpec
from vtk_cli.errors import VideoError


class Scripted:
    def frames(self, path, cut, report):
        with open(path.parent / "decoded.log", "a") as log:
            log.write(f"{path.name} {os.getpid()} {cut.short_side} {cut.start_seconds} {cut.square_pixels}\\n")
        script = json.loads(path.read_text())
        rng = np.random.default_rng(script.get("seed", 0))
        for number in range(script["frames"]):
            if number == script.get("at", 0):
                self._do(script.get("do", ""), path, report)
            side = cut.short_side
            coarse = rng.integers(0, 256, (side // 8 + 1, side // 8 + 2, 3), dtype=np.uint8)
            yield coarse.repeat(8, 0).repeat(8, 1)[:side, :side + 8].copy()
            report.frames += 1
            time.sleep(script.get("seconds", 0))
        report.truncated = script.get("truncated", "")
        report.bad_packets = script.get("bad_packets", 0)

    def _do(self, what, path, report):
        if what == "crash":
            os.kill(os.getpid(), signal.SIGSEGV)
        if what == "hang":
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
            time.sleep(1000)
        if what == "exit":
            os._exit(7)
        if what == "killed" or (what == "killed once" and not path.with_suffix(".once").exists()):
            path.with_suffix(".once").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        if what == "raise":
            raise RuntimeError("the plugin stumbles")
        if what == "refuse":
            raise VideoError("it is no video")
        if what == "fill the disk":
            resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, resource.RLIM_INFINITY))


def build():
    return Scripted()


def build_badly():
    if multiprocessing.parent_process() is not None:
        os._exit(9)
    return Scripted()


DECODER = DecoderSpec(build=build)
DIES = DecoderSpec(build=build_badly)
"""

ENTRY_POINTS = """
[vtk.decoders]
scripted = scripted_decoder:DECODER
dies = scripted_decoder:DIES

[vtk.flow]
raises = scripted_flow:FLOW
toy = scripted_flow:TOY
"""

FLOW = """
import os
from dataclasses import dataclass
import numpy as np
from vtk_cli.api.flow import FlowSpec


@dataclass(frozen=True, kw_only=True)
class Config:
    step: int = 1


def build(config):
    def method(before, after):
        raise ZeroDivisionError("flow stumbles")
    return method


FLOW = FlowSpec(config=Config, build=build, summary="fails")


@dataclass(frozen=True, kw_only=True)
class ToyConfig:
    gain: float = 1.0
    batch: int = 1
    fails_at: int = -1


class Toy:
    # The difference of two pictures, right and down. Notes how many pairs it gets at a time.

    def __init__(self, config):
        self.config, self.batch, self.calls = config, config.batch, 0

    def __call__(self, before, after):
        return self._solve(before[None], after[None])[0]

    def many(self, before, after):
        return self._solve(before, after)

    def _solve(self, before, after):
        self.calls += 1
        if self.calls - 1 == self.config.fails_at:
            raise RuntimeError("the toy broke")
        with open(os.environ["TOY_LOG"], "a") as log:
            log.write(f"{len(before)} ")
        step = (after.astype(np.float32) - before.astype(np.float32)) * (self.config.gain / 16)
        return np.stack([step, -step], axis=1)


def recorded(config):
    return {"gain": config.gain}


TOY = FlowSpec(config=ToyConfig, build=Toy, recorded=recorded, summary="differences")
"""


def install_decoder(site: Path) -> None:
    """Put the plugin where `site` is on the path, as pip would."""
    info = site / "scripted_decoder-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: scripted-decoder\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(textwrap.dedent(ENTRY_POINTS))
    (site / "scripted_decoder.py").write_text(DECODER)
    (site / "scripted_flow.py").write_text(FLOW)


def make_dataset(root: Path, clips: dict[str, dict], *, name: str = "mine", splits=("train",), status="ready"):
    """A dataset whose clips do what their scripts say; it becomes the current one."""
    workspace = Workspace(root)
    dataset = workspace.new_dataset(name)
    dataset.videos.mkdir(parents=True)
    for clip, script in clips.items():
        (dataset.videos / f"{clip}.json").write_text(json.dumps({"frames": 3, "seed": len(clip), **script}))
    rows = [
        VideoRow(id=clip, path=f"{clip}.json", labels=(number % 2,), splits=(splits[number % len(splits)],))
        for number, clip in enumerate(clips)
    ]
    with Catalog.create(dataset.catalog, ("a", "b"), rows, {"dataset": name}) as catalog:
        catalog.set_status([(row.id, status, "") for row in rows])
    workspace.set_current(name)
    return dataset
