"""A workspace in seconds: real H.264 clips, a catalog, stores, and a run of a small untrained TSN."""

from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import simplejpeg
import torch
from safetensors.torch import save_file

from vtk_cli.api.datasets import VideoRow
from vtk_cli.api.stores import StoreMeta
from vtk_cli.catalog import Catalog
from vtk_cli.evaluate.weights import info_of
from vtk_cli.flow.quantize import encode_flow
from vtk_cli.run_dir import RunDir, RunInfo
from vtk_cli.store.lmdb_store import ShardWriter
from vtk_cli.store.meta import create_store, shard_of, store_name
from vtk_cli.workspace import DatasetDir, Workspace
from vtk_models.tsn import MODEL, TSNConfig

CLASSES = ("bend", "climb", "dive")
SIDE = 32
CONFIG = TSNConfig(trunk="resnet18", segments=2, test_segments=3, test_crops=1, short_side=SIDE, crop=SIDE)
FRAMES = StoreMeta(modality="rgb", short_side=SIDE, quality=95, colours="planes", shards=2)
FLOW = StoreMeta(
    modality="flow", short_side=SIDE, quality=95, shards=2, method="farneback", parameters={"levels": 2}, bound=20.0
)


@dataclass(frozen=True)
class Tiny:
    workspace: Workspace
    dataset: DatasetDir

    @property
    def root(self) -> Path:
        return self.workspace.root

    def video(self, number: int) -> Path:
        return self.dataset.videos / f"clip-{number}.mp4"


def make(root: Path, *, videos: int = 6, frames: int = 12) -> Tiny:
    """Clips clip-0 ... in split train (first half) and val (the rest); classes in turn."""
    workspace = Workspace(root)
    dataset = workspace.new_dataset("tiny")
    for number in range(videos):
        write_video(dataset.videos / f"clip-{number}.mp4", seed=number, frames=frames)
    rows = [
        VideoRow(
            id=f"clip-{number}",
            path=f"clip-{number}.mp4",
            labels=(number % len(CLASSES),),
            splits=("train" if number < videos // 2 else "val",),
        )
        for number in range(videos)
    ]
    meta = {"dataset": "tiny", "label_order": "tiny", "flip": True, "train_split": "train", "val_split": "val"}
    Catalog.create(dataset.catalog, CLASSES, rows, {**meta, "test_split": "val"}, status="ready").close()
    workspace.set_current("tiny")
    return Tiny(workspace, dataset)


def write_video(path: Path, *, seed: int = 0, frames: int = 12, size: tuple[int, int] = (48, SIDE)) -> Path:
    """A real mp4: smooth noise that slides to the right."""
    width, height = size
    rng = np.random.default_rng(seed)
    coarse = torch.from_numpy(rng.integers(0, 256, (1, 3, 8, 12)).astype(np.float32))
    picture = torch.nn.functional.interpolate(coarse, size=(height, width), mode="bilinear")[0]
    picture = picture.permute(1, 2, 0).to(torch.uint8).numpy()
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=12, options={"crf": "18", "preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for number in range(frames):
            frame = av.VideoFrame.from_ndarray(np.roll(picture, number, axis=1), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def extract(tiny: Tiny, meta: StoreMeta = FRAMES, *, ids: list[str] | None = None, name: str = "") -> str:
    """A store as `vtk extract` leaves it, of all or some videos; returns its name."""
    from vtk_cli.api.video import Cut, DecodeReport
    from vtk_cli.evaluate.files import build_flow
    from vtk_cli.flow.quantize import grey, quantize
    from vtk_cli.loader.source import load_decoder

    name = name or store_name(meta)
    folder = tiny.dataset.store(name)
    create_store(folder, meta)
    flow = build_flow(meta.method, meta.parameters) if meta.modality == "flow" else None
    for path in sorted(tiny.dataset.videos.glob("*.mp4")):
        if ids is not None and path.stem not in ids:
            continue
        decoded = load_decoder("pyav").frames(path, Cut(short_side=meta.short_side), DecodeReport())
        pictures = [np.ascontiguousarray(picture) for picture in decoded]
        if flow is None:
            encoded = [simplejpeg.encode_jpeg(picture, quality=meta.quality) for picture in pictures]
        else:
            greys = [grey(picture) for picture in pictures]
            encoded = [
                encode_flow(quantize(flow(one, other), meta.bound), meta.quality) for one, other in pairwise(greys)
            ]
        with ShardWriter(folder, shard_of(path.stem, meta.shards)) as writer:
            writer.put(path.stem, encoded)
            writer.commit()
    return name


def make_run(
    tiny: Tiny,
    config: TSNConfig = CONFIG,
    *,
    classes: tuple[str, ...] = CLASSES,
    stores: dict | None = None,
    seed: int = 0,
    best: bool = True,
) -> RunDir:
    """A run whose weights are drawn: best and last differ."""
    info = RunInfo(
        model="tsn",
        dataset="tiny",
        classes=classes,
        label_order="tiny",
        splits={"train": "train", "val": "val", "test": "val"},
        stores=stores or {},
        status="finished",
    )
    run = RunDir.create(tiny.workspace.runs, info)
    for offset, name in enumerate(["last", "best"] if best else ["last"]):
        run.checkpoints.mkdir(exist_ok=True)
        metadata = info_of(run.info(), config).to_metadata()
        save_file(_drawn(config, len(classes), seed + offset), run.checkpoints / f"{name}.safetensors", metadata)
    return run


@lru_cache(maxsize=4)
def _drawn(config: TSNConfig, num_classes: int, seed: int) -> dict[str, torch.Tensor]:
    torch.manual_seed(seed)
    module = MODEL.build(config, num_classes)
    torch.nn.init.normal_(module.fc.weight, std=0.1)
    return module.state_dict()
