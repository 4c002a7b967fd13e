"""The loader on torch's DataLoader: whole batches built in worker processes, handed over in order.

    epoch's order (seed, epoch) -> batches of positions -> workers: read, decode, crop -> uint8 batch in shared memory
                                                                    or read, pad       -> features as stored and a mask

What is in a batch depends on (seed, epoch, video id) alone: not on the number of workers, nor on where a run resumes.
Workers are forked from a clean server process that has imported torch once, so they share no locks, threads or open
LMDB files with the trainer.
"""

import signal
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from random import Random
from typing import Any, TypeVar, cast

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from vtk_cli.api.inputs import FeatureSpec
from vtk_cli.api.loaders import Batch, Clip, FeatureSource, FrameSource, LoaderSpec, LoaderTask
from vtk_cli.console import warn
from vtk_cli.errors import DataError, VideoError, VtkError
from vtk_cli.loader.feature_loader import video_features
from vtk_cli.loader.options import DataOptions
from vtk_cli.loader.source import VideoSource
from vtk_cli.loader.transforms import all_views, train_clip

ItemT = TypeVar("ItemT")

MOST_REPLACEMENTS = 10
"""With data.on_error=skip: clips tried in place of an unreadable one before the batch is an error."""
GRACE_SECONDS = 60
"""A worker lives on this long after SIGTERM, so that the trainer can finish its step and checkpoint."""


@dataclass(frozen=True, slots=True)
class _Order:
    """One batch to build: positions in `LoaderTask.clips`."""

    epoch: int
    positions: tuple[int, ...]


@dataclass(slots=True)
class _Built:
    """What a worker sends back."""

    batch: Batch | None
    """None where every video was skipped, or an error ends the epoch."""
    skipped: dict[str, str]
    error: VtkError | None = None

    def pin_memory(self) -> "_Built":
        """Called by DataLoader where `data.pin` asks for it."""
        if self.batch is None:
            return self
        tensors = ("clip_BVTNCHW", "feature_BFD", "mask_BF", "label_B")
        there = {name: tensor for name in tensors if (tensor := getattr(self.batch, name)) is not None}
        pinned: dict[str, Any] = {name: tensor.pin_memory() for name, tensor in there.items()}
        return replace(self, batch=replace(self.batch, **pinned))


class TorchLoader:
    """Implements `vtk_cli.api.loaders.Loader`.

    In training the last batch is dropped when it is smaller than the others, unless it is the only one; in testing
    nothing is dropped.
    """

    def __init__(self, task: LoaderTask) -> None:
        if not task.clips:
            raise DataError("A loader needs at least one video, found none. Look at the split with `vtk check`.")
        self.task = task
        self.options: DataOptions = task.options
        self.skipped: dict[str, str] = {}
        """id -> why, of the clips that the last epoch skipped (data.on_error=skip)."""
        self._orders: list[_Order] = []
        self._running: DataLoader[_Built] | None = None
        self._here = _Builder(task)

    def __len__(self) -> int:
        whole, rest = divmod(len(self.task.clips), self.task.batch_size)
        return whole + (rest > 0 and (whole == 0 or not self.task.training))

    def epoch(self, number: int, *, skip: int = 0) -> Iterator[Batch]:
        """The batches of an epoch, from batch `skip` on.

        Raises:
            DataError: a clip cannot be read (its id is named), or a worker died.
        """
        self.skipped = {}
        batches = self._batches(self._schedule(number)[skip:])
        while True:
            begin = time.perf_counter()
            try:
                built = next(batches)
            except StopIteration:
                break
            wait = time.perf_counter() - begin
            self.skipped.update(built.skipped)
            if built.error is not None:
                try:
                    raise built.error
                finally:
                    del built  # else error and frame keep each other, and with them the workers, alive
            if built.batch is not None:
                yield replace(built.batch, wait_seconds=wait)
        self._tell_skipped()

    def close(self) -> None:
        """End the workers and close the files."""
        self._stop()
        self.task.source.close()

    def _stop(self) -> None:
        end_workers(self._running)
        self._running = None

    def _schedule(self, epoch: int) -> list[_Order]:
        positions = epoch_order(self.task, epoch)
        size = self.task.batch_size
        return [_Order(epoch, tuple(positions[i * size : (i + 1) * size])) for i in range(len(self))]

    def _batches(self, orders: list[_Order]) -> Iterator[_Built]:
        if self.options.num_workers() == 0:
            yield from map(self._here, orders)
            return
        self._orders[:] = orders
        if self._running is None:
            self._running = self._start()
        try:
            yield from served(self._running)
        except DataError:
            self._stop()
            raise

    def _start(self) -> "DataLoader[_Built]":
        workers = min(self.options.num_workers(), len(self))
        return start_workers(_Dataset(self._here), self.options, workers, _Sampler(self._orders))

    def _tell_skipped(self) -> None:
        if self.skipped:
            what = "replaced by others" if self.task.training else "left out"
            first, why = next(iter(self.skipped.items()))
            warn(f"{len(self.skipped)} clips could not be read and were {what}; the first is {first}: {why}")


def start_workers(
    dataset: Dataset[ItemT], options: DataOptions, workers: int, sampler: Sampler[Any] | None = None
) -> "DataLoader[ItemT]":
    """Processes that make the items of a dataset, one by one and in order."""
    context = torch.multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    pin = torch.cuda.is_available() if options.pin == "auto" else options.pin
    with warnings.catch_warnings():
        # More workers than processors is the user's choice here.
        warnings.filterwarnings("ignore", message="This DataLoader will create")
        return DataLoader(
            dataset,
            batch_size=None,
            sampler=sampler,
            num_workers=workers,
            prefetch_factor=options.prefetch,
            persistent_workers=True,
            pin_memory=pin,
            worker_init_fn=_begin_worker,
            multiprocessing_context=context,
        )


