"""MobileNetV2 of width 1 without classifier; names and arithmetic as in MIT's TSM, whose ImageNet files load as well.

stem 3x3/2 32 - seven stages of inverted residuals - 1x1 1280 - average over the map
block: 1x1 expansion - 3x3 depthwise (with the stride) - 1x1 without activation, + x where the shapes allow it
"""

import re

import torch
from torch import Tensor, nn

from vtk_cli.api.inputs import IMAGENET
from vtk_cli.api.models import StateDict, TrunkSpec, Weights
from vtk_models.layouts import convert
from vtk_models.trunks.resnet import Mix

STAGES = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
"""Expansion, channels, blocks and the first block's stride of each stage (Sandler et al. 2018, table 2)."""


class InvertedResidual(nn.Module):
    """Narrow, wide inside, narrow; a shortcut joins the narrow ends."""

    def __init__(self, in_channels: int, out_channels: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = in_channels * expansion
        self.expands = expansion > 1
        self.has_shortcut = stride == 1 and in_channels == out_channels
        self.conv = nn.Sequential(
            *(_conv_bn(in_channels, wide, 1) if self.expands else ()),
            *_conv_bn(wide, wide, 3, stride, groups=wide),
            *_conv_bn(wide, out_channels, 1)[:2],
        )

    def forward(self, x: Tensor, mix: Mix | None = None) -> Tensor:
        out: Tensor = self.conv(x if mix is None else mix(x))
        return x + out if self.has_shortcut else out


class MobileNetV2(nn.Module):
    """An image network: x_BCHW -> feature_BD."""

    stem_conv = "features.0.0"
    num_features = 1280

    def __init__(self, in_channels: int = 3) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Sequential(*_conv_bn(in_channels, 32, 3, 2))]
        channels = 32
        for expansion, width, count, stride in STAGES:
            for place in range(count):
                layers.append(InvertedResidual(channels, width, 1 if place else stride, expansion))
                channels = width
        layers.append(nn.Sequential(*_conv_bn(channels, self.num_features, 1)))
        self.features = nn.Sequential(*layers)
        self._initialise()

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return feature_BD, the average over the last map."""
        return self.pool(self.features(x_BCHW))

    def pool(self, x_BDhw: Tensor) -> Tensor:
        return x_BDhw.mean((2, 3))

    def _initialise(self) -> None:
        """Kaiming normal over the kernel's area times the output channels, whatever the groups, as MIT's."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                area = module.kernel_size[0] * module.kernel_size[1]
                nn.init.normal_(module.weight, std=(2 / (area * module.out_channels)) ** 0.5)


def _conv_bn(
    in_channels: int, out_channels: int, kernel: int, stride: int = 1, groups: int = 1
) -> tuple[nn.Module, nn.Module, nn.Module]:
    return (
        nn.Conv2d(in_channels, out_channels, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.ReLU6(inplace=True),
    )


def mit_layout(checkpoint: StateDict) -> StateDict:
    """The ImageNet file of MIT's TSM (tonylins/pytorch-mobilenet-v2): our names, and a classifier that goes.

    Raises:
        CheckpointError: it holds other tensors than MobileNetV2's, or lacks some.
    """
    return _read(checkpoint, "mit", {name: name for name in _names()})


def torchvision_layout(checkpoint: StateDict) -> StateDict:
    """Torchvision's file, whose convolutions and batch norms sit one level deeper.

    Raises:
        CheckpointError: it holds other tensors than MobileNetV2's, or lacks some.
    """
    return _read(checkpoint, "torchvision", {_torchvision_name(name): name for name in _names()})


def _read(checkpoint: StateDict, layout: str, names: dict[str, str]) -> StateDict:
    required = {ours: theirs for theirs, ours in names.items() if not ours.endswith("num_batches_tracked")}

    def rename(name: str) -> str | None:
        return "" if re.fullmatch(r"classifier\.(1\.)?(weight|bias)", name) else names.get(name)

    return convert(checkpoint, layout=layout, rename=rename, required=required)


def _names() -> list[str]:
    with torch.device("meta"):
        return list(MobileNetV2().state_dict())


def _torchvision_name(name: str) -> str:
    """Ours -> torchvision's.

    >>> _torchvision_name("features.2.conv.4.weight"), _torchvision_name("features.2.conv.7.bias")
    ('features.2.conv.1.1.weight', 'features.2.conv.3.bias')
    >>> _torchvision_name("features.1.conv.3.weight"), _torchvision_name("features.18.1.bias")
    ('features.1.conv.1.weight', 'features.18.1.bias')
    """
    found = re.fullmatch(r"features\.(\d+)\.conv\.(\d+)\.(.*)", name)
    if not found:
        return name
    block, place, part = int(found[1]), int(found[2]), found[3]
    # Ours: convolution, batch norm and activation by turns; the last two stand alone in torchvision.
    last = 3 if block == 1 else 6
    inside = f"{place // 3}.{place % 3}" if place < last else str(last // 3 + place - last)
    return f"features.{block}.conv.{inside}.{part}"


MOBILENETV2 = TrunkSpec(
    build=MobileNetV2,
    norm=IMAGENET,
    weights={
        "imagenet": Weights(
            url="https://download.pytorch.org/models/mobilenet_v2-b0353104.pth",
            sha256="b0353104",
            layout="torchvision",
            licence="BSD-3-Clause",
            classes="imagenet1k",
            accuracy={"top1": 71.878, "top5": 90.286},
            source="torchvision.models.MobileNet_V2_Weights.IMAGENET1K_V1",
        )
    },
    layouts={"torchvision": torchvision_layout, "mit": mit_layout},
    paper="Sandler et al., MobileNetV2: Inverted Residuals and Linear Bottlenecks, CVPR 2018",
)
