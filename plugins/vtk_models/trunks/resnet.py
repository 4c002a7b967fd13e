"""ResNet 18, 34, 50, 101 and 152 without classifier; names and arithmetic as torchvision's."""

from collections.abc import Callable
from functools import partial

from torch import Tensor, nn
from torch.nn import functional

from vtk_cli.api.inputs import IMAGENET
from vtk_cli.api.models import StateDict, TrunkSpec, Weights
from vtk_models.layouts import convert

BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}
"""Residual blocks per stage, by depth (He et al. 2015, table 1)."""

STAGE_WIDTHS = (64, 128, 256, 512)

Mix = Callable[[Tensor], Tensor]
"""What a video model does to the input of a block's residual branch, its shortcut left alone: a shift along time."""


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut; depths 18 and 34."""

    expansion = 1

    def __init__(self, in_channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = _shortcut(in_channels, width, stride)

    def forward(self, x: Tensor, mix: Mix | None = None) -> Tensor:
        identity = x if self.downsample is None else self.downsample(x)
        out = functional.relu(self.bn1(self.conv1(x if mix is None else mix(x))), inplace=True)
        out = self.bn2(self.conv2(out))
        out += identity
        return functional.relu(out, inplace=True)


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 convolutions and a shortcut; the 3x3 carries the stride."""

    expansion = 4

    def __init__(self, in_channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, width * self.expansion, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(width * self.expansion)
        self.downsample = _shortcut(in_channels, width * self.expansion, stride)

    def forward(self, x: Tensor, mix: Mix | None = None) -> Tensor:
        identity = x if self.downsample is None else self.downsample(x)
        out = functional.relu(self.bn1(self.conv1(x if mix is None else mix(x))), inplace=True)
        out = functional.relu(self.bn2(self.conv2(out)), inplace=True)
        out = self.bn3(self.conv3(out))
        out += identity
        return functional.relu(out, inplace=True)


class ResNet(nn.Module):
    """An image network: x_BCHW -> feature_BD.

    Side of the map (of 224)  56 after stem  56 layer1  28 layer2  14 layer3  7 layer4
    Channels                  64             64         128        256        512       (bottlenecks: layers x 4)
    """

    stem_conv = "conv1"

    def __init__(self, depth: int, in_channels: int = 3) -> None:
        super().__init__()
        block = BasicBlock if depth < 50 else Bottleneck
        self.stage_channels = tuple(width * block.expansion for width in STAGE_WIDTHS)
        self.num_features = self.stage_channels[-1]
        self.conv1 = nn.Conv2d(in_channels, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        self.layer1, self.layer2, self.layer3, self.layer4 = (
            _stage(block, entry, width, count, stride)
            for entry, width, count, stride in zip(
                (64, *self.stage_channels[:3]), STAGE_WIDTHS, BLOCKS[depth], (1, 2, 2, 2), strict=True
            )
        )
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self._initialise()

    @property
    def stages(self) -> tuple[nn.Sequential, ...]:
        """layer1 to layer4, for models that run the blocks themselves."""
        return self.layer1, self.layer2, self.layer3, self.layer4

    def stem(self, x_BCHW: Tensor) -> Tensor:
        """Everything before layer1: x_BCHW -> x_B64hw at a quarter of the size."""
        out: Tensor = self.maxpool(functional.relu(self.bn1(self.conv1(x_BCHW)), inplace=True))
        return out

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return feature_BD, the average over the last map."""
        x = self.stem(x_BCHW)
        for stage in self.stages:
            x = stage(x)
        return self.pool(x)

    def pool(self, x_BDhw: Tensor) -> Tensor:
        feature_BD: Tensor = self.avgpool(x_BDhw).flatten(1)
        return feature_BD

    def _initialise(self) -> None:
        """torchvision's: Kaiming normal over fan-out; batch norms keep torch's 1 and 0."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


def torchvision_layout(checkpoint: StateDict) -> StateDict:
    """ImageNet files of torchvision: our names, and a classifier that goes.

    Raises:
        CheckpointError: it holds other tensors than a ResNet's, or no first convolution.
    """
    prefixes = ("conv1.", "bn1.", "layer1.", "layer2.", "layer3.", "layer4.")

    def rename(name: str) -> str | None:
        if name in ("fc.weight", "fc.bias"):
            return ""
        return name if name.startswith(prefixes) else None

    return convert(checkpoint, layout="torchvision", rename=rename, required={"conv1.weight": "conv1.weight"})


def _stage(
    block: type[BasicBlock | Bottleneck], in_channels: int, width: int, count: int, stride: int
) -> nn.Sequential:
    first = block(in_channels, width, stride)
    return nn.Sequential(first, *(block(width * block.expansion, width, 1) for _ in range(count - 1)))


def _shortcut(in_channels: int, out_channels: int, stride: int) -> nn.Sequential | None:
    if stride == 1 and in_channels == out_channels:
        return None
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 1, stride, bias=False),
        nn.BatchNorm2d(out_channels),
    )


def _spec(depth: int, digest: str, top1: float, top5: float) -> TrunkSpec:
    imagenet = Weights(
        url=f"https://download.pytorch.org/models/resnet{depth}-{digest}.pth",
        sha256=digest,
        layout="torchvision",
        licence="BSD-3-Clause",
        classes="imagenet1k",
        accuracy={"top1": top1, "top5": top5},
        source=f"torchvision.models.ResNet{depth}_Weights.IMAGENET1K_V1",
    )
    return TrunkSpec(
        build=partial(ResNet, depth),
        norm=IMAGENET,
        weights={"imagenet": imagenet},
        layouts={"torchvision": torchvision_layout},
        paper="He et al., Deep Residual Learning for Image Recognition, CVPR 2016",
    )


RESNET18 = _spec(18, "f37072fd", 69.758, 89.078)
RESNET34 = _spec(34, "b627a593", 73.314, 91.420)
RESNET50 = _spec(50, "0676ba61", 76.130, 92.862)
RESNET101 = _spec(101, "63fe2227", 77.374, 93.546)
RESNET152 = _spec(152, "394f9c45", 78.312, 94.046)
