"""Where a training clip is cut from its pictures: one draw for all frames of a clip.

Sources: tsn-pytorch transforms.py (GroupMultiScaleCrop), PaddlePaddle/models release/1.8 kinetics_reader.py
(group_multi_scale_crop, group_random_crop), SlowFast datasets/transform.py (random_short_side_scale_jitter,
random_crop), torchvision transforms (RandomResizedCrop), 3D-ResNets-PyTorch spatial_transforms.py
(MultiScaleCornerCrop).

    multi-scale: these thirteen places
        0 . 8 . 1
        . 9 . 10 .
        5 . 4 . 6
        . 11 . 12 .
        2 . 7 . 3
"""

import math
from collections.abc import Callable
from random import Random
from typing import NamedTuple

from vtk_cli.api.inputs import Augment, View
from vtk_cli.loader.geometry import Box, Size, centre, view_size

SNAP_PIXELS = 3
"""A crop side closer than this to the network's input becomes the input (GroupMultiScaleCrop._sample_crop_size)."""

TRIES = 10
"""RandomResizedCrop draws so many times for a part that fits before it takes the middle."""


class Place(NamedTuple):
    """A box, and the size at which the picture is thought of when it is cut."""

    box: Box
    at: Size


def train_place(picture: Size, view: View, augment: Augment, rng: Random) -> Place:
    """Draw where a training clip is cut from a picture of this size."""
    short_side = view.short_side if augment.short_sides is None else drawn_short_side(augment, rng)
    at = view_size(picture, short_side, view.aspect)
    return Place(_DRAWS[augment.crop](at, view, augment, rng), at)


def drawn_short_side(augment: Augment, rng: Random) -> int:
    """A whole number between the two of `augment.short_sides`, or uniform in its inverse, rounded."""
    assert augment.short_sides is not None
    low, high = augment.short_sides
    if augment.inverse:
        return round(1.0 / rng.uniform(1.0 / high, 1.0 / low))
    return round(rng.uniform(low, high))


def multiscale_pairs(picture: Size, crop: int, scales: tuple[float, ...], max_distort: int) -> list[Size]:
    """Widths and heights that a multi-scale crop draws from, in the original's order (height outside).

    >>> multiscale_pairs(Size(340, 256), 224, (1, 0.875), 1)
    [Size(width=256, height=256), Size(width=224, height=256), Size(width=256, height=224), Size(width=224, height=224)]
    """
    sides = [int(min(picture) * scale) for scale in scales]
    # A side below the input that snaps up to it could leave a picture that is hardly larger.
    sides = [crop if abs(side - crop) < SNAP_PIXELS and crop <= min(picture) else side for side in sides]
    return [
        Size(width, height)
        for i, height in enumerate(sides)
        for j, width in enumerate(sides)
        if abs(i - j) <= max_distort
    ]


def multiscale_offsets(picture: Size, crop: Size) -> list[tuple[int, int]]:
    """The thirteen (left, top) that a multi-scale crop draws from; numbered in the drawing above.

    >>> multiscale_offsets(Size(340, 256), Size(224, 224))[:5]
    [(0, 0), (116, 0), (0, 32), (116, 32), (58, 16)]
    """
    x, y = (picture.width - crop.width) // 4, (picture.height - crop.height) // 4
    places = [(0, 0), (4, 0), (0, 4), (4, 4), (2, 2), (0, 2), (4, 2), (2, 4), (2, 0), (1, 1), (3, 1), (1, 3), (3, 3)]
    return [(column * x, row * y) for column, row in places]


def resized_box(picture: Size, augment: Augment, rng: Random) -> Box:
    """A part of random area and aspect ratio, uniform in the logarithm of the ratio; the middle when none fits."""
    area = picture.width * picture.height
    low, high = (math.log(bound) for bound in augment.ratio)
    for _ in range(TRIES):
        part = area * rng.uniform(*augment.area)
        ratio = math.exp(rng.uniform(low, high))
        width, height = round(math.sqrt(part * ratio)), round(math.sqrt(part / ratio))
        if 0 < width <= picture.width and 0 < height <= picture.height:
            top, left = rng.randint(0, picture.height - height), rng.randint(0, picture.width - width)
            return Box(left, top, width, height)
    ratio = min(max(picture.width / picture.height, augment.ratio[0]), augment.ratio[1])
    width = min(picture.width, round(picture.height * ratio))
    height = min(picture.height, round(picture.width / ratio))
    return Box((picture.width - width) // 2, (picture.height - height) // 2, width, height)


def _centre(at: Size, view: View, _augment: Augment, _rng: Random) -> Box:
    return centre(at, view.crop)


def _random(at: Size, view: View, _augment: Augment, rng: Random) -> Box:
    left, top = rng.randint(0, at.width - view.crop), rng.randint(0, at.height - view.crop)
    return Box(left, top, view.crop, view.crop)


def _multiscale(at: Size, view: View, augment: Augment, rng: Random) -> Box:
    side = augment.then_random or view.crop
    width, height = rng.choice(multiscale_pairs(at, side, augment.scales, augment.max_distort))
    left, top = rng.choice(multiscale_offsets(at, Size(width, height)))
    if side == view.crop:
        return Box(left, top, width, height)
    # The original resizes this box to side x side and cuts crop x crop out of that; here the same part of the picture
    # is cut at once, so that there is one resize.
    x, y = rng.randint(0, side - view.crop), rng.randint(0, side - view.crop)
    right, bottom = (round((low + view.crop) * full / side) for low, full in ((x, width), (y, height)))
    dx, dy = round(x * width / side), round(y * height / side)
    return Box(left + dx, top + dy, right - dx, bottom - dy)


def _resized(at: Size, _view: View, augment: Augment, rng: Random) -> Box:
    return resized_box(at, augment, rng)


def _corners(at: Size, _view: View, augment: Augment, rng: Random) -> Box:
    side = int(min(at) * rng.choice(augment.scales))
    middle = centre(at, side)
    right, bottom = at.width - side, at.height - side
    left, top = rng.choice([(middle.left, middle.top), (0, 0), (right, 0), (0, bottom), (right, bottom)])
    return Box(left, top, side, side)


_DRAWS: dict[str, Callable[[Size, View, Augment, Random], Box]] = {
    "centre": _centre,
    "random": _random,
    "multiscale": _multiscale,
    "resized": _resized,
    "corners": _corners,
}
