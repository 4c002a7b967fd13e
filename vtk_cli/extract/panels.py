"""How a film of panels beside each other is drawn.

+--------------------------------------+
| title                      12 of 163 |    a line
| frames-256           flow-tvl1-256   |    a line
| +---------------+  +---------------+ |
| |               |  |               | |
| |               |  |  [ 7.3 px (o) | |    the colour wheel; its rim is motion of 7.3 pixels per frame
| +---------------+  +---------------+ |
+--------------------------------------+
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import cast

import numpy as np
from numpy.typing import NDArray

from vtk_cli.extract.lettering import HEIGHT, WIDTH, shortened, text_mask
from vtk_cli.flow.colour import legend

Picture = NDArray[np.uint8]

LEAST_SIDE = 200
"""Pixels; smaller pictures are magnified by a whole number."""
LETTER = 128
"""Pixels of a panel's shorter side for each pixel of a letter's."""
WHEEL = 5
"""Part of a panel's shorter side that the wheel takes: a fifth."""
DARK, LIGHT = 24, 235


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One of the pictures beside each other."""

    label: str
    count: int
    read: Callable[[int], Picture]
    """picture_HW3 number i."""
    scale: float | None = None
    """Pixels per frame at the rim of the colour wheel; None for panels that have none."""


def draw(title: str, panels: Sequence[Panel]) -> Iterator[Picture]:
    """As many pictures as all the panels have, of even sides. Each is drawn over the one before."""
    count = min(panel.count for panel in panels)
    height, width, _ = panels[0].read(0).shape
    canvas = _Canvas(height, width, panels)
    for number in range(count):
        canvas.head(title, f"{number + 1} of {count}")
        for place, panel in zip(canvas.places, panels, strict=True):
            place[...] = _resized(panel.read(number), *place.shape[:2])
            if panel.scale is not None:
                canvas.legend(place, panel.scale)
        yield canvas.whole


class _Canvas:
    """What the panels are drawn on, at one size for all: that of the first, or magnified."""

    def __init__(self, height: int, width: int, panels: Sequence[Panel]) -> None:
        times = -(-LEAST_SIDE // min(height, width))
        height, width = height * times, width * times
        self._letter = round(min(height, width) / LETTER)
        self._line, self._gap = (HEIGHT + 4) * self._letter, 2 * self._letter
        top = 2 * self._line
        lefts = [self._gap + number * (width + self._gap) for number in range(len(panels))]
        size = (top + height + self._gap, lefts[-1] + width + self._gap)
        self.whole = np.full((*(side + side % 2 for side in size), 3), DARK, np.uint8)
        self.places = [self.whole[top : top + height, left : left + width] for left in lefts]
        for panel, left in zip(panels, lefts, strict=True):
            _write(self.whole[self._line : top, left : left + width], panel.label, self._letter)

    def head(self, left: str, right: str) -> None:
        """The first line: `right` whole, of `left` what fits beside it."""
        line = self.whole[: self._line, self._gap : self.whole.shape[1] - self._gap]
        line[...] = DARK
        _write(line[:, : -WIDTH * self._letter * (len(right) + 1)], left, self._letter)
        _write(line[:, -WIDTH * self._letter * len(right) :], right, self._letter)

    def legend(self, place: Picture, scale: float) -> None:
        """The colour wheel in the lower right corner, what its rim stands for at its left."""
        size, border = min(place.shape[:2]) // WHEEL, self._letter
        (_, rim), (wheel, inside) = _wheel(size + 2 * border), _wheel(size)
        corner = place[-rim.shape[0] :, -rim.shape[1] :]
        corner[rim] = DARK
        corner[border:-border, border:-border][inside] = wheel[inside]
        text = f" {scale:.1f} px"
        box = place[-self._line :, : -rim.shape[1]][:, -WIDTH * self._letter * len(text) :]
        box[...] = DARK
        _write(box, text, self._letter)


_wheel = lru_cache(maxsize=8)(legend)


def _write(place: Picture, text: str, letter: int) -> None:
    """Light letters from the left edge, in the middle of the line; what does not fit is left out."""
    mask = text_mask(shortened(text, place.shape[1], letter), letter)
    top = (place.shape[0] - mask.shape[0]) // 2
    place[top : top + mask.shape[0], : mask.shape[1]][mask] = LIGHT


def _resized(picture_HW3: Picture, height: int, width: int) -> Picture:
    """Nearest pixels: magnified, or brought to the size of the first panel."""
    if picture_HW3.shape[:2] == (height, width):
        return picture_HW3
    rows = np.arange(height) * picture_HW3.shape[0] // height
    columns = np.arange(width) * picture_HW3.shape[1] // width
    return cast("Picture", picture_HW3[rows[:, None], columns])
