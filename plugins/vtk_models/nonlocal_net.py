"""C2D and I3D with non-local blocks (Wang et al., Non-local Neural Networks, CVPR 2018, tables 1 and 2).

    clip_BTNCHW -> x_BCTHW -> stem, res2, half the frames, res3 * *, res4 * * *, res5 -> windows -> fc -> logits_BK

A star is a non-local block. Two code bases differ in where they stand and in the stem's pool:

    style        after res3's, res4's blocks    of depth 101    pool 1x3x3     224 becomes    initial theta, phi, g, W
    caffe2       1 3, 1 3 5                     1 3, 6 13 20    not padded     112, 55        N(0, 0.01)
    pyslowfast   1 3, 1 3 5                     1 3, 1 3 5      padded by 1    112, 56        He's

`caffe2` is facebookresearch/video-nonlocal-net (lib/models/resnet_video.py, nonlocal_helper.py), which Paddle's library
converted (PaddleCV/video models/nonlocal_model); `pyslowfast` is facebookresearch/SlowFast.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal, get_args

from torch import Tensor, nn

from vtk_cli.api.inputs import Augment, InputSpec, View
from vtk_cli.api.sampling import Sampler, nonlocal_starts, pyslowfast
from vtk_cli.errors import UsageError
from vtk_models.fcn_head import mean_over_positions, window_averages, window_side
from vtk_models.nonlocal_block import KINDS, Kind, NonLocalBlock
from vtk_models.slowfast_parts import PYSLOWFAST
from vtk_models.trunks.resnet_3d_inflated import C2D, I3D, InflatedResNet, Places

Backbone = Literal["c2d", "i3d"]
Style = Literal["caffe2", "pyslowfast"]
TemporalStride = Literal[1, 2, 8]

BACKBONES = {"c2d": C2D, "i3d": I3D}

SHORT: Places = ((), (1, 3), (1, 3, 5), ())
LONG: Places = ((), (1, 3), (6, 13, 20), ())
NON_LOCAL_AFTER: dict[tuple[Style, int], Places] = {
    ("caffe2", 50): SHORT,
    ("caffe2", 101): LONG,
    ("pyslowfast", 50): SHORT,
    ("pyslowfast", 101): SHORT,
}

SMALLEST_CROP = 32

STRIDES: dict[Style, tuple[int, ...]] = {"caffe2": (2, 8), "pyslowfast": (1, 2)}

SAMPLING: dict[Style, tuple[Sampler, Literal["steps", "edges"]]] = {
    "caffe2": (nonlocal_starts, "steps"),
    "pyslowfast": (pyslowfast, "edges"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class NonlocalConfig:
    backbone: Backbone = "c2d"
    """`c2d`: every frame by itself until the frames are halved; `i3d`: temporal kernels of 5 in the stem and of 3 in
    every other block (all of res2)."""
    depth: Literal[50, 101] = 50
    width: int = 64
    """Channels of the stem; the paper's networks have 64."""
    style: Style = "caffe2"
    """Whose network: `caffe2` is Facebook's first one and Paddle's, `pyslowfast` the later one; see this file's top."""
    kind: Kind | Literal["none"] = "embedded_gaussian"
    """The pairwise function of the non-local blocks (section 3.2); none: a plain C2D or I3D."""
    block_norm: bool = True
    """A batch norm at the end of the non-local blocks; Caffe2's networks with frozen batch norms have none."""
    group: int = 0
    """Frames of res3 that its non-local blocks relate to one another; 0 is all. Caffe2's networks with frozen batch
    norms have 4."""
    frames: int = 8
    """Pictures of a clip."""
    stride: int = 8
    """Of those pictures: 8x8 and 32x4 cover 64 and 128 frames of a video."""
    temporal_stride: TemporalStride = 2
    """Pictures of a clip to a frame of res3. 2: the pool after res2; 8: the stem and its pool halve them too (caffe2's
    resnet_video_org, the paper's 32x2 and 128x1); 1: no pool (pyslowfast's C2D_NOPOOL)."""
    dropout: float = 0.5
    short_side: int = 256
    """Of the stored pictures, out of which the test crops are cut."""
    jitter: tuple[int, int] | None = None
    """Training draws a picture's short side from this range, ends included; None is from short_side to 5/4 of it,
    which PySlowFast reaches and Paddle does not (320 and 319)."""
    crop: int = 224
    """Side of the training crop."""
    test_crop: int | None = None
    """Side of the test crops; None is short_side."""
    test_clips: int = 10
    test_crops: Literal[1, 3] = 3

    def __post_init__(self) -> None:
        _one_of("backbone", self.backbone, BACKBONES)
        _one_of("depth", self.depth, (50, 101))
        _one_of("style", self.style, get_args(Style))
        _one_of("kind", self.kind, (*KINDS, "none"))
        _one_of(f"temporal_stride of the style {self.style}", self.temporal_stride, STRIDES[self.style])
        if self.frames < self.temporal_stride or self.frames % self.temporal_stride:
            raise UsageError(
                f"frames is a multiple of temporal_stride={self.temporal_stride}, found {self.frames}. Change either."
            )
        if self.group < 0 or (self.group and self.frames // self.temporal_stride % self.group):
            raise UsageError(
                f"group divides the {self.frames // self.temporal_stride} frames of res3, found {self.group}. "
                "Change it or the number of frames."
            )
        if self.width < 1 or not 0 <= self.dropout < 1:
            raise UsageError(
                f"width is at least 1 and dropout lies in [0, 1), found width={self.width}, dropout={self.dropout}."
            )
        if min(self.crop, tested_side(self)) < SMALLEST_CROP:
            raise UsageError(
                f"crop and test_crop are at least {SMALLEST_CROP}, so that a map is left to pool in the non-local "
                f"blocks of res4, found {self.crop} and {tested_side(self)}. Raise them."
            )
        low, high = trained_sides(self)
        if not self.crop <= low <= high:
            raise UsageError(
                f"jitter takes two short sides, the smaller first and at least the crop of {self.crop}, found "
                f"{(low, high)}. Raise it (or short_side) or lower the crop."
            )


def trained_sides(config: NonlocalConfig) -> tuple[int, int]:
    """Smallest and largest short side of the pictures that training crops."""
    last = config.short_side * 5 // 4
    return config.jitter or (config.short_side, last if config.style == "pyslowfast" else last - 1)


def tested_side(config: NonlocalConfig) -> int:
    """Side of the test crops."""
    return config.test_crop or config.short_side


class Nonlocal(nn.Module):
    """forward(clip_BTNCHW) -> logits_BK; any number of frames that `temporal_stride` divides.

    Crops larger than those of training are classified at several places; the softmax of what is returned is then the
    mean of the places' probabilities.
    """

    def __init__(self, config: NonlocalConfig, num_classes: int) -> None:
        super().__init__()
        self.trunk = build_trunk(config)
        self.window = window_side(config.crop)
        self.dropout = nn.Dropout(config.dropout)
        self.fc = nn.Linear(self.trunk.num_features, num_classes)
        nn.init.normal_(self.fc.weight, std=0.01)
        nn.init.zeros_(self.fc.bias)

    def forward(self, clip_BTNCHW: Tensor) -> Tensor:
        x_BCTHW = clip_BTNCHW.flatten(1, 2).transpose(1, 2)
        feature_BPD = window_averages(self.trunk(x_BCTHW), self.window)
        return mean_over_positions(self.fc(self.dropout(feature_BPD)))


def build_trunk(config: NonlocalConfig) -> InflatedResNet:
    """The residual network and its non-local blocks, initialised as the style's code does it."""
    kernels = replace(BACKBONES[config.backbone], pool=config.temporal_stride > 1)
    if config.kind == "none":
        trunk = InflatedResNet(kernels, config.depth, width=config.width)
    else:
        make = partial(NonLocalBlock, kind=config.kind, norm=config.block_norm)
        places = NON_LOCAL_AFTER[config.style, config.depth]
        trunk = InflatedResNet(kernels, config.depth, width=config.width, non_local=make, non_local_after=places)
    for name, block in trunk.named_modules():
        if isinstance(block, NonLocalBlock):
            block.initialise(0.01 if config.style == "caffe2" else None)
            block.group = config.group or None if name.startswith("layer2") else None
    if config.style == "caffe2":
        frames = 2 if config.temporal_stride == 8 else 1
        trunk.conv1.stride = (frames, 2, 2)
        trunk.maxpool = nn.MaxPool3d((frames, 3, 3), (frames, 2, 2))
    return trunk


def inputs(config: NonlocalConfig) -> InputSpec:
    """Training: a random crop of a random scale (section 4). Testing: 10 clips x 3 crops, probabilities averaged."""
    sampler, grid = SAMPLING[config.style]
    view = partial(View, segments=1, frames=config.frames, stride=config.stride, sampler=sampler)
    return InputSpec(
        modality="rgb",
        train=view(short_side=config.short_side, crop=config.crop),
        test=view(
            short_side=config.short_side,
            crop=tested_side(config),
            clips=config.test_clips,
            crops=config.test_crops,
            crop_grid=grid,
            average="probabilities",
        ),
        norm=PYSLOWFAST,
        augment=Augment(crop="random", short_sides=trained_sides(config)),
    )


def _one_of(field: str, found: object, known: Iterable[object]) -> None:
    names = tuple(known)
    if found not in names:
        raise UsageError(f'{field} is one of {", ".join(map(str, names))}, found "{found}". Choose one of them.')
