"""The PyAV decoder beyond the common contract: damage, limits, colours, odd containers, processes."""

import multiprocessing
import random
import resource
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest

from vtk_cli.api.video import Cut, DecodeReport
from vtk_cli.errors import UsageError, VideoError
from vtk_cli.testing.decoders import MadeClip, number_shown
from vtk_cli.video.pyav import DECODER, PyavDecoder, _ahead
from vtk_cli.video.source import Source

FULL = Cut()


@pytest.fixture
def decoder():
    return DECODER.build()


def frames(decoder, path, cut=FULL, report=None):
    return np.stack(list(decoder.frames(path, cut, DecodeReport() if report is None else report)))


def numbers(pictures):
    return [number_shown(picture) for picture in pictures]


# --- damage -----------------------------------------------------------------------------------------------------------


def packet_places(path):
    with av.open(str(path)) as container:
        return [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]


def test_a_damaged_packet_is_skipped_and_counted(decoder, tmp_path):
    """Each picture is a key frame, so that nothing else is harmed; the loss is one packet in the middle."""
    path = MadeClip(name="clip.mp4", codec="libx264", frames=9, key_every=1).write(tmp_path)
    content = bytearray(path.read_bytes())
    position, size = packet_places(path)[4]
    content[position : position + size] = bytes(size)
    path.write_bytes(content)
    report = DecodeReport()
    assert numbers(frames(decoder, path, report=report)) == [0, 1, 2, 3, 5, 6, 7, 8]
    assert (report.frames, report.bad_packets, report.truncated) == (8, 1, "")


def one_group_of_pictures(frames):
    """Options of x264 that put a key frame at the start and nowhere else."""
    return {"x264-params": f"scenecut=0:keyint={frames}:min-keyint={frames}"}


def test_read_counts_as_frames_does_where_damage_lies_on_the_way(decoder, tmp_path):
    path = MadeClip(name="clip.mp4", codec="libx264", frames=60, options=one_group_of_pictures(60)).write(tmp_path)
    content = bytearray(path.read_bytes())
    position, size = packet_places(path)[20]
    content[position : position + size] = bytes(size)
    path.write_bytes(content)
    everything = frames(decoder, path)
    assert len(everything) == 59
    indices = [58, 50, 3]
    assert np.array_equal(decoder.read(path, indices, FULL), everything[indices])


def test_where_no_packet_decodes_the_error_says_so(decoder, tmp_path):
    path = MadeClip(name="clip.mp4", codec="libx264", frames=5).write(tmp_path)
    content = bytearray(path.read_bytes())
    for position, size in packet_places(path):
        content[position : position + size] = bytes(size)
    path.write_bytes(content)
    for attempt in (lambda: frames(decoder, path), lambda: decoder.read(path, [0], FULL), lambda: decoder.probe(path)):
        with pytest.raises(VideoError, match="5 damaged packets and no picture"):
            attempt()


@pytest.mark.parametrize(
    ("name", "codec"), [("a.mp4", "libx264"), ("a.avi", "mpeg4"), ("a.mkv", "libvpx-vp9"), ("a.mpg", "mpeg2video")]
)
def test_any_damage_gives_pictures_or_a_video_error(decoder, tmp_path, name, codec):
    path = MadeClip(name=name, codec=codec, frames=12).write(tmp_path)
    content = path.read_bytes()
    draw = random.Random(name)
    outcomes = []
    for _ in range(25):
        damaged = bytearray(content)
        for _ in range(draw.choice([1, 4, 40])):
            damaged[draw.randrange(len(damaged))] = draw.randrange(256)
        path.write_bytes(damaged[: draw.choice([len(damaged), draw.randrange(len(damaged))])])
        try:
            outcomes.append(len(frames(decoder, path)))
            decoder.read(path, [0], Cut(short_side=20))
        except VideoError:
            outcomes.append(0)
    assert any(outcomes)


# --- limits -----------------------------------------------------------------------------------------------------------


def assert_refused_without_memory(decoder, path, found):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for attempt in (lambda: decoder.probe(path), lambda: frames(decoder, path), lambda: decoder.read(path, [0], FULL)):
        with pytest.raises(VideoError, match=found):
            attempt()
    grown_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown_kib < 150_000


