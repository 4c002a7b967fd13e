"""3D ResNets (Hara et al., CVPR 2018), as 3D-ResNets-PyTorch, torchvision and X-Temporal build them.

Frames (of 16)  16 stem  8 pool  8 layer1  4 layer2  2 layer3  1 layer4       torchvision: 16, no pool, 16  8  4  2
Side (of 112)   56       28      28        14        7         4                           56           56 28 14  7

r3d_18 is a ResNet-18 with three frames in the stem and no pool; in mc3_18 only layer1 spans several frames.
"""

from dataclasses import dataclass
from functools import partial
from typing import Literal

from torch import Tensor, nn
from torch.nn import functional

from vtk_cli.api.inputs import InputSpec
from vtk_cli.api.models import ModelSpec
from vtk_cli.errors import UsageError
from vtk_models.conv3d import Conv3d
from vtk_models.resnet3d_layouts import infer, same_name, torchvision_name
from vtk_models.resnet3d_weights import WEIGHTS
from vtk_models.video_resnet import (
    TEMPORAL_POOL,
    WIDTHS,
    Block,
    PreActivationBlock,
    VideoResNet,
    VideoResNetConfig,
    check_style,
    max_pool,
    shortcut,
)
from vtk_models.video_resnet_inputs import KENSHOHARA, RECIPE, TORCHVISION, X_TEMPORAL, clip_inputs
from vtk_models.video_resnet_layouts import Fields, table_layout

BlockKind = Literal["plain", "preactivation", "wide", "resnext"]
Style = Literal["3d-resnets", "torchvision", "x-temporal"]

PROTOCOLS = {"3d-resnets": KENSHOHARA, "torchvision": TORCHVISION, "x-temporal": X_TEMPORAL}

EXPANSION = {"plain": 4, "preactivation": 4, "wide": 2, "resnext": 2}
"""Channels that a bottleneck gives, as multiples of its stage's."""

RESNEXT_WIDTH = 2
"""Channels of ResNeXt's stages, and of its stem, over those of the others: 128, 256, 512, 1024."""

