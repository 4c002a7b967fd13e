"""Looking at one file, in a worker process: header, content hash, every picture."""

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from vtk_cli import registry
from vtk_cli.api.video import Cut, Decoder, DecodeReport, DecoderSpec
from vtk_cli.errors import PluginError, VideoError
from vtk_cli.video.structure import cut_off

_SMALL = 32
"""Short side to which pictures are brought while they are only counted: cheaper than full-size RGB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What is to be found out about one clip."""

    id: str
    path: Path
    start_seconds: float | None
    end_seconds: float | None
    decoder: str
    header: bool
    decode: bool
    hash: bool


def look(job: Job) -> dict[str, Any]:
    """What a catalog keeps as a clip's probe. `error` says why it cannot be decoded; empty when it can.

    size, mtime_ns          the file when it was looked at; unchanged files are not looked at again
    codec width height fps header_frames duration_seconds      what the header says (sizes as shown)
    truncated               why the file is taken to be cut off
    decoder frames bad_packets corrupt_frames                  after decoding every picture
    sha256                  where another file has the same size
    """
    found: dict[str, Any] = {}
    try:
        stat = job.path.stat()
        found.update(size=stat.st_size, mtime_ns=stat.st_mtime_ns)
        if job.header or job.decode:
            found.update(error="", decoder=job.decoder)
            found.update(_header(job))
        if job.decode:
            found.update(_decode(job))
        if job.hash:
            found["sha256"] = _sha256(job.path)
    except VideoError as error:
        found["error"] = str(error)
        if job.hash:
            found["sha256"] = _sha256(job.path)
    except OSError as error:
        found["error"] = f"{job.path} cannot be read: {error.strerror}. Check the disk and its permissions."
    return found


def decoder_named(name: str) -> Decoder:
    """The decoder plugin of this name; raises PluginError or UsageError as `registry.load` does."""
    spec = registry.load("vtk.decoders", name)
    if not isinstance(spec, DecoderSpec):
        raise PluginError(f'The decoder "{name}" should be a DecoderSpec, found {type(spec).__name__}. Ask its author.')
    return spec.build()


_decoder = lru_cache(maxsize=1)(decoder_named)


def _header(job: Job) -> dict[str, Any]:
    info = _decoder(job.decoder).probe(job.path)
    return {
        "codec": info.codec,
        "width": info.width,
        "height": info.height,
        "fps": info.fps,
        "header_frames": info.header_frames,
        "duration_seconds": info.duration_seconds,
        "truncated": cut_off(job.path),
    }


def _decode(job: Job) -> dict[str, Any]:
    report = DecodeReport()
    cut = Cut(start_seconds=job.start_seconds, end_seconds=job.end_seconds, short_side=_SMALL)
    for _ in _decoder(job.decoder).frames(job.path, cut, report):
        pass
    return {
        "frames": report.frames,
        "bad_packets": report.bad_packets,
        "corrupt_frames": report.corrupt_frames,
        "truncated": report.truncated,
    }


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