def test_a_header_that_claims_a_huge_picture_is_refused(decoder, tmp_path):
    path = MadeClip(name="clip.mkv", codec="ffv1", frames=2, width=300, height=260).write(tmp_path)
    content = path.read_bytes()
    width, height = b"\xb0\x82\x01\x2c", b"\xba\x82\x01\x04"  # Matroska's PixelWidth and PixelHeight
    assert (content.count(width), content.count(height)) == (1, 1)
    path.write_bytes(content.replace(width, b"\xb0\x82\xff\xff").replace(height, b"\xba\x82\xff\xff"))
    assert_refused_without_memory(decoder, path, "beyond the limit of 67108864 pixels")


def test_a_gif_of_65535_pixels_squared_is_refused(decoder, tmp_path):
    path = tmp_path / "huge.gif"
    picture = b"\x2c" + bytes(4) + b"\xff\xff\xff\xff\x00" + b"\x02\x02\x4c\x01\x00"
    path.write_bytes(b"GIF89a\xff\xff\xff\xff\x80\x00\x00" + bytes(6) + picture + b"\x3b")
    assert_refused_without_memory(decoder, path, "beyond the limit of 67108864 pixels")


def test_a_stream_that_grows_beyond_its_header_is_refused(decoder, tmp_path):
    """VP8's key frames state their own size: 14 bits each, after the start code 9d 01 2a (RFC 6386, 9.1)."""
    path = MadeClip(name="clip.webm", codec="libvpx", frames=3, key_every=1).write(tmp_path)
    content = path.read_bytes()
    size = b"\x9d\x01\x2a" + (96).to_bytes(2, "little") + (64).to_bytes(2, "little")
    assert content.count(size) == 3
    path.write_bytes(content.replace(size, b"\x9d\x01\x2a\xff\x3f\xff\x3f"))
    assert_refused_without_memory(decoder, path, "pixels|no picture")


def test_a_short_side_that_makes_a_huge_picture_is_refused(decoder, tmp_path):
    path = MadeClip(name="clip.mp4", codec="libx264", frames=2).write(tmp_path)
    for attempt in (lambda cut: frames(decoder, path, cut), lambda cut: decoder.read(path, [0], cut)):
        with pytest.raises(VideoError, match="90000x60000 pixels"):
            attempt(Cut(short_side=60_000))


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({"start_seconds": -1}, VideoError),
        ({"start_seconds": float("nan")}, VideoError),
        ({"end_seconds": 0}, VideoError),
        ({"start_seconds": 2, "end_seconds": 2}, VideoError),
        ({"short_side": 0}, UsageError),
    ],
)
def test_a_cut_that_makes_no_sense_is_refused_at_birth(wrong, error):
    with pytest.raises(error, match=r"found .*\. (Correct|Give)"):
        Cut(**wrong)


# --- cuts and jumps ---------------------------------------------------------------------------------------------------


@pytest.fixture
def jumps(monkeypatch):
    """Numbers of pictures that were decoded after entering at a key frame."""
    seen = []
    original = Source.decode_from

    def counted(self, pts, report):
        for frame in original(self, pts, report):
            seen.append(frame.pts)
            yield frame

    monkeypatch.setattr(Source, "decode_from", counted)
    return seen


@pytest.mark.parametrize("b_frames", [0, 3])
@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_late_pictures_are_reached_from_the_key_frame_before(decoder, tmp_path, jumps, suffix, b_frames):
    path = MadeClip(name=f"clip.{suffix}", codec="libx264", frames=120, key_every=12, b_frames=b_frames).write(tmp_path)
    assert numbers(decoder.read(path, [100, 118, 55, 55, 100], FULL)) == [100, 118, 55, 55, 100]
    assert len(jumps) <= 3 * 12
    jumps.clear()
    assert numbers(frames(decoder, path, Cut(start_seconds=100 / 25, end_seconds=103 / 25))) == [100, 101, 102]
    assert len(jumps) <= 12 + 3


def test_pictures_that_follow_each_other_are_read_in_one_go(decoder, tmp_path, monkeypatch):
    entered = []
    original = Source.decode_from
    monkeypatch.setattr(Source, "decode_from", lambda self, *args: entered.append(args) or original(self, *args))
    path = MadeClip(name="clip.mp4", codec="libx264", frames=60, key_every=1).write(tmp_path)
    assert numbers(decoder.read(path, range(60), FULL)) == list(range(60))
    assert len(entered) == 1
    assert numbers(decoder.read(path, range(0, 60, 10), FULL)) == list(range(0, 60, 10))
    assert len(entered) == 7


