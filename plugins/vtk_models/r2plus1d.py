"""R(2+1)D (Tran et al., CVPR 2018), as 3D-ResNets-PyTorch, torchvision, VMZ and X-Temporal build it.

A 3x3x3 convolution becomes a 1x3x3 one into M channels, batch norm, ReLU and a 3x1x1 one, M such that both have as many
weights as it had. The four dialects are different networks:

    style        stem                  max pool           M of a block's convolutions          batch norm
    3d-resnets   (1,7,7) 110, (7,1,1)  3x3x3, stride 2    each its own                         1e-5
    torchvision  (1,7,7)  45, (3,1,1)  none               both the block's (input -> output)   1e-5
    vmz          (1,7,7)  45, (3,1,1)  none; 1x3x3 (152)  each its own                         1e-3, momentum 0.9
    x-temporal   (1,7,7)  83, (3,1,1)  1x3x3, stride 2    each its own                         1e-5

Bottlenecks factorise their 3x3x3 convolution; its "block's own" M is made of the block's input there, too.
"""

from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

from torch import Tensor, nn
from torch.nn import functional

from vtk_cli.api.inputs import InputSpec
from vtk_cli.api.models import ModelSpec
from vtk_cli.errors import UsageError
from vtk_models.conv3d import TemporalConv
from vtk_models.r2plus1d_layouts import infer, kenshohara_name, torchvision_name, x_temporal_name
from vtk_models.r2plus1d_weights import WEIGHTS
from vtk_models.video_resnet import (
    SPATIAL_POOL,
    TEMPORAL_POOL,
    WIDTHS,
    Block,
    VideoResNet,
    VideoResNetConfig,
    check_style,
    max_pool,
    shortcut,
)
from vtk_models.video_resnet_inputs import KENSHOHARA, RECIPE, TORCHVISION, VMZ, X_TEMPORAL, clip_inputs
from vtk_models.video_resnet_layouts import BOTTLENECK_EXPANSION, Fields, table_layout

