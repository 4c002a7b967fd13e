"""The video ResNet of C2D, I3D, Slow and both pathways of SlowFast: bottlenecks whose first convolution spans frames.

    block    Tx1x1, 1x3x3 with the stride, 1x1x1, each with batch norm; a shortcut
    stem     Tx7x7 stride 1x2x2, batch norm, ReLU, max pool 1x3x3 stride 1x2x2

                      stem T  layer1  layer2     layer3     layer4     pool 2x1x1 after layer1
    C2D               1       1       1          1          1          yes
    I3D               5       3       3 1 3 1    3 1 3 ...  1 3 1      yes
    Slow              1       1       1          3          3          no
    Fast              5       3       3          3          3          no

Time is never strided but by I3D's and C2D's pool. Layers are named as torchvision names them; layer1 is the papers'
res2. Source: facebookresearch/SlowFast slowfast/models/video_model_builder.py, `_TEMPORAL_KERNEL_BASIS`, `_POOL1`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from vtk_cli.errors import UsageError
from vtk_models.conv3d import Conv3d, TemporalConv
from vtk_models.trunks.resnet import BLOCKS

EXPANSION = 4

Channels = int
NonLocal = Callable[[Channels], nn.Module]
"""Makes the non-local block for a map of so many channels."""

Places = Sequence[Sequence[int]]
"""Blocks by number, from 0, for each of the four layers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kernels:
    """How many frames the convolutions of a video ResNet span."""

    stem: int
    layers: tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...], tuple[int, ...]]
    """Of the first convolutions of each layer's blocks; repeated where a layer has more blocks."""
    pool: bool
    """Halve the frames after layer1."""


C2D = Kernels(stem=1, layers=((1,), (1,), (1,), (1,)), pool=True)
I3D = Kernels(stem=5, layers=((3,), (3, 1), (3, 1), (1, 3)), pool=True)
SLOW = Kernels(stem=1, layers=((1,), (1,), (3,), (3,)), pool=False)
FAST = Kernels(stem=5, layers=((3,), (3,), (3,), (3,)), pool=False)


