"""Where pictures come from: a store of encoded frames or flow, or the video files themselves."""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import simplejpeg
import torch
from torch import Tensor

from vtk_cli import registry
from vtk_cli.api.loaders import Clip
from vtk_cli.api.stores import FrameReader, StoreMeta
from vtk_cli.api.video import Cut, Decoder, DecodeReport, DecoderSpec
from vtk_cli.errors import PluginError, StoreError, UsageError, VideoError
from vtk_cli.flow.quantize import decode_flow
from vtk_cli.store.meta import PAIRS


class StoreSource:
    """A store of encoded frames; a flow picture holds x above y and becomes two channels."""

    def __init__(self, name: str, reader: FrameReader) -> None:
        self.name = name
        self.reader = reader

    @property
    def meta(self) -> StoreMeta:
        return self.reader.meta

    def num_frames(self, clip: Clip) -> int:
        return self.reader.num_frames(clip.id)

    def read(self, clip: Clip, indices: Sequence[int]) -> list[Tensor]:
        """The pictures with these numbers, picture_CHW uint8.

        Raises:
            StoreError: the video is not in the store, or its record is damaged.
        """
        decode = _decode_flow if self.meta.modality in PAIRS else _decode_rgb
        pictures = []
        for index, data in zip(indices, self.reader.read(clip.id, indices), strict=True):
            try:
                pictures.append(decode(data))
            except (ValueError, StoreError) as error:
                raise StoreError(
                    f"{clip.id} in the store {self.name}: its picture {index} is not whole ({error}). "
                    "Run `vtk check`, or leave it out with --set data.on_error=skip."
                ) from error
        return pictures

    def close(self) -> None:
        self.reader.close()


class VideoSource:
    """Pictures decoded straight from the files, at the view's short side.

    How long a clip is: what the catalog measured, else, with `exact`, what decoding it all counts, else what the
    header claims. Headers claim a frame too many at times; then, and only then, a clip is counted. Nothing that was
    found is remembered, so that a clip's draw never depends on which clips a process has read before.
    """

    def __init__(self, decoder: str, short_side: int, *, exact: bool, square_pixels: bool = True) -> None:
        self.decoder_name = decoder
        self.short_side = short_side
        self.square_pixels = square_pixels
        self._exact = exact
        self._decoder: Decoder | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_decoder": None}

    @property
    def decoder(self) -> Decoder:
        """Built in the process that reads."""
        if self._decoder is None:
            self._decoder = load_decoder(self.decoder_name)
        return self._decoder

    def num_frames(self, clip: Clip) -> int:
        if clip.frames is not None:
            return clip.frames
        if not self._exact and clip.start_seconds is None and clip.end_seconds is None:
            info = self.decoder.probe(clip.path)
            if info.header_frames:
                return info.header_frames
        return self.count(clip)

    def count(self, clip: Clip) -> int:
        """Pictures that decoding the whole clip gives."""
        report = DecodeReport()
        small = Cut(start_seconds=clip.start_seconds, end_seconds=clip.end_seconds, short_side=16)
        for _ in self.decoder.frames(clip.path, small, report):
            pass
        return report.frames

    def read(self, clip: Clip, indices: Sequence[int]) -> list[Tensor]:
        """The pictures with these numbers, picture_CHW uint8.

        Raises:
            VideoError: nothing can be decoded, or a number lies past the end.
        """
        pictures_NHWC = self.decoder.read(clip.path, indices, self.cut(clip))
        return list(torch.from_numpy(np.ascontiguousarray(pictures_NHWC)).permute(0, 3, 1, 2))

    def cut(self, clip: Clip) -> Cut:
        return Cut(
            start_seconds=clip.start_seconds,
            end_seconds=clip.end_seconds,
            short_side=self.short_side,
            square_pixels=self.square_pixels,
        )

    def close(self) -> None:
        self._decoder = None


def _decode_flow(data: memoryview) -> Tensor:
    return torch.from_numpy(decode_flow(data))


def _decode_rgb(data: memoryview) -> Tensor:
    return torch.from_numpy(simplejpeg.decode_jpeg(data, colorspace="RGB")).permute(2, 0, 1)


def load_decoder(name: str) -> Decoder:
    """A decoder of the group vtk.decoders, ready to use.

    Raises:
        UsageError: there is none of that name.
        PluginError: it does not load, or is no DecoderSpec.
    """
    spec = registry.load("vtk.decoders", name)
    if not isinstance(spec, DecoderSpec):
        raise PluginError(f'The decoder "{name}" should be a DecoderSpec, found {type(spec).__name__}. Ask its author.')
    return spec.build()


def choose_store(dataset: str, fitting: Sequence[str], prefer: Collection[str]) -> str | None:
    """The one store of those that fit a model, or the one of several that is preferred; None where none fits.

    Raises:
        UsageError: several fit.
    """
    left = [name for name in fitting if name in prefer] or fitting if len(fitting) > 1 else fitting
    if len(left) > 1:
        raise UsageError(
            f"{len(left)} stores of {dataset} fit: {', '.join(left)}. Name one with --set data.store={left[0]}."
        )
    return left[0] if left else None


def own_file(path: Path) -> Clip:
    """A file that belongs to no dataset.

    Raises:
        VideoError: it is not there.
    """
    if not path.is_file():
        raise VideoError(f"There is no video file at {path}. Check the path.")
    return Clip(id=str(path), path=path)
