"""One file opened with PyAV for its best video stream: opening it safely, decoding it, entering it at key frames."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from pathlib import Path

import av
from av.container import InputContainer
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from vtk_cli.api.video import DecodeReport
from vtk_cli.errors import VideoError
from vtk_cli.video.geometry import MAX_PIXELS
from vtk_cli.video.safety import FORMATS, OPEN_OPTIONS, check_file, file_url
from vtk_cli.video.structure import cut_off

_JUMPABLE_FORMATS = {"mov", "matroska"}
_JUMPABLE_CODECS = {"h264", "hevc", "vp9", "av1"}
"""In these one packet is one picture, and decoding from a key frame on gives the same pictures. MPEG-4 has packets
without a picture, VP8 has hidden pictures; AVI's times count packets, not pictures."""

Timed = tuple[Fraction, VideoFrame]
"""Seconds since the first picture, and the picture."""


class CannotJump(Exception):
    """Decoding from a key frame would not give what decoding from the start gives; the caller does the latter."""


@dataclass(frozen=True, slots=True)
class Source:
    """An open file. One pass is made over it: to decode again, open it again."""

    path: Path
    container: InputContainer
    stream: VideoStream
    streams: int
    """Video streams, attached pictures not counted."""
    width: int
    """Pixels of the stored picture, as the header says; pictures of another size in mid-stream are scaled to it."""
    height: int

    @property
    def format_names(self) -> set[str]:
        return set(self.container.format.name.split(","))

    @property
    def sample_aspect(self) -> Fraction:
        """Width of a pixel over its height; 1 where the file does not say."""
        found = self.stream.sample_aspect_ratio
        return Fraction(found) if found and found > 0 else Fraction(1)

    @property
    def time_base(self) -> Fraction:
        """Seconds per unit of a picture's time."""
        return Fraction(self.stream.time_base or 1)

    @property
    def rate(self) -> Fraction | None:
        """Average frames per second."""
        found = self.stream.average_rate or self.stream.guessed_rate
        return Fraction(found) if found and found > 0 else None

    @property
    def can_jump(self) -> bool:
        codec = self.stream.codec_context.codec.canonical_name
        return codec in _JUMPABLE_CODECS and not self.format_names.isdisjoint(_JUMPABLE_FORMATS)

    def decode(self, report: DecodeReport) -> Iterator[VideoFrame]:
        """Every picture from here on, in the order in which the decoder gives them out."""
        packets = self.container.demux(self.stream)
        while True:
            try:
                packet = next(packets)
            except StopIteration:
                return
            except av.FFmpegError as error:
                report.truncated = f"reading breaks off: {error.strerror}"
                return
            try:
                frames = packet.decode()
            except av.FFmpegError:
                # The last packet, an empty one, only asks for what the decoder still holds.
                report.bad_packets += packet.size > 0
                continue
            yield from frames

    def timed(self, report: DecodeReport) -> Iterator[Timed]:
        """Every picture with its time."""
        clock = _Clock(self)
        for frame in self.decode(report):
            yield clock(frame), frame

    def timed_from(self, start: Fraction, report: DecodeReport) -> Iterator[Timed] | None:
        """As `timed`, from a key frame at or before `start` on; None where decoding has to begin with the first."""
        if not self.can_jump:
            return None
        first = next(self.decode(DecodeReport()), None)
        if first is None or first.pts is None:
            return None
        clock = _Clock(self)
        clock(first)
        frames = self.decode_from(first.pts + int(start / self.time_base), report)
        try:
            landed = next(frames)
        except CannotJump:
            return None
        return ((clock(frame), frame) for frame in chain([landed], frames))

    def decode_from(self, pts: int, report: DecodeReport) -> Iterator[VideoFrame]:
        """Decode from a key frame at or before `pts` on.

        Pictures that refer to what lies before the key frame are left out; the first given out is the key frame.

        Raises:
            CannotJump: no such key frame is reached, or it does not decode.
        """
        try:
            self.container.seek(pts, stream=self.stream)
            packet = next(self.container.demux(self.stream))
        except (av.FFmpegError, StopIteration) as error:
            raise CannotJump from error
        key = packet.pts
        if not packet.is_keyframe or key is None or key > pts:
            raise CannotJump
        yield from _from_key_frame(key, chain(_decoded(packet), self.decode(report)))