class FrameConv(nn.Conv3d):
    """A kernel (1, h, w), computed as a Conv2d on each frame; parameters keep their five dimensions.

    The same numbers in less time on processors (1x3x3, one thread: a half to a seventh of Conv3d's).
    """

    def __init__(self, in_channels: int, out_channels: int, side: int, stride: int) -> None:
        super().__init__(
            in_channels, out_channels, (1, side, side), (1, stride, stride), (0, side // 2, side // 2), bias=False
        )

    def forward(self, x_BCTHW: Tensor) -> Tensor:
        x_SCHW = x_BCTHW.transpose(1, 2).flatten(0, 1)  # S: the frames of all clips
        rows, columns = int(self.padding[1]), int(self.padding[2])
        out_SCHW = functional.conv2d(x_SCHW, self.weight.squeeze(2), None, self.stride[1:], (rows, columns))
        out_BCTHW = out_SCHW.view(-1, x_BCTHW.shape[2], *out_SCHW.shape[1:]).transpose(1, 2)
        # One of torch's own layouts: batch norms would copy any other, and compiled gradients refuse it.
        last = out_SCHW.is_contiguous(memory_format=torch.channels_last) and not out_SCHW.is_contiguous()
        return out_BCTHW.contiguous(memory_format=torch.channels_last_3d if last else torch.contiguous_format)


class Bottleneck(nn.Module):
    """x_BCTHW -> x_B(4 width)THW; `non_local`, where there is one, comes after the shortcut's sum."""

    def __init__(self, in_channels: int, width: int, *, kernel: int, stride: int, non_local: NonLocal | None) -> None:
        super().__init__()
        out_channels = width * EXPANSION
        self.conv1 = TemporalConv(in_channels, width, kernel)
        self.bn1 = nn.BatchNorm3d(width)
        self.conv2 = FrameConv(width, width, 3, stride)
        self.bn2 = nn.BatchNorm3d(width)
        self.conv3 = TemporalConv(width, out_channels, 1)
        self.bn3 = nn.BatchNorm3d(out_channels)
        self.downsample = None
        if stride != 1 or in_channels != out_channels:
            self.downsample = nn.Sequential(
                FrameConv(in_channels, out_channels, 1, stride), nn.BatchNorm3d(out_channels)
            )
        self.non_local = None if non_local is None else non_local(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        identity = x if self.downsample is None else self.downsample(x)
        out = functional.relu(self.bn1(self.conv1(x)), inplace=True)
        out = functional.relu(self.bn2(self.conv2(out)), inplace=True)
        out = self.bn3(self.conv3(out))
        out += identity
        out = functional.relu(out, inplace=True)
        return out if self.non_local is None else self.non_local(out)


class InflatedResNet(nn.Module):
    """x_BCTHW -> x_BDthw: side 1/32; a half of the frames where `kernels.pool`, else all of them.

    `stem` and the `layers` may also be called one by one, with `halve` after layer1, as SlowFast does.
    """

    stem_conv = "conv1"

    def __init__(
        self,
        kernels: Kernels,
        depth: int = 50,
        *,
        in_channels: int = 3,
        width: int = 64,
        joined: Sequence[int] = (0, 0, 0, 0),
        temporal_blocks: Sequence[int | None] = (None, None, None, None),
        non_local: NonLocal | None = None,
        non_local_after: Places = ((), (), (), ()),
    ) -> None:
        """Build it; weights are initialised as PySlowFast does, see `initialise`.

        Args:
            kernels: the temporal kernels, one of C2D, I3D, SLOW and FAST.
            depth: 50, 101 or 152.
            in_channels: of the clip.
            width: channels of the stem; layers have 4, 8, 16 and 32 times as many.
            joined: channels that lateral connections add to what each layer reads.
            temporal_blocks: how many blocks of each layer keep their temporal kernel, the rest have 1; None is all
                (PySlowFast's NUM_BLOCK_TEMP_KERNEL).
            non_local: makes the non-local blocks.
            non_local_after: the blocks of each layer after which there is one.

        Raises:
            UsageError: there is no such depth, or a layer has no such block.
        """
        super().__init__()
        _check(depth, non_local_after)
        self.stage_channels = tuple(width * 2**stage * EXPANSION for stage in range(4))
        self.num_features = self.stage_channels[-1]
        self.conv1 = _stem_conv(in_channels, width, kernels.stem)
        self.bn1 = nn.BatchNorm3d(width)
        self.maxpool = nn.MaxPool3d((1, 3, 3), (1, 2, 2), (0, 1, 1))
        self.halve = nn.MaxPool3d((2, 1, 1), (2, 1, 1)) if kernels.pool else nn.Identity()
        self.layer1, self.layer2, self.layer3, self.layer4 = (
            _layer(
                block_kernels(kernels.layers[stage], BLOCKS[depth][stage], temporal_blocks[stage]),
                in_channels=channels + joined[stage],
                width=width * 2**stage,
                stride=2 if stage > 0 else 1,
                non_local=non_local,
                places=non_local_after[stage],
            )
            for stage, channels in enumerate((width, *self.stage_channels[:3]))
        )
        initialise(self)

    @property
    def layers(self) -> tuple[nn.Sequential, ...]:
        """layer1 to layer4, for models that do something between them."""
        return self.layer1, self.layer2, self.layer3, self.layer4

    def stem(self, x_BCTHW: Tensor) -> Tensor:
        """Everything before layer1: a quarter of the side, all frames."""
        out: Tensor = self.maxpool(functional.relu(self.bn1(self.conv1(x_BCTHW)), inplace=True))
        return out

    def forward(self, x_BCTHW: Tensor) -> Tensor:
        x = self.halve(self.layer1(self.stem(x_BCTHW)))
        out: Tensor = self.layer4(self.layer3(self.layer2(x)))
        return out


def block_kernels(pattern: Sequence[int], blocks: int, temporal_blocks: int | None = None) -> list[int]:
    """The temporal kernel of each block of a layer.

    >>> block_kernels((3, 1), 4)
    [3, 1, 3, 1]
    >>> block_kernels((3,), 6, 2)
    [3, 3, 1, 1, 1, 1]
    """
    most = blocks if temporal_blocks is None else temporal_blocks
    return [pattern[block % len(pattern)] if block < most else 1 for block in range(blocks)]


def initialise(module: nn.Module) -> None:
    """PySlowFast's `init_weights`: He's normal over the outputs; every residual branch and non-local block adds zero.

    Linear layers N(0, 0.01), biases 0. Non-local blocks begin at zero by themselves (their batch norm does).
    """
    if next(module.parameters()).is_meta:
        return  # nothing to fill, and drawing there imports torch's compiler, which takes seconds
    for layer in module.modules():
        if isinstance(layer, nn.Conv3d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, std=0.01)
        elif isinstance(layer, Bottleneck):
            nn.init.zeros_(layer.bn3.weight)
        if isinstance(layer, nn.Conv3d | nn.Linear) and layer.bias is not None:
            nn.init.zeros_(layer.bias)


def _stem_conv(in_channels: int, width: int, frames: int) -> nn.Conv3d:
    if frames == 1:
        return FrameConv(in_channels, width, 7, 2)
    return Conv3d(in_channels, width, (frames, 7, 7), (1, 2, 2), (frames // 2, 3, 3), bias=False)


def _layer(
    spans: Sequence[int],
    *,
    in_channels: int,
    width: int,
    stride: int,
    non_local: NonLocal | None,
    places: Sequence[int],
) -> nn.Sequential:
    return nn.Sequential(
        *(
            Bottleneck(
                in_channels if block == 0 else width * EXPANSION,
                width,
                kernel=kernel,
                stride=stride if block == 0 else 1,
                non_local=non_local if block in places else None,
            )
            for block, kernel in enumerate(spans)
        )
    )


def _check(depth: int, non_local_after: Places) -> None:
    if depth not in BLOCKS or depth < 50:
        raise UsageError(f"A ResNet of bottlenecks has the depth 50, 101 or 152, found {depth}.")
    if len(non_local_after) != len(BLOCKS[depth]):
        raise UsageError(f"Non-local blocks are placed in 4 layers, found places for {len(non_local_after)}.")
    for stage, (places, blocks) in enumerate(zip(non_local_after, BLOCKS[depth], strict=True)):
        if any(not 0 <= place < blocks for place in places):
            raise UsageError(
                f"Layer {stage + 1} of a ResNet-{depth} has the blocks 0 to {blocks - 1}, found non-local blocks after "
                f"{', '.join(map(str, places))}. Choose other blocks."
            )
