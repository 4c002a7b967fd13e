"""BN-Inception without classifier, the trunk of the TSN papers; names and arithmetic as tsn-pytorch's.

Every one of its 69 convolutions has a bias and is followed by a batch norm and a ReLU.

    stem   conv 7x7/2 - max pool /2 - conv 1x1 - conv 3x3 - max pool /2
    mixed  1x1 | 1x1-3x3 | 1x1-3x3-3x3 | pool-1x1, side by side     3a 3b  4a 4b 4c 4d  5a 5b
    reduce       1x1-3x3/2 | 1x1-3x3-3x3/2 | max pool /2            3c     4e
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from vtk_cli.api.inputs import Norm
from vtk_cli.api.models import StateDict, TrunkSpec, Weights
from vtk_models.layouts import convert

MIXED = {
    #      1x1  3x3 reduce, 3x3  double 3x3 reduce, 3x3  pool projection
    "3a": (64, 64, 64, 64, 96, 32),
    "3b": (64, 64, 96, 64, 96, 64),
    "3c": (0, 128, 160, 64, 96, 0),
    "4a": (224, 64, 96, 96, 128, 128),
    "4b": (192, 96, 128, 96, 128, 128),
    "4c": (160, 128, 160, 128, 160, 128),
    "4d": (96, 128, 192, 160, 192, 128),
    "4e": (0, 128, 192, 192, 256, 0),
    "5a": (352, 192, 320, 160, 224, 128),
    "5b": (352, 192, 320, 192, 224, 128),
}
"""Output channels of each branch's convolutions (tsn-pytorch bn_inception.yaml); 0 where 3c and 4e have no branch."""

BLOCKS = ("1", "2", *MIXED)
"""What runs one after the other: the halves of the stem, each with its pool, and the mixed blocks."""

MAX_POOLED = frozenset({"5b"})
"""Mixed blocks whose pool branch takes the maximum; the others take the average."""


class BNInception(nn.Module):
    """An image network: x_BCHW (BGR, 0..255, mean subtracted) -> feature_BD."""

    stem_conv = "conv1_7x7_s2"
    num_features = 1024

    def __init__(self, in_channels: int = 3) -> None:
        super().__init__()
        self._add("conv1_7x7_s2", in_channels, 64, 7, stride=2)
        self._add("conv2_3x3_reduce", 64, 64, 1)
        self._add("conv2_3x3", 64, 192, 3)
        channels = 192
        for block in MIXED:
            channels = self._add_block(block, channels)
        self.global_pool = nn.AdaptiveAvgPool2d(1)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return feature_BD, the average over the last map (the original's 7x7 pool at 224 x 224)."""
        x = x_BCHW
        for block in BLOCKS:
            x = self.run_block(block, x)
        return self.pool(x)

    def run_block(self, block: str, x: Tensor) -> Tensor:
        """One of BLOCKS, for models that put something between them."""
        if block == "1":
            return _halve(self._run("conv1_7x7_s2", x))
        if block == "2":
            return _halve(self._run("conv2_3x3", self._run("conv2_3x3_reduce", x)))
        return self._run_mixed(block, x)

    def pool(self, x_BDhw: Tensor) -> Tensor:
        feature_BD: Tensor = self.global_pool(x_BDhw).flatten(1)
        return feature_BD

    def _add(self, name: str, in_channels: int, out_channels: int, kernel: int, stride: int = 1) -> None:
        self.add_module(name, nn.Conv2d(in_channels, out_channels, kernel, stride, kernel // 2))
        self.add_module(f"{name}_bn", nn.BatchNorm2d(out_channels))

    def _add_block(self, block: str, in_channels: int) -> int:
        one, reduce, three, double_reduce, double, pool = MIXED[block]
        stride = 1 if one else 2
        name = f"inception_{block}"
        if one:
            self._add(f"{name}_1x1", in_channels, one, 1)
        self._add(f"{name}_3x3_reduce", in_channels, reduce, 1)
        self._add(f"{name}_3x3", reduce, three, 3, stride)
        self._add(f"{name}_double_3x3_reduce", in_channels, double_reduce, 1)
        self._add(f"{name}_double_3x3_1", double_reduce, double, 3)
        self._add(f"{name}_double_3x3_2", double, double, 3, stride)
        if pool:
            self._add(f"{name}_pool_proj", in_channels, pool, 1)
        return one + three + double + (pool or in_channels)

    def _run(self, name: str, x: Tensor) -> Tensor:
        out: Tensor = self.get_submodule(f"{name}_bn")(self.get_submodule(name)(x))
        return functional.relu(out, inplace=True)

    def _run_mixed(self, block: str, x: Tensor) -> Tensor:
        name = f"inception_{block}"
        three = self._run(f"{name}_3x3", self._run(f"{name}_3x3_reduce", x))
        double = self._run(f"{name}_double_3x3_1", self._run(f"{name}_double_3x3_reduce", x))
        double = self._run(f"{name}_double_3x3_2", double)
        if not MIXED[block][0]:
            return torch.cat((three, double, _halve(x, pad_odd=True)), dim=1)
        # The average counts the padding, as Caffe's does.
        pool = functional.max_pool2d if block in MAX_POOLED else functional.avg_pool2d
        projected = self._run(f"{name}_pool_proj", pool(x, 3, 1, 1))
        return torch.cat((self._run(f"{name}_1x1", x), three, double, projected), dim=1)


def _halve(x: Tensor, *, pad_odd: bool = False) -> Tensor:
    """Max pool 3x3, stride 2, as Caffe's: no padding, and a last window that hangs over the edge where one is needed.

    Of an odd side that makes one row fewer than the strided convolutions beside it in 3c and 4e, where the original
    fails. `pad_odd` pads such a side as the convolutions do, so that every size of picture fits.
    """
    padding = (x.shape[-2] % 2, x.shape[-1] % 2) if pad_odd else 0
    return functional.max_pool2d(x, 3, 2, padding, ceil_mode=True)


def caffe_layout(checkpoint: StateDict) -> StateDict:
    """The ImageNet files of tsn-pytorch and pretrained-models.pytorch: our names, batch-norm vectors as 1 x C.

    Raises:
        CheckpointError: it holds other tensors than BN-Inception's, or no first convolution.
    """

    def rename(name: str) -> str | None:
        if name.startswith(("fc", "last_linear.")):
            return ""
        return name if name.startswith(("conv1_", "conv2_", "inception_")) else None

    required = {"conv1_7x7_s2.weight": "conv1_7x7_s2.weight"}
    state = convert(checkpoint, layout="caffe", rename=rename, required=required)
    return {name: tensor.flatten() if tensor.dim() == 2 else tensor for name, tensor in state.items()}


BNINCEPTION = TrunkSpec(
    build=BNInception,
    norm=Norm(mean=(104 / 255, 117 / 255, 128 / 255), std=(1 / 255, 1 / 255, 1 / 255), order="bgr"),
    weights={
        "imagenet": Weights(
            url="http://data.lip6.fr/cadene/pretrainedmodels/bn_inception-52deb4733.pth",
            sha256="52deb473314542a5c2f87e9e6f26f4ca42fe863d15f986414dbae8c2dfdd2353",
            layout="caffe",
            licence="BSD-3-Clause",
            classes="imagenet1k",
            source="github.com/Cadene/pretrained-models.pytorch, bninception.py; the file name begins the digest",
        )
    },
    layouts={"caffe": caffe_layout},
    paper="Ioffe and Szegedy, Batch Normalization, ICML 2015",
)
