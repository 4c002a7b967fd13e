import math
from copy import deepcopy
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from vtk_cli.api.recipes import ParamGroup, TrainRecipe
from vtk_cli.errors import PluginError, UsageError
from vtk_cli.train.optim import (
    Plan,
    build_optimizer,
    describe_schedule,
    learning_rate,
    micro_batch_of,
    parameter_groups,
    set_learning_rate,
)

RECIPE = TrainRecipe(epochs=6, batch_size=8, micro_batch=4, lr=0.1)


def rates(recipe, steps_per_epoch):
    return [learning_rate(recipe, step, steps_per_epoch) for step in range(recipe.epochs * steps_per_epoch)]


def test_steps_multiply_by_gamma_after_each_milestone():
    recipe = replace(RECIPE, epochs=3, milestones=(1, 2.5), gamma=0.1)
    assert rates(recipe, 4) == pytest.approx([0.1] * 4 + [0.01] * 6 + [0.001] * 2)


def test_a_fraction_of_an_epoch_falls_on_the_step_that_arithmetic_gives():
    recipe = replace(RECIPE, epochs=1, milestones=(0.1,))  # 0.1 * 30 is 3.0000000000000004 in floating point
    assert [learning_rate(recipe, step, 30) for step in (2, 3)] == pytest.approx([0.1, 0.01])


def test_a_milestone_between_two_steps_acts_on_the_later_one():
    recipe = replace(RECIPE, epochs=1, milestones=(0.5,))
    assert rates(recipe, 3) == pytest.approx([0.1, 0.1, 0.01])


def test_cosine_goes_from_lr_down_to_zero():
    recipe = replace(RECIPE, epochs=2, schedule="cosine")
    expected = [0.1 * (1 + math.cos(math.pi * step / 4)) / 2 for step in range(4)]
    assert rates(recipe, 2) == pytest.approx(expected)
    assert rates(recipe, 2)[:3:2] == pytest.approx([0.1, 0.05])


def test_warm_up_is_a_line_by_step_to_what_the_schedule_gives():
    recipe = replace(RECIPE, epochs=2, schedule="constant", warmup_epochs=1, warmup_start=0.1)
    assert rates(recipe, 4) == pytest.approx([0.01, 0.0325, 0.055, 0.0775, 0.1, 0.1, 0.1, 0.1])
    cosine = replace(recipe, schedule="cosine", warmup_start=0.0)
    assert rates(cosine, 2) == pytest.approx([0.0, 0.025, 0.05, 0.1 * (1 + math.cos(0.75 * math.pi)) / 2])


def test_the_original_stnet_schedule():
    # models-paddle: 1756 iterations per epoch, 60 epochs, x0.1 at iterations 35120 and 70240
    recipe = TrainRecipe(epochs=60, batch_size=128, lr=0.01, milestones=(20, 40))
    seen = [learning_rate(recipe, step, 1756) for step in (0, 35119, 35120, 70239, 70240)]
    assert seen == pytest.approx([1e-2, 1e-2, 1e-3, 1e-3, 1e-4])


@given(
    st.sampled_from(["steps", "cosine", "constant"]), st.integers(1, 40), st.floats(0, 3), st.floats(0, 1), st.data()
)
def test_a_learning_rate_lies_between_zero_and_the_recipes(schedule, steps_per_epoch, warmup, start, data):
    recipe = replace(RECIPE, schedule=schedule, warmup_epochs=warmup, warmup_start=start, milestones=(2, 4))
    step = data.draw(st.integers(0, 6 * steps_per_epoch - 1))
    assert 0 <= learning_rate(recipe, step, steps_per_epoch) <= 0.1 + 1e-12


def test_describe_schedule_names_what_acts():
    assert describe_schedule(replace(RECIPE, schedule="cosine")) == "lr 0.1, cosine to 0"
    assert describe_schedule(replace(RECIPE, schedule="constant")) == "lr 0.1, constant"


@pytest.mark.parametrize(("micro_batches", "accumulate", "steps", "last"), [(5, 2, 3, 1), (4, 2, 2, 2), (1, 8, 1, 1)])
def test_a_plan_cuts_an_epoch_into_steps(micro_batches, accumulate, steps, last):
    plan = Plan(clips=10, micro_batches=micro_batches, accumulate=accumulate)
    assert plan.steps == steps
    assert plan.step_batches(steps - 1) == last
    assert sum(plan.step_batches(i) for i in range(steps)) == micro_batches


