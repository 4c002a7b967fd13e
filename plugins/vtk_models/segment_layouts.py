"""Dialects of the networks that score segments and average: TSN, TSM, and what is built like them.

A dialect is two functions: one reads from a file's tensors the configuration that they belong to, one gives the foreign
name of each tensor of that model. From these follow what is left over and what is missing, by the file's own names.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import nn

from vtk_cli.api.inputs import CHANNELS, Modality
from vtk_cli.api.models import Layout, StateDict
from vtk_models import fluid
from vtk_models.layouts import convert, unwrap
from vtk_models.trunks.resnet import BLOCKS

Found = dict[str, Any]
"""Fields of a configuration that a file's tensors decide."""

FRAMES: dict[Modality, int] = {"rgb": 1, "rgbdiff": 5, "flow": 5, "warped": 5}
"""Pictures per snippet that reach the trunk (tsn-pytorch main.py, `data_length`)."""

STEMS = ("conv1.weight", "conv1.conv.weight", "conv1_weights", "conv1_7x7_s2.weight", "features.0.0.weight")
"""First convolutions by their names inside a trunk: ResNets', MMAction2's, Paddle's, BN-Inception's, MobileNetV2's."""


def dialect(
    layout: str,
    *,
    build: Callable[[Mapping[str, Any]], nn.Module],
    infer: Callable[[StateDict], Found],
    foreign_name: Callable[[str, Found], str],
    is_unused: Callable[[str], bool] = lambda _name: False,
    finish: Callable[[StateDict], StateDict] = lambda state: state,
) -> Layout:
    """A layout that is complete or refused.

    Args:
        layout: its name, for messages.
        build: fields of the configuration -> the model; called where tensors take no memory.
        infer: tensors under the file's names -> fields of the configuration.
        foreign_name: (one of the model's names, what was inferred) -> the file's name.
        is_unused: foreign names that no model has a use for.
        finish: last changes to the values.
    """

    def names(found: Found) -> dict[str, str]:
        with torch.device("meta"):
            ours = build(found).state_dict()
        # The classifier first: its name tells dialects apart, and messages show the first few.
        return {foreign_name(name, found): name for name in sorted(ours, key=lambda name: not name.startswith("fc."))}

    def read(checkpoint: StateDict) -> StateDict:
        tensors = unwrap(checkpoint, layout=layout)
        table = names(infer(tensors))
        required = {ours: theirs for theirs, ours in table.items() if not ours.endswith("num_batches_tracked")}

        def rename(name: str) -> str | None:
            return "" if is_unused(name) else table.get(name)

        return finish(convert(tensors, layout=layout, rename=rename, required=required))

    return Layout(convert=read, infer=lambda checkpoint: infer(unwrap(checkpoint, layout=layout)))


