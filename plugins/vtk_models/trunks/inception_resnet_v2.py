"""Inception-ResNet-v2 without classifier (Szegedy et al., AAAI 2017); names and arithmetic as timm's.

Every convolution named below has no bias and is followed by a batch norm and a ReLU; nothing pads but where a branch
has to keep its size. A residual block adds its branches, brought to the input's channels and scaled down, to the input.

    stem      conv 3x3/2, 3x3, 3x3 - max pool /2 - conv 1x1, 3x3 - max pool /2        192 channels, 1/8 of the picture
    stage A   mixed_5b, then 10 blocks scaled by 0.17                                  320             1/8
    stage B   mixed_6a halves the map, then 20 blocks by 0.10                         1088            1/16
    stage C   mixed_7a halves the map, then 9 blocks by 0.20 and one by 1, no ReLU    2080            1/32
              conv2d_7b                                                               1536
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from vtk_cli.api.inputs import Norm
from vtk_cli.api.models import StateDict, TrunkSpec, Weights
from vtk_models.layouts import convert

Kernel = int | tuple[int, int]
Layers = tuple[tuple[int, Kernel], ...]
"""Output channels and kernel of the convolutions of a branch, one after the other."""

NORM_EPS = 1e-3


class Conv(nn.Module):
    """Convolution, batch norm, ReLU; the size is kept where `same`."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel: Kernel, stride: int = 1, *, same: bool = True
    ) -> None:
        super().__init__()
        sides = (kernel, kernel) if isinstance(kernel, int) else kernel
        padding = (sides[0] // 2, sides[1] // 2) if same else 0
        self.conv = nn.Conv2d(in_channels, out_channels, sides, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(out_channels, eps=NORM_EPS)

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.bn(self.conv(x)), inplace=True)


class Residual(nn.Module):
    """x + scale * conv(branches of x), and a ReLU but in the last block."""

    def __init__(self, channels: int, branches: tuple[Layers, ...], scale: float, *, relu: bool = True) -> None:
        super().__init__()
        self.scale = scale
        self.relu = relu
        self.branches = len(branches)
        for number, layers in enumerate(branches):
            self.add_module(f"branch{number}", _branch(channels, layers))
        self.conv2d = nn.Conv2d(sum(layers[-1][0] for layers in branches), channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        joined = torch.cat([self.get_submodule(f"branch{number}")(x) for number in range(self.branches)], 1)
        out = torch.add(x, self.conv2d(joined), alpha=self.scale)
        return functional.relu(out, inplace=True) if self.relu else out


class Mixed5b(nn.Module):
    """192 -> 320 channels; the average leaves the padding out."""

    def __init__(self) -> None:
        super().__init__()
        self.branch0 = Conv(192, 96, 1)
        self.branch1 = _branch(192, ((48, 1), (64, 5)))
        self.branch2 = _branch(192, ((64, 1), (96, 3), (96, 3)))
        self.branch3 = nn.Sequential(nn.AvgPool2d(3, 1, 1, count_include_pad=False), Conv(192, 64, 1))

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat((self.branch0(x), self.branch1(x), self.branch2(x), self.branch3(x)), 1)


class Reduction(nn.Module):
    """Branches that end in a 3x3 convolution of stride 2, beside a max pool."""

    def __init__(self, channels: int, branches: tuple[Layers, ...]) -> None:
        super().__init__()
        self.branches = len(branches)
        for number, layers in enumerate(branches):
            self.add_module(f"branch{number}", _branch(channels, layers, halve=True))

    def forward(self, x: Tensor) -> Tensor:
        parts = [self.get_submodule(f"branch{number}")(x) for number in range(self.branches)]
        return torch.cat((*parts, functional.max_pool2d(x, 3, 2)), 1)


BLOCK35: tuple[Layers, ...] = (((32, 1),), ((32, 1), (32, 3)), ((32, 1), (48, 3), (64, 3)))
BLOCK17: tuple[Layers, ...] = (((192, 1),), ((128, 1), (160, (1, 7)), (192, (7, 1))))
BLOCK8: tuple[Layers, ...] = (((192, 1),), ((192, 1), (224, (1, 3)), (256, (3, 1))))
MIXED_6A: tuple[Layers, ...] = (((384, 3),), ((256, 1), (256, 3), (384, 3)))
MIXED_7A: tuple[Layers, ...] = (((256, 1), (384, 3)), ((256, 1), (288, 3)), ((256, 1), (288, 3), (320, 3)))


class InceptionResNetV2(nn.Module):
    """An image network: x_BCHW -> feature_BD; sides from 75 pixels on, made for 299."""

    stem_conv = "conv2d_1a.conv"
    num_features = 1536
    stage_channels = (320, 1088, 1536)

    def __init__(self, in_channels: int = 3) -> None:
        super().__init__()
        self.conv2d_1a = Conv(in_channels, 32, 3, 2, same=False)
        self.conv2d_2a = Conv(32, 32, 3, same=False)
        self.conv2d_2b = Conv(32, 64, 3)
        self.conv2d_3b = Conv(64, 80, 1)
        self.conv2d_4a = Conv(80, 192, 3, same=False)
        self.mixed_5b = Mixed5b()
        self.repeat = nn.Sequential(*(Residual(320, BLOCK35, 0.17) for _ in range(10)))
        self.mixed_6a = Reduction(320, MIXED_6A)
        self.repeat_1 = nn.Sequential(*(Residual(1088, BLOCK17, 0.10) for _ in range(20)))
        self.mixed_7a = Reduction(1088, MIXED_7A)
        self.repeat_2 = nn.Sequential(*(Residual(2080, BLOCK8, 0.20) for _ in range(9)))
        self.block8 = Residual(2080, BLOCK8, 1.0, relu=False)
        self.conv2d_7b = Conv(2080, self.num_features, 1)
        self.avgpool = nn.AdaptiveAvgPool2d(1)

    @property
    def stages(self) -> tuple[Callable[[Tensor], Tensor], ...]:
        """A, B and C, for models that have something to do between them."""
        return self.stage_a, self.stage_b, self.stage_c

    def stem(self, x_BCHW: Tensor) -> Tensor:
        """Everything before stage A: 192 channels at an eighth of the size."""
        x = functional.max_pool2d(self.conv2d_2b(self.conv2d_2a(self.conv2d_1a(x_BCHW))), 3, 2)
        return functional.max_pool2d(self.conv2d_4a(self.conv2d_3b(x)), 3, 2)

    def stage_a(self, x: Tensor) -> Tensor:
        out: Tensor = self.repeat(self.mixed_5b(x))
        return out

    def stage_b(self, x: Tensor) -> Tensor:
        out: Tensor = self.repeat_1(self.mixed_6a(x))
        return out

    def stage_c(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv2d_7b(self.block8(self.repeat_2(self.mixed_7a(x))))
        return out

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return feature_BD, the average over the last map."""
        x = self.stage_c(self.stage_b(self.stage_a(self.stem(x_BCHW))))
        feature_BD: Tensor = self.avgpool(x).flatten(1)
        return feature_BD


def _branch(in_channels: int, layers: Layers, *, halve: bool = False) -> nn.Module:
    """Its convolutions; a single one is not numbered. `halve`: the last one has stride 2 and no padding."""
    convs = []
    for number, (channels, kernel) in enumerate(layers, 1):
        reduces = halve and number == len(layers)
        convs.append(Conv(in_channels, channels, kernel, 2 if reduces else 1, same=not reduces))
        in_channels = channels
    return nn.Sequential(*convs) if len(convs) > 1 else convs[0]


def timm_layout(checkpoint: StateDict) -> StateDict:
    """ImageNet files of timm: our names, and a classifier that goes.

    Raises:
        CheckpointError: it holds other tensors than the network's, or lacks some.
    """
    with torch.device("meta"):
        ours = InceptionResNetV2().state_dict()

    def rename(name: str) -> str | None:
        if name in ("classif.weight", "classif.bias"):
            return ""
        return name if name in ours else None

    required = {name: name for name in ours if not name.endswith("num_batches_tracked")}
    return convert(checkpoint, layout="timm", rename=rename, required=required)


INCEPTION_RESNET_V2 = TrunkSpec(
    build=InceptionResNetV2,
    norm=Norm(mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)),
    weights={
        "imagenet": Weights(
            url="https://github.com/rwightman/pytorch-image-models/releases/download/v0.1-weights/"
            "inception_resnet_v2-940b1cd6.pth",
            sha256="940b1cd6",
            layout="timm",
            licence="Apache-2.0",
            classes="imagenet1k",
            source="timm models/inception_resnet_v2.py, tf_in1k, from TensorFlow's; the file name begins the digest",
        )
    },
    layouts={"timm": timm_layout},
    paper="Szegedy et al., Inception-v4, Inception-ResNet and the Impact of Residual Connections, AAAI 2017",
)
