"""Flow as bytes and as JPEG or PNG, TSN's convention: both components clipped to +-bound pixels and scaled to 0..255.

    byte = round(255 * (clip(v, -B, B) + B) / 2B)        0 px = 127.5 -> 128; ties go to even, as cvRound has it
    v    = byte * 2B / 255 - B                           128 -> 0.078 px at B = 20

yjxiong/dense_flow src/common.cpp (convertFlowToImage); bound 20 in TSN's scripts. One pair is one grey picture with x
above y, a JPEG or a lossless PNG: half the headers of two files, and never one without the other.
"""

from typing import cast

import numpy as np
import simplejpeg
from numpy.typing import NDArray

from vtk_cli.api.stores import FlowCodec
from vtk_cli.errors import StoreError, VideoError
from vtk_cli.flow.png import SIGNATURE, decode_png, encode_png

BOUND = 20.0
"""Pixels; what TSN, mmaction2 and nearly all published flow models were trained with."""


def quantize(flow_2HW: NDArray[np.float32], bound: float = BOUND) -> NDArray[np.uint8]:
    """Flow in pixels to bytes, in double precision as the original computes it.

    Raises:
        VideoError: the flow holds something that is no number.
    """
    if not np.isfinite(flow_2HW).all():
        raise VideoError("Flow should be finite, found NaN or infinity. Change the method's parameters.")
    scaled = flow_2HW.astype(np.float64)
    np.clip(scaled, -bound, bound, out=scaled)
    scaled += bound
    scaled *= 255
    scaled /= 2 * bound
    return np.rint(scaled, out=scaled).astype(np.uint8)


def dequantize(bytes_2HW: NDArray[np.uint8], bound: float = BOUND) -> NDArray[np.float32]:
    """Bytes to flow in pixels; at most bound/255 away from what was quantised, where that was within the bound."""
    return (bytes_2HW.astype(np.float32) * np.float32(2 * bound / 255) - np.float32(bound)).astype(np.float32)


def encode_flow(bytes_2HW: NDArray[np.uint8], quality: int, codec: FlowCodec = "jpeg") -> bytes:
    """Two planes as one grey picture, x above y; `quality` is that of a JPEG."""
    _, height, width = bytes_2HW.shape
    return encode_grey(bytes_2HW.reshape(2 * height, width), quality, codec)


def decode_flow(data: bytes | memoryview) -> NDArray[np.uint8]:
    """bytes_2HW of one stored pair, whichever of the codecs it has.

    Raises:
        StoreError: these bytes are no such picture.
    """
    try:
        plane_HW = decode_grey(data)
    except ValueError as error:
        raise StoreError(f"A stored flow pair should be a grey JPEG or PNG: {error}. Run `vtk check`.") from error
    height, width = plane_HW.shape
    if height % 2:
        raise StoreError(f"A stored flow pair has an even height (x above y), found {height}. Run `vtk check`.")
    return plane_HW.reshape(2, height // 2, width)


def encode_grey(plane_HW: NDArray[np.uint8], quality: int, codec: FlowCodec = "jpeg") -> bytes:
    """One plane as a grey picture."""
    if codec == "png":
        return encode_png(plane_HW)
    picture = np.ascontiguousarray(plane_HW)[..., None]
    return cast("bytes", simplejpeg.encode_jpeg(picture, quality=quality, colorspace="GRAY", colorsubsampling="Gray"))


def decode_grey(data: bytes | memoryview) -> NDArray[np.uint8]:
    """One plane of a JPEG, or of a grey PNG; raises ValueError where the bytes are neither."""
    if codec_of(data) == "png":
        return decode_png(data)
    return cast("NDArray[np.uint8]", simplejpeg.decode_jpeg(data, colorspace="GRAY"))[..., 0]


def codec_of(data: bytes | memoryview) -> FlowCodec:
    """By the first bytes: PNG, else JPEG, which the decoder finds out if it is none."""
    return "png" if data[: len(SIGNATURE)] == SIGNATURE else "jpeg"


def grey(picture_HW3: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """What flow is computed on: 0.299 R + 0.587 G + 0.114 B of the decoded picture.

    In OpenCV's integers (modules/imgproc/src/color_yuv, 15 bits), to the same byte as cvtColor, as TSN's tools have it.
    """
    red, green, blue = (picture_HW3[..., channel] for channel in range(3))
    total = red * np.uint32(9798)
    total += green * np.uint32(19235)
    total += blue * np.uint32(3735)
    total += np.uint32(1 << 14)
    total >>= np.uint32(15)
    return total.astype(np.uint8)