PROTOCOLS = {
    "3d-resnets": KENSHOHARA,
    "torchvision": TORCHVISION,
    "vmz": VMZ,
    # experiments/r2plus1d/default.yaml: dense_sample_rate 2, where its 3D ResNet has 1.
    "x-temporal": replace(X_TEMPORAL, stride=2),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Dialect:
    """One row of the table above."""

    stem_frames: int = 3
    stem_middle: int | None = None
    """None: by the formula, for three input channels whatever their number is."""
    pool: int = SPATIAL_POOL
    pooled: bool
    shared_middle: bool = False
    """Whether both convolutions of a block have the M of the first."""
    bn_eps: float = 1e-5
    bn_momentum: float = 0.1


_DIALECTS = {
    "3d-resnets": _Dialect(stem_frames=7, pool=TEMPORAL_POOL, pooled=True),
    "torchvision": _Dialect(stem_middle=45, pooled=False, shared_middle=True),
    "vmz": _Dialect(stem_middle=45, pooled=False, bn_eps=1e-3, bn_momentum=0.9),
    "x-temporal": _Dialect(pooled=True),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class R2Plus1DConfig(VideoResNetConfig):
    style: Literal["3d-resnets", "torchvision", "vmz", "x-temporal"] = "3d-resnets"
    """Whose network and protocol; see the table of this file."""

    def __post_init__(self) -> None:
        VideoResNetConfig.__post_init__(self)
        check_style(self.style, tuple(PROTOCOLS))
        if self.style != "3d-resnets" and (self.shortcut == "A" or self.widen not in (None, 1)):
            raise UsageError(
                f"shortcut A and widen belong to the style 3d-resnets, found {self.style} with shortcut "
                f"{self.shortcut} and widen {self.widen}. Leave them alone or change the style."
            )

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of the four stages."""
        return tuple(int(width * (1.0 if self.widen is None else self.widen)) for width in WIDTHS)


class R2Plus1D(VideoResNet):
    """forward(clip_BTNCHW) -> logits_BK; any number of frames and any side."""

    def __init__(self, config: R2Plus1DConfig, num_classes: int) -> None:
        super().__init__()
        dialect = _DIALECTS[config.style]
        width = config.widths[0]
        frames = dialect.stem_frames if config.conv1_t_size is None else config.conv1_t_size
        middle = dialect.stem_middle or factor_channels(3, width, frames, 7)
        self.conv1_s = nn.Conv3d(config.in_channels, middle, (1, 7, 7), (1, 2, 2), (0, 3, 3), bias=False)
        self.bn1_s = nn.BatchNorm3d(middle)
        self.conv1_t = TemporalConv(middle, width, frames, config.conv1_t_stride)
        self.bn1_t = nn.BatchNorm3d(width)
        # VMZ pools in front of its bottlenecks (pt/vmz/models/r2plus1d.py, `use_pool1`).
        by_style = dialect.pooled or (config.style == "vmz" and config.is_bottleneck)
        pooled = by_style if config.max_pool is None else config.max_pool
        self.maxpool = max_pool(dialect.pool) if pooled else nn.Identity()
        self.add_stages(config, width, num_classes, partial(_block, config, dialect))
        for module in self.modules():
            if isinstance(module, nn.BatchNorm3d):
                module.eps, module.momentum = dialect.bn_eps, dialect.bn_momentum

    def stem(self, x_BCTHW: Tensor) -> Tensor:
        x_BCTHW = functional.relu(self.bn1_s(self.conv1_s(x_BCTHW)), inplace=True)
        out: Tensor = self.maxpool(functional.relu(self.bn1_t(self.conv1_t(x_BCTHW)), inplace=True))
        return out


def factor_channels(in_channels: int, out_channels: int, frames: int = 3, side: int = 3) -> int:
    """M, so that (1, side, side) into M and (frames, 1, 1) out of M have the weights of (frames, side, side).

    Tran et al. 2018, section 3.5, rounded down.

    >>> factor_channels(64, 64), factor_channels(3, 64, 7, 7), factor_channels(3, 64, 3, 7)
    (144, 110, 83)
    """
    area = side * side
    return frames * area * in_channels * out_channels // (area * in_channels + frames * out_channels)


def _block(config: R2Plus1DConfig, dialect: _Dialect, stage: int, in_channels: int, stride: int) -> Block:
    width = config.widths[stage]
    shared = factor_channels(in_channels, width) if dialect.shared_middle else None
    convs: dict[str, nn.Conv3d]
    if config.is_bottleneck:
        out_channels = BOTTLENECK_EXPANSION * width
        convs = {
            "1": nn.Conv3d(in_channels, width, 1, bias=False),
            **_factorised("2", width, width, stride, shared),
            "3": nn.Conv3d(width, out_channels, 1, bias=False),
        }
    else:
        out_channels = width
        convs = {
            **_factorised("1", in_channels, width, stride, shared),
            **_factorised("2", width, width, 1, shared),
        }
    return Block(convs, shortcut(config.shortcut, in_channels, out_channels, (stride, stride, stride)))


def _factorised(key: str, in_channels: int, out_channels: int, stride: int, middle: int | None) -> dict[str, nn.Conv3d]:
    if middle is None:
        middle = factor_channels(in_channels, out_channels)
    return {
        f"{key}_s": nn.Conv3d(in_channels, middle, (1, 3, 3), (1, stride, stride), (0, 1, 1), bias=False),
        f"{key}_t": TemporalConv(middle, out_channels, 3, stride),
    }


def inputs(config: R2Plus1DConfig) -> InputSpec:
    return clip_inputs(config, PROTOCOLS[config.style])


def _built(fields: Fields) -> R2Plus1D:
    return R2Plus1D(R2Plus1DConfig(**fields), 1)


MODEL = ModelSpec(
    config=R2Plus1DConfig,
    inputs=inputs,
    build=R2Plus1D,
    recipe=RECIPE,
    weights=WEIGHTS,
    layouts={
        "3d-resnets": table_layout("3d-resnets", kenshohara_name, infer("3d-resnets"), _built),
        "torchvision": table_layout("torchvision", torchvision_name, infer("torchvision"), _built),
        "vmz": table_layout("vmz", torchvision_name, infer("vmz"), _built),
        "x-temporal": table_layout("x-temporal", x_temporal_name, infer("x-temporal"), _built),
    },
    tiny=R2Plus1DConfig(
        depth=10, widen=0.25, frames=8, crop=32, short_side=40, test_short_side=32, conv1_t_size=3, test_clips=2
    ),
    summary="ResNets of 1x3x3 and 3x1x1 convolutions in turn; 3D-ResNets', torchvision's, VMZ's and X-Temporal's",
    paper="Tran et al., A Closer Look at Spatiotemporal Convolutions for Action Recognition, CVPR 2018",
)
