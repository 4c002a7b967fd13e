"""Which parameters learn how fast: the groups that TSN set up and that TSM and TIN took over, and Paddle's.

    group              which                                          lr     decay
    first_conv_weight  kernel of the first convolution                1 (5)  1      (5) and (10): flow, whose kernel
    first_conv_bias    its bias                                       2 (10) 0            was made from an RGB one
    weight             of the other convolutions and linear layers    1      1
    bias               theirs                                         2      0
    norm               both of batch norms, and all that is not above 1      0
    lr5_weight         of linear layers, where `fc_lr5`               5      1
    lr10_bias          theirs                                         10     0
    cs_weight          of the linear layers called `custom`           1      1
    cs_bias            theirs                                         2      0

Source: `get_optim_policies` in tsn-pytorch models.py and temporal-shift-module ops/models.py; the last two rows are
TIN's. Convolutions and batch norms may have one, two or three dimensions; "first" is the first in module order.
"""

from collections.abc import Collection, Sequence
from typing import Literal, get_args

from torch import nn

from vtk_cli.api.inputs import Modality
from vtk_cli.api.recipes import ParamGroup

Policy = Literal["tsn", "fc_lr5", "paddle"]
POLICIES: tuple[Policy, ...] = get_args(Policy)

FLOW = frozenset({"flow", "warped"})
"""Modalities whose first convolution learns five times as fast."""

CONVS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)

NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)

MULTIPLIERS = {
    "first_conv_weight": (1.0, 1.0),
    "first_conv_bias": (2.0, 0.0),
    "weight": (1.0, 1.0),
    "bias": (2.0, 0.0),
    "norm": (1.0, 0.0),
    "lr5_weight": (5.0, 1.0),
    "lr10_bias": (10.0, 0.0),
    "cs_weight": (1.0, 1.0),
    "cs_bias": (2.0, 0.0),
}
"""Of learning rate and weight decay, by group."""


def paddle_groups(module: nn.Module, eager: Collection[str] = ()) -> list[ParamGroup]:
    """Paddle's: all alike, but for `eager` parameters, which learn twice as fast and do not decay."""
    trained = [name for name, parameter in module.named_parameters() if parameter.requires_grad]
    groups = [
        ParamGroup(name="all", params=tuple(name for name in trained if name not in eager)),
        ParamGroup(name="eager", params=tuple(name for name in trained if name in eager), lr_mult=2.0, decay_mult=0.0),
    ]
    return [group for group in groups if group.params]


def policy_groups(
    module: nn.Module, modality: Modality, *, fc_lr5: bool = False, custom: Collection[str] = ()
) -> list[ParamGroup]:
    """The groups above of every parameter that requires a gradient; groups without any are left out.

    `custom` holds dotted names of linear layers. Frozen parameters are in no group.
    """
    first_conv = next((name for name, layer in module.named_modules() if isinstance(layer, CONVS)), None)
    groups: dict[str, list[str]] = {name: [] for name in MULTIPLIERS}
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            owner, _, kind = name.rpartition(".")
            layer = module.get_submodule(owner)
            if isinstance(layer, nn.Linear):
                kind = _linear_group(kind, fc_lr5=fc_lr5, custom=owner in custom)
            elif not isinstance(layer, CONVS):
                kind = "norm"
            elif owner == first_conv:
                kind = f"first_conv_{kind}"
            groups[kind].append(name)
    return [_group(name, params, modality) for name, params in groups.items() if params]


def frozen_norms(module: nn.Module) -> Sequence[nn.Module]:
    """The batch norms that partial batch normalisation freezes: all but the first in module order."""
    return [layer for layer in module.modules() if isinstance(layer, NORMS)][1:]


def _linear_group(kind: str, *, fc_lr5: bool, custom: bool) -> str:
    if custom:
        return f"cs_{kind}"
    if fc_lr5:
        return "lr5_weight" if kind == "weight" else "lr10_bias"
    return kind


def _group(name: str, params: Sequence[str], modality: Modality) -> ParamGroup:
    lr_mult, decay_mult = MULTIPLIERS[name]
    if name.startswith("first_conv") and modality in FLOW:
        lr_mult *= 5.0
    return ParamGroup(name=name, params=tuple(params), lr_mult=lr_mult, decay_mult=decay_mult)
