"""Names of variables in the checkpoints of Baidu's library (PaddlePaddle/models release/1.8 PaddleCV/video)."""

import re

from vtk_cli.api.models import StateDict

BATCH_NORM = {"scale": "weight", "offset": "bias", "mean": "running_mean", "variance": "running_var"}
"""Of batch norms with a name."""

NUMBERED_BATCH_NORM = {"w_0": "weight", "b_0": "bias", "w_1": "running_mean", "w_2": "running_var"}
"""Of batch norms whose name the framework made up."""

DENSE = {"w_0": "weight", "b_0": "bias"}
"""Of convolutions and fully connected layers."""

_OPTIMIZER = re.compile(r".*_velocity_\d+|learning_rate_\d+|@LR_DECAY_COUNTER@")
_STEM = re.compile(r"(?:(?P<conv>conv1)_weights|bn_conv1_(?P<bn>scale|offset|mean|variance))")
_BLOCK = re.compile(
    r"(?P<kind>res|bn)(?P<stage>[2-5])(?P<block>[a-z]|b\d+)_branch(?P<branch>1|2[abc])_"
    r"(?P<part>weights|scale|offset|mean|variance)"
)


def is_leftover(name: str) -> bool:
    """Whether a variable belongs to the optimiser; the older one-file-per-variable folders hold these too."""
    return _OPTIMIZER.fullmatch(name) is not None


def resnet_name(name: str) -> str | None:
    """The name in torchvision for a variable of Paddle's ResNets, None where it is none of theirs.

    >>> resnet_name("res2a_branch2b_weights"), resnet_name("bn4b12_branch2c_mean")
    ('layer1.0.conv2.weight', 'layer3.12.bn3.running_mean')
    >>> resnet_name("res3a_branch1_weights"), resnet_name("bn_conv1_scale")
    ('layer2.0.downsample.0.weight', 'bn1.weight')
    """
    if stem := _STEM.fullmatch(name):
        return "conv1.weight" if stem["conv"] else f"bn1.{BATCH_NORM[stem['bn']]}"
    if not (found := _BLOCK.fullmatch(name)) or (found["kind"] == "res") != (found["part"] == "weights"):
        return None
    block = f"layer{int(found['stage']) - 1}.{_block_number(found['block'])}"
    part = BATCH_NORM.get(found["part"], "weight")
    if found["branch"] == "1":
        return f"{block}.downsample.{0 if found['kind'] == 'res' else 1}.{part}"
    layer = "abc".index(found["branch"][1]) + 1
    return f"{block}.{'conv' if found['kind'] == 'res' else 'bn'}{layer}.{part}"


def number_in_order(names: list[str], prefix: str) -> dict[str, int]:
    """Layers of one kind by their place: the framework numbers all batch norms of a network, named ones included.

    >>> number_in_order(["batch_norm_44.w_0", "batch_norm_9.w_0", "fc_0.w_0"], "batch_norm")
    {'batch_norm_9': 0, 'batch_norm_44': 1}
    """
    numbers = {int(found[1]) for name in names if (found := re.fullmatch(rf"{prefix}_(\d+)\..*", name))}
    return {f"{prefix}_{number}": place for place, number in enumerate(sorted(numbers))}


def transpose_classifier(state: StateDict) -> StateDict:
    """Paddle keeps matrices as [in, out], torch as [out, in]."""
    return {**state, "fc.weight": state["fc.weight"].t().contiguous()}


def _block_number(letters: str) -> int:
    """Blocks are a b c ... z; the long res4 of ResNet-101 and 152 has a b1 b2 b3 ... instead."""
    return int(letters[1:]) if letters[1:] else ord(letters) - ord("a")
