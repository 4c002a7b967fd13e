"""What a loader is asked for and what it hands to training and testing.

An entry point of the group `vtk.loaders` names a `LoaderSpec`.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from vtk_cli import registry
from vtk_cli.api.inputs import InputSpec, View

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class Batch:
    """Clips of B videos, V views each (1 in training), as uint8; the device normalises.

    View v of a video is spatial crop v % crops of temporal clip v // crops.
    """

    clip_BVTNCHW: "Tensor"
    label_B: "Tensor"
    """int64 class numbers; 0/1 float matrix label_BK for datasets with several labels per video."""
    ids: tuple[str, ...]
    wait_seconds: float = 0.0
    """Time the consumer waited for this batch."""


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


class FrameSource(Protocol):
    """Pictures of videos by number, encoded in a store or decoded from the files.

    Picklable: opens its files in the process that reads.
    """

    def num_frames(self, clip: Clip) -> int:
        """Pictures that the clip has (flow: pairs); raises a DataError when it cannot be read."""

    def read(self, clip: Clip, indices: Sequence[int]) -> "list[Tensor]":
        """The pictures with these numbers (in any order, repeats allowed), each picture_CHW uint8.

        Raises:
            DataError: the clip cannot be read, or a number lies past its end.
        """

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class LoaderTask:
    """All that a loader needs to know to serve one split."""

    clips: tuple[Clip, ...]
    source: FrameSource
    inputs: InputSpec
    training: bool
    """True: shuffled, drawn by `inputs.train` and `inputs.augment`; False: in order, every view of `inputs.test`."""
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
        return self.inputs.train if self.training else self.inputs.test


@dataclass(frozen=True, slots=True, kw_only=True)
class LoaderSpec:
    """A loader plugin: its parts are imported when `build` is called."""

    build: Callable[[LoaderTask], Loader]
    summary: str = ""
    api: int = registry.API_VERSION