RESNEXT_CARDINALITY = 32
"""With it a ResNeXt block's 3x3x3 convolution is as wide as its stage."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResNet3DConfig(VideoResNetConfig):
    style: Style = "3d-resnets"
    """Whose stem, pool and protocol: 3d-resnets (x-temporal's network is the same) or torchvision."""
    block: BlockKind = "plain"
    """`plain`; `preactivation`: batch norm and ReLU before each convolution; `wide`: bottlenecks of twice the channels
    inside; `resnext`: bottlenecks with grouped convolutions. The last two exist from depth 50 on."""
    cardinality: int = RESNEXT_CARDINALITY
    """Groups of ResNeXt's convolutions."""
    temporal_stages: int = 4
    """How many of layer1 to layer4 span three frames and halve their number; the others look at one: 1 is mc3_18."""

    def __post_init__(self) -> None:
        VideoResNetConfig.__post_init__(self)
        check_style(self.style, tuple(PROTOCOLS))
        if self.block not in EXPANSION:
            raise UsageError(f'A block is {", ".join(EXPANSION)}, found "{self.block}". Name one of them.')
        if self.block in ("wide", "resnext") and not self.is_bottleneck:
            raise UsageError(f"Blocks of the kind {self.block} exist from depth 50 on, found {self.depth}. Raise it.")
        if not 0 <= self.temporal_stages <= len(WIDTHS):
            raise UsageError(f"temporal_stages lies in 0 to {len(WIDTHS)}, found {self.temporal_stages}. Change it.")
        if self.cardinality < 1:
            raise UsageError(f"A cardinality is at least 1, found {self.cardinality}. Raise it.")

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of the four stages, inside their blocks; the first is the stem's."""
        factor = (2.0 if self.block == "wide" else 1.0) if self.widen is None else self.widen
        base = RESNEXT_WIDTH if self.block == "resnext" else 1
        return tuple(int(base * width * factor) for width in WIDTHS)


class ResNet3D(VideoResNet):
    """forward(clip_BTNCHW) -> logits_BK; any number of frames, sides from 17 pixels on."""

    def __init__(self, config: ResNet3DConfig, num_classes: int) -> None:
        super().__init__()
        frames = (3 if config.style == "torchvision" else 7) if config.conv1_t_size is None else config.conv1_t_size
        width = config.widths[0]
        self.conv1 = Conv3d(
            config.in_channels,
            width,
            (frames, 7, 7),
            (config.conv1_t_stride, 2, 2),
            (frames // 2, 3, 3),
            bias=False,
        )
        self.bn1 = nn.BatchNorm3d(width)
        pooled = config.style != "torchvision" if config.max_pool is None else config.max_pool
        self.maxpool = max_pool(TEMPORAL_POOL) if pooled else nn.Identity()
        self.add_stages(config, width, num_classes, partial(_block, config))

    def stem(self, x_BCTHW: Tensor) -> Tensor:
        out: Tensor = self.maxpool(functional.relu(self.bn1(self.conv1(x_BCTHW)), inplace=True))
        return out


def _block(config: ResNet3DConfig, stage: int, in_channels: int, stride: int) -> Block:
    width = config.widths[stage]
    frames = 3 if stage < config.temporal_stages else 1
    steps = (stride if frames > 1 else 1, stride, stride)
    if config.is_bottleneck:
        convs = _bottleneck(config, in_channels, width, frames, steps)
    else:
        convs = {"1": _conv(in_channels, width, frames, steps), "2": _conv(width, width, frames)}
    downsample = shortcut(config.shortcut, in_channels, list(convs.values())[-1].out_channels, steps)
    return (PreActivationBlock if config.block == "preactivation" else Block)(convs, downsample)


def _bottleneck(
    config: ResNet3DConfig, in_channels: int, width: int, frames: int, steps: tuple[int, int, int]
) -> dict[str, nn.Conv3d]:
    groups = config.cardinality if config.block == "resnext" else 1
    inside = groups * width // RESNEXT_CARDINALITY if config.block == "resnext" else width
    return {
        "1": nn.Conv3d(in_channels, inside, 1, bias=False),
        "2": _conv(inside, inside, frames, steps, groups),
        "3": nn.Conv3d(inside, EXPANSION[config.block] * width, 1, bias=False),
    }


def _conv(
    in_channels: int, out_channels: int, frames: int, steps: tuple[int, int, int] = (1, 1, 1), groups: int = 1
) -> Conv3d:
    return Conv3d(in_channels, out_channels, (frames, 3, 3), steps, (frames // 2, 1, 1), groups=groups, bias=False)


def inputs(config: ResNet3DConfig) -> InputSpec:
    return clip_inputs(config, PROTOCOLS[config.style])


def _built(fields: Fields) -> ResNet3D:
    return ResNet3D(ResNet3DConfig(**fields), 1)


MODEL = ModelSpec(
    config=ResNet3DConfig,
    inputs=inputs,
    build=ResNet3D,
    recipe=RECIPE,
    weights=WEIGHTS,
    layouts={
        "3d-resnets": table_layout("3d-resnets", same_name, infer("3d-resnets"), _built),
        "torchvision": table_layout("torchvision", torchvision_name, infer("torchvision"), _built),
        "x-temporal": table_layout("x-temporal", same_name, infer("x-temporal"), _built),
    },
    tiny=ResNet3DConfig(
        depth=10, widen=0.25, frames=8, crop=32, short_side=40, test_short_side=32, conv1_t_size=3, test_clips=2
    ),
    summary="ResNets of 3x3x3 convolutions; 3D-ResNets, torchvision's r3d_18 and mc3_18, wide, pre-activation, ResNeXt",
    paper="Hara et al., Can Spatiotemporal 3D CNNs Retrace the History of 2D CNNs and ImageNet?, CVPR 2018",
)
