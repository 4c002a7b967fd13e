import pytest
import torch
from torch import nn

from vtk_models.groups import frozen_norms, paddle_groups, policy_groups


class Small(nn.Module):
    """A convolution of each dimension, a batch norm behind each, two linear layers, and a lone parameter."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(2, 2, 1)
        self.norm = nn.BatchNorm2d(2)
        self.time = nn.Conv1d(2, 2, 1, bias=False)
        self.space = nn.Conv3d(2, 2, 1)
        self.norm3 = nn.BatchNorm3d(2)
        self.offset = nn.Linear(2, 2)
        self.fc = nn.Linear(2, 3)
        self.weight_T = nn.Parameter(torch.ones(4))


def groups(*args, **kwargs):
    return {g.name: (set(g.params), g.lr_mult, g.decay_mult) for g in policy_groups(Small(), *args, **kwargs)}


NORMS = {"norm.weight", "norm.bias", "norm3.weight", "norm3.bias", "weight_T"}


def test_tsns():
    assert groups("rgb") == {
        "first_conv_weight": ({"first.weight"}, 1, 1),
        "first_conv_bias": ({"first.bias"}, 2, 0),
        "weight": ({"time.weight", "space.weight", "offset.weight", "fc.weight"}, 1, 1),
        "bias": ({"space.bias", "offset.bias", "fc.bias"}, 2, 0),
        "norm": (NORMS, 1, 0),
    }


@pytest.mark.parametrize(("modality", "weight", "bias"), [("flow", 5, 10), ("warped", 5, 10), ("rgbdiff", 1, 2)])
def test_the_first_convolution_of_flow_is_five_times_as_fast(modality, weight, bias):
    found = groups(modality)
    assert found["first_conv_weight"][1:] == (weight, 1)
    assert found["first_conv_bias"][1:] == (bias, 0)


def test_fc_lr5_and_custom_layers():
    found = groups("rgb", fc_lr5=True, custom=["offset"])
    assert found["lr5_weight"] == ({"fc.weight"}, 5, 1)
    assert found["lr10_bias"] == ({"fc.bias"}, 10, 0)
    assert found["cs_weight"] == ({"offset.weight"}, 1, 1)
    assert found["cs_bias"] == ({"offset.bias"}, 2, 0)
    assert found["weight"][0] == {"time.weight", "space.weight"}


def test_frozen_parameters_are_in_no_group_and_empty_groups_are_left_out():
    module = Small()
    for norm in frozen_norms(module):
        norm.requires_grad_(requires_grad=False)
    module.first.requires_grad_(requires_grad=False)
    found = {group.name: group.params for group in policy_groups(module, "rgb")}
    assert set(found) == {"weight", "bias", "norm"}
    assert set(found["norm"]) == {"norm.weight", "norm.bias", "weight_T"}


def test_all_norms_but_the_first_freeze():
    module = Small()
    assert frozen_norms(module) == [module.norm3]


def test_paddles():
    everything, eager = paddle_groups(Small(), ("fc.bias",))
    assert (everything.lr_mult, everything.decay_mult, len(everything.params)) == (1, 1, 13)
    assert (eager.params, eager.lr_mult, eager.decay_mult) == (("fc.bias",), 2, 0)
    assert [group.name for group in paddle_groups(Small())] == ["all"]
