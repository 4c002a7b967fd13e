"""What it costs to decode clips, bring them to short side 256 and store them as JPEG q90, beside other ways to do it.

    python tests/bench/extract_frames.py VIDEO... [--sizes 340x256 1280x720] [--frames 300] [--repeats 5]

Of each video a clip of each size is made: H.264 with key frames 250 apart, at --crf. With --as-they-are the videos
themselves are taken, each on its own. The ways take turns on one core, so that a machine that grows slower does so for
all of them. Told are medians of CPU seconds, child processes included; where others use the machine the fastest rounds
say more. Not a test: run it on a quiet machine.

    naive     PyAV and Pillow, a commit per picture      decode    PyAV, pictures thrown away
    ffmpeg    the ffmpeg program writing jpg files       encode    simplejpeg, from planes that are there
    ours      vtk's extraction into an LMDB store        the aims are for ours beside decode + encode, and beside ffmpeg
"""

import argparse
import io
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from fractions import Fraction
from itertools import islice
from multiprocessing import Pipe
from pathlib import Path
from typing import cast

import av
import imageio_ffmpeg
import lmdb
import numpy as np
from av.video.stream import VideoStream
from numpy.typing import NDArray
from PIL import Image

from vtk_cli.api.stores import StoreMeta
from vtk_cli.api.video import Cut, DecodedPicture, DecodeReport, Planes
from vtk_cli.extract.clip import Clip, Encoding, encode_clip
from vtk_cli.extract.pictures import encode_picture
from vtk_cli.extract.worker import POLL_SECONDS
from vtk_cli.store.lmdb_store import ShardWriter
from vtk_cli.store.meta import create_store
from vtk_cli.video.pyav import PyavDecoder
from vtk_cli.video.source import open_video

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))
from real_clips import real_clips

SHORT_SIDE, QUALITY = 256, 90
LARGE = 640
"""Pixels of the long side from which on a clip is held against the aims for 720p."""


def pictures_of(video: Path, frames: int) -> Iterator[av.VideoFrame]:
    """So many pictures of a video, from the start again where it is shorter."""
    while frames > 0:
        with open_video(video, threads=1) as source:
            for frame in islice(source.decode(DecodeReport()), frames):
                frames -= 1
                yield frame


def make_clip(video: Path, size: str, options: argparse.Namespace, folder: Path) -> Path:
    """A video's pictures at one size."""
    width, height = map(int, size.split("x"))
    path = folder / f"{size}-{video.stem}.mp4"
    with av.open(str(path), "w") as container:
        x264 = {"crf": str(options.crf), "g": "250"}
        stream = cast("VideoStream", container.add_stream("libx264", rate=30, options=x264))
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for number, frame in enumerate(pictures_of(video, options.frames)):
            picture = frame.reformat(width, height, "yuv420p", dst_color_range=1)
            picture.pts, picture.time_base, picture.pict_type = number, Fraction(1, 30), 0
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    return path


class Planar:
    """A picture whose planes are there, so that encoding is all that is left."""

    def __init__(self, picture: DecodedPicture) -> None:
        planes = picture.planes()
        if planes is None:
            raise SystemExit("This clip's colours go over RGB; take others, or leave out --as-they-are.")
        self.size = planes.width, planes.height
        self._planes = planes

    def rgb(self) -> NDArray[np.uint8]:
        raise NotImplementedError

    def planes(self) -> Planes:
        return self._planes


