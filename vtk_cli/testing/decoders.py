"""The contract of a decoder as tests.

A plugin's author writes

    class TestMine(DecoderTests):
        spec = my_package.decoder.DECODER

and inherits the tests. The clips are made on the spot; each picture shows its own number, so a test knows which one it
was given.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import cast

import av
import numpy as np
import pytest
from av.container import OutputContainer
from av.video.stream import VideoStream
from numpy.typing import NDArray

from vtk_cli.api.video import Cut, DecodedPicture, Decoder, DecodeReport, DecoderSpec, PlanarDecoder
from vtk_cli.errors import VideoError

Picture = NDArray[np.uint8]

_BITS = 8
"""A picture shows its number as 8 columns, black for 0 and white for 1, the highest bit on the left."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeClip:
    """A clip to be encoded, and so everything that a decoder should say of it."""

    name: str
    codec: str
    frames: int = 40
    width: int = 96
    height: int = 64
    rate: int = 25
    key_every: int = 12
    b_frames: int = 0
    counter_clockwise: int = 0
    """Degrees by which a player turns the pictures, written as a display matrix."""
    sample_aspect: Fraction = Fraction(1)
    pixel_format: str = "yuv420p"
    options: Mapping[str, str] = field(default_factory=dict)
    """Of the encoder, such as `x264-params`."""
    times: Sequence[int] | None = None
    """When each picture comes up, in frames at `rate`; None for one after the other."""

    def write(self, folder: Path) -> Path:
        """Encode into `folder`, unless it is there."""
        path = folder / self.name
        if path.exists():
            return path
        with av.open(str(path), "w") as container:
            stream = cast("VideoStream", container.add_stream(self.codec, rate=self.rate, options=dict(self.options)))
            stream.width, stream.height, stream.pix_fmt = self.width, self.height, self.pixel_format
            stream.bit_rate = 2_000_000
            stream.gop_size = self.key_every
            stream.max_b_frames = self.b_frames
            stream.sample_aspect_ratio = self.sample_aspect
            if self.counter_clockwise:
                stream.set_display_rotation(self.counter_clockwise)
            self.encode(container, stream)
        return path

    def encode(self, container: OutputContainer, stream: VideoStream) -> None:
        """All pictures, into a file that may hold other streams too."""
        for number in range(self.frames):
            frame = av.VideoFrame.from_ndarray(self.picture(number), format="rgb24")
            frame.pts = number if self.times is None else self.times[number]
            frame.time_base = Fraction(1, self.rate)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))

    def picture(self, number: int) -> Picture:
        """The stored picture, HWC RGB: its number over a lower third that is brighter on the right."""
        bits = [(number >> bit) & 1 for bit in reversed(range(_BITS))]
        column = np.arange(self.width) * _BITS // self.width
        picture = np.empty((self.height, self.width, 3), np.uint8)
        picture[:] = np.where(np.array(bits)[column], 235, 16)[None, :, None]
        lower = self.height * 2 // 3
        picture[lower:] = np.linspace(60, 200, self.width).astype(np.uint8)[None, :, None]
        return picture