def test_a_batch_is_made_of_whole_micro_batches():
    assert micro_batch_of(RECIPE) == 4
    assert micro_batch_of(replace(RECIPE, micro_batch=100)) == 8
    with pytest.raises(UsageError, match=r"multiple of train\.micro_batch=5.*train\.micro_batch=4"):
        micro_batch_of(replace(RECIPE, micro_batch=5))


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.trunk = nn.Linear(3, 4)
        self.bn = nn.BatchNorm1d(4)
        self.fc = nn.Linear(4, 2)


def grouped(module):
    return [
        ParamGroup(name="trunk", params=("trunk.weight", "trunk.bias")),
        ParamGroup(name="head", params=("fc.weight",), lr_mult=5),
        ParamGroup(name="head bias", params=("fc.bias",), lr_mult=10, decay_mult=0),
    ]


def test_groups_carry_their_multipliers_and_what_none_names_is_frozen():
    net = Net()
    optimizer = build_optimizer(net, replace(RECIPE, weight_decay=0.01, param_groups=grouped))
    set_learning_rate(optimizer, 0.1)
    assert [(g["name"], g["lr"], g["weight_decay"]) for g in optimizer.param_groups] == [
        ("trunk", 0.1, 0.01),
        ("head", 0.5, 0.01),
        ("head bias", 1.0, 0.0),
    ]
    trained = [p for group in optimizer.param_groups for p in group["params"]]
    assert len(trained) == len({id(p) for p in trained}) == 4
    assert {name for name, p in net.named_parameters() if not p.requires_grad} == {"bn.weight", "bn.bias"}


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        ([ParamGroup(name="a", params=("fc.wieght",))], 'Did you mean "fc.weight"'),
        ([ParamGroup(name="a", params=("fc.bias",)), ParamGroup(name="b", params=("fc.bias",))], '"fc.bias" in 2'),
        ([ParamGroup(name="a", params=())], "no parameter"),
    ],
)
def test_groups_that_do_not_fit_the_model_are_refused(groups, message):
    with pytest.raises(PluginError, match=message):
        parameter_groups(Net(), replace(RECIPE, param_groups=lambda _: groups))


def one_step(recipe):
    """A single weight of 2 with gradient 1."""
    net = nn.Linear(1, 1, bias=False)
    net.weight.data.fill_(2.0)
    optimizer = build_optimizer(net, recipe)
    set_learning_rate(optimizer, 0.1)
    net(torch.ones(1, 1)).sum().backward()
    optimizer.step()
    return net.weight.item()


def test_decay_is_coupled_for_sgd_and_adam_and_decoupled_for_adamw():
    recipe = replace(RECIPE, weight_decay=0.5)
    assert one_step(recipe) == pytest.approx(2 - 0.1 * (1 + 0.5 * 2))
    assert one_step(replace(recipe, nesterov=True)) == pytest.approx(2 - 0.1 * (2 + 0.9 * 2))
    assert one_step(replace(recipe, optimizer="adam")) == pytest.approx(2 - 0.1)  # m / sqrt(v) is 1 whatever the decay
    assert one_step(replace(recipe, optimizer="adamw")) == pytest.approx(2 * (1 - 0.1 * 0.5) - 0.1)


def test_settings_that_would_not_act_are_refused():
    with pytest.raises(UsageError, match="nesterov goes with"):
        build_optimizer(Net(), replace(RECIPE, optimizer="adam", nesterov=True))
    with pytest.raises(UsageError, match="momentum above 0"):
        build_optimizer(Net(), replace(RECIPE, momentum=0, nesterov=True))
    adam = build_optimizer(Net(), replace(RECIPE, optimizer="adam", momentum=0.8))
    assert adam.param_groups[0]["betas"] == (0.8, 0.999)


def test_cosine_may_end_before_the_run_does():
    """X-Temporal's TIN: T_max 30 of 35 epochs."""
    recipe = replace(RECIPE, epochs=4, schedule="cosine", cosine_epochs=2)
    expected = [0.1 * (1 + math.cos(math.pi * step / 4)) / 2 for step in range(4)]
    assert rates(recipe, 2) == pytest.approx([*expected, 0, 0, 0, 0], abs=1e-12)
    assert describe_schedule(recipe) == "lr 0.1, cosine to 0 over 2 epochs"


