"""Flow as colour: the hue is the direction, the saturation the length.

Baker, Scharstein, Lewis, Roth, Black, Szeliski: A Database and Evaluation Methodology for Optical Flow (ICCV 2007, IJCV
2011), the colour code of its figures and of the Middlebury pages.

              up: violet
    left: cyan    o     right: red        y points down, as in pictures
             down: yellow
"""

from typing import cast

import numpy as np
from numpy.typing import NDArray

SECTORS = (
    ((255, 0, 0), 15),  # red to yellow
    ((255, 255, 0), 6),  # yellow to green
    ((0, 255, 0), 4),  # green to cyan
    ((0, 255, 255), 11),  # cyan to blue
    ((0, 0, 255), 13),  # blue to magenta
    ((255, 0, 255), 6),  # magenta to red
)
"""Colour that a sector of the wheel begins with, and its number of bins: as many as the eye tells apart there."""
UNKNOWN = 1e9
"""Pixels; Middlebury's files mark flow that is not known by a component above this."""
BEYOND = 0.75
"""By how much colours are darkened where flow is longer than what the scale ends with."""


def wheel() -> NDArray[np.uint8]:
    """The 55 colours, RGB, from the one of motion to the right on, clockwise as pictures show it.

    Bin i of a sector of n has the rising channel at floor(255 i / n), the falling one at 255 - floor(255 i / n).
    """
    starts = np.array([colour for colour, _ in SECTORS], np.int64)
    changes = np.sign(np.roll(starts, -1, axis=0) - starts)
    parts = [
        start + change * (255 * np.arange(bins) // bins)[:, None]
        for start, change, (_, bins) in zip(starts, changes, SECTORS, strict=True)
    ]
    return np.concatenate(parts).astype(np.uint8)


def to_rgb(flow_2HW: NDArray[np.float32], most: float | None = None) -> NDArray[np.uint8]:
    """picture_HW3 of flow in pixels: no motion is white, unknown flow (NaN, or beyond 1e9) black.

    `most`: length in pixels that is shown fully saturated, None for the longest there is; what is longer is darker.

    Raises:
        ValueError: `most` is not above 0.
    """
    if most is not None and not most > 0:
        raise ValueError(f"A scale ends above 0 pixels, found {most}.")
    known_HW = np.all(np.abs(flow_2HW) <= UNKNOWN, axis=0)
    x, y = np.where(known_HW, flow_2HW, 0).astype(np.float64)
    length_HW = np.hypot(x, y)
    most = most or float(length_HW.max(initial=0)) or 1.0
    colour_HW3 = _shade(_hue(x, y), length_HW[..., None] / most)
    return cast("NDArray[np.uint8]", np.rint(np.where(known_HW[..., None], 255 * colour_HW3, 0)).astype(np.uint8))


def legend(size: int) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """The wheel as a disc: picture_HW3 of so many pixels a side, and which of them are in the disc.

    A place's colour is that of motion from the centre to it; the rim is the longest of the scale.
    """
    across = np.linspace(-1, 1, size, dtype=np.float32)
    flow_2HW = np.stack(np.meshgrid(across, across))
    return to_rgb(flow_2HW, 1.0), np.hypot(*flow_2HW) <= 1


def _hue(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """Fully saturated colours in 0..1, blended between the two nearest bins.

    A whole turn is 54 steps, as in the published code, so that the last colour meets the first at motion to the right.
    """
    colours = wheel() / 255
    place = (np.arctan2(-y, -x) / np.pi + 1) / 2 * (len(colours) - 1)
    below = place.astype(np.int64)
    part = (place - below)[..., None]
    return (1 - part) * colours[below] + part * colours[(below + 1) % len(colours)]


def _shade(hue_HW3: NDArray[np.float64], part_HW1: NDArray[np.float64]) -> NDArray[np.float64]:
    """Towards white where motion is shorter than the scale, darker where it is longer."""
    return np.where(part_HW1 <= 1, 1 - part_HW1 * (1 - hue_HW3), BEYOND * hue_HW3)
