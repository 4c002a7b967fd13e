"""What checkpoints of 3D ResNets are called elsewhere, and what their tensors say of the configuration."""

import re
from collections.abc import Callable

from vtk_models.video_resnet_layouts import BOTTLENECK_EXPANSION, Fields, Shapes, common_fields, widening


def same_name(name: str) -> str:
    """3D-ResNets-PyTorch's and X-Temporal's names are ours.

    >>> same_name("layer1.0.conv2.weight")
    'layer1.0.conv2.weight'
    """
    return name


def torchvision_name(name: str) -> str:
    """torchvision.models.video's names, for ours.

    >>> torchvision_name("bn1.bias"), torchvision_name("layer1.0.conv2.weight")
    ('stem.1.bias', 'layer1.0.conv2.0.weight')
    >>> torchvision_name("layer2.0.bn1.bias"), torchvision_name("layer2.0.downsample.1.bias")
    ('layer2.0.conv1.1.bias', 'layer2.0.downsample.1.bias')
    """
    name = re.sub(r"^(conv|bn)1\.", lambda found: "stem.0." if found[1] == "conv" else "stem.1.", name)
    return re.sub(r"\.bn(\d)\.", r".conv\1.1.", re.sub(r"\.conv(\d)\.", r".conv\1.0.", name))


def infer(style: str) -> Callable[[Shapes], Fields]:
    """What a file of a style says of a ResNet3DConfig. Strides in time and pools leave no trace in it."""

    def fields(shapes: Shapes) -> Fields:
        common = common_fields(shapes)
        if not common:
            return {"style": style}
        stages = [shapes.size(f"layer{stage}.0.conv2.weight", 2) > 1 for stage in (1, 2, 3, 4)]
        return {"style": style, **common, **_block(shapes), "temporal_stages": sum(stages)}

    return fields


def _block(shapes: Shapes) -> Fields:
    """The kind of the blocks and their width, read off the first of layer2, where all numbers of channels differ."""
    wanted, inside = shapes.size("layer2.0.conv1.weight", 1), shapes.size("layer2.0.conv2.weight", 0)
    plain = "preactivation" if shapes.size("layer2.0.bn1.weight", 0) == wanted else "plain"
    outside = shapes.size("layer2.0.conv3.weight", 0)
    if not outside:
        return {"block": plain, "widen": widening(shapes, 1)}
    groups = inside // max(1, shapes.size("layer2.0.conv2.weight", 1))
    if groups > 1:
        return {"block": "resnext", "cardinality": groups, "widen": widening(shapes, 4)}
    if outside == 2 * inside:
        return {"block": "wide", "widen": widening(shapes, 2)}
    return {"block": plain, "widen": widening(shapes, BOTTLENECK_EXPANSION)}