def infer_trunk(tensors: Mapping[str, torch.Tensor], prefix: str) -> Found:
    """The trunk, from its blocks, and the modality, from its first convolution, as far as they can be told.

    Warped flow is seen as flow: the tensors are alike.
    """
    inside = {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
    found: Found = {}
    if "conv1_7x7_s2.weight" in inside:
        found["trunk"] = "bninception"
    elif "features.0.0.weight" in inside or "conv2.conv.weight" in inside:
        found["trunk"] = "mobilenetv2"
    elif depth := _depth(inside):
        found["trunk"] = f"resnet{depth}"
    stem = next((inside[name] for name in STEMS if name in inside), None)
    for modality in ("rgb", "flow", "rgbdiff"):
        if stem is not None and stem.dim() == 4 and stem.shape[1] == FRAMES[modality] * CHANNELS[modality]:
            found["modality"] = modality
    return found


def _depth(names: Iterable[str]) -> int | None:
    """Of a ResNet in torchvision's, MMAction2's or Paddle's names."""
    blocks: set[tuple[int, str]] = set()
    deep = False
    for name in names:
        if ours := re.match(r"layer(\d)\.(?:net\.)?(\d+)\.", name):
            blocks.add((int(ours[1]), ours[2]))
            deep = deep or ".conv3." in name
        elif paddles := re.match(r"res(\d)([a-z]\d*)_branch2c_weights", name):
            blocks.add((int(paddles[1]) - 1, paddles[2]))
            deep = True
    counts = tuple(sum(stage == number for stage, _ in blocks) for number in (1, 2, 3, 4))
    return next((depth for depth, found in BLOCKS.items() if found == counts and (depth >= 50) == deep), None)


def mmaction2_trunk_name(name: str, trunk: str) -> str:
    """The name inside MMAction2's backbones, which are made of ConvModules with a `conv` and a `bn`.

    >>> mmaction2_trunk_name("layer1.0.bn2.bias", "resnet50"), mmaction2_trunk_name("bn1.weight", "resnet50")
    ('layer1.0.conv2.bn.bias', 'conv1.bn.weight')
    >>> mmaction2_trunk_name("features.2.conv.4.bias", "mobilenetv2")
    'layer2.0.conv.1.bn.bias'
    """
    if trunk == "mobilenetv2":
        return _mmaction2_mobilenetv2_name(name)
    name = name.replace(".downsample.0.", ".downsample.conv.").replace(".downsample.1.", ".downsample.bn.")
    return re.sub(r"\b(conv|bn)(\d)\.", lambda found: f"conv{found[2]}.{found[1]}.", name)


def _mmaction2_mobilenetv2_name(name: str) -> str:
    from vtk_models.trunks.mobilenetv2 import STAGES

    _, number, rest = name.split(".", 2)
    block = int(number)
    firsts = [1 + sum(count for _, _, count, _ in STAGES[:stage]) for stage in range(len(STAGES))]
    if block in {0, firsts[-1] + 1}:
        place, part = rest.split(".", 1)
        return f"conv{1 if block == 0 else 2}.{'bn' if place == '1' else 'conv'}.{part}"
    stage = max(stage for stage, first in enumerate(firsts) if first <= block)
    _, place, part = rest.split(".", 2)
    module, kind = divmod(int(place), 3)
    return f"layer{stage + 1}.{block - firsts[stage]}.conv.{module}.{'bn' if kind else 'conv'}.{part}"


def paddle_name(name: str, found: Found) -> str:
    """Paddle's variable for one of our tensors of a ResNet with classifier, the inverse of `fluid.resnet_name`.

    >>> paddle_name("trunk.layer3.12.bn3.running_mean", {"trunk": "resnet101"})
    'bn4b12_branch2c_mean'
    >>> paddle_name("trunk.layer2.0.downsample.0.weight", {}), paddle_name("fc.bias", {})
    ('res3a_branch1_weights', 'fc_0.b_0')
    """
    parts = {ours: theirs for theirs, ours in fluid.BATCH_NORM.items()}
    if name.startswith("fc."):
        return f"fc_0.{'w_0' if name == 'fc.weight' else 'b_0'}"
    name = name.removeprefix("trunk.")
    if name == "conv1.weight":
        return "conv1_weights"
    owner, _, part = name.rpartition(".")
    if owner == "bn1":
        return f"bn_conv1_{parts.get(part, part)}"
    stage, block, layer, *rest = owner.split(".")
    is_conv = layer.startswith("conv") or rest == ["0"]
    branch = "1" if layer == "downsample" else f"2{'abc'[int(layer[-1]) - 1]}"
    number = int(block)
    numbered = stage == "layer3" and number > 0 and found.get("trunk") in {"resnet101", "resnet152"}
    letters = f"b{number}" if numbered else chr(ord("a") + number)
    kind, theirs = ("res", "weights") if is_conv else ("bn", parts.get(part, part))
    return f"{kind}{int(stage[-1]) + 1}{letters}_branch{branch}_{theirs}"


def old_batch_norms(state: StateDict) -> StateDict:
    """Batch norms that files of BN-Inception from before torch 0.4 keep as rows become vectors."""
    return {
        name: tensor.flatten() if tensor.dim() == 2 and "_bn." in name else tensor for name, tensor in state.items()
    }
