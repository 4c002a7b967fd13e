"""Where pictures are cut: integer arithmetic, no pixels.

A picture is first thought of at the view's size (`view_size`); every box lies in it. Sources:
tsn-pytorch transforms.py (GroupMultiScaleCrop, GroupOverSample), temporal-shift-module transforms.py
(GroupFullResSample), PaddlePaddle/models release/1.8 kinetics_reader.py (group_scale, group_center_crop).

    GroupOverSample, corners on a grid of quarters        multi-scale: these thirteen places
        UL . . . UR                                           0 . 8 . 1
        .  . . . .                                            . 9 . 10 .
        .  . C . .                                            5 . 4 . 6
        .  . . . .                                            . 11 . 12 .
        LL . . . LR                                           2 . 7 . 3
"""

from random import Random
from typing import Literal, NamedTuple

from vtk_cli.api.inputs import Augment, View

SNAP_PIXELS = 3
"""A crop side closer than this to the network's input becomes the input (GroupMultiScaleCrop._sample_crop_size)."""


class Size(NamedTuple):
    width: int
    height: int


class Box(NamedTuple):
    """A cut-out of a picture at the view's size."""

    left: int
    top: int
    width: int
    height: int


class Crop(NamedTuple):
    """A box and whether the picture is mirrored after it is cut."""

    box: Box
    mirrored: bool


def view_size(picture: Size, short_side: int, aspect: Literal["keep", "4:3"]) -> Size:
    """The size at which a view's boxes are placed; nothing is done to a picture that has it.

    >>> view_size(Size(340, 256), 256, "keep")
    Size(width=340, height=256)
    >>> view_size(Size(320, 240), 256, "keep")
    Size(width=341, height=256)
    >>> [view_size(Size(*size), 256, "4:3")[:] for size in ((640, 360), (256, 256), (72, 128))]
    [(341, 256), (341, 256), (256, 341)]
    """
    if aspect == "4:3":
        long_side = int(short_side * 4.0 / 3.0)
        return Size(short_side, long_side) if picture.width < picture.height else Size(long_side, short_side)
    if picture.width < picture.height:
        return Size(short_side, short_side * picture.height // picture.width)
    return Size(short_side * picture.width // picture.height, short_side)


def train_crop(picture: Size, view: View, augment: Augment, rng: Random) -> Box:
    """Draw where a training clip is cut from a picture of the view's size."""
    if augment.crop == "centre":
        return centre(picture, view.crop)
    if augment.crop == "random":
        left, top = rng.randint(0, picture.width - view.crop), rng.randint(0, picture.height - view.crop)
        return Box(left, top, view.crop, view.crop)
    width, height = rng.choice(multiscale_pairs(picture, view.crop, augment.scales, augment.max_distort))
    left, top = rng.choice(multiscale_offsets(picture, Size(width, height)))
    return Box(left, top, width, height)


def centre(picture: Size, crop: int) -> Box:
    """The square in the middle; halves are rounded to even, as torchvision and Paddle under Python 3 do.

    >>> centre(Size(341, 256), 224)
    Box(left=58, top=16, width=224, height=224)
    """
    return Box(round((picture.width - crop) / 2.0), round((picture.height - crop) / 2.0), crop, crop)


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


def spatial_views(picture: Size, crop: int, number: Literal[1, 3, 5, 10]) -> list[Crop]:
    """The spatial views of a test clip, in the originals' order.

    1: centre. 3: left, right, centre; of a tall picture top, bottom, centre. 5: corners, centre (UL UR LL LR C).
    10: each of these five plain, then mirrored. All but the single centre lie on a grid of quarters and are up to
    3 pixels short of the true edge (GroupOverSample, GroupFullResSample).

    >>> [crop.box[:2] for crop in spatial_views(Size(340, 256), 256, 3)]
    [(0, 0), (84, 0), (42, 0)]
    >>> [(crop.box[:2], crop.mirrored) for crop in spatial_views(Size(340, 256), 224, 10)][:3]
    [((0, 0), False), ((0, 0), True), ((116, 0), False)]
    """
    if number == 1:
        return [Crop(centre(picture, crop), mirrored=False)]
    x, y = (picture.width - crop) // 4, (picture.height - crop) // 4
    if number == 3:
        tall = picture.height > picture.width
        places = [(2, 0), (2, 4), (2, 2)] if tall else [(0, 2), (4, 2), (2, 2)]
    else:
        places = [(0, 0), (4, 0), (0, 4), (4, 4), (2, 2)]
    boxes = [Box(column * x, row * y, crop, crop) for column, row in places]
    sides = (False, True) if number == 10 else (False,)
    return [Crop(box, mirrored=mirrored) for box in boxes for mirrored in sides]
