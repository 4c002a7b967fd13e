"""Pictures that a moving camera would have taken of a still scene, made of one real frame; and an object that moves."""

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from vtk_cli import registry
from vtk_cli.api.video import Cut, DecodeReport, DecoderSpec
from vtk_cli.flow.quantize import grey

WIDTH, HEIGHT = 340, 256
BORDER = 20
"""Pixels along the border that residuals leave out: some more than the largest pan."""


def shift(x: float, y: float) -> NDArray[np.float64]:
    """Homography, previous picture to the following one, of a scene that moves right by x and down by y."""
    return np.array([[1, 0, x], [0, 1, y], [0, 0, 1]], np.float64)


def _about_the_middle(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    middle = shift(WIDTH / 2, HEIGHT / 2)
    return middle @ matrix @ np.linalg.inv(middle)


def turn(degrees: float) -> NDArray[np.float64]:
    """The camera turns about its axis."""
    angle = np.deg2rad(degrees)
    cosine, sine = np.cos(angle), np.sin(angle)
    return _about_the_middle(np.array([[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1]]))


def zoom(factor: float) -> NDArray[np.float64]:
    return _about_the_middle(np.diag([factor, factor, 1.0]))


def tilt(x: float, y: float) -> NDArray[np.float64]:
    """A projective one: the camera turns up and sideways, and a plane comes closer at one end."""
    return shift(3, 2) @ _about_the_middle(np.array([[1, 0, 0], [0, 1, 0], [x, y, 1]]))


MOTIONS = {
    "pan 0.5": shift(0.5, 0),
    "pan 1.7": shift(-1, 1.4),
    "pan 3.5": shift(3.3, -1.2),
    "pan 8": shift(-5.66, 5.66),
    "pan 12": shift(11.6, 3.1),
    "turn": turn(2),
    "zoom": zoom(1.04),
    "projective": tilt(1e-4, -5e-5),
}


def frame_of(path: Path, number: int = 10) -> NDArray[np.uint8]:
    """A grey picture of a real clip, as it decodes."""
    spec = registry.load("vtk.decoders", "pyav")
    assert isinstance(spec, DecoderSpec)
    pictures = spec.build().frames(path, Cut(), DecodeReport())
    return next(grey(picture) for index, picture in enumerate(pictures) if index == number)


def pair_of(
    frame_HW: NDArray[np.uint8], homography: NDArray[np.float64]
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Two views of 340x256 out of the middle of a frame, each drawn from it directly, so that neither is the sharper."""
    height, width = frame_HW.shape
    scale = 0.8 * min(width / WIDTH, height / HEIGHT)
    whole = np.array(
        [[scale, 0, (width - scale * WIDTH) / 2], [0, scale, (height - scale * HEIGHT) / 2], [0, 0, 1]], np.float64
    )
    smooth = cv2.GaussianBlur(frame_HW, (0, 0), 0.5 * max(scale, 1))
    flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    before, after = (
        cv2.warpPerspective(smooth, matrix, (WIDTH, HEIGHT), flags=flags, borderMode=cv2.BORDER_REFLECT)
        for matrix in (whole, whole @ np.linalg.inv(homography))
    )
    return before, after


def paste(
    views: tuple[NDArray[np.uint8], NDArray[np.uint8]],
    object_HW: NDArray[np.uint8],
    place: tuple[int, int],
    moved: tuple[int, int],
) -> NDArray[np.bool_]:
    """Put an object into both views, `moved` (x, y) pixels farther in the second; where neither shows it."""
    height, width = object_HW.shape
    background = np.ones(views[0].shape, bool)
    for view, (x, y) in zip(views, (place, (place[0] + moved[0], place[1] + moved[1])), strict=True):
        view[y : y + height, x : x + width] = object_HW
        background[max(y - 12, 0) : y + height + 12, max(x - 12, 0) : x + width + 12] = False
    return background


def inner(shape: tuple[int, ...] = (HEIGHT, WIDTH)) -> NDArray[np.bool_]:
    """Where residuals are measured: away from the border."""
    inside = np.zeros(shape, bool)
    inside[BORDER:-BORDER, BORDER:-BORDER] = True
    return inside


def residual(flow_2HW: NDArray[np.float32], where_HW: NDArray[np.bool_]) -> tuple[float, float]:
    """Mean and 95th percentile of the flow's length in pixels."""
    length = np.hypot(*flow_2HW)[where_HW]
    return float(length.mean()), float(np.percentile(length, 95))
