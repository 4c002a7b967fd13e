"""Pictures on their way from a decoder into a store: as JPEG's own planes where the decoder has them, else over RGB."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import simplejpeg
from numpy.typing import NDArray

from vtk_cli.api.video import Cut, DecodedPicture, Decoder, DecodeReport, PlanarDecoder


@dataclass(frozen=True, slots=True)
class _RgbPicture:
    """Of a decoder that gives nothing but RGB."""

    picture_HW3: NDArray[np.uint8]

    def rgb(self) -> NDArray[np.uint8]:
        return self.picture_HW3

    def planes(self) -> None:
        return None


def pictures(decoder: Decoder, path: Path, cut: Cut, report: DecodeReport) -> Iterator[DecodedPicture]:
    """What a decoder yields, in the form that costs the least to store.

    Raises:
        VideoError: as `Decoder.frames`.
    """
    if isinstance(decoder, PlanarDecoder):
        return decoder.pictures(path, cut, report)
    return map(_RgbPicture, decoder.frames(path, cut, report))


def encode_picture(picture: DecodedPicture, quality: int) -> bytes:
    """A picture as JPEG; colours at half resolution, as nearly all videos have them."""
    planes = picture.planes()
    if planes is None:
        picture_HW3 = np.ascontiguousarray(picture.rgb())
        encoded = simplejpeg.encode_jpeg(
            picture_HW3, quality=quality, colorspace="RGB", colorsubsampling="420", fastdct=False
        )
    else:
        # The encoder goes by the size of the first plane, and reads on to even sides.
        luma_HW = planes.luma_HW[: planes.height, : planes.width]
        encoded = simplejpeg.encode_jpeg_yuv_planes(
            luma_HW, planes.blue_HW, planes.red_HW, quality=quality, fastdct=False
        )
    return cast("bytes", encoded)