@pytest.mark.parametrize("x264", ["open-gop=1:keyint=12:bframes=3", "intra-refresh=1:keyint=20"])
def test_streams_whose_entry_points_are_no_clean_cut_stay_exact(decoder, tmp_path, x264):
    path = MadeClip(name="clip.mkv", codec="libx264", frames=90, options={"x264-params": x264}).write(tmp_path)
    everything = frames(decoder, path)
    assert numbers(everything) == list(range(90))
    for number in range(48, 90, 3):
        assert np.array_equal(decoder.read(path, [number], FULL)[0], everything[number]), number
        assert np.array_equal(frames(decoder, path, Cut(start_seconds=number / 25)), everything[number:]), number


@pytest.mark.parametrize(
    ("name", "codec"),
    [("a.mpg", "mpeg2video"), ("a.ts", "libx264"), ("a.flv", "libx264"), ("a.mov", "mjpeg"), ("a.gif", "gif")],
)
def test_other_containers(decoder, tmp_path, name, codec):
    pixel_format = {"mjpeg": "yuvj420p", "gif": "rgb8"}.get(codec, "yuv420p")
    path = MadeClip(name=name, codec=codec, frames=55, pixel_format=pixel_format).write(tmp_path)
    everything = frames(decoder, path)
    assert numbers(everything) == list(range(55))
    assert np.array_equal(decoder.read(path, [50, 2], FULL), everything[[50, 2]])
    assert numbers(frames(decoder, path, Cut(start_seconds=0.4, end_seconds=0.48))) == [10, 11]


def test_variable_rate_cuts_by_time(decoder, tmp_path):
    times = [7, 8, 20, 21, 50, 51]  # in hundredths; the first is not 0
    path = MadeClip(name="clip.mp4", codec="libx264", frames=6, rate=100, times=times).write(tmp_path)
    assert numbers(frames(decoder, path)) == [0, 1, 2, 3, 4, 5]
    assert numbers(frames(decoder, path, Cut(start_seconds=0.13, end_seconds=0.43))) == [2, 3]
    assert numbers(frames(decoder, path, Cut(start_seconds=0.02))) == [2, 3, 4, 5]


def test_pictures_that_change_size_in_mid_stream_come_at_one_size(decoder, tmp_path):
    first = MadeClip(name="first.ts", codec="mpeg2video", frames=4).write(tmp_path)
    second = MadeClip(name="second.ts", codec="mpeg2video", frames=4, width=192, height=128).write(tmp_path)
    path = tmp_path / "both.ts"
    path.write_bytes(first.read_bytes() + second.read_bytes())
    pictures = frames(decoder, path)
    assert pictures.shape[1:] == (64, 96, 3)
    assert numbers(pictures)[-3:] == [1, 2, 3]


# --- colours ----------------------------------------------------------------------------------------------------------

MATRIX = {"601": (0.299, 0.114), "709": (0.2126, 0.0722)}
"""Shares of red and blue in luma (ITU-R BT.601-7 and BT.709-6, section 3)."""
SPACE = {"601": 5, "709": 1, None: 2}
RANGE = {"limited": 1, "full": 2, None: 0}


def luma_chroma(rgb, matrix, full):
    red, green, blue = (value / 255 for value in rgb)
    share_red, share_blue = MATRIX[matrix]
    luma = share_red * red + (1 - share_red - share_blue) * green + share_blue * blue
    chroma = (blue - luma) / (2 - 2 * share_blue), (red - luma) / (2 - 2 * share_red)
    if full:
        return [round(255 * luma), *(round(128 + 255 * value) for value in chroma)]
    return [round(16 + 219 * luma), *(round(128 + 224 * value) for value in chroma)]


