"""Where features come from: a store of vectors, and which of a dataset's stores fits a model.

A store may hold more streams than the model reads, in another order; the model is given its own, side by side.
"""

from collections.abc import Collection, Mapping, Sequence

import torch
from torch import Tensor

from vtk_cli.api.inputs import FeatureSpec
from vtk_cli.api.loaders import Clip
from vtk_cli.api.stores import FrameReader, StoreMeta
from vtk_cli.errors import StoreError, UsageError, did_you_mean
from vtk_cli.loader.source import choose_store
from vtk_cli.store.lmdb_store import StoreReader
from vtk_cli.store.vectors import unpack_vectors
from vtk_cli.workspace import DatasetDir

PREFIX = "features-"
"""Of the names of feature stores."""


class StoredFeatures:
    """Implements `vtk_cli.api.loaders.FeatureSource` on a store."""

    def __init__(self, name: str, reader: FrameReader, spec: FeatureSpec) -> None:
        self.name = name
        self.reader = reader
        self._columns = columns(reader.meta, spec)

    @property
    def meta(self) -> StoreMeta:
        return self.reader.meta

    def num_frames(self, clip: Clip) -> int:
        return self.reader.num_frames(clip.id)

    def read(self, clip: Clip, indices: Sequence[int]) -> Tensor:
        """The vectors with these numbers, feature_FD as stored, the model's streams side by side.

        Raises:
            StoreError: the video is not in the store, or its record is damaged.
        """
        frames = self.reader.read(clip.id, indices)
        try:
            stored = torch.from_numpy(unpack_vectors(frames, self.meta))
        except StoreError as error:
            raise StoreError(
                f"{clip.id} in the store {self.name}: {error}. Run `vtk check`, or leave it out with "
                "--set data.on_error=skip."
            ) from error
        if self._columns == [slice(0, stored.shape[1])]:
            return stored
        return torch.cat([stored[:, part] for part in self._columns], dim=1)

    def close(self) -> None:
        self.reader.close()


def columns(meta: StoreMeta, spec: FeatureSpec) -> list[slice]:
    """Where the model's streams lie in a stored vector, in the model's order; neighbours are one slice.

    >>> from vtk_cli.api.inputs import Stream
    >>> store = StoreMeta(modality="features", streams=(("rgb", 3), ("audio", 2)), dtype="uint8", shards=1)
    >>> rgb, audio = Stream(name="rgb", size=3), Stream(name="audio", size=2)
    >>> columns(store, FeatureSpec(streams=(rgb, audio), sampler=None))
    [slice(0, 5, None)]
    >>> columns(store, FeatureSpec(streams=(audio, rgb), sampler=None))
    [slice(3, 5, None), slice(0, 3, None)]
    """
    places: dict[str, slice] = {}
    begin = 0
    for name, size in meta.streams:
        places[name] = slice(begin, begin + size)
        begin += size
    parts: list[slice] = []
    for stream in spec.streams:
        part = places[stream.name]
        if parts and parts[-1].stop == part.start:
            part = slice(parts.pop().start, part.stop)
        parts.append(part)
    return parts


def open_features(dataset: DatasetDir, spec: FeatureSpec, wanted: str, prefer: Collection[str] = ()) -> StoredFeatures:
    """The store that holds a model's streams: the one that `data.store` names, or with `auto` the one that fits.

    `prefer`: names to take where several fit (those that a run was trained on).

    Raises:
        UsageError: there is no such store, several fit, or the files themselves are asked for.
        StoreError: none holds the streams.
    """
    if wanted == "videos":
        raise UsageError(
            f"The model reads features, which only a store has, found data.store=videos. {_how_to_make(dataset)}"
        )
    metas = {name: StoreReader(dataset.store(name)).meta for name in dataset.stores() if name.startswith(PREFIX)}
    if wanted != "auto":
        return _named(dataset, spec, wanted, metas)
    fitting = [name for name, meta in metas.items() if _fits(meta, spec)]
    name = choose_store(dataset.name, fitting, prefer)
    if name is None:
        raise StoreError(_none_fits(dataset, spec, metas))
    return StoredFeatures(name, StoreReader(dataset.store(name)), spec)


def stream_names(streams: Collection[tuple[str, int]]) -> str:
    """Streams as people write them.

    >>> stream_names([("rgb", 1024), ("audio", 128)])
    'rgb:1024, audio:128'
    """
    return ", ".join(f"{name}:{size}" for name, size in streams)


def _named(dataset: DatasetDir, spec: FeatureSpec, name: str, metas: Mapping[str, StoreMeta]) -> StoredFeatures:
    if name not in dataset.stores():
        raise UsageError(
            f'The dataset {dataset.name} has no store "{name}". {did_you_mean(name, dataset.stores())} '
            f"{_how_to_make(dataset)}"
        )
    if name not in metas or not _fits(metas[name], spec):
        found = stream_names(metas[name].streams) if name in metas else "no features"
        there = {name: metas[name]} if name in metas else {}
        raise StoreError(_none_fits(dataset, spec, there, f"the store {name} holds {found}"))
    return StoredFeatures(name, StoreReader(dataset.store(name)), spec)


def _fits(meta: StoreMeta, spec: FeatureSpec) -> bool:
    return {(stream.name, stream.size) for stream in spec.streams} <= set(meta.streams)


def _none_fits(dataset: DatasetDir, spec: FeatureSpec, metas: Mapping[str, StoreMeta], found: str = "") -> str:
    """The message; `found`: what was found, where it is not `metas`."""
    streams = stream_names([(stream.name, stream.size) for stream in spec.streams])
    there = ", ".join(f"{name} ({stream_names(meta.streams)})" for name, meta in metas.items())
    found = found or f"{dataset.name} has {there or 'no features'}"
    message = f"The model reads features of the streams {streams} from one store; {found}."
    if metas:
        name, meta = next(iter(metas.items()))
        listed = ", ".join(f'"{stream}:{size}"' for stream, size in meta.streams)
        message += f" Fit the model to {name} with --set 'model.streams=[{listed}]', or make another store."
    return f"{message} {_how_to_make(dataset)}"


def _how_to_make(dataset: DatasetDir) -> str:
    return (
        f"A trained model of clips makes a store: `vtk extract {dataset.name} --features RUN` (`vtk runs` lists runs)."
    )
