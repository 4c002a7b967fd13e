"""Run folders as training and testing leave them, made in milliseconds: for tests of what reads them."""

import json
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import simplejpeg
import torch
from safetensors.torch import save_file

from vtk_cli.api.datasets import VideoRow
from vtk_cli.api.stores import StoreMeta
from vtk_cli.catalog import Catalog
from vtk_cli.datasets import demo
from vtk_cli.flow.quantize import encode_flow, quantize
from vtk_cli.run_dir import RunDir, RunInfo
from vtk_cli.store.lmdb_store import ShardWriter
from vtk_cli.store.meta import create_store, shard_of
from vtk_cli.workspace import Workspace

FRAMES = StoreMeta(modality="rgb", short_side=72, quality=90, shards=2)
FLOW = StoreMeta(modality="flow", method="tvl1", bound=20.0, short_side=72, quality=90, shards=2)

CONFIG = """[model]
trunk = "resnet18"  # --set
segments = 7

[train]
epochs = {epochs}
lr = {lr}
milestones = [20.0, 40.0]
"""


@dataclass(frozen=True)
class Made:
    """One workspace with one run."""

    workspace: Workspace
    run: RunDir
    ids: list[str]
    labels: list[int]


def make_run(
    root: Path,
    *,
    classes: tuple[str, ...] = demo.CLASSES,
    model: str = "stnet",
    epochs: int = 6,
    lr: float = 0.01,
    clips: int = 40,
    tested: bool = True,
    wrong_every: int = 6,
    stores: bool = True,
) -> Made:
    """A finished run; every `wrong_every`-th clip is taken for the next class."""
    workspace = Workspace(root)
    ids = [f"test-{number:04d}" for number in range(clips)]
    labels = [number % len(classes) for number in range(clips)]
    dataset = workspace.new_dataset("demo")
    rows = [
        VideoRow(id=video, path=f"test/{video}.mp4", labels=(label,), splits=("test",))
        for video, label in zip(ids, labels, strict=True)
    ]
    Catalog.create(dataset.catalog, classes, rows, {"dataset": "demo", "label_order": "demo"}).close()
    metas = {}
    if stores:
        fill_stores(dataset.path, ids, labels)
        metas = {"frames-72": json.loads((dataset.store("frames-72") / "meta.json").read_text())}
    info = RunInfo(
        model=model, dataset="demo", classes=classes, label_order="demo", stores=metas, status="finished",
        splits={"train": "train", "val": "val", "test": "test"}, best={"epoch": epochs - 1, "top1": 0.93},
    )  # fmt: skip
    run = RunDir.create(workspace.runs, info)
    run.config.write_text(CONFIG.format(epochs=epochs, lr=lr))
    run.write_env(
        {"python": "3.11.2", "torch": "2.13.0", "command": ["vtk", "train", model, "demo"], "cpu": {"cores": 2}}
    )
    write_log(run, epochs)
    run.checkpoints.mkdir()
    save_file(
        {"fc.weight": torch.zeros(4, 10), "bn.running_mean": torch.zeros(7)}, run.checkpoints / "best.safetensors"
    )
    if tested:
        write_scores(run, ids, labels, len(classes), wrong_every)
    return Made(workspace, run, ids, labels)


def write_log(run: RunDir, epochs: int, steps_per_epoch: int = 30) -> None:
    rng = np.random.default_rng(0)
    for epoch in range(epochs):
        for step in range(epoch * steps_per_epoch + 9, (epoch + 1) * steps_per_epoch, 10):
            done = step / (steps_per_epoch * 6)
            loss = 1.5 * math.exp(-2.5 * done) + rng.normal() * 0.04
            run.log(
                "step", epoch=epoch, step=step, loss=loss, top1=min(1.0, 0.25 + done * 0.8), lr=0.01 * (1 - done / 2),
                clips_per_second=float(60 + rng.normal() * 3), wait_share=0.04, seconds=2.0,
            )  # fmt: skip
        run.log(
            "epoch", epoch=epoch, step=(epoch + 1) * steps_per_epoch - 1, train_loss=loss, val_loss=loss + 0.1,
            val_top1=min(0.93, 0.3 + epoch * 0.13), lr=0.01, seconds=7.5,
        )  # fmt: skip


def write_scores(run: RunDir, ids: list[str], labels: list[int], num_classes: int, wrong_every: int) -> None:
    rng = np.random.default_rng(1)
    scores_BK = rng.normal(size=(len(ids), num_classes)).astype(np.float32)
    for number, label in enumerate(labels):
        taken = (label + 1) % num_classes if number % wrong_every == 1 else label
        scores_BK[number, taken] = scores_BK[number].max() + rng.uniform(0.5, 3)
    run.scores.mkdir()
    np.savez(run.scores / "test.npz", ids=np.array(ids), scores_BK=scores_BK, labels=np.array(labels))
    right = scores_BK.argmax(axis=1) == np.array(labels)
    metrics = {"mean_class": float(right.mean()), "top1": float(right.mean()), "top5": 1.0}
    protocol = {
        "segments": 25,
        "frames": 5,
        "stride": 1,
        "clips": 1,
        "crops": 10,
        "crop": 64,
        "short_side": 72,
        "average": "logits",
        "pictures": "frames-72",
    }
    (run.scores / "test.json").write_text(
        json.dumps({"dataset": "demo", "metrics": metrics, "protocol": protocol, "scores": "logits", "left_out": 2})
    )


def fill_stores(dataset: Path, ids: list[str], labels: list[int]) -> None:
    """Frames of the demo's own scenes, and a flow that points where the camera's picture goes."""
    for meta, name in ((FRAMES, "frames-72"), (FLOW, "flow-tvl1-72")):
        folder = dataset / name
        create_store(folder, meta)
        for shard in range(meta.shards):
            with ShardWriter(folder, shard) as writer:
                for video, label in zip(ids, labels, strict=True):
                    if shard_of(video, meta.shards) == shard:
                        writer.put(video, _frames(video, label) if meta is FRAMES else _flow(label))
                writer.commit()


def _frames(video: str, label: int) -> list[bytes]:
    scene = demo.draw_scene(label % 4, np.random.default_rng(list(video.encode())))
    return [
        simplejpeg.encode_jpeg(picture, quality=90, colorspace="RGB")
        for number, picture in enumerate(demo.render(scene))
        if number % 3 == 0
    ]


def _flow(label: int) -> list[bytes]:
    y, x = np.mgrid[-1:1:72j, -1:1:96j].astype(np.float32)
    sign = 1 if label % 4 < 2 else -1
    flow = np.stack([sign * 2 - y * 3 * (np.hypot(x, y) < 0.5), x * 3 * (np.hypot(x, y) < 0.5)]).astype(np.float32)
    return [encode_flow(quantize(flow), 95)] * 7
