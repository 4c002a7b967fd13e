"""Convolutions over time that give the right gradients on processors, too.

Where a clip padded in time has fewer frames than the kernel, but more than one, torch 2.13's bfloat16 Conv3d makes its
weight gradient from memory that nobody wrote: wrong by nine tenths, or NaN, or the process ends. A kernel of 3 meets
two frames in the third stage of every 3D ResNet for 16 frames.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

_HALVES = (torch.bfloat16, torch.float16)


class Conv3d(nn.Conv3d):
    """torch's, with the right bfloat16 gradient whatever the number of frames.

    Zeros put before and after the frames beforehand, where that is needed, cost a copy and give the same numbers.
    """

    def forward(self, x_BCTHW: Tensor) -> Tensor:
        if not self._reads_unwritten_memory(x_BCTHW):
            return super().forward(x_BCTHW)
        frames, rows, columns = (int(number) for number in self.padding)
        x_BCTHW = functional.pad(x_BCTHW, (0, 0, 0, 0, frames, frames))
        return functional.conv3d(
            x_BCTHW, self.weight, self.bias, self.stride, (0, rows, columns), self.dilation, self.groups
        )

    def _reads_unwritten_memory(self, x_BCTHW: Tensor) -> bool:
        if not 1 < x_BCTHW.shape[2] < self.kernel_size[0] or x_BCTHW.device.type != "cpu":
            return False
        return torch.is_grad_enabled() and (x_BCTHW.dtype in _HALVES or torch.is_autocast_enabled("cpu"))


class TemporalConv(nn.Conv3d):
    """A kernel (t, 1, 1), computed as a Conv2d of (t, 1) on x_BCT(HW); parameters keep their five dimensions.

    The same numbers, in less time on processors (two 16 x 112 x 112 clips through kenshohara's R(2+1)D-18, one thread:
    forward 0.7 s instead of 1.5 s, training step 2.5 s instead of 3.7 s), and without the fault that `Conv3d` works
    around.
    """

    def __init__(self, in_channels: int, out_channels: int, frames: int, stride: int = 1) -> None:
        super().__init__(in_channels, out_channels, (frames, 1, 1), (stride, 1, 1), (frames // 2, 0, 0), bias=False)

    def forward(self, x_BCTHW: Tensor) -> Tensor:
        stride, padding = (self.stride[0], 1), (int(self.padding[0]), 0)
        out_BCTS = functional.conv2d(x_BCTHW.flatten(3), self.weight.squeeze(-1), None, stride, padding)
        return out_BCTS.view(*out_BCTS.shape[:3], *x_BCTHW.shape[3:])
