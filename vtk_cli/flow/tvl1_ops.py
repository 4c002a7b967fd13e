"""The picture operations around TV-L1's iterations, in torch, as OpenCV computes them (modules/imgproc/src/resize.cpp,
imgwarp.cpp): batches of grey pictures on any device, in float32, or in float64 for reference.
"""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

_CUBIC = -0.75
"""The a of Keys' kernel that OpenCV chose (interpolateCubic); Keys: Cubic Convolution Interpolation (1981), eq. 4."""


def pyramid_sizes(height: int, width: int, scales: int, step: float) -> list[tuple[int, int]]:
    """(height, width) of the levels, finest first; a level with a side below 16 ends the pyramid and is left out.

    >>> pyramid_sizes(256, 340, 5, 0.8)
    [(256, 340), (205, 272), (164, 218), (131, 174), (105, 139)]
    >>> pyramid_sizes(19, 40, 5, 0.8), pyramid_sizes(8, 8, 5, 0.8)
    ([(19, 40)], [(8, 8)])
    """
    sizes = [(height, width)]
    while len(sizes) < scales:
        size = (round(sizes[-1][0] * step), round(sizes[-1][1] * step))  # ties to even, as cvRound
        if min(size) < 16:
            break
        sizes.append(size)
    return sizes


def resize(planes: "Tensor", size: tuple[int, int], scale: tuple[float, float]) -> "Tensor":
    """Bilinear without antialiasing: what stands at (x + 0.5) * scale - 0.5, clamped to the picture.

    Args:
        planes: (..., H, W).
        size: (height, width) of the result.
        scale: source pixels per result pixel, (y, x). It need not be the ratio of the sizes: a level of the pyramid is
            made with 1/scale_step, whatever its size was rounded to.
    """
    import torch

    for axis in (-1, -2):
        low, high, part = _neighbours(size[axis], planes.shape[axis], scale[axis])
        shape = (-1, 1) if axis == -2 else (-1,)
        weight = torch.tensor(part, dtype=planes.dtype, device=planes.device).view(shape)
        first, second = (planes.index_select(axis, torch.tensor(at, device=planes.device)) for at in (low, high))
        planes = first.mul_(1 - weight).addcmul_(second, weight)
    return planes


def _neighbours(places: int, length: int, scale: float) -> tuple[list[int], list[int], list[float]]:
    """For each place of the result the two places of the source and how far it lies from the first to the second."""
    at = [min(max((place + 0.5) * scale - 0.5, 0.0), length - 1.0) for place in range(places)]
    low = [math.floor(x) for x in at]
    return low, [min(x + 1, length - 1) for x in low], [x - first for x, first in zip(at, low, strict=True)]


def gradients(plane_NHW: "Tensor") -> tuple["Tensor", "Tensor"]:
    """Central differences along x and along y, the picture continued by its border pixels."""
    from torch.nn.functional import pad

    wide = pad(plane_NHW[:, None], (1, 1, 1, 1), mode="replicate")[:, 0]
    along_x = (wide[:, 1:-1, 2:] - wide[:, 1:-1, :-2]).mul_(0.5)
    along_y = (wide[:, 2:, 1:-1] - wide[:, :-2, 1:-1]).mul_(0.5)
    return along_x, along_y


def remap_cubic(planes: Sequence["Tensor"], u_NHW: "Tensor", v_NHW: "Tensor") -> list["Tensor"]:
    """Each plane_NHW at (x + u, y + v), bicubically, the picture continued by zeros.

    OpenCV 5 takes coordinates as they are; its versions before rounded them to 1/32 pixel.
    """
    import torch

    count, height, width = u_NHW.shape
    columns, weights_x = _taps(u_NHW, torch.arange(width, device=u_NHW.device), width)
    rows, weights_y = _taps(v_NHW, torch.arange(height, device=u_NHW.device)[:, None], height)
    picture = torch.arange(count, device=u_NHW.device)[:, None, None] * height
    lines = [plane.reshape(-1) for plane in planes]
    sums: list[list[Tensor]] = [[] for _ in planes]
    for row in rows:
        start = (picture + row) * width
        taps = [(start + column).view(-1) for column in columns]
        for line, found in zip(lines, sums, strict=True):
            found.append(_weighted([line.index_select(0, tap).view_as(u_NHW) for tap in taps], weights_x))
    return [_weighted(found, weights_y) for found in sums]


def _weighted(values: Sequence["Tensor"], weights: Sequence["Tensor"]) -> "Tensor":
    import torch

    total = values[0] * weights[0]
    for value, weight in zip(values[1:], weights[1:], strict=True):
        total = torch.addcmul(total, value, weight)
    return total


def _taps(moved: "Tensor", start: "Tensor", length: int) -> tuple[list["Tensor"], list["Tensor"]]:
    """The four pixels around start + moved and their weights, 0 for those outside the picture.

    Keys' kernel at a distance t of up to 1 is (a + 2) t^3 - (a + 3) t^2 + 1, and at 1 + t it is a t (1 - t)^2.
    """
    import torch

    # -3 and length + 1: all four pixels lie outside.
    at = (moved + start).clamp(-3, length + 1)
    whole = torch.floor(at)
    t = at - whole
    s = 1 - t
    weights = [_CUBIC * t * s * s, *(((_CUBIC + 2) * d - (_CUBIC + 3)) * d * d + 1 for d in (t, s))]
    weights.append(1 - weights[0] - weights[1] - weights[2])
    places = [whole.long() + offset for offset in (-1, 0, 1, 2)]
    inside = [place.clamp(0, length - 1) for place in places]
    zero = torch.zeros((), dtype=t.dtype, device=t.device)
    return inside, [torch.where(p == i, w, zero) for p, i, w in zip(places, inside, weights, strict=True)]
