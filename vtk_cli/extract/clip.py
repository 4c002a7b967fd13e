"""One clip: decoded once, its frames as JPEG and its flow, warped flow too, as quantised pairs."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from vtk_cli.api.flow import BatchFlowMethod
from vtk_cli.api.stores import FlowCodec
from vtk_cli.api.video import Cut, DecodedPicture, Decoder, DecodeReport
from vtk_cli.errors import VideoError
from vtk_cli.extract.pictures import encode_picture, pictures
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
    flow_codec: FlowCodec = "jpeg"
    keep_truncated: bool


@dataclass(slots=True)
class Encoded:
    """What one pass over a clip gave."""

    frames: list[bytes] = field(default_factory=list)
    pairs: list[bytes] = field(default_factory=list)
    """One less than decoded frames: pair i is the motion from frame i to frame i + 1."""
    warped: list[bytes] = field(default_factory=list)
    """The same without the camera's motion."""
    flow_cause: str = ""
    """Why there is no flow although the clip decodes."""
    note: str = ""
    """What is imperfect about a clip that was kept."""


def encode_clip(
    decoder: Decoder,
    motion: BatchFlowMethod | None,
    encoding: Encoding,
    clip: Clip,
    *,
    frames: bool,
    flow: bool = True,
    beat: Callable[[], None],
) -> Encoded:
    """Decode a clip once and encode what is wanted of it.

    `motion` is a `vtk_cli.flow.motion.Motion`, or what stands in for one; None where no flow of any kind is wanted.
    `flow` is off where of its results the flow is not to be kept; `beat` is called once per picture.

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
    encoder = _Encoder(encoding, motion, frames=frames, flow=flow)
    for picture in pictures(decoder, clip.path, cut, report):
        beat()
        encoder.add(picture)
        if encoder.done:
            break
    else:
        _check_whole(report, encoder.count, keep_truncated=encoding.keep_truncated)
    return encoder.result(_note(report, encoder.count))


class _Encoder:
    """Takes pictures in order; keeps what is wanted of them. Flow is computed of a batch of pairs at a time."""

    def __init__(self, encoding: Encoding, motion: BatchFlowMethod | None, *, frames: bool, flow: bool) -> None:
        self.count = 0
        self._encoding, self._motion, self._frames, self._flow = encoding, motion, frames, flow
        self._encoded = Encoded()
        self._bytes: Counter[str] = Counter()
        self._waiting: list[NDArray[np.uint8]] = []
        """The last picture of the pairs that are done, and those after it."""

    @property
    def done(self) -> bool:
        """Nothing more is wanted: only flow was, and it failed."""
        return not self._frames and self._motion is None

    def add(self, picture: DecodedPicture) -> None:
        self.count += 1
        if self._frames:
            self._keep("frames", encode_picture(picture, self._encoding.quality))
        if self._motion is not None:
            self._waiting.append(grey(picture.rgb()))
            if len(self._waiting) > self._motion.batch:
                self._add_pairs(self._motion)

    def _add_pairs(self, motion: BatchFlowMethod) -> None:
        try:
            pictures_NHW = np.stack(self._waiting)
            for flow_K2HW in motion.many(pictures_NHW[:-1], pictures_NHW[1:]):
                self._add_pair(flow_K2HW)
        except Exception as error:  # noqa: BLE001  a plugin's method can raise anything; the frames are still good
            self._give_up(f"{error}" if isinstance(error, VideoError) else f"{type(error).__name__}: {error}")
        else:
            del self._waiting[:-1]

    def _add_pair(self, flow_K2HW: NDArray[np.float32]) -> None:
        if self._flow:
            self._keep("pairs", self._encode(flow_K2HW[0]))
        if len(flow_K2HW) > 1:
            self._keep("warped", self._encode(flow_K2HW[1]))

    def _encode(self, flow_2HW: NDArray[np.float32]) -> bytes:
        return encode_flow(quantize(flow_2HW, BOUND), self._encoding.quality, self._encoding.flow_codec)

    def result(self, note: str) -> Encoded:
        self._encoded.note = note
        if self._motion is not None and len(self._waiting) > 1:
            self._add_pairs(self._motion)
        if self._motion is not None and self.count == 1:
            self._give_up("it has one frame; flow needs two")
        return self._encoded

    def _give_up(self, cause: str) -> None:
        self._encoded.flow_cause, self._motion = cause, None
        self._encoded.pairs.clear()
        self._encoded.warped.clear()
        self._waiting.clear()

    def _keep(self, kind: Literal["frames", "pairs", "warped"], data: bytes) -> None:
        getattr(self._encoded, kind).append(data)
        self._bytes[kind] += len(data) + FRAME_OVERHEAD
        if self._bytes[kind] > MAX_BYTES - FRAME_OVERHEAD:
            raise VideoError(
                f"it gives more than {MAX_BYTES} bytes after {self.count} frames, the most that one record holds; "
                "cut it into shorter clips or extract at a smaller short side"
            )


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