def number_shown(picture: Picture) -> int:
    """The number that an upright picture shows (see `MadeClip.picture`), at any size."""
    upper = picture[: picture.shape[0] // 2].mean(axis=(0, 2))
    edges = np.arange(_BITS + 1) * len(upper) // _BITS
    bright = [upper[start + 1 : end - 1].mean() > 128 for start, end in pairwise(edges)]
    return int(sum(bit << place for place, bit in enumerate(reversed(bright))))


CLIPS = [
    MadeClip(name="h264.mp4", codec="libx264"),
    MadeClip(name="h264_b_frames.mp4", codec="libx264", frames=70, b_frames=3),
    MadeClip(name="h264_b_frames.mkv", codec="libx264", frames=70, b_frames=2),
    MadeClip(name="mpeg4.avi", codec="mpeg4"),
    MadeClip(name="mpeg4_b_frames.mp4", codec="mpeg4", b_frames=2),
    MadeClip(name="vp9_odd_size.webm", codec="libvpx-vp9", width=97, height=65),
    MadeClip(name="-name with blanks, %03d and ümlaut.mp4", codec="libx264", frames=3),
]


class DecoderTests:
    """Subclass it, set `spec`, and every decoder promise of `vtk_cli.api.video` is tested."""

    spec: DecoderSpec

    @pytest.fixture
    def decoder(self) -> Decoder:
        return self.spec.build()

    @pytest.fixture
    def folder(self, tmp_path_factory: pytest.TempPathFactory) -> Path:
        """Of this test run; a clip is encoded once."""
        folder = tmp_path_factory.getbasetemp() / "decoder-clips"
        folder.mkdir(exist_ok=True)
        return folder

    @pytest.fixture(params=CLIPS, ids=lambda clip: clip.name)
    def clip(self, request: pytest.FixtureRequest) -> MadeClip:
        made: MadeClip = request.param
        return made

    @pytest.fixture
    def path(self, clip: MadeClip, folder: Path) -> Path:
        return clip.write(folder)

    def test_every_picture_once_and_in_order(self, decoder: Decoder, clip: MadeClip, path: Path) -> None:
        report = DecodeReport()
        pictures = list(decoder.frames(path, Cut(), report))
        assert [number_shown(picture) for picture in pictures] == list(range(clip.frames))
        assert {(picture.shape, str(picture.dtype)) for picture in pictures} == {
            ((clip.height, clip.width, 3), "uint8")
        }
        assert report == DecodeReport(frames=clip.frames)

    def test_decoding_again_gives_the_same(self, decoder: Decoder, path: Path) -> None:
        assert np.array_equal(_all(decoder, path, Cut(short_side=40)), _all(decoder, path, Cut(short_side=40)))

    def test_probe_tells_what_is_shown(self, decoder: Decoder, clip: MadeClip, path: Path) -> None:
        info = decoder.probe(path)
        assert (info.width, info.height, info.rotation, info.streams) == (clip.width, clip.height, 0, 1)
        assert info.fps == pytest.approx(clip.rate)
        assert info.duration_seconds == pytest.approx(clip.frames / clip.rate, abs=2 / clip.rate)

    def test_read_gives_the_pictures_of_frames(self, decoder: Decoder, clip: MadeClip, path: Path) -> None:
        everything = _all(decoder, path, Cut())
        last = clip.frames - 1
        for indices in ([last], [0], [last, 0, last, last // 2], list(range(clip.frames))):
            read = decoder.read(path, indices, Cut())
            assert [number_shown(picture) for picture in read] == indices
            assert np.array_equal(read, everything[indices])

    def test_read_past_the_end_is_refused(self, decoder: Decoder, clip: MadeClip, path: Path) -> None:
        with pytest.raises(VideoError, match=str(clip.frames)):
            decoder.read(path, [0, clip.frames], Cut())

    @pytest.mark.parametrize("cut", [Cut(), Cut(short_side=31), Cut(short_side=128, start_seconds=0.04)])
    def test_pictures_are_those_of_frames(self, decoder: Decoder, path: Path, cut: Cut) -> None:
        if not isinstance(decoder, PlanarDecoder):
            pytest.skip("gives RGB only, as it may")
        report, expected = DecodeReport(), DecodeReport()
        pictures = list(decoder.pictures(path, cut, report))
        for picture, picture_HW3 in zip(pictures, decoder.frames(path, cut, expected), strict=True):
            assert np.array_equal(picture.rgb(), picture_HW3)
            _assert_same_colours(picture)
            assert np.array_equal(picture.rgb(), picture_HW3), "planes() changed the picture"
        assert report == expected

    @pytest.mark.parametrize("indices", [[], [-1]])
    def test_read_of_no_picture_is_a_bug(self, decoder: Decoder, path: Path, indices: list[int]) -> None:
        with pytest.raises(ValueError):  # noqa: PT011  # the wording is the decoder's own
            decoder.read(path, indices, Cut())

    @pytest.mark.parametrize("short_side", [31, 128])
    def test_short_side(self, decoder: Decoder, clip: MadeClip, path: Path, short_side: int) -> None:
        picture = next(iter(decoder.frames(path, Cut(short_side=short_side), DecodeReport())))
        long_side = int(clip.width * short_side / clip.height + 0.5)
        assert picture.shape == (short_side, long_side, 3)

    @pytest.mark.parametrize(("start", "end"), [(None, 0.04), (0.04, 0.12), (0.0, None), (1.04, None), (1.0, 1.3)])
    def test_cut_is_half_open(self, decoder: Decoder, folder: Path, start: float | None, end: float | None) -> None:
        for clip in CLIPS[:-1]:
            cut = Cut(start_seconds=start, end_seconds=end)
            wanted = [n for n in range(clip.frames) if (start or 0) <= n / clip.rate < (end or 1e9)]
            path = clip.write(folder)
            shown = [number_shown(picture) for picture in decoder.frames(path, cut, DecodeReport())]
            assert shown == wanted, clip.name
            assert number_shown(decoder.read(path, [len(wanted) - 1], cut)[0]) == wanted[-1], clip.name

    def test_cut_past_the_end_is_refused(self, decoder: Decoder, path: Path) -> None:
        with pytest.raises(VideoError):
            list(decoder.frames(path, Cut(start_seconds=60), DecodeReport()))

    @pytest.mark.parametrize("counter_clockwise", [90, 180, -90])
    def test_turned_pictures_come_upright(self, decoder: Decoder, tmp_path: Path, counter_clockwise: int) -> None:
        clip = MadeClip(name="turned.mp4", codec="libx264", frames=5, counter_clockwise=counter_clockwise)
        path = clip.write(tmp_path)
        upright = replace(clip, name="upright.mp4", counter_clockwise=0).write(tmp_path)
        expected = np.rot90(_all(decoder, upright, Cut()), k=counter_clockwise // 90, axes=(1, 2))
        turned = _all(decoder, path, Cut())
        assert turned.shape == expected.shape
        assert np.abs(turned.astype(int) - expected.astype(int)).mean() < 2
        info = decoder.probe(path)
        assert info.rotation == -counter_clockwise % 360
        assert (info.height, info.width) == turned.shape[1:3]

    def test_square_pixels(self, decoder: Decoder, tmp_path: Path) -> None:
        path = MadeClip(name="wide.mp4", codec="libx264", frames=3, sample_aspect=Fraction(3, 2)).write(tmp_path)
        assert _all(decoder, path, Cut()).shape == (3, 64, 144, 3)
        assert _all(decoder, path, Cut(square_pixels=False)).shape == (3, 64, 96, 3)
        assert _all(decoder, path, Cut(short_side=32)).shape == (3, 32, 72, 3)
        assert decoder.probe(path).sample_aspect == (3, 2)

    @pytest.mark.parametrize("name", ["h264_b_frames.mkv", "mpeg4.avi"])
    def test_a_file_cut_off_is_recognised(self, decoder: Decoder, tmp_path: Path, name: str) -> None:
        clip = next(clip for clip in CLIPS if clip.name == name)
        path = clip.write(tmp_path)
        content = path.read_bytes()
        path.write_bytes(content[: len(content) * 2 // 3])
        report = DecodeReport()
        shown = sum(1 for _ in decoder.frames(path, Cut(), report))
        assert 0 < shown == report.frames < clip.frames
        assert report.truncated

    @pytest.mark.parametrize(
        "content",
        [
            b"",
            b"no video at all, only text",
            bytes(5000),
            b"#EXTM3U\n#EXTINF:1,\nother.mp4\n",
            b"\x00\x00\x00\x18ftypisom",
        ],
        ids=["empty", "text", "zeros", "playlist", "mp4 without movie"],
    )
    def test_what_is_no_video_is_refused(self, decoder: Decoder, tmp_path: Path, content: bytes) -> None:
        path = tmp_path / "clip.mp4"
        path.write_bytes(content)
        _assert_refused(decoder, path)

    def test_missing_files_and_folders_are_refused(self, decoder: Decoder, tmp_path: Path) -> None:
        _assert_refused(decoder, tmp_path / "missing.mp4")
        _assert_refused(decoder, tmp_path)


def _all(decoder: Decoder, path: Path, cut: Cut) -> Picture:
    return np.stack(list(decoder.frames(path, cut, DecodeReport())))


def _assert_same_colours(picture: DecodedPicture) -> None:
    """Planes, if there are any, are JFIF's: brightness 0.299 R + 0.587 G + 0.114 B, and no colour is 128."""
    planes = picture.planes()
    if planes is None:
        return
    picture_HW3 = picture.rgb().astype(float)
    assert (planes.height, planes.width) == picture_HW3.shape[:2]
    luma = planes.luma_HW[: planes.height, : planes.width]
    assert np.abs(luma - picture_HW3 @ (0.299, 0.587, 0.114)).mean() < 1
    red_minus_luma = (picture_HW3[..., 0] - picture_HW3 @ (0.299, 0.587, 0.114)).mean()
    assert abs((planes.red_HW - 128.0).mean() * 1.402 - red_minus_luma) < 1


def _assert_refused(decoder: Decoder, path: Path) -> None:
    with pytest.raises(VideoError, match=path.name):
        decoder.probe(path)
    with pytest.raises(VideoError, match=path.name):
        _all(decoder, path, Cut())
    with pytest.raises(VideoError, match=path.name):
        decoder.read(path, [0], Cut())
