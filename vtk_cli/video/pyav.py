"""The default decoder: PyAV, which brings FFmpeg along.

What comes out is what decoding every packet in file order gives, whatever headers say of counts and times.
"""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import av
import numpy as np
from av.video.frame import VideoFrame

from vtk_cli.api.video import Cut, DecodedPicture, Decoder, DecodeReport, DecoderSpec, VideoInfo
from vtk_cli.errors import VideoError
from vtk_cli.video.convert import LazyPicture, Painter
from vtk_cli.video.source import CannotJump, Source, Timed, open_video
from vtk_cli.video.structure import cut_off

if TYPE_CHECKING:
    from vtk_cli.api.video import Picture

_WORTH_A_JUMP = 48
"""Pictures. Below this a pass over the packets and a seek cost more than decoding from the start."""


_AHEAD, _AHEAD_PIXELS = 4, 1 << 20
"""Pictures that are decoded at a time, and how many pixels they may have."""


class PyavDecoder:
    """Decodes with FFmpeg through PyAV. Holds no open file and no state, so any process may use it."""

    def __init__(self, threads: int = 1) -> None:
        """`threads` per open file; extraction and loading run one file per process instead."""
        self._threads = threads

    def probe(self, path: Path) -> VideoInfo:
        with open_video(path, self._threads) as source:
            report = DecodeReport()
            first = next(source.decode(report), None)
            if first is None:
                raise _nothing_decodes(path, report)
            return _info(source, first)

    def frames(self, path: Path, cut: Cut, report: DecodeReport) -> Iterator["Picture"]:
        for picture in self.pictures(path, cut, report):
            yield picture.rgb()

    def pictures(self, path: Path, cut: Cut, report: DecodeReport) -> Iterator[DecodedPicture]:
        with self._wanted(path, cut, report) as (source, frames):
            painter: Painter | None = None
            for frame in _ahead(frames, source):
                painter = painter or Painter(source, frame, cut)
                report.frames += 1
                report.corrupt_frames += frame.is_corrupt
                yield LazyPicture(painter, frame)
            report.truncated = cut_off(path) or report.truncated
            if painter is None:
                raise _nothing_decodes(path, report, cut)

    def read(self, path: Path, indices: Sequence[int], cut: Cut) -> "Picture":
        """See `Decoder.read`.

        MP4 and Matroska files with a sound index are entered at the key frame before each picture; then numbers count
        pictures by their times. Only a packet that does not decode, before the key frame entered, makes that differ
        from decoding all: such files are reported by `frames`, and no index shows it.
        """
        if not len(indices) or min(indices) < 0:
            raise ValueError(f"frame numbers are 0 or more, and at least one is given: {list(indices)}")
        found: dict[int, Picture] | None = None
        if max(indices) >= _WORTH_A_JUMP and cut.start_seconds is None and cut.end_seconds is None:
            found = self._read_by_key_frames(path, sorted(set(indices)), cut)
        if found is None:
            found = self._read_in_order(path, set(indices), cut)
        return np.stack([found[index] for index in indices])

    def _read_in_order(self, path: Path, wanted: set[int], cut: Cut) -> dict[int, "Picture"]:
        found: dict[int, Picture] = {}
        report = DecodeReport()
        number = -1
        with self._wanted(path, cut, report) as (source, frames):
            painter: Painter | None = None
            for number, frame in enumerate(frames):
                painter = painter or Painter(source, frame, cut)
                if number in wanted:
                    found[number] = painter.rgb(frame)
                    if len(found) == len(wanted):
                        return found
        if number < 0:
            raise _nothing_decodes(path, report, cut)
        raise VideoError(
            f"{path} has {number + 1} frames where number {max(wanted)} (from 0) was asked for. Its annotation or "
            "catalog counts more than can be decoded; check it again."
        )

    def _read_by_key_frames(self, path: Path, wanted: list[int], cut: Cut) -> dict[int, "Picture"] | None:
        """The wanted pictures, or None where only decoding from the start is certain to find them."""
        with open_video(path, self._threads) as source:
            times = _picture_times(source) if source.can_jump else None
            if times is None or wanted[-1] >= len(times.pts):
                return None
            try:
                return _pick(source, times, wanted, cut)
            except CannotJump:
                return None

    @contextmanager
    def _wanted(self, path: Path, cut: Cut, report: DecodeReport) -> Iterator[tuple[Source, Iterator[VideoFrame]]]:
        """An open file with the cut's pictures, decoded from a key frame before them on where that is safe."""
        if cut.start_seconds:
            with open_video(path, self._threads) as source:
                timed = source.timed_from(_exact(cut.start_seconds), report)
                if timed is not None:
                    yield source, _within(cut, timed)
                    return
            report.bad_packets = 0
        with open_video(path, self._threads) as source:
            whole = not cut.start_seconds and cut.end_seconds is None
            yield source, source.decode(report) if whole else _within(cut, source.timed(report))


