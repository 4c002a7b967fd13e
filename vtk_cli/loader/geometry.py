"""Where pictures are cut: integer arithmetic, no pixels.

A picture is first thought of at the view's size (`view_size`); every box lies in it. Training's boxes are drawn in
`draws.py`. Sources: tsn-pytorch transforms.py (GroupOverSample), temporal-shift-module transforms.py
(GroupFullResSample), PaddlePaddle/models release/1.8 kinetics_reader.py (group_scale, group_center_crop) and
nonlocal_reader.py (crop_mirror_transform), SlowFast datasets/transform.py (uniform_crop).

    GroupOverSample, corners on a grid of quarters
        UL . . . UR
        .  . . . .
        .  . C . .
        .  . . . .
        LL . . . LR
"""

import math
from typing import Literal, NamedTuple

Aspect = Literal["keep", "4:3", "4:3-rounded"]
CropGrid = Literal["quarters", "edges", "steps"]


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


def view_size(picture: Size, short_side: int, aspect: Aspect) -> Size:
    """The size at which a view's boxes are placed; nothing is done to a picture that has it.

    >>> view_size(Size(340, 256), 256, "keep")
    Size(width=340, height=256)
    >>> view_size(Size(320, 240), 256, "keep")
    Size(width=341, height=256)
    >>> [view_size(Size(*size), 256, "4:3")[:] for size in ((640, 360), (256, 256), (72, 128))]
    [(341, 256), (341, 256), (256, 341)]
    >>> [view_size(Size(320, 240), 128, aspect)[:] for aspect in ("4:3", "4:3-rounded")]
    [(170, 128), (171, 128)]
    """
    if aspect != "keep":
        long_side = int(short_side * 4.0 / 3.0) if aspect == "4:3" else round(short_side * 4.0 / 3.0)
        return Size(short_side, long_side) if picture.width < picture.height else Size(long_side, short_side)
    if picture.width < picture.height:
        return Size(short_side, short_side * picture.height // picture.width)
    return Size(short_side * picture.width // picture.height, short_side)


def centre(picture: Size, crop: int) -> Box:
    """The square in the middle; halves are rounded to even, as torchvision and Paddle under Python 3 do.

    >>> centre(Size(341, 256), 224)
    Box(left=58, top=16, width=224, height=224)
    """
    return Box(round((picture.width - crop) / 2.0), round((picture.height - crop) / 2.0), crop, crop)


def spatial_views(picture: Size, crop: int, number: Literal[1, 3, 5, 10], grid: CropGrid = "quarters") -> list[Crop]:
    """The spatial views of a test clip, in the originals' order.

    1: centre. 3: left, right, centre; of a tall picture top, bottom, centre. 5: corners, centre (UL UR LL LR C).
    10: each of these five plain, then mirrored. Of several, those at the far side lie up to 3 pixels short of the edge
    with the grid "quarters" (GroupOverSample, GroupFullResSample), at it with "edges" (uniform_crop), one short of it
    with "steps" where the room is odd (crop_mirror_transform).

    >>> [[crop.box[:2] for crop in spatial_views(Size(341, 256), 256, 3, g)] for g in ("quarters", "edges", "steps")]
    [[(0, 0), (84, 0), (42, 0)], [(0, 0), (85, 0), (43, 0)], [(0, 0), (84, 0), (42, 0)]]
    >>> [(crop.box[:2], crop.mirrored) for crop in spatial_views(Size(340, 256), 224, 10)][:3]
    [((0, 0), False), ((0, 0), True), ((116, 0), False)]
    """
    if number == 1:
        return [Crop(centre(picture, crop), mirrored=False)]
    xs, ys = _places(picture.width - crop, grid), _places(picture.height - crop, grid)
    if number == 3:
        tall = picture.height > picture.width
        corners = [(xs[1], y) for y in (ys[0], ys[2], ys[1])] if tall else [(x, ys[1]) for x in (xs[0], xs[2], xs[1])]
    else:
        corners = [(xs[0], ys[0]), (xs[2], ys[0]), (xs[0], ys[2]), (xs[2], ys[2]), (xs[1], ys[1])]
    boxes = [Box(left, top, crop, crop) for left, top in corners]
    sides = (False, True) if number == 10 else (False,)
    return [Crop(box, mirrored=mirrored) for box in boxes for mirrored in sides]


def _places(room: int, grid: CropGrid) -> tuple[int, int, int]:
    """Near side, middle and far side."""
    if grid == "quarters":
        return 0, room // 4 * 2, room // 4 * 4
    if grid == "edges":
        return 0, math.ceil(room / 2), room
    return 0, room // 2, room // 2 * 2
