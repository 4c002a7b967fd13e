"""What a loader is asked for and what it hands to training and testing.

An entry point of the group `vtk.loaders` names a `LoaderSpec`.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from vtk_cli import registry
from vtk_cli.api.inputs import FeatureSpec, InputSpec, View
from vtk_cli.errors import PluginError, UsageError

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class Batch:
    """B videos, as clips or as features: what the model's spec asks for, still as it was stored."""

    clip_BVTNCHW: "Tensor | None"
    """Clips of V views (1 in training) as uint8; the device normalises. View v of a video is spatial crop v % crops of
    temporal clip v // crops. None where the model reads features."""
    label_B: "Tensor"
    """int64 class numbers; 0/1 float matrix label_BK for datasets with several labels per video."""
    ids: tuple[str, ...]
    wait_seconds: float = 0.0
    """Time the consumer waited for this batch."""
    feature_BFD: "Tensor | None" = None
    """Vectors as stored (uint8, float16 or float32), padded to F; the device makes them float32."""
    mask_BF: "Tensor | None" = None
    """bool, True where a video has a vector."""

    def __post_init__(self) -> None:
        if (self.clip_BVTNCHW is None) == (self.feature_BFD is None) or (self.feature_BFD is None) != (
            self.mask_BF is None
        ):
            raise PluginError(
                "A batch holds either clip_BVTNCHW or feature_BFD with mask_BF. Report it to the loader's author."
            )

    @property
    def inputs(self) -> "tuple[Tensor, ...]":
        """(clip_BVTNCHW,), or (feature_BFD, mask_BF)."""
        if self.clip_BVTNCHW is not None:
            return (self.clip_BVTNCHW,)
        assert self.feature_BFD is not None  # __post_init__ has checked
        assert self.mask_BF is not None
        return (self.feature_BFD, self.mask_BF)


class Loader(Protocol):
    """One split of a dataset as batches.

    Every draw derives from (seed, epoch, video id): any number of workers and any point of resumption give the same.
    """

    def __len__(self) -> int:
        """Batches per epoch."""

    def epoch(self, number: int, *, skip: int = 0) -> Iterator[Batch]:
        """The batches of epoch `number` (from 0), the first `skip` left out without being read."""

    def close(self) -> None:
        """End the workers and close the files; further epochs are not possible."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Clip:
    """One video of a split, as the loader knows it."""

    id: str
    labels: tuple[int, ...] = ()
    """Class numbers; empty where none is known (a file that someone wants named)."""
    path: Path
    start_seconds: float | None = None
    """Set when the clip is a part of the file."""
    end_seconds: float | None = None
    frames: int | None = None
    """Number of pictures where it was measured."""


class Source(Protocol):
    """Where videos are read from. Picklable: opens its files in the process that reads."""

    def num_frames(self, clip: Clip) -> int:
        """Pictures (flow: pairs; features: vectors) of a video; raises a DataError when it cannot be read."""

    def close(self) -> None: ...


class FrameSource(Source, Protocol):
    """Pictures of videos by number, encoded in a store or decoded from the files."""

    def read(self, clip: Clip, indices: Sequence[int]) -> "list[Tensor]":
        """The pictures with these numbers (in any order, repeats allowed), each picture_CHW uint8.

        Raises:
            DataError: the clip cannot be read, or a number lies past its end.
        """


class FeatureSource(Source, Protocol):
    """Vectors of videos by number, one per time step, out of a store or computed by a network."""

    def read(self, clip: Clip, indices: Sequence[int]) -> "Tensor":
        """The vectors with these numbers (any order, repeats allowed), feature_FD as stored: the streams of the
        model's spec side by side, in its order; raises what `FrameSource.read` does.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class LoaderTask:
    """All that a loader needs to know to serve one split."""

    clips: tuple[Clip, ...]
    source: Source
    """A `FeatureSource` where `inputs` is a FeatureSpec, else a `FrameSource`."""
    inputs: InputSpec | FeatureSpec
    training: bool
    """True: shuffled, drawn by the sampler and `inputs.augment`; False: in order, every view of `inputs.test`, without
    chance."""
    batch_size: int
    seed: int
    flip: bool
    """False where labels change under mirroring."""
    num_classes: int
    multi_label: bool
    options: Any
    """The loader section of the configuration: workers, prefetch, pin, on_error."""

    @property
    def view(self) -> View:
        """Of a model of clips; raises UsageError where it reads features, which have none."""
        if isinstance(self.inputs, FeatureSpec):
            raise UsageError("A model of clips has views, found one that reads features. Read `inputs` instead.")
        return self.inputs.train if self.training else self.inputs.test


@dataclass(frozen=True, slots=True, kw_only=True)
class LoaderSpec:
    """A loader plugin: its parts are imported when `build` is called."""

    build: Callable[[LoaderTask], Loader]
    features: bool = False
    """Whether it also serves tasks whose `inputs` are a FeatureSpec."""
    summary: str = ""
    api: int = registry.API_VERSION
