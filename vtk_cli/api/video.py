"""What a decoder offers. An entry point of the group `vtk.decoders` names a `DecoderSpec`."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from vtk_cli import registry

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Picture = NDArray[np.uint8]


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoInfo:
    """What a file says of its best video stream, before anything is decoded; sizes are as shown to a viewer."""

    codec: str
    width: int
    """Pixels after rotation and sample aspect ratio."""
    height: int
    fps: float | None
    """Average frames per second; None where the file does not say."""
    header_frames: int | None
    """Number of frames that the header claims; None where it says nothing. Headers are often wrong by one or more."""
    duration_seconds: float | None
    rotation: int
    """Clockwise degrees in 0, 90, 180, 270 by which stored pictures are turned for showing."""
    sample_aspect: tuple[int, int]
    pixel_format: str
    streams: int
    """Video streams in the file, attached pictures not counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """Which part of a file is wanted and at what size."""

    start_seconds: float | None = None
    end_seconds: float | None = None
    short_side: int | None = None
    """Pixels of the shorter side of each picture; None keeps the size. Sizes are rounded to even numbers."""
    square_pixels: bool = True
    """Apply the sample aspect ratio. Other tools ignore it; switch it off to reproduce their pictures."""


@dataclass(slots=True)
class DecodeReport:
    """Filled while frames are read; complete when the iterator is exhausted."""

    frames: int = 0
    bad_packets: int = 0
    truncated: str = ""
    """Why the file is taken to be cut off (it ended before its header says); empty if it is not."""


class Decoder(Protocol):
    """Turns a file into RGB pictures, in decode order, frame-exact. Safe to use from several processes."""

    def probe(self, path: Path) -> VideoInfo:
        """Read the header only.

        Raises:
            VideoError: the file is missing, no video, or refused (a playlist that poses as a clip).
        """

    def frames(self, path: Path, cut: Cut, report: DecodeReport) -> "Iterator[Picture]":
        """Yield every picture, HWC uint8 RGB. Damaged packets are skipped and counted in `report`.

        Raises:
            VideoError: nothing can be decoded.
        """

    def read(self, path: Path, indices: Sequence[int], cut: Cut) -> "Picture":
        """The pictures with these numbers (any order, repeats allowed) as NHWC uint8 RGB.

        Raises:
            VideoError: nothing can be decoded, or a number lies past the end.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class DecoderSpec:
    """A decoder plugin: its parts are imported when `build` is called."""

    build: Callable[[], Decoder]
    summary: str = ""
    api: int = registry.API_VERSION