@dataclass(frozen=True, slots=True)
class _PictureTimes:
    """Times of all pictures in the order in which they are shown, and the numbers of those that decode on their own."""

    pts: list[int]
    keys: list[int]

    def key_before(self, number: int) -> int:
        """Number of the key frame from which picture `number` is reached."""
        return self.keys[bisect_right(self.keys, number) - 1]


def _picture_times(source: Source) -> _PictureTimes | None:
    """Read all packets without decoding any; None where packets and pictures may not correspond one to one."""
    pts: list[int] = []
    keys: list[int] = []
    try:
        for packet in source.container.demux(source.stream):
            if not packet.size:
                continue
            if packet.pts is None or packet.is_discard or packet.is_corrupt:
                return None
            pts.append(packet.pts)
            if packet.is_keyframe:
                keys.append(packet.pts)
    except av.FFmpegError:
        return None
    pts.sort()
    number_at = {time: number for number, time in enumerate(pts)}
    numbers = sorted(number_at[time] for time in keys)
    if len(number_at) < len(pts) or numbers[:1] != [0]:
        return None
    return _PictureTimes(pts, numbers)


def _pick(source: Source, times: _PictureTimes, wanted: list[int], cut: Cut) -> dict[int, "Picture"]:
    """Decode from key frame to key frame where a wanted picture follows; every picture passed must be the next one.

    Raises:
        CannotJump: pictures come in another order or number than their times say, or a packet is damaged.
    """
    found: dict[int, Picture] = {}
    report = DecodeReport()
    painter: Painter | None = None
    frames: Iterator[VideoFrame] = iter(())
    number = -1
    for target in wanted:
        key = times.key_before(target)
        if not found or key > number + 1:
            frames, number = source.decode_from(times.pts[key], report), key - 1
        for frame in frames:
            number += 1
            if frame.pts != times.pts[number] or report.bad_packets:
                raise CannotJump
            if number == target:
                painter = painter or Painter(source, frame, cut)
                found[target] = painter.rgb(frame)
                break
        else:
            raise CannotJump
    return found


def _within(cut: Cut, timed: Iterator[Timed]) -> Iterator[VideoFrame]:
    """The pictures from the first at or after the start until one at or after the end."""
    start = _exact(cut.start_seconds or 0)
    end = None if cut.end_seconds is None else _exact(cut.end_seconds)
    begun = False
    for time, frame in timed:
        begun = begun or time >= start
        if begun:
            if end is not None and time >= end:
                return
            yield frame


def _ahead(frames: Iterator[VideoFrame], source: Source) -> Iterator[VideoFrame]:
    """The same, but small ones are decoded a few at a time: the processor's caches then hold either the decoder or what
    becomes of its pictures. Extraction at 340x256 takes 3 % less time.
    """
    count = max(1, min(_AHEAD, _AHEAD_PIXELS // (source.width * source.height)))
    while taken := list(islice(frames, count)):
        yield from taken


def _exact(seconds: float) -> Fraction:
    """The fraction that a typed decimal stands for: 0.1 is 1/10; as a float it is a little more, a picture too late."""
    return Fraction(seconds).limit_denominator(1_000_000)


def _info(source: Source, first: VideoFrame) -> VideoInfo:
    painter = Painter(source, first, Cut())
    stream, container = source.stream, source.container
    duration: float | None = None
    if stream.duration is not None:
        duration = float(stream.duration * source.time_base)
    elif container.duration is not None:
        duration = container.duration / av.time_base
    return VideoInfo(
        codec=stream.codec_context.codec.canonical_name,
        width=painter.width,
        height=painter.height,
        fps=float(source.rate) if source.rate else None,
        header_frames=stream.frames or None,
        duration_seconds=duration,
        rotation=painter.orientation.clockwise,
        mirrored=painter.orientation.mirrored,
        sample_aspect=source.sample_aspect.as_integer_ratio(),
        pixel_format=first.format.name,
        streams=source.streams,
    )


def _nothing_decodes(path: Path, report: DecodeReport, cut: Cut | None = None) -> VideoError:
    if cut is not None and (cut.start_seconds is not None or cut.end_seconds is not None) and not report.bad_packets:
        return VideoError(
            f"{path} has no frame from {cut.start_seconds or 0} to {cut.end_seconds or 'its end'} seconds. Its times "
            "count from the beginning of another file, or the file is shorter than it should be: check its annotation."
        )
    why = report.truncated or cut_off(path)
    found = f"{report.bad_packets} damaged packets and no picture" + (f"; {why}" if why else "")
    return VideoError(
        f"{path} cannot be decoded: its header names a video stream, but it holds {found}. Fetch it again."
    )


def _build() -> Decoder:
    return PyavDecoder()


DECODER = DecoderSpec(build=_build, summary="FFmpeg through PyAV, on the CPU; reads nearly every container and codec")