class _Clock:
    """Tells each picture's time, in seconds since the first one that it is asked for.

    AVI stores no times, and those that FFmpeg makes up are out of order for packed B-frames: there, and where a picture
    has no time, pictures follow each other at the average rate.
    """

    def __init__(self, source: Source) -> None:
        self._time_base = source.time_base
        self._step = 1 / (source.rate or Fraction(25))
        self._counted = "avi" in source.format_names
        self._origin: int | None = None
        self._time = -self._step

    def __call__(self, frame: VideoFrame) -> Fraction:
        if self._counted or frame.pts is None:
            self._time += self._step
        else:
            if self._origin is None:
                self._origin = frame.pts
            self._time = (frame.pts - self._origin) * self._time_base
        return self._time


def _from_key_frame(key: int, frames: Iterator[VideoFrame]) -> Iterator[VideoFrame]:
    """Leave out pictures before the one at time `key`, which must come before all later ones."""
    begun = False
    for frame in frames:
        if not begun:
            if frame.pts is None or frame.pts > key:
                raise CannotJump
            if frame.pts < key:
                continue
            begun = True
        yield frame
    if not begun:
        raise CannotJump


def _decoded(packet: "av.Packet[VideoStream]") -> Iterator[VideoFrame]:
    try:
        yield from packet.decode()
    except av.FFmpegError as error:
        raise CannotJump from error


@contextmanager
def open_video(path: Path, threads: int) -> Iterator[Source]:
    """Open a file for its best video stream, and close it whatever happens.

    Raises:
        VideoError: the file is missing, damaged, no video, or refused.
    """
    check_file(path)
    with closing(_open_container(path)) as container:
        stream, streams = _best_stream(path, container)
        context = stream.codec_context
        _check_size(path, context.width, context.height)
        context.thread_count = threads
        context.options = {"max_pixels": OPEN_OPTIONS["max_pixels"]}
        yield Source(path, container, stream, streams, context.width, context.height)


def _open_container(path: Path) -> InputContainer:
    try:
        # HMDB51's tags are not UTF-8; without `ignore` they are a UnicodeDecodeError.
        return av.open(file_url(path), metadata_errors="ignore", options=dict(OPEN_OPTIONS))
    except (av.FFmpegError, UnicodeError) as error:
        cut = cut_off(path)
        found = f"it is cut off ({cut})" if cut else f"FFmpeg says: {getattr(error, 'strerror', None) or error}"
        raise VideoError(
            f"{path} is not a video in a container that vtk opens ({', '.join(FORMATS)}): {found}. "
            "Fetch it again or convert it."
        ) from error


def _best_stream(path: Path, container: InputContainer) -> tuple[VideoStream, int]:
    """The stream that FFmpeg holds for the main one (default, most pictures, highest rate), and how many there are."""
    moving = [stream for stream in container.streams.video if not stream.disposition & Disposition.attached_pic]
    if not moving:
        kinds = ", ".join(sorted({stream.type for stream in container.streams})) or "nothing"
        raise VideoError(
            f"{path} holds no video stream, only {kinds}. Leave it out, or fetch the clip with its pictures."
        )
    readable = [stream for stream in moving if stream.codec_context is not None]
    if not readable:
        raise VideoError(
            f"{path} holds video in a codec that FFmpeg has no decoder for. Convert it, for example to H.264."
        )
    best = container.streams.best("video")
    if best in readable:
        return best, len(moving)
    return max(readable, key=lambda stream: stream.width * stream.height), len(moving)


def _check_size(path: Path, width: int, height: int) -> None:
    """FFmpeg itself puts 0 for a size beyond `max_pixels` when it probes a stream; nothing was allocated by then."""
    if not 0 < width * height <= MAX_PIXELS:
        raise VideoError(
            f"{path} states no picture size, or one beyond the limit of {MAX_PIXELS} pixels ({width}x{height} found). "
            "Its header is damaged or hostile: fetch the file again, or scale it down first."
        )
