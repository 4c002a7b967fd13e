"""Video files that belong to no dataset: finding them, cutting long ones into windows, computing flow on the fly."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from vtk_cli import registry
from vtk_cli.api.flow import FlowMethod, FlowSpec
from vtk_cli.api.inputs import InputSpec
from vtk_cli.api.loaders import Clip, FrameSource
from vtk_cli.api.video import Cut, Decoder, DecodeReport
from vtk_cli.config import overlay
from vtk_cli.errors import PluginError, UsageError, VideoError
from vtk_cli.flow.motion import Motion
from vtk_cli.flow.quantize import decode_flow, encode_flow, grey, quantize
from vtk_cli.flow.warp import WarpConfig, taken_apart
from vtk_cli.loader.source import VideoSource, own_file
from vtk_cli.store.meta import PAIRS

ConfigT = TypeVar("ConfigT")

SUFFIXES = frozenset(
    {".avi", ".mp4", ".m4v", ".mkv", ".mov", ".webm", ".mpg", ".mpeg", ".wmv", ".flv", ".3gp", ".ts", ".mts", ".m2ts"}
    | {".ogv", ".vob", ".gif"}
)
"""What is taken for a video in a folder; a file that is named is always tried."""


def find_videos(paths: Iterable[Path]) -> Iterator[Path]:
    """Files as they are, folders as the video files below them, sorted; what is missing is passed on as it is."""
    for path in paths:
        if path.is_dir():
            yield from sorted(file for file in path.rglob("*") if file.suffix.lower() in SUFFIXES and file.is_file())
        else:
            yield path


def open_files(inputs: InputSpec, stores: Mapping[str, Any], decoder: str = "pyav") -> FrameSource:
    """Pictures of video files as a model saw them in training; `stores` says what it was trained on.

    Raises:
        UsageError: the model reads flow, and how it was computed is not known or not repeatable from one file.
    """
    meta: Mapping[str, Any] = next(iter(stores.values()), {})
    videos = VideoSource(
        decoder, inputs.test.short_side, exact=True, square_pixels=bool(meta.get("square_pixels", True))
    )
    if inputs.modality in ("rgb", "rgbdiff"):
        return videos
    if inputs.modality not in PAIRS or not meta.get("method"):
        raise UsageError(
            f"The model reads {inputs.modality}, and its weights do not say how to compute that from a file. Make a "
            "dataset of the videos with `vtk index`, extract what the model reads, and use `vtk test`."
        )
    return FlowSource(videos, meta)


class FlowSource:
    """Flow computed from a file's pictures as the training store's was, warped or not."""

    def __init__(self, videos: VideoSource, meta: Mapping[str, Any]) -> None:
        self._videos = videos
        self._bound = float(meta["bound"])
        self._quality, self._codec = int(meta["quality"]), meta.get("codec", "jpeg")
        parameters, of_warp = taken_apart(meta.get("parameters", {}))
        warp = _overlaid("warp", WarpConfig(), of_warp) if meta.get("modality") == "warped" else None
        self._motion = Motion(build_flow(meta["method"], parameters), warp)

    def num_frames(self, clip: Clip) -> int:
        """Pairs of neighbouring pictures."""
        pairs = self._videos.num_frames(clip) - 1
        if pairs < 1:
            raise VideoError(f"{clip.path} has one picture; flow needs two. Leave it out.")
        return pairs

    def read(self, clip: Clip, indices: Sequence[int]) -> list[Tensor]:
        """Quantised flow from picture i to i + 1, picture_2HW uint8, as it would come out of a store."""
        needed = sorted({index + offset for index in indices for offset in (0, 1)})
        pictures = dict(zip(needed, self._videos.read(clip, needed), strict=True))
        greys = {index: grey(picture.permute(1, 2, 0).numpy()) for index, picture in pictures.items()}
        return [self._pair(greys[index], greys[index + 1]) for index in indices]

    def _pair(self, previous_HW: Any, following_HW: Any) -> Tensor:
        flow_K2HW = self._motion(np.ascontiguousarray(previous_HW), np.ascontiguousarray(following_HW))
        stored = encode_flow(quantize(flow_K2HW[-1], self._bound), self._quality, self._codec)
        return torch.from_numpy(decode_flow(stored))

    def close(self) -> None:
        self._videos.close()


def build_flow(name: str, parameters: Mapping[str, Any]) -> FlowMethod:
    """A method of the group vtk.flow with these parameters.

    Raises:
        UsageError: there is none of that name, or it does not take a parameter.
        PluginError: it does not load, is no FlowSpec, or what it needs is not installed.
    """
    spec = registry.load("vtk.flow", name)
    if not isinstance(spec, FlowSpec):
        raise PluginError(
            f'The flow method "{name}" should be a FlowSpec, found {type(spec).__name__}. Ask its author.'
        )
    return spec.build(_overlaid("flow", spec.config(), parameters))


def _overlaid(section: str, defaults: ConfigT, parameters: Mapping[str, Any]) -> ConfigT:
    return overlay(section, defaults, {f"{section}.{key}": (value, "run.json") for key, value in parameters.items()})


@dataclass(frozen=True, slots=True, kw_only=True)
class Windows:
    """Sliding windows over long videos.

    length 4, step 3, a video of 9 seconds:     [0, 4) [3, 7) [5, 9)

    All windows are whole: the last one is moved back to end with the video, which is one window if it is shorter.
    """

    seconds: float
    step_seconds: float

    def __post_init__(self) -> None:
        if not (0 < self.seconds < math.inf and 0 < self.step_seconds < math.inf):
            raise UsageError(f"--window and --step are seconds above 0, found {self.seconds} and {self.step_seconds}.")

    def cut(self, clip: Clip, duration_seconds: float) -> list[Clip]:
        """The windows of a file that lasts this long."""
        latest = max(0.0, duration_seconds - self.seconds)
        count = math.ceil(latest / self.step_seconds - 1e-9) + 1
        starts = [min(number * self.step_seconds, latest) for number in range(count)]
        return [
            replace(clip, start_seconds=start, end_seconds=min(start + self.seconds, duration_seconds))
            for start in starts
        ]


def clips_of(path: Path, windows: Windows | None, decoder: Decoder) -> list[Clip]:
    """A file as one clip, or as its windows.

    Raises:
        VideoError: it is missing, cannot be read, or does not say how long it is.
    """
    clip = own_file(path)
    if windows is None:
        return [clip]
    info = decoder.probe(path)
    duration = info.duration_seconds
    if duration is None and info.fps:
        duration = sum(1 for _ in decoder.frames(path, Cut(short_side=16), DecodeReport())) / info.fps
    if duration is None:
        raise VideoError(f"{path} does not say how long it lasts, so it cannot be cut into windows. Drop --window.")
    return windows.cut(clip, duration)