def test_a_staircase_counts_videos():
    """NeXtVLAD: times 0.8 after every 2,000,000 videos, 12,500 steps of 160."""
    recipe = replace(RECIPE, batch_size=160, lr=2e-4, schedule="staircase", gamma=0.8, decay_videos=2_000_000)
    found = [learning_rate(recipe, step, 24_000) for step in (0, 12_499, 12_500, 24_999, 25_000)]
    assert found == pytest.approx([2e-4, 2e-4, 1.6e-4, 1.6e-4, 1.28e-4])
    assert describe_schedule(recipe) == "lr 0.0002, times 0.8 after every 2000000 videos"
    with pytest.raises(UsageError, match="decay_videos above 0, found none"):
        replace(recipe, decay_videos=None)


def test_an_exponential_warm_up_multiplies_by_the_same_factor_every_step():
    recipe = replace(RECIPE, epochs=3, warmup_epochs=1, warmup_start=0.01, warmup="exponential")
    found = rates(recipe, 4)
    assert found == pytest.approx([0.001, 0.001 * 100**0.25, 0.01, 0.001 * 100**0.75, *[0.1] * 8])


def test_pyslowfasts_warm_up_ends_on_its_cosine():
    """lr .1, 196 epochs, warm-up over 34 from .01 (configs/Kinetics/SLOWFAST_8x8_R50.yaml, utils/lr_policy.py)."""
    recipe = replace(RECIPE, epochs=196, schedule="cosine", warmup_epochs=34, warmup_start=0.1)

    def original(epoch):
        def cosine(e):
            return 0.1 * (math.cos(math.pi * e / 196) + 1.0) * 0.5

        return cosine(epoch) if epoch >= 34 else 0.01 + epoch * (cosine(34) - 0.01) / 34

    steps = 10
    assert [learning_rate(recipe, step, steps) for step in range(0, 1960, 7)] == pytest.approx(
        [original(step / steps) for step in range(0, 1960, 7)]
    )


@given(data=st.data())
def test_rmsprop_is_the_formula_of_fluid(data):
    """Five steps in float64 against the formula in plain numbers; 1e-12 leaves only the order of operations."""
    draw = st.floats(-2, 2, allow_nan=False)
    start, gradients = data.draw(draw), data.draw(st.lists(draw, min_size=5, max_size=5))
    momentum, decay = data.draw(st.sampled_from([(0.0, 0.0), (0.9, 0.0), (0.0, 8e-4)]))
    parameter = nn.Parameter(torch.tensor([start], dtype=torch.float64))
    recipe = replace(RECIPE, optimizer="rmsprop", lr=1e-3, momentum=momentum, weight_decay=decay)
    module = nn.Module()
    module.w = parameter
    optimizer = build_optimizer(module, recipe)
    value, mean, square, velocity = start, 0.0, 0.0, 0.0
    for gradient in gradients:
        parameter.grad = torch.tensor([gradient], dtype=torch.float64)
        set_learning_rate(optimizer, 1e-3)
        optimizer.step()
        g = gradient + decay * value
        mean, square = 0.95 * mean + 0.05 * g, 0.95 * square + 0.05 * g * g
        velocity = momentum * velocity + 1e-3 * g / math.sqrt(max(0.0, square - mean * mean) + 1e-6)
        value -= velocity
        assert parameter.item() == pytest.approx(value, rel=1e-12, abs=1e-12)


def test_rmsprop_resumes_where_its_state_says():
    def made():
        torch.manual_seed(0)
        module = nn.Linear(3, 2)
        return module, build_optimizer(module, replace(RECIPE, optimizer="rmsprop", momentum=0.5))

    def steps(module, optimizer, count):
        for i in range(count):
            optimizer.zero_grad()
            module(torch.full((1, 3), float(i + 1))).sum().backward()
            optimizer.step()

    one, first = made()
    steps(one, first, 2)
    other, second = made()
    other.load_state_dict(one.state_dict())
    second.load_state_dict(deepcopy(first.state_dict()))
    steps(one, first, 2)
    steps(other, second, 2)
    assert torch.equal(one.weight, other.weight)
