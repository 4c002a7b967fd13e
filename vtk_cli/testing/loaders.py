"""The contract of a loader as tests: subclass `LoaderTests`, give `spec`, inherit them all.

    class TestMyLoader(LoaderTests):
        spec = MY_LOADER

    class TestMyLoaderOnFeatures(FeatureLoaderTests):       where `LoaderSpec.features` is true
        spec = MY_LOADER

The sources and options here are picklable, so workers may be processes of any kind.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import pytest
import torch
from torch import Tensor

from vtk_cli.api.inputs import IMAGENET, Augment, FeatureSpec, InputSpec, Stream, View
from vtk_cli.api.loaders import Batch, Clip, Loader, LoaderSpec, LoaderTask
from vtk_cli.api.sampling import first, segments
from vtk_cli.errors import StoreError


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The options that a loader must know; `vtk_cli.loader.options.DataOptions` has the same names."""

    workers: int = 0
    prefetch: int = 2
    pin: bool | Literal["auto"] = False
    on_error: Literal["stop", "skip"] = "stop"

    def num_workers(self) -> int:
        return self.workers


class PatternSource:
    """Pictures that tell where they come from: each holds its video's and its frame's number, and where a pixel is.

    Channel 0 is 10 x video + frame, channel 1 the column, channel 2 the row; a video whose id begins with `bad` is
    damaged.
    """

    def __init__(self, *, frames: int = 9, width: int = 40, height: int = 30) -> None:
        self.frames, self.width, self.height = frames, width, height

    def num_frames(self, clip: Clip) -> int:  # noqa: ARG002  every video is as long
        return self.frames

    def read(self, clip: Clip, indices: Sequence[int]) -> list[Tensor]:
        if clip.id.startswith("bad"):
            raise StoreError(f"{clip.id} is damaged. Extract it again.")
        return [self._picture(_number(clip), index) for index in indices]

    def _picture(self, video: int, index: int) -> Tensor:
        columns = torch.arange(self.width, dtype=torch.uint8).expand(self.height, -1)
        rows = torch.arange(self.height, dtype=torch.uint8)[:, None].expand(-1, self.width)
        return torch.stack([torch.full_like(columns, (10 * video + index) % 256), columns, rows])

    def close(self) -> None:
        pass


class PatternFeatures:
    """Vectors that tell where they come from: the video's number, then the vector's, both from 1; never 0.

    Video n has n % 5 + 1 vectors; one whose id begins with `bad` is damaged.
    """

    def num_frames(self, clip: Clip) -> int:
        return _number(clip) % 5 + 1

    def read(self, clip: Clip, indices: Sequence[int]) -> Tensor:
        if clip.id.startswith("bad"):
            raise StoreError(f"{clip.id} is damaged. Extract it again.")
        return torch.tensor([[_number(clip) + 1, index + 1] for index in indices], dtype=torch.uint8)

    def close(self) -> None:
        pass


def feature_inputs() -> FeatureSpec:
    """Two streams of one number each, at most 4 vectors."""
    return FeatureSpec(streams=(Stream(name="video", size=1), Stream(name="place", size=1)), frames=4, sampler=first)


def inputs(*, clips: int = 2, crops: Literal[1, 3, 5, 10] = 3) -> InputSpec:
    """A small spec: 2 segments of 2 frames, crops of 20 pixels."""
    return InputSpec(
        modality="rgb",
        train=View(segments=2, frames=2, short_side=30, crop=20, sampler=segments),
        test=View(segments=2, frames=2, short_side=30, crop=20, clips=clips, crops=crops, sampler=segments),
        norm=IMAGENET,
        augment=Augment(crop="multiscale"),
    )


def _number(clip: Clip) -> int:
    return int(clip.id.split("-")[-1])


def clips(*ids: str, labels: tuple[int, ...] = (0,)) -> tuple[Clip, ...]:
    return tuple(Clip(id=id_, labels=labels, path=Path(id_)) for id_ in ids)


