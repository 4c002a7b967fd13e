"""Loader processes read the clips of videos, this process computes their vectors.

    W windows  T segments  N frames  C channels  H W pixels  F feature frames  D feature size

A video comes in pieces of as many clips as one forward pass takes, so neither the length of a video nor the number of
windows decides how much memory is needed. Pieces of a video come from one process, in their order.
"""

from collections.abc import Generator, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.data import IterableDataset, get_worker_info

from vtk_cli.api.loaders import Clip, FrameSource
from vtk_cli.errors import DataError
from vtk_cli.evaluate.feature_windows import ClipPlan
from vtk_cli.evaluate.features import Extractor
from vtk_cli.loader.options import DataOptions
from vtk_cli.loader.torch_loader import end_workers, served, start_workers


@dataclass(slots=True)
class Piece:
    """Some clips of a video, in their order, or why it cannot be read."""

    id: str
    clip_WTNCHW: Tensor | None
    last: bool
    cause: str = ""

    def pin_memory(self) -> "Piece":
        """Called by DataLoader where `data.pin` asks for it."""
        if self.clip_WTNCHW is not None:
            self.clip_WTNCHW = self.clip_WTNCHW.pin_memory()
        return self


class Reading(IterableDataset[Piece]):
    """The clips of many videos; each worker reads its share of them, a portion at a time."""

    def __init__(self, clips: list[Clip], source: FrameSource, plan: ClipPlan) -> None:
        self._clips, self._source, self._plan = clips, source, plan

    def __iter__(self) -> Iterator[Piece]:
        worker = get_worker_info()
        mine = self._clips if worker is None else self._clips[worker.id :: worker.num_workers]
        for clip in mine:
            try:
                yield from self._pieces(clip)
            except DataError as error:
                yield Piece(clip.id, None, last=True, cause=str(error))
            except Exception as error:  # noqa: BLE001  a plugin's decoder can raise anything; the other clips go on
                yield Piece(clip.id, None, last=True, cause=f"{type(error).__name__}: {error}")

    def _pieces(self, clip: Clip) -> Iterator[Piece]:
        grids = self._plan.grids(self._source.num_frames(clip))
        seen = 0
        for clip_WTNCHW in self._plan.clips(self._source, clip, grids):
            seen += len(clip_WTNCHW)
            yield Piece(clip.id, clip_WTNCHW, last=seen == len(grids))


def computed(
    extractor: Extractor, clips: list[Clip], source: FrameSource, options: DataOptions
) -> Generator[tuple[str, Tensor, str]]:
    """(id, feature_FD, cause) of each video when its last piece was computed; a cause says why there are none."""
    unfinished: dict[str, list[Tensor]] = {}
    for piece in _pieces(Reading(clips, source, extractor.plan), options, len(clips)):
        parts = unfinished.setdefault(piece.id, [])
        if piece.clip_WTNCHW is not None:
            parts.append(extractor.vectors(piece.clip_WTNCHW))
        if piece.last:
            del unfinished[piece.id]
            yield piece.id, torch.cat(parts) if parts else torch.empty(0, 0), piece.cause


def _pieces(reading: Reading, options: DataOptions, clips: int) -> Iterator[Piece]:
    workers = min(options.num_workers(), clips)
    if workers == 0:
        yield from reading
        return
    running = start_workers(reading, options, workers)
    try:
        yield from served(running)
    finally:
        end_workers(running)
