"""One clip: decoded once, its frames as JPEG and its flow as quantised JPEG pairs."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import numpy as np
import simplejpeg
from numpy.typing import NDArray

from vtk_cli.api.flow import FlowMethod
from vtk_cli.api.video import Cut, Decoder, DecodeReport
from vtk_cli.errors import VideoError
from vtk_cli.flow.quantize import BOUND, encode_flow, grey, quantize
from vtk_cli.store.record import FRAME_OVERHEAD, MAX_BYTES


@dataclass(frozen=True, slots=True, kw_only=True)
class Clip:
    """A video of the catalog, or the part of a file that is one."""

    id: str
    path: Path
    start_seconds: float | None = None
    end_seconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoding:
    """How pictures are stored."""

    short_side: int
    square_pixels: bool
    quality: int
    keep_truncated: bool


@dataclass(slots=True)
class Encoded:
    """What one pass over a clip gave."""

    frames: list[bytes] = field(default_factory=list)
    pairs: list[bytes] = field(default_factory=list)
    """One less than decoded frames: pair i is the motion from frame i to frame i + 1."""
    flow_cause: str = ""
    """Why there is no flow although the clip decodes."""
    note: str = ""
    """What is imperfect about a clip that was kept."""


def encode_clip(
    decoder: Decoder, flow: FlowMethod | None, encoding: Encoding, clip: Clip, *, frames: bool, beat: Callable[[], None]
) -> Encoded:
    """Decode a clip once and encode what is wanted of it.

    `flow` is None where no flow is wanted; `beat` is called once per picture.

    Raises:
        VideoError: the clip does not decode, is cut off (unless `keep_truncated`), or is too long for a record.
    """
    report = DecodeReport()
    cut = Cut(
        start_seconds=clip.start_seconds,
        end_seconds=clip.end_seconds,
        short_side=encoding.short_side,
        square_pixels=encoding.square_pixels,
    )
    encoder = _Encoder(encoding.quality, frames=frames, flow=flow)
    for picture in decoder.frames(clip.path, cut, report):
        beat()
        encoder.add(picture)
        if encoder.done:
            break
    else:
        _check_whole(report, encoder.count, keep_truncated=encoding.keep_truncated)
    return encoder.result(_note(report, encoder.count))


class _Encoder:
    """Takes pictures in order; keeps what is wanted of them."""

    def __init__(self, quality: int, *, frames: bool, flow: FlowMethod | None) -> None:
        self.count = 0
        self._quality, self._frames, self._flow = quality, frames, flow
        self._encoded = Encoded()
        self._bytes = 0
        self._previous: NDArray[np.uint8] | None = None

    @property
    def done(self) -> bool:
        """Nothing more is wanted: only flow was, and it failed."""
        return not self._frames and self._flow is None

    def add(self, picture_HW3: NDArray[np.uint8]) -> None:
        self.count += 1
        if self._frames:
            self._keep(self._encoded.frames, encode_picture(picture_HW3, self._quality))
        if self._flow is not None:
            following = grey(picture_HW3)
            if self._previous is not None:
                self._add_pair(self._flow, self._previous, following)
            self._previous = following

    def _add_pair(self, flow: FlowMethod, previous: NDArray[np.uint8], following: NDArray[np.uint8]) -> None:
        try:
            pair = encode_flow(quantize(flow(previous, following), BOUND), self._quality)
        except Exception as error:  # noqa: BLE001  a plugin's method can raise anything; the frames are still good
            self._give_up(f"{error}" if isinstance(error, VideoError) else f"{type(error).__name__}: {error}")
        else:
            self._keep(self._encoded.pairs, pair)

    def result(self, note: str) -> Encoded:
        self._encoded.note = note
        if self._flow is not None and self.count == 1:
            self._give_up("it has one frame; flow needs two")
        return self._encoded

    def _give_up(self, cause: str) -> None:
        self._encoded.flow_cause, self._flow = cause, None
        self._encoded.pairs.clear()

    def _keep(self, encoded: list[bytes], data: bytes) -> None:
        encoded.append(data)
        self._bytes += len(data) + FRAME_OVERHEAD
        if self._bytes > MAX_BYTES - FRAME_OVERHEAD:
            raise VideoError(
                f"it gives more than {MAX_BYTES} bytes after {self.count} frames, the most that one record holds; "
                "cut it into shorter clips or extract at a smaller short side"
            )


def encode_picture(picture_HW3: NDArray[np.uint8], quality: int) -> bytes:
    """An RGB picture as JPEG; colours at half resolution, as nearly all videos have them."""
    picture = np.ascontiguousarray(picture_HW3)
    encoded = simplejpeg.encode_jpeg(picture, quality=quality, colorspace="RGB", colorsubsampling="420", fastdct=False)
    return cast("bytes", encoded)


def _check_whole(report: DecodeReport, count: int, *, keep_truncated: bool) -> None:
    if count == 0:
        raise VideoError("it has no frames")
    if report.truncated and not keep_truncated:
        raise VideoError(f"it is cut off ({report.truncated}); --keep-truncated keeps its {count} frames")


def _note(report: DecodeReport, count: int) -> str:
    parts = [f"cut off ({report.truncated}), {count} frames kept"] if report.truncated else []
    if report.bad_packets:
        parts.append(f"{report.bad_packets} damaged packets skipped")
    if report.corrupt_frames:
        parts.append(f"{report.corrupt_frames} pictures decoded with errors")
    return "; ".join(parts)
