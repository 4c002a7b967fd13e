"""The windows of a video that give a feature vector each, and the clips that are cut from them.

    W windows  T segments  N frames  C channels  H W pixels

A window is a part of the video; one clip is cut from it by the model's test view, in one centre crop. Nothing here
computes: loader processes read clips while a GPU computes on those before.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from vtk_cli.api.inputs import InputSpec
from vtk_cli.api.loaders import Clip, FrameSource
from vtk_cli.errors import UsageError
from vtk_cli.loader.transforms import arrange_test

STRIDE = 16
"""Frames from one window to the next: a clip of 10 seconds gives 13 to 19 vectors at 25 to 30 frames a second."""
MOST_PICTURES = 512
"""Of one forward pass and of what a loader process hands over; 77 MB at 224 x 224."""

Grid = list[int]
"""Frame numbers of one clip, T x N."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureWindows:
    """Which parts of a video give a vector: `count` of them, or one every `stride` frames.

    They cover the whole video: each is as long as the way to the next, or as the clip that is cut from it if that is
    longer. The first begins with the video, the last ends with it; a shorter video is one window.
    """

    count: int | None = None
    stride: int | None = None

    def __post_init__(self) -> None:
        if (self.count is None) == (self.stride is None):
            raise UsageError("Windows are given by --windows N or by --stride FRAMES, found both or none. Name one.")
        for name, value in (("--windows", self.count), ("--stride", self.stride)):
            if value is not None and not 1 <= value <= 1_000_000:
                raise UsageError(f"{name} is a whole number from 1 to 1000000, found {value}.")

    @classmethod
    def of(cls, origin: Mapping[str, Any]) -> "FeatureWindows":
        """What the meta of a store says."""
        return cls(count=origin.get("windows"), stride=origin.get("stride"))

    def cut(self, length: int, span: int) -> list[tuple[int, int]]:
        """(first frame, frames) of each window of a video of `length` frames, for clips that span `span` frames.

        length 10, stride 3, span 4:   [0 1 2 3] [3 4 5 6] [6 7 8 9]

        >>> FeatureWindows(stride=3).cut(10, 4)
        [(0, 4), (3, 4), (6, 4)]
        >>> FeatureWindows(stride=4).cut(10, 1), FeatureWindows(stride=4).cut(3, 8)
        ([(0, 4), (4, 4), (6, 4)], [(0, 3)])
        >>> FeatureWindows(count=3).cut(10, 1), FeatureWindows(count=5).cut(3, 1)
        ([(0, 4), (3, 4), (6, 4)], [(0, 1), (1, 1), (2, 1)])
        """
        step = self.stride if self.stride is not None else -(-length // (self.count or 1))
        frames = min(length, max(step, span))
        latest = length - frames
        if self.stride is not None:
            starts = [min(number * step, latest) for number in range(-(-latest // step) + 1)]
        else:
            gaps = max(1, (self.count or 1) - 1)
            # Halves up; of a short video some windows are the same, and are taken once.
            starts = list(dict.fromkeys((2 * number * latest + gaps) // (2 * gaps) for number in range(gaps + 1)))
        return [(start, frames) for start in starts]


@dataclass(frozen=True, slots=True)
class ClipPlan:
    """Which frames of a video are read for which clip; picklable, for loader processes."""

    inputs: InputSpec
    """With a test view of one clip and one crop."""
    windows: FeatureWindows
    most: int
    """Windows per forward pass, before `MOST_PICTURES` bounds them."""

    @property
    def span(self) -> int:
        """Frames of the video that a clip spans when none is left out."""
        view = self.inputs.test
        return view.segments * self.inputs.loaded_frames(view) * view.stride

    @property
    def windows_at_once(self) -> int:
        view = self.inputs.test
        return max(1, min(self.most, MOST_PICTURES // (view.segments * self.inputs.loaded_frames(view))))

    def grids(self, length: int) -> list[Grid]:
        """The frame numbers of every window's clip."""
        view = self.inputs.test
        grids = []
        for start, frames in self.windows.cut(length, self.span):
            (grid,) = view.sampler(
                frames,
                segments=view.segments,
                frames=self.inputs.loaded_frames(view),
                stride=view.stride,
                clips=1,
                rng=None,
            )
            grids.append([start + number for number in grid])
        return grids

    def clips(self, source: FrameSource, clip: Clip, grids: Sequence[Grid]) -> Iterator[Tensor]:
        """The clips of a video as uint8 clip_WTNCHW, as many at a time as one forward pass takes.

        Raises:
            DataError: the video cannot be read.
        """
        for first in range(0, len(grids), self.windows_at_once):
            part = list(grids[first : first + self.windows_at_once])
            wanted = sorted({index for grid in part for index in grid})
            pictures = dict(zip(wanted, source.read(clip, wanted), strict=True))
            yield arrange_test(pictures, part, self.inputs)
