"""Channels last: the memory layout in which convolutions of many channels are faster on most devices."""

import torch
from torch import nn


def to_channels_last(module: nn.Module) -> nn.Module:
    """Lay out the kernels of 2D and of 3D convolutions channels last, in place; returns the module.

    `Module.to(memory_format=...)` refuses modules that hold both kinds.
    """
    for parameter in module.parameters():
        if parameter.dim() in (4, 5):
            layout = torch.channels_last if parameter.dim() == 4 else torch.channels_last_3d
            parameter.data = parameter.data.contiguous(memory_format=layout)
    return module
