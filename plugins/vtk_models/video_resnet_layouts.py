"""Reading checkpoints of 3D ResNets and R(2+1)D: what the tensors say of the configuration, and names both ways.

Every dialect holds the same network under other names, so one function from our names to the foreign ones serves to
look at a file and to convert it.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import nn

from vtk_cli.api.inputs import CHANNELS
from vtk_cli.api.models import Layout, StateDict
from vtk_models.layouts import convert, unwrap
from vtk_models.video_resnet import BLOCKS, FIRST_BOTTLENECK_DEPTH, WIDTHS

Foreign = Callable[[str], str]
"""From our name of a tensor to the dialect's."""

Fields = dict[str, Any]
"""Of a configuration."""

BOTTLENECK_EXPANSION = 4

_DEPTHS = {(blocks, depth >= FIRST_BOTTLENECK_DEPTH): depth for depth, blocks in BLOCKS.items()}


class Shapes:
    """Shapes of a checkpoint's tensors by our names."""

    def __init__(self, checkpoint: Mapping[str, Any], layout: str, foreign: Foreign) -> None:
        self._tensors = unwrap(checkpoint, layout=layout)
        self._foreign = foreign

    def __contains__(self, name: str) -> bool:
        return self._foreign(name) in self._tensors

    def size(self, name: str, axis: int) -> int:
        """Of one axis of a tensor; 0 where the checkpoint lacks it, which its conversion will tell."""
        tensor = self._tensors.get(self._foreign(name))
        return tensor.shape[axis] if tensor is not None and tensor.dim() > axis else 0


def common_fields(shapes: Shapes) -> Fields:
    """Depth, shortcut, stem and modality; nothing where the stages are those of no ResNet."""
    bottleneck = "layer1.0.conv3.weight" in shapes
    blocks = _blocks(shapes, 1), _blocks(shapes, 2), _blocks(shapes, 3), _blocks(shapes, 4)
    depth = _DEPTHS.get((blocks, bottleneck))
    if depth is None:
        return {}
    factorised = "conv1_t.weight" in shapes
    in_channels = shapes.size("conv1_s.weight" if factorised else "conv1.weight", 1)
    return {
        "depth": depth,
        "shortcut": "B" if "layer2.0.downsample.0.weight" in shapes else "A",
        "conv1_t_size": shapes.size("conv1_t.weight" if factorised else "conv1.weight", 2) or None,
        "modality": "flow" if in_channels == CHANNELS["flow"] else "rgb",
    }


def widening(shapes: Shapes, expansion: int) -> float:
    """The factor on the channels: rounding down leaves it whole in the last stage, whose 512 the others divide."""
    return shapes.size("fc.weight", 1) / (expansion * WIDTHS[-1]) or 1.0


def table_layout(
    name: str, foreign: Foreign, infer: Callable[[Shapes], Fields], build: Callable[[Fields], nn.Module]
) -> Layout:
    """A layout whose files hold exactly the tensors of the module that `build` makes of the inferred fields."""
    return Layout(
        convert=partial(_converted, layout=name, foreign=foreign, infer=infer, build=build),
        infer=lambda checkpoint: infer(Shapes(checkpoint, name, foreign)),
    )


def _converted(
    checkpoint: StateDict,
    *,
    layout: str,
    foreign: Foreign,
    infer: Callable[[Shapes], Fields],
    build: Callable[[Fields], nn.Module],
) -> StateDict:
    with torch.device("meta"):
        ours = build(infer(Shapes(checkpoint, layout, foreign))).state_dict()
    table = {foreign(name): name for name in ours}
    # Files older than torch 0.4.1 have no counters.
    required = {name: foreign(name) for name in ours if not name.endswith("num_batches_tracked")}
    return convert(checkpoint, layout=layout, rename=table.get, required=required)


def _blocks(shapes: Shapes, stage: int) -> int:
    count = 0
    while any(f"layer{stage}.{count}.{conv}.weight" in shapes for conv in ("conv1", "conv1_s")):
        count += 1
    return count
