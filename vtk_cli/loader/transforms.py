"""From pictures to the clip a network sees; uint8 all the way, at most one resize per picture.

    V views  T segments  N frames per segment  C channels  H W pixels

Everything is derived from the model's InputSpec. All frames of a clip share one draw.
"""

from random import Random

import torch
from torch import Tensor
from torch.nn import functional

from vtk_cli.api.inputs import FLIP_NEGATES_X, InputSpec, Norm, View
from vtk_cli.api.loaders import Clip, FrameSource
from vtk_cli.loader.draws import train_place
from vtk_cli.loader.geometry import Box, Crop, Size, spatial_views, view_size


def train_clip(source: FrameSource, clip: Clip, inputs: InputSpec, rng: Random, *, flip: bool) -> Tensor:
    """A training clip_VTNCHW, V = 1. Draws in this order: frames, crop, mirroring."""
    view = inputs.train
    grids = _sample(source, clip, inputs, view, rng)[:1]
    pictures = _read(source, clip, grids)
    size = _size(next(iter(pictures.values())))
    place = train_place(size, view, inputs.augment, rng)
    mirrored = flip and rng.random() < inputs.augment.flip
    return _assemble(pictures, grids, [Crop(place.box, mirrored=mirrored)], inputs, view, place.at)


def all_views(source: FrameSource, clip: Clip, inputs: InputSpec) -> Tensor:
    """Every test view of a video, clip_VTNCHW: the crops of the first temporal clip, then those of the second ..."""
    view = inputs.test
    grids = _sample(source, clip, inputs, view, None)
    pictures = _read(source, clip, grids)
    return arrange_test(pictures, grids, inputs)


def arrange_test(pictures: dict[int, Tensor], grids: list[list[int]], inputs: InputSpec) -> Tensor:
    """The test views clip_VTNCHW of frame numbers `grids`, out of `pictures` by number."""
    view = inputs.test
    at = view_size(_size(next(iter(pictures.values()))), view.short_side, view.aspect)
    crops = spatial_views(at, view.crop, view.crops, view.crop_grid)
    return _assemble(pictures, grids, crops, inputs, view, at)


def cut(picture_CHW: Tensor, box: Box, at: Size, crop: int) -> Tensor:
    """The part `box` of a picture thought of at size `at`, brought to crop x crop; with one resize at most.

    A box of the crop's own size is what resizing to `at` and slicing gives, to the bit: along a side that has its
    size already it is only sliced. A box of another size (scale jitter) is mapped to the picture's own pixels.
    Bilinear and antialiased, within 2 grey levels of Pillow's (facts measured on photographs).
    """
    size = _size(picture_CHW)
    if (box.width, box.height) == (crop, crop):
        return _resize_then_slice(picture_CHW, size, box, at)
    left, right = (round(x * size.width / at.width) for x in (box.left, box.left + box.width))
    top, bottom = (round(y * size.height / at.height) for y in (box.top, box.top + box.height))
    return resize(picture_CHW[:, top:bottom, left:right], Size(crop, crop))


def resize(picture_CHW: Tensor, size: Size) -> Tensor:
    """Bilinear and antialiased; a picture of that size is returned as it is."""
    if _size(picture_CHW) == size:
        return picture_CHW
    shape = (size.height, size.width)
    return functional.interpolate(picture_CHW[None], size=shape, mode="bilinear", antialias=True)[0]


def mirror(picture_CHW: Tensor, *, negate_x: bool) -> Tensor:
    """Left becomes right; stored flow (x, y) changes the sign of x: 255 - v, as tsn-pytorch's GroupRandomFlip."""
    mirrored = picture_CHW.flip(-1)
    if negate_x:
        mirrored[0] = 255 - mirrored[0]
    return mirrored


def normalise(clip: Tensor, norm: Norm, device: torch.device | str = "cpu") -> Tensor:
    """`(x / 255 - mean) / std` of uint8 ...CHW as one multiply-add in float32, on `device`; also reorders to BGR."""
    moved = clip.to(device, non_blocking=True)
    if norm.order == "bgr":
        moved = moved.flip(-3)
    mean, std = (torch.tensor(values, dtype=torch.float64) for values in (norm.mean, norm.std))
    scale = (1 / (255 * std)).to(device, torch.float32)[:, None, None]
    shift = (-mean / std).to(device, torch.float32)[:, None, None]
    values = moved.to(torch.float32)
    return torch.addcmul(shift, values, scale, out=values)


def _sample(source: FrameSource, clip: Clip, inputs: InputSpec, view: View, rng: Random | None) -> list[list[int]]:
    return view.sampler(
        source.num_frames(clip),
        segments=view.segments,
        frames=inputs.loaded_frames(view),
        stride=view.stride,
        clips=1 if rng is not None else view.clips,
        rng=rng,
    )


def _read(source: FrameSource, clip: Clip, grids: list[list[int]]) -> dict[int, Tensor]:
    wanted = sorted({index for grid in grids for index in grid})
    return dict(zip(wanted, source.read(clip, wanted), strict=True))


def _assemble(
    pictures: dict[int, Tensor], grids: list[list[int]], crops: list[Crop], inputs: InputSpec, view: View, at: Size
) -> Tensor:
    frames = inputs.loaded_frames(view)
    shape = (len(grids), len(crops), view.segments * frames, inputs.channels, view.crop, view.crop)
    out = torch.empty(shape, dtype=torch.uint8)
    places: dict[int, list[tuple[int, int]]] = {}
    for clip_number, grid in enumerate(grids):
        for position, index in enumerate(grid):
            places.setdefault(index, []).append((clip_number, position))
    negate_x = inputs.modality in FLIP_NEGATES_X
    for index, where in places.items():
        for crop_number, seen in enumerate(_views(pictures[index], crops, at, view.crop, negate_x=negate_x)):
            for clip_number, position in where:
                out[clip_number, crop_number, position] = seen
    return out.view(len(grids) * len(crops), view.segments, frames, *shape[3:])


def _views(picture_CHW: Tensor, crops: list[Crop], at: Size, crop: int, *, negate_x: bool) -> list[Tensor]:
    if len(crops) > 1:  # several cuts of one picture: resize it once
        picture_CHW = resize(picture_CHW, at)
    views = []
    for box, mirrored in crops:
        part = cut(picture_CHW, box, at, crop)
        views.append(mirror(part, negate_x=negate_x) if mirrored else part)
    return views


def _resize_then_slice(picture_CHW: Tensor, size: Size, box: Box, at: Size) -> Tensor:
    rows = slice(box.top, box.top + box.height)
    columns = slice(box.left, box.left + box.width)
    if size == at:
        return picture_CHW[:, rows, columns]
    if size.height == at.height:
        return resize(picture_CHW[:, rows], Size(at.width, box.height))[:, :, columns]
    if size.width == at.width:
        return resize(picture_CHW[:, :, columns], Size(box.width, at.height))[:, rows]
    return resize(picture_CHW, at)[:, rows, columns]


def _size(picture_CHW: Tensor) -> Size:
    return Size(picture_CHW.shape[-1], picture_CHW.shape[-2])
