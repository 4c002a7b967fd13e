"""What the 3D ResNets and R(2+1)D have in common: stages of residual blocks, shortcuts, freezing, configuration.

clip_BTNCHW -> x_BC(TN)HW -> stem -> layer1 ... layer4 -> average over time and space -> dropout -> fc -> logits_BK
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from torch import Tensor, nn
from torch.nn import functional

from vtk_cli.api.inputs import CHANNELS
from vtk_cli.errors import UsageError

BLOCKS = {
    10: (1, 1, 1, 1),
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
    200: (3, 24, 36, 3),
}
"""Residual blocks per stage, by depth; from 50 on they are bottlenecks (3D-ResNets-PyTorch models/resnet.py)."""

FIRST_BOTTLENECK_DEPTH = 50

WIDTHS = (64, 128, 256, 512)

Style = Literal["3d-resnets", "torchvision", "vmz", "x-temporal"]
Stage = Literal["conv1", "layer1", "layer2", "layer3", "layer4", "fc"]
Modality = Literal["rgb", "flow", "warped"]
Crop = Literal["resized", "corners", "random", "multiscale", "centre"]

TEMPORAL_POOL = 3
SPATIAL_POOL = 1
"""Frames that the max pool behind the stem spans, and halves where it spans several."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoResNetConfig:
    style: Style = "3d-resnets"
    """Whose network and protocol: decides everything below that is None."""
    depth: int = 18
    """10, 18, 34 (basic blocks), 50, 101, 152, 200 (bottlenecks)."""
    shortcut: Literal["A", "B"] = "B"
    """Where a block changes its input's shape: `A` takes every other place, appends channels of zeros and passes no
    gradient on, as the original; `B` is a 1x1x1 convolution."""
    conv1_t_size: int | None = None
    """Frames that the stem's kernel spans; None is the style's: 7 of 3d-resnets, 3 of torchvision and vmz."""
    conv1_t_stride: int = 1
    max_pool: bool | None = None
    """Whether a max pool follows the stem; None is the style's."""
    widen: float | None = None
    """Factor on the channels of every stage; None is 1 (2 for wide blocks)."""
    modality: Modality = "rgb"
    train_from: Stage = "conv1"
    """The first stage to learn (the original's ft_begin_module); those before it keep their weights, while their batch
    norms go on updating their statistics."""
    dropout: float = 0.0
    """Before fc."""
    frames: int = 16
    stride: int | None = None
    """Of the frames of a clip; None is the style's: 1 of 3d-resnets; 2 of torchvision and vmz, whose 15 frames a second
    are every other one of 30."""
    crop: int = 112
    short_side: int | None = None
    """Of training pictures; None is the style's: 256 of 3d-resnets, 128 else."""
    test_short_side: int | None = None
    """None is the style's: the crop of 3d-resnets, 128 else."""
    test_clips: int | None = None
    """Temporal views; 0 is windows one after another over the whole video, None the style's."""
    train_crop: Crop | None = None
    """None is the style's: `resized` of 3d-resnets (which has `corners` and `centre` too), `random` of torchvision and
    vmz, `multiscale` of x-temporal."""

    def __post_init__(self) -> None:
        if self.depth not in BLOCKS:
            raise UsageError(f"A video ResNet has depth {', '.join(map(str, BLOCKS))}, found {self.depth}. Take one.")
        _one_of("modality", self.modality, get_args(Modality))
        _one_of("shortcut", self.shortcut, ("A", "B"))
        _one_of("train_from", self.train_from, get_args(Stage))
        for name in ("conv1_t_size", "conv1_t_stride", "frames", "widen"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise UsageError(f"{name} is above 0, found {value}. Raise it.")
        if not 0 <= self.dropout < 1:
            raise UsageError(f"A dropout lies in [0, 1), found {self.dropout}. Lower it.")

    @property
    def in_channels(self) -> int:
        return CHANNELS[self.modality]

    @property
    def is_bottleneck(self) -> bool:
        return self.depth >= FIRST_BOTTLENECK_DEPTH


def check_style(style: str, known: tuple[str, ...]) -> None:
    """Raises UsageError for a style that a model does not have."""
    _one_of("style", style, known)


class Subsample(nn.Module):
    """Shortcut A: x_BCTHW at every other place, zeros as further channels; no gradient passes."""

    def __init__(self, in_channels: int, out_channels: int, stride: tuple[int, int, int]) -> None:
        super().__init__()
        self.more_channels = out_channels - in_channels
        self.stride = stride

    def forward(self, x_BCTHW: Tensor) -> Tensor:
        time, height, width = self.stride
        # Detached because the original concatenates `out.data` (models/resnet.py, `_downsample_basic_block`).
        kept = x_BCTHW.detach()[:, :, ::time, ::height, ::width]
        return functional.pad(kept, (0, 0, 0, 0, 0, 0, 0, self.more_channels))


def shortcut(
    kind: Literal["A", "B"], in_channels: int, out_channels: int, stride: tuple[int, int, int]
) -> nn.Module | None:
    """What brings a block's input to the shape of its output; None where it has it."""
    if in_channels == out_channels and max(stride) == 1:
        return None
    if kind == "A":
        return Subsample(in_channels, out_channels, stride)
    return nn.Sequential(
        nn.Conv3d(in_channels, out_channels, 1, stride, bias=False),
        nn.BatchNorm3d(out_channels),
    )


class Block(nn.Module):
    """relu(convolutions(x) + shortcut(x)); each convolution has its batch norm, and a ReLU but for the last.

    `convs` are called conv<key>, their batch norms bn<key>: 1, 2, 3 or 1_s, 1_t (spatial, temporal).
    """

    def __init__(self, convs: Mapping[str, nn.Conv3d], downsample: nn.Module | None) -> None:
        super().__init__()
        self.keys = tuple(convs)
        for key, conv in convs.items():
            self.add_module(f"conv{key}", conv)
            self.add_module(f"bn{key}", nn.BatchNorm3d(self.normed_channels(conv)))
        self.downsample = downsample
        self.out_channels = convs[self.keys[-1]].out_channels

    @staticmethod
    def normed_channels(conv: nn.Conv3d) -> int:
        return conv.out_channels

    def forward(self, x_BCTHW: Tensor) -> Tensor:
        out = x_BCTHW
        for key in self.keys[:-1]:
            out = functional.relu(self._norm(key, self._conv(key, out)), inplace=True)
        out = self._norm(self.keys[-1], self._conv(self.keys[-1], out))
        out += x_BCTHW if self.downsample is None else self.downsample(x_BCTHW)
        return functional.relu(out, inplace=True)

    def _conv(self, key: str, x_BCTHW: Tensor) -> Tensor:
        out: Tensor = getattr(self, f"conv{key}")(x_BCTHW)
        return out

    def _norm(self, key: str, x_BCTHW: Tensor) -> Tensor:
        out: Tensor = getattr(self, f"bn{key}")(x_BCTHW)
        return out


class PreActivationBlock(Block):
    """convolutions(x) + shortcut(x), with batch norm and ReLU before each convolution and none after the last."""

    @staticmethod
    def normed_channels(conv: nn.Conv3d) -> int:
        return conv.in_channels

    def forward(self, x_BCTHW: Tensor) -> Tensor:
        out = x_BCTHW
        for key in self.keys:
            out = self._conv(key, functional.relu(self._norm(key, out), inplace=True))
        out += x_BCTHW if self.downsample is None else self.downsample(x_BCTHW)
        return out


class VideoResNet(nn.Module):
    """forward(clip_BTNCHW) -> logits_BK; segments and their frames are one row of frames. Any size from 1 frame on.

    A subclass builds its stem, then calls `add_stages`.
    """

    layer1: nn.Sequential
    layer2: nn.Sequential
    layer3: nn.Sequential
    layer4: nn.Sequential

    def add_stages(
        self, config: VideoResNetConfig, channels: int, num_classes: int, block: Callable[[int, int, int], Block]
    ) -> None:
        """layer1 to layer4 and fc, behind a stem of so many channels.

        `block` is called with the stage (0 to 3), the channels it is given and its stride.
        """
        for stage, count in enumerate(BLOCKS[config.depth]):
            blocks = []
            for place in range(count):
                blocks.append(block(stage, channels, 2 if stage > 0 and place == 0 else 1))
                channels = blocks[-1].out_channels
            self.add_module(f"layer{stage + 1}", nn.Sequential(*blocks))
        self.dropout = nn.Dropout(config.dropout)
        self.fc = nn.Linear(channels, num_classes)
        self._initialise(config)
        self._freeze(config.train_from)

    def stem(self, x_BCTHW: Tensor) -> Tensor:
        """Everything before layer1."""
        raise NotImplementedError

    def forward(self, clip_BTNCHW: Tensor) -> Tensor:
        x_BCTHW = self.stem(clip_BTNCHW.flatten(1, 2).transpose(1, 2))
        x_BCTHW = self.layer4(self.layer3(self.layer2(self.layer1(x_BCTHW))))
        logits_BK: Tensor = self.fc(self.dropout(x_BCTHW.mean((2, 3, 4))))
        return logits_BK

    def _initialise(self, config: VideoResNetConfig) -> None:
        """Kaiming normal over fan-out; torchvision draws fc from N(0, 0.01), the others leave it to torch."""
        for module in self.modules():
            if isinstance(module, nn.Conv3d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        if config.style in ("torchvision", "vmz"):
            nn.init.normal_(self.fc.weight, std=0.01)
            nn.init.zeros_(self.fc.bias)

    def _freeze(self, train_from: Stage) -> None:
        stages = get_args(Stage)
        learning = stages[stages.index(train_from) :]
        for name, parameter in self.named_parameters():
            stage = name.partition(".")[0]
            parameter.requires_grad_((stage if stage in stages[1:] else "conv1") in learning)


def max_pool(frames: int) -> nn.MaxPool3d:
    """3x3 in space with stride 2; over 3 frames with stride 2, or over one."""
    stride = 1 if frames == SPATIAL_POOL else 2
    return nn.MaxPool3d((frames, 3, 3), (stride, 2, 2), (frames // 2, 1, 1))


def _one_of(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise UsageError(f'{name} is one of {", ".join(known)}, found "{value}". Name one of them.')
