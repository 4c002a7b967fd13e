"""What a decoder offers. An entry point of the group `vtk.decoders` names a `DecoderSpec`."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from vtk_cli import registry
from vtk_cli.errors import UsageError, VideoError

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
    mirrored: bool = False
    """Stored pictures are mirrored left to right for showing, before they are turned."""
    sample_aspect: tuple[int, int]
    pixel_format: str
    streams: int
    """Video streams in the file, attached pictures not counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """Which part of a file is wanted and at what size.

    Raises:
        VideoError: times below zero, or a part that ends before it starts, as damaged annotations have it.
        UsageError: a short side below 1.
    """

    start_seconds: float | None = None
    """Time of the first picture wanted, counted from the file's first picture. A picture's time is when it comes up:
    those of start <= time < end are wanted, compared to the microsecond."""
    end_seconds: float | None = None
    short_side: int | None = None
    """Pixels of the shorter side of each picture, smaller or larger than the file's; None keeps the size. The longer
    side keeps the aspect, rounded to the nearest integer (halves up), so it can be odd."""
    square_pixels: bool = True
    """Apply the sample aspect ratio. Other tools ignore it; switch it off to reproduce their pictures."""

    def __post_init__(self) -> None:
        start, end = self.start_seconds, self.end_seconds
        if not all(limit is None or (math.isfinite(limit) and limit >= 0) for limit in (start, end)):
            raise VideoError(f"A cut starts and ends at 0 seconds or later; found {start} to {end}. Correct its row.")
        if end is not None and end <= (start or 0):
            raise VideoError(f"A cut ends after it starts; found {start or 0} to {end} seconds. Correct its row.")
        if self.short_side is not None and self.short_side < 1:
            raise UsageError(f"A picture's short side is at least 1 pixel; found {self.short_side}. Give a larger one.")


@dataclass(slots=True)
class DecodeReport:
    """Filled while frames are read; complete when the iterator is exhausted."""

    frames: int = 0
    bad_packets: int = 0
    """Packets that yielded no picture because they are damaged."""
    corrupt_frames: int = 0
    """Pictures among `frames` that the decoder itself marks as damaged; it does not notice all."""
    truncated: str = ""
    """Why the file is taken to be cut off (it ends before its own structure says); empty if it is not."""


class Decoder(Protocol):
    """Turns a file into RGB pictures, in decode order, frame-exact. Safe to use from several processes."""

    def probe(self, path: Path) -> VideoInfo:
        """Read the header, and decode no further than the first picture.

        Raises:
            VideoError: the file is missing, no video, or refused (a playlist that poses as a clip).
        """

    def frames(self, path: Path, cut: Cut, report: DecodeReport) -> "Iterator[Picture]":
        """Yield every picture, HWC uint8 RGB, all of one size. Damaged packets are skipped and counted in `report`.

        The file is closed when the iterator is exhausted or dropped.

        Raises:
            VideoError: nothing can be decoded, or no picture lies within the cut.
        """

    def read(self, path: Path, indices: Sequence[int], cut: Cut) -> "Picture":
        """The pictures with these numbers (any order, repeats allowed) as NHWC uint8 RGB.

        Picture n is the n-th that `frames` yields for the same cut, counted from 0.

        Raises:
            VideoError: nothing can be decoded, or a number lies past the end.
            ValueError: no number is given, or one below 0.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Planes:
    """A picture as JPEG holds it: brightness, and two colour differences at half its width and height.

    JFIF 1.02's colours: those of BT.601, each over the whole of 0..255, 128 is no colour. Encoders read two columns and
    two rows at a time, so planes have even sides: where the picture's is odd, its last column or row is there twice.

    Raises:
        ValueError: shapes that do not belong together; a bug of the decoder.
    """

    width: int
    height: int
    luma_HW: "Picture"
    """uint8; sides are those of the picture, rounded up to even numbers."""
    blue_HW: "Picture"
    """Cb, uint8; half the sides of `luma_HW`."""
    red_HW: "Picture"
    """Cr, as `blue_HW`."""

    def __post_init__(self) -> None:
        half = (self.height + 1) // 2, (self.width + 1) // 2
        expected = (2 * half[0], 2 * half[1]), half, half
        found = self.luma_HW.shape, self.blue_HW.shape, self.red_HW.shape
        if found != expected:
            raise ValueError(f"planes of a {self.width}x{self.height} picture have shapes {expected}, found {found}")


class DecodedPicture(Protocol):
    """A picture that is converted only when and as it is asked for."""

    def rgb(self) -> "Picture":
        """HWC uint8 RGB, the same as `Decoder.frames` gives."""

    def planes(self) -> Planes | None:
        """The same picture without the way over RGB; None where its colours need that way."""


@runtime_checkable
class PlanarDecoder(Decoder, Protocol):
    """A decoder that can also leave pictures as they are in the file. Extraction takes them in this form if it can."""

    def pictures(self, path: Path, cut: Cut, report: DecodeReport) -> "Iterator[DecodedPicture]":
        """What `frames` yields, not converted yet. Each stays good when the next is taken, and says the same again.

        Raises:
            VideoError: as `frames`.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class DecoderSpec:
    """A decoder plugin; `build` makes one decoder, which holds no open file."""

    build: Callable[[], Decoder]
    summary: str = ""
    api: int = registry.API_VERSION