@pytest.mark.parametrize("short_side", [None, 31])
@pytest.mark.parametrize(("pix_fmt", "bits"), [("yuv420p", 8), ("yuv444p", 8), ("yuv420p10le", 10)])
@pytest.mark.parametrize(
    ("matrix", "levels", "stated"),
    [
        ("601", "limited", True),
        ("601", "full", True),
        ("709", "limited", True),
        ("709", "full", True),
        ("601", "limited", False),
    ],
)
def test_colour_matrix_and_range_are_those_of_the_stream(
    decoder, tmp_path, matrix, levels, stated, pix_fmt, bits, short_side
):
    """A plain colour, written by the standards' formulas, comes back; a stream that states nothing is BT.601 limited."""
    wanted = (200, 40, 90)
    planes = luma_chroma(wanted, matrix, levels == "full")
    path = tmp_path / "clip.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 96, 64, pix_fmt
        context = stream.codec_context
        context.colorspace, context.color_range = SPACE[matrix if stated else None], RANGE[levels if stated else None]
        frame = av.VideoFrame(96, 64, pix_fmt)
        for plane, value in zip(frame.planes, planes, strict=True):
            dtype, level = (np.uint8, value) if bits == 8 else (np.uint16, value * 4)
            plane.update(np.full(plane.buffer_size // dtype().itemsize, level, dtype).tobytes())
        frame.colorspace, frame.color_range = context.colorspace, context.color_range
        frame.pts, frame.time_base = 0, Fraction(1, 25)
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    picture = frames(decoder, path, Cut(short_side=short_side))[0]
    assert np.abs(picture.astype(int) - wanted).max() <= 3


# --- streams ----------------------------------------------------------------------------------------------------------


def test_a_cover_picture_is_not_the_video(decoder, tmp_path):
    path = tmp_path / "clip.mp4"
    clip = MadeClip(name=path.name, codec="libx264", frames=4)
    with av.open(str(path), "w") as container:
        cover = container.add_stream("mjpeg", rate=25)
        cover.width, cover.height, cover.pix_fmt = 640, 480, "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic
        video = container.add_stream("libx264", rate=25)
        video.width, video.height, video.pix_fmt = clip.width, clip.height, "yuv420p"
        black = av.VideoFrame.from_ndarray(np.zeros((480, 640, 3), np.uint8), format="rgb24")
        black.pts, black.time_base = 0, Fraction(1, 25)
        container.mux(cover.encode(black))
        container.mux(cover.encode(None))
        clip.encode(container, video)
    info = decoder.probe(path)
    assert (info.codec, info.width, info.height, info.streams) == ("h264", 96, 64, 1)
    assert numbers(frames(decoder, path)) == [0, 1, 2, 3]


# --- processes and handles --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_decoder_works_in_a_child_process(decoder, tmp_path, method):
    path = MadeClip(name="clip.mp4", codec="libx264", frames=8).write(tmp_path)
    here = decoder.read(path, [7, 0], FULL)
    with multiprocessing.get_context(method).Pool(1) as pool:
        there = pool.apply_async(PyavDecoder().read, (path, [7, 0], FULL)).get(60)
    assert np.array_equal(here, there)


OPEN_FILES = Path("/proc/self/fd")


@pytest.mark.skipif(not OPEN_FILES.exists(), reason="needs /proc to count open files")
def test_no_file_stays_open(decoder, tmp_path):
    path = MadeClip(name="clip.mp4", codec="libx264", frames=60).write(tmp_path)
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(path.read_bytes()[:900])
    before = sorted(path.name for path in OPEN_FILES.iterdir())[:-1]
    started = decoder.frames(path, Cut(start_seconds=1), DecodeReport())
    next(started)
    del started
    decoder.read(path, [55, 2], FULL)
    decoder.probe(path)
    for wrong, cut in ((broken, FULL), (path, Cut(start_seconds=99))):
        with pytest.raises(VideoError):
            frames(decoder, wrong, cut)
    assert sorted(path.name for path in OPEN_FILES.iterdir())[:-1] == before


# --- decoding ahead ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "held"), [((340, 256), 4), ((640, 480), 3), ((1280, 720), 1), ((7680, 4320), 1)], ids=str
)
def test_few_pictures_are_decoded_ahead_and_of_large_ones_none(size, held):
    decoded = []
    frames = (decoded.append(number) or number for number in range(10))
    ahead = _ahead(frames, SimpleNamespace(width=size[0], height=size[1]))
    assert next(ahead) == 0
    assert len(decoded) == held
    assert [0, *ahead] == list(range(10))
