"""A small sequence model as a plugin, feature stores that are made up, and the two together."""

import tomllib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from made_plugins import write_distribution
from torch import nn

from vtk_cli.api.inputs import FeatureSpec, Stream
from vtk_cli.api.models import ModelSpec
from vtk_cli.api.recipes import TrainRecipe
from vtk_cli.api.sampling import first
from vtk_cli.api.stores import StoreMeta
from vtk_cli.store.lmdb_store import ShardWriter
from vtk_cli.store.meta import create_store, shard_of
from vtk_cli.store.vectors import CODEC, pack_vectors
from vtk_cli.workspace import DatasetDir


@dataclass(frozen=True, kw_only=True)
class ToyConfig:
    streams: tuple[str, ...] = ("rgb:6",)
    frames: int = 5


def inputs(config: ToyConfig) -> FeatureSpec:
    streams = [text.split(":") for text in config.streams]
    return FeatureSpec(
        streams=tuple(Stream(name=name, size=int(size)) for name, size in streams), frames=config.frames, sampler=first
    )


class MeanOfFrames(nn.Module):
    """logits_BK of the mean over the vectors that are there, with dropout in training."""

    def __init__(self, config: ToyConfig, num_classes: int) -> None:
        super().__init__()
        self.dropout = nn.Dropout(0.2)
        self.fc = nn.Linear(inputs(config).size, num_classes)

    def forward(self, feature_BFD: torch.Tensor, mask_BF: torch.Tensor) -> torch.Tensor:
        weight_BF1 = mask_BF[..., None].to(feature_BFD.dtype)
        mean_BD = (feature_BFD * weight_BF1).sum(1) / weight_BF1.sum(1)
        return self.fc(self.dropout(mean_BD))


MODEL = ModelSpec(
    config=ToyConfig,
    inputs=inputs,
    build=MeanOfFrames,
    recipe=TrainRecipe(epochs=2, batch_size=4, micro_batch=2, lr=0.1),
    tiny=ToyConfig(),
    summary="mean of the vectors",
)


def install(site: Path) -> None:
    """Make `toy_sequence` a model that commands know; `site` then goes to sys.path."""
    write_distribution(site, "toy-sequence", {"vtk.models": {"toy_sequence": "toy_sequence:MODEL"}})


def meta(dtype: str = "uint8", streams: tuple[tuple[str, int], ...] = (("rgb", 6),), **changes) -> StoreMeta:
    return StoreMeta(modality="features", codec=CODEC, shards=2, streams=streams, dtype=dtype, **changes)


def vectors(video_id: str, meta: StoreMeta, *, lengths: tuple[int, ...] = (3, 7, 1, 5)) -> np.ndarray:
    """feature_FD of a video, drawn from its name; their number too."""
    rng = np.random.default_rng(list(video_id.encode()))
    shape = (lengths[rng.integers(len(lengths))], sum(size for _, size in meta.streams))
    if meta.dtype == "uint8":
        return rng.integers(0, 256, shape, dtype=np.uint8)
    return rng.normal(size=shape).astype(meta.dtype)


def fill(dataset: DatasetDir, ids: list[str], found: StoreMeta, name: str = "features-made") -> str:
    """A feature store of these videos; returns its name."""
    folder = dataset.store(name)
    create_store(folder, found)
    for id_ in ids:
        with ShardWriter(folder, shard_of(id_, found.shards)) as writer:
            writer.put(id_, pack_vectors(vectors(id_, found), found))
            writer.commit()
    return name


def streams_in(message: str) -> str:
    """The setting that an error suggests."""
    setting = message.split("--set '", 1)[1].split("'", 1)[0]
    assert tomllib.loads(setting.partition(".")[2])
    return setting