def served(running: "DataLoader[ItemT]") -> Iterator[ItemT]:
    """What workers make; raises DataError when one of them died."""
    try:
        yield from running
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        raise DataError(
            f"A loader process ended by itself ({error}). It ran out of memory, or a decoder crashed: free memory "
            "or lower data.workers; data.workers=0 shows at which clip."
        ) from error


def end_workers(running: "DataLoader[Any] | None") -> None:
    """End persistent workers at once."""
    iterator = getattr(running, "_iterator", None)
    if iterator is not None:
        iterator._shutdown_workers()  # noqa: SLF001  torch has no public way


def epoch_order(task: LoaderTask, epoch: int) -> list[int]:
    """Positions of the clips in the order of an epoch; as they stand in testing."""
    positions = list(range(len(task.clips)))
    if task.training:
        Random(f"{task.seed}/{epoch}/order").shuffle(positions)
    return positions


class _Builder:
    """Builds batches; travels to the workers."""

    def __init__(self, task: LoaderTask) -> None:
        self.task = task

    def __call__(self, order: _Order) -> _Built:
        skipped: dict[str, str] = {}
        done: list[tuple[Clip, tuple[Tensor, ...]]] = []
        try:
            for position in order.positions:
                done.extend(self._one(self.task.clips[position], order.epoch, skipped))
        except VtkError as error:
            return _Built(None, skipped, error)
        if not done:
            return _Built(None, skipped)
        stacked = [torch.stack(parts) for parts in zip(*(loaded for _, loaded in done), strict=True)]
        clips = [clip for clip, _ in done]
        labels, ids = self._labels(clips), tuple(clip.id for clip in clips)
        if isinstance(self.task.inputs, FeatureSpec):
            feature_BFD, mask_BF = stacked
            return _Built(Batch(None, labels, ids, feature_BFD=feature_BFD, mask_BF=mask_BF), skipped)
        return _Built(Batch(stacked[0], labels, ids), skipped)

    def _one(self, clip: Clip, epoch: int, skipped: dict[str, str]) -> list[tuple[Clip, tuple[Tensor, ...]]]:
        """The clip, or what stands in its place: another in training, nothing in testing."""
        others = Random(f"{self.task.seed}/{epoch}/{clip.id}/instead")
        for _ in range(MOST_REPLACEMENTS):
            try:
                return [(clip, self._loaded(clip, epoch))]
            except DataError as error:
                if self.task.options.on_error == "stop":
                    raise _naming(clip, error) from error
                skipped[clip.id] = str(error)
            if not self.task.training:
                return []
            clip = others.choice(self.task.clips)
        raise DataError(
            f"{MOST_REPLACEMENTS} clips in a row cannot be read, the last is {clip.id}: {skipped[clip.id]} "
            "The data are damaged: run `vtk check`."
        )

    def _loaded(self, clip: Clip, epoch: int) -> tuple[Tensor, ...]:
        """clip_VTNCHW, or feature_FD and mask_F."""
        try:
            return self._read(clip, epoch)
        except VideoError:
            source = self.task.source
            if not isinstance(source, VideoSource):
                raise
            counted = source.count(clip)
            if counted == source.num_frames(clip):
                raise
            return self._read(replace(clip, frames=counted), epoch)  # the header claimed more than there is

    def _read(self, clip: Clip, epoch: int) -> tuple[Tensor, ...]:
        task = self.task
        rng = Random(f"{task.seed}/{epoch}/{clip.id}") if task.training else None
        if isinstance(task.inputs, FeatureSpec):
            return video_features(cast("FeatureSource", task.source), clip, task.inputs, rng)
        source = cast("FrameSource", task.source)
        if rng is None:
            return (all_views(source, clip, task.inputs),)
        return (train_clip(source, clip, task.inputs, rng, flip=task.flip),)

    def _labels(self, clips: list[Clip]) -> Tensor:
        if not self.task.multi_label:
            return torch.tensor([clip.labels[0] if clip.labels else -1 for clip in clips])
        label_BK = torch.zeros(len(clips), self.task.num_classes)
        for row, clip in enumerate(clips):
            label_BK[row, list(clip.labels)] = 1
        return label_BK


class _Dataset(Dataset[_Built]):
    def __init__(self, builder: _Builder) -> None:
        self._builder = builder

    def __getitem__(self, order: Any) -> _Built:
        return self._builder(order)


class _Sampler(Sampler[Any]):
    """The orders of the epoch that is about to run; the list is changed between epochs."""

    def __init__(self, orders: list[_Order]) -> None:
        self._orders = orders

    def __iter__(self) -> Iterator[_Order]:
        return iter(list(self._orders))

    def __len__(self) -> int:
        return len(self._orders)


def _begin_worker(_number: int) -> None:
    """Signals that a terminal or a scheduler sends to the whole process group are the trainer's to answer."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: signal.alarm(GRACE_SECONDS))


def _naming(clip: Clip, error: DataError) -> DataError:
    if clip.id in str(error):
        return error
    return type(error)(f"The clip {clip.id} cannot be read: {error}")


LOADER = LoaderSpec(build=TorchLoader, features=True, summary="worker processes on torch's DataLoader")
