"""What checkpoints of R(2+1)D are called elsewhere, and what their tensors say of the configuration."""

import re
from collections.abc import Callable

from vtk_models.video_resnet_layouts import BOTTLENECK_EXPANSION, Fields, Shapes, common_fields, widening

_STEM = {"conv1_s": "stem.0", "bn1_s": "stem.1", "conv1_t": "stem.3", "bn1_t": "stem.4"}

_TORCHVISION = {"conv_s": "0.0", "bn_s": "0.1", "conv_t": "0.3", "bn_t": "1", "conv": "0", "bn": "1"}
"""Behind conv1, conv2 or conv3 of a block."""


def kenshohara_name(name: str) -> str:
    """3D-ResNets-PyTorch's names are ours.

    >>> kenshohara_name("layer1.0.conv2_t.weight")
    'layer1.0.conv2_t.weight'
    """
    return name


def torchvision_name(name: str) -> str:
    """torchvision.models.video's and VMZ's names, for ours.

    >>> torchvision_name("bn1_t.bias"), torchvision_name("layer1.0.conv2_t.weight")
    ('stem.4.bias', 'layer1.0.conv2.0.3.weight')
    >>> torchvision_name("layer1.0.bn2_t.bias"), torchvision_name("layer1.0.conv3.weight")
    ('layer1.0.conv2.1.bias', 'layer1.0.conv3.0.weight')
    """
    first, _, rest = name.partition(".")
    if first in _STEM:
        return f"{_STEM[first]}.{rest}"
    return re.sub(
        r"\.(conv|bn)(\d)(_[st])?\.",
        lambda found: f".conv{found[2]}.{_TORCHVISION[found[1] + (found[3] or '')]}.",
        name,
    )


def x_temporal_name(name: str) -> str:
    """X-Temporal's `stresnet` names, for ours.

    >>> x_temporal_name("conv1_s.weight"), x_temporal_name("layer1.0.bn2_s.bias")
    ('conv1.spatial_conv.weight', 'layer1.0.conv2.bn.bias')
    >>> x_temporal_name("layer1.0.conv2_t.weight"), x_temporal_name("layer1.0.bn2_t.bias")
    ('layer1.0.conv2.temporal_conv.weight', 'layer1.0.bn2.bias')
    """
    name = re.sub(r"\bconv(\d)_s\.", r"conv\1.spatial_conv.", name)
    name = re.sub(r"\bconv(\d)_t\.", r"conv\1.temporal_conv.", name)
    return re.sub(r"\bbn(\d)_t\.", r"bn\1.", re.sub(r"\bbn(\d)_s\.", r"conv\1.bn.", name))


def infer(style: str) -> Callable[[Shapes], Fields]:
    """What a file of a style says of an R2Plus1DConfig. Strides in time and pools leave no trace in it."""

    def fields(shapes: Shapes) -> Fields:
        common = common_fields(shapes)
        if not common:
            return {"style": style}
        bottleneck = "layer1.0.conv3.weight" in shapes
        factor = widening(shapes, BOTTLENECK_EXPANSION if bottleneck else 1)
        return {"style": style, **common, "widen": factor}

    return fields