class Ways:
    """Each method does the whole work for clips of one size, writing into `folder`."""

    def __init__(self, clips: list[Path], folder: Path) -> None:
        self.clips, self.folder = clips, folder
        decoder, cut = PyavDecoder(), Cut(short_side=SHORT_SIDE)
        info = decoder.probe(clips[0])
        self.stored = info.width, info.height
        self.pictures = [Planar(one) for clip in clips for one in decoder.pictures(clip, cut, DecodeReport())]
        self.wanted = self.pictures[0].size

    def naive(self) -> None:
        for clip in self.clips:
            store = lmdb.open(str(self.folder / clip.stem), map_size=1 << 32)
            with av.open(str(clip)) as container, store:
                container.streams.video[0].codec_context.thread_count = 1
                for number, frame in enumerate(container.decode(video=0)):
                    image = frame.to_image()
                    if image.size != self.wanted:
                        image = image.resize(self.wanted, Image.Resampling.BILINEAR)
                    data = io.BytesIO()
                    image.save(data, "JPEG", quality=QUALITY)
                    with store.begin(write=True) as transaction:
                        transaction.put(f"{number:06}".encode(), data.getvalue())

    def ffmpeg(self) -> None:
        width, height = self.wanted
        scale = [] if self.wanted == self.stored else ["-filter_threads", "1", "-vf", f"scale={width}:{height}"]
        program = shutil.which("ffmpeg") or imageio_ffmpeg.get_ffmpeg_exe()
        for clip in self.clips:
            output = self.folder / clip.stem
            output.mkdir()
            command = [program, "-v", "error", "-nostdin", "-threads", "1", "-i", str(clip), *scale]
            subprocess.run([*command, "-threads", "1", "-q:v", "2", str(output / "img_%05d.jpg")], check=True)

    def decode(self) -> None:
        for clip in self.clips:
            with open_video(clip, threads=1) as source:
                for _ in source.decode(DecodeReport()):
                    pass

    def encode(self) -> None:
        for picture in self.pictures:
            encode_picture(picture, QUALITY)

    def ours(self) -> None:
        store = self.folder / "ours"
        create_store(store, StoreMeta(modality="rgb", short_side=SHORT_SIDE, quality=QUALITY, shards=1))
        encoding = Encoding(short_side=SHORT_SIDE, square_pixels=True, quality=QUALITY, keep_truncated=False)
        with ShardWriter(store, 0) as writer:
            for path in self.clips:
                clip = Clip(id=path.stem, path=path)
                encoded = encode_clip(PyavDecoder(), None, encoding, clip, frames=True, beat=Beat())
                writer.put(clip.id, encoded.frames)
                writer.commit()


class Beat:
    """At each picture a worker looks at the clock, and now and then whether its parent has a word for it."""

    def __init__(self) -> None:
        self._ours, self._parents = Pipe()
        self._looked = time.monotonic()

    def __call__(self) -> None:
        now = time.monotonic()
        if now - self._looked > POLL_SECONDS:
            self._looked = now
            self._ours.poll()


def cpu_seconds() -> float:
    """Of this process and of the children that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def measure(ways: Ways, repeats: int) -> dict[str, list[float]]:
    """CPU seconds of each way, round by round; the first round warms up and does not count."""
    taken: dict[str, list[float]] = {name: [] for name in ("naive", "ffmpeg", "decode", "encode", "ours")}
    for round_ in range(repeats + 1):
        for name, times in taken.items():
            shutil.rmtree(ways.folder, ignore_errors=True)
            ways.folder.mkdir()
            begun = cpu_seconds()
            getattr(ways, name)()
            if round_:
                times.append(cpu_seconds() - begun)
    return taken


def tell(ways: Ways, repeats: int) -> None:
    """Print what the clips cost, beside the aims for their size."""
    taken = measure(ways, repeats)
    width, height = ways.stored
    print(f"{len(ways.pictures)} pictures of {width}x{height} to {ways.wanted[0]}x{ways.wanted[1]}, ms per picture")
    median = {name: statistics.median(times) for name, times in taken.items()}
    for name, seconds in median.items():
        print(f"  {name:8}{1000 * seconds / len(ways.pictures):8.3f}{seconds / median['ours']:8.2f}x ours")
    rounds = [dict(zip(taken, times, strict=True)) for times in zip(*taken.values(), strict=True)]
    least = statistics.median(one["ours"] / (one["decode"] + one["encode"]) for one in rounds)
    program = statistics.median(one["ffmpeg"] / one["ours"] for one in rounds)
    fastest = {name: min(times) for name, times in taken.items()}
    fastest_least = fastest["ours"] / (fastest["decode"] + fastest["encode"])
    most, faster = (1.25, 1.25) if max(ways.stored) >= LARGE else (1.15, 1.8)
    print(f"  ours / (decode + encode) {least:.3f} (fastest rounds {fastest_least:.3f}), aim at most {most}")
    print(
        f"  ffmpeg / ours            {program:.3f} (fastest rounds {fastest['ffmpeg'] / fastest['ours']:.3f}), aim at least {faster}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("videos", nargs="*", type=Path, metavar="VIDEO")
    parser.add_argument("--sizes", nargs="+", default=["340x256", "1280x720"])
    parser.add_argument("--frames", type=int, default=300)
    parser.add_argument("--crf", type=int, default=23)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--core", type=int, default=0)
    parser.add_argument("--as-they-are", action="store_true")
    options = parser.parse_args()
    options.videos = options.videos or real_clips()
    os.sched_setaffinity(0, {options.core})
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sets = [[video] for video in options.videos]
        if not options.as_they_are:
            sets = [[make_clip(video, size, options, folder) for video in options.videos] for size in options.sizes]
        for clips in sets:
            tell(Ways(clips, folder / "output"), options.repeats)


if __name__ == "__main__":
    main()
