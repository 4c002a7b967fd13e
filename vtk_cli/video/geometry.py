"""Size and way up of a picture: sample aspect ratio, short side, rotation. Arithmetic only; no decoder is imported.

Everything is worked out for the picture as it is stored, so that one scaling step does it all; turning comes after.

    stored 320x240, pixels 4:3 wide, short side 120    ->  213x120
    stored 568x320, to be turned by 90 degrees clockwise -> shown 320x568
"""

import math
import struct
from fractions import Fraction
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from vtk_cli.api.video import Picture

MAX_PIXELS = 8192 * 8192
"""Largest picture that is opened, stored or shown: 8K video has half of it. A damaged or hostile header claims more."""


class Orientation(NamedTuple):
    """How a stored picture is shown: first mirrored left to right, then turned."""

    mirrored: bool
    clockwise: int
    """Degrees in 0, 90, 180, 270."""


UPRIGHT = Orientation(mirrored=False, clockwise=0)


def orientation(display_matrix: bytes) -> Orientation:
    """Read FFmpeg's display matrix (libavutil/display.h): 9 integers [a b u; c d v; x y w], 16.16 fixed point.

    A stored point (p, q), q downwards, is shown at (a p + c q, b p + d q). Angles between quarter turns, which no
    camera writes, go to the nearest one.

    >>> turn = 1 << 16
    >>> orientation(struct.pack("=9i", 0, turn, 0, -turn, 0, 0, 0, 0, 1 << 30))
    Orientation(mirrored=False, clockwise=90)
    >>> orientation(struct.pack("=9i", -turn, 0, 0, 0, turn, 0, 0, 0, 1 << 30))
    Orientation(mirrored=True, clockwise=0)
    """
    if len(display_matrix) != struct.calcsize("=9i"):
        return UPRIGHT
    a, b, _, c, d, *_ = struct.unpack("=9i", display_matrix)
    mirrored = a * d - b * c < 0
    if mirrored:
        a, b = -a, -b
    quarters = round(math.degrees(math.atan2(b, a)) / 90) % 4
    return Orientation(mirrored=mirrored, clockwise=90 * quarters)


def scaled_size(width: int, height: int, sample_aspect: Fraction, short_side: int | None) -> tuple[int, int]:
    """Width and height to which a stored picture is scaled so that its pixels are square and its short side is right.

    Square pixels come from changing the width, as players do. Each side is rounded to the nearest integer, halves up,
    from the exact ratio, and is at least 1.

    >>> scaled_size(340, 256, Fraction(64, 51), None)
    (427, 256)
    >>> scaled_size(320, 240, Fraction(1), 256)
    (341, 256)
    >>> scaled_size(368, 480, Fraction(1), 256)
    (256, 334)
    """
    exact_width, exact_height = width * sample_aspect, Fraction(height)
    if short_side is not None:
        scale = short_side / min(exact_width, exact_height)
        exact_width, exact_height = exact_width * scale, exact_height * scale
    return _nearest(exact_width), _nearest(exact_height)


def shown_size(width: int, height: int, orientation: Orientation) -> tuple[int, int]:
    """Width and height after turning.

    >>> shown_size(568, 320, Orientation(mirrored=False, clockwise=90))
    (320, 568)
    """
    return (height, width) if orientation.clockwise in (90, 270) else (width, height)


def turn(picture: "Picture", orientation: Orientation) -> "Picture":
    """The picture (HWC) the right way up, contiguous in memory."""
    if orientation == UPRIGHT:
        return picture
    if orientation.mirrored:
        picture = picture[:, ::-1]
    return np.ascontiguousarray(np.rot90(picture, k=-orientation.clockwise // 90))


def _nearest(length: Fraction) -> int:
    return max(1, math.floor(length + Fraction(1, 2)))