class LoaderTests:
    """What training and testing rely on."""

    spec: ClassVar[LoaderSpec]
    workers: ClassVar[tuple[int, ...]] = (0, 2)
    """Numbers of workers whose batches must agree."""
    test_shape: ClassVar[tuple[int, ...]] = (3, 6, 2, 2, 3, 20, 20)
    """Of three videos in a test."""

    def task(self, *, videos: int = 7, training: bool = True, batch_size: int = 3, **changes: Any) -> LoaderTask:
        values: dict[str, Any] = {
            "clips": clips(*(f"video-{number}" for number in range(videos))),
            "source": PatternSource(),
            "inputs": inputs(),
            "training": training,
            "batch_size": batch_size,
            "seed": 5,
            "flip": True,
            "num_classes": 4,
            "multi_label": False,
            "options": Options(),
        }
        return LoaderTask(**{**values, **changes})

    @pytest.fixture
    def build(self) -> "Iterator[Any]":
        """(task) -> loader, closed when the test is over."""
        loaders: list[Loader] = []

        def build(task: LoaderTask) -> Loader:
            loaders.append(self.spec.build(task))
            return loaders[-1]

        yield build
        for loader in loaders:
            loader.close()

    def test_gives_uint8_clips_of_the_stated_shape(self, build: Any) -> None:
        batch = next(iter(build(self.task()).epoch(0)))
        assert batch.clip_BVTNCHW is not None
        assert batch.clip_BVTNCHW.shape == (3, 1, 2, 2, 3, 20, 20)
        assert batch.clip_BVTNCHW.dtype == torch.uint8
        assert batch.label_B.tolist() == [0, 0, 0]
        assert len(batch.ids) == 3

    def test_pictures_belong_to_their_ids(self, build: Any) -> None:
        for batch in build(self.task()).epoch(0):
            assert batch.clip_BVTNCHW is not None
            for clip, id_ in zip(batch.clip_BVTNCHW, batch.ids, strict=True):
                assert set((clip[..., 0, :, :] // 10).unique().tolist()) == {int(id_.split("-")[1])}

    def test_training_shuffles_and_drops_a_smaller_last_batch(self, build: Any) -> None:
        loader = build(self.task())
        epochs = [[id_ for batch in loader.epoch(number) for id_ in batch.ids] for number in (0, 1)]
        assert len(loader) == 2
        assert all(len(set(ids)) == 6 for ids in epochs)
        assert epochs[0] != epochs[1]

    def test_training_keeps_a_batch_that_is_the_only_one(self, build: Any) -> None:
        loader = build(self.task(videos=2))
        assert [len(batch.ids) for batch in loader.epoch(0)] == [2]
        assert len(loader) == 1

    def test_testing_drops_nothing_and_keeps_the_order(self, build: Any) -> None:
        loader = build(self.task(training=False))
        batches = list(loader.epoch(0))
        assert [id_ for batch in batches for id_ in batch.ids] == [f"video-{number}" for number in range(7)]
        assert batches[0].inputs[0].shape == self.test_shape
        assert len(loader) == len(batches) == 3

    def test_any_number_of_workers_and_any_point_of_resumption_give_the_same(self, build: Any) -> None:
        reference = list(build(self.task()).epoch(3))
        for workers in self.workers:
            loader = build(self.task(options=Options(workers=workers)))
            next(iter(loader.epoch(2)))  # an epoch that was broken off leaves nothing behind
            same(list(loader.epoch(3)), reference)
            same(list(loader.epoch(3, skip=1)), reference[1:])

    def test_an_unreadable_clip_is_named(self, build: Any) -> None:
        for workers in self.workers:
            task = self.task(clips=clips("video-0", "bad-1"), options=Options(workers=workers))
            with pytest.raises(StoreError, match="bad-1"):
                list(build(task).epoch(0))

    def test_an_unreadable_clip_can_be_replaced(self, build: Any, capsys: pytest.CaptureFixture[str]) -> None:
        names = clips("video-0", "video-1", "bad-2", "video-3")
        reference = None
        for workers in self.workers:
            task = self.task(clips=names, batch_size=4, options=Options(workers=workers, on_error="skip"))
            batches = list(build(task).epoch(0))
            assert len(batches[0].ids) == 4
            assert not any(id_.startswith("bad") for id_ in batches[0].ids)
            assert "bad-2" in capsys.readouterr().err
            reference = reference or batches
            same(batches, reference)

    def test_an_unreadable_clip_can_be_left_out_of_a_test(self, build: Any, capsys: pytest.CaptureFixture[str]) -> None:
        task = self.task(
            clips=clips("video-0", "bad-1", "video-2"), training=False, options=Options(on_error="skip"), batch_size=1
        )
        assert [batch.ids for batch in build(task).epoch(0)] == [("video-0",), ("video-2",)]
        assert "bad-1" in capsys.readouterr().err

    def test_several_labels_become_a_matrix(self, build: Any) -> None:
        task = self.task(clips=clips("video-0", labels=(1, 3)), multi_label=True)
        assert next(iter(build(task).epoch(0))).label_B.tolist() == [[0, 1, 0, 1]]


class FeatureLoaderTests(LoaderTests):
    """What sequence models rely on: all of the above, for vectors with a mask."""

    test_shape = (3, 4, 2)

    def task(self, **changes: Any) -> LoaderTask:
        if not isinstance(changes.get("source"), PatternFeatures):
            changes["source"] = PatternFeatures()
        return super().task(**{"inputs": feature_inputs(), **changes})

    def test_gives_uint8_clips_of_the_stated_shape(self, build: Any) -> None:
        batch = next(iter(build(self.task()).epoch(0)))
        assert batch.clip_BVTNCHW is None
        feature_BFD, mask_BF = batch.inputs
        assert feature_BFD.shape == (3, 4, 2)
        assert feature_BFD.dtype == torch.uint8, "features are handed over as stored"
        assert mask_BF.shape == (3, 4)
        assert mask_BF.dtype == torch.bool

    def test_pictures_belong_to_their_ids(self, build: Any) -> None:
        for batch in build(self.task()).epoch(0):
            feature_BFD, mask_BF = batch.inputs
            for feature_FD, mask_F, id_ in zip(feature_BFD, mask_BF, batch.ids, strict=True):
                number = int(id_.split("-")[1])
                count = min(number % 5 + 1, 4)
                assert mask_F.tolist() == [True] * count + [False] * (4 - count)
                expected = [[number + 1, place + 1] for place in range(count)]
                assert feature_FD.tolist() == expected + [[0, 0]] * (4 - count)


def same(found: list[Batch], wanted: list[Batch]) -> None:
    """Assert that batches are equal to the bit."""
    assert [batch.ids for batch in found] == [batch.ids for batch in wanted]
    for ours, theirs in zip(found, wanted, strict=True):
        assert torch.equal(ours.label_B, theirs.label_B)
        for mine, other in zip(ours.inputs, theirs.inputs, strict=True):
            assert mine.dtype == other.dtype
            assert torch.equal(mine, other)
