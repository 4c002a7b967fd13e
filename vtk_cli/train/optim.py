"""Optimiser and learning rate of a `TrainRecipe`."""

import math
from collections import Counter
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from vtk_cli.api.recipes import ParamGroup, TrainRecipe
from vtk_cli.errors import PluginError, UsageError, did_you_mean
from vtk_cli.train.rmsprop import FluidRMSprop


@dataclass(frozen=True, slots=True)
class Plan:
    """How an epoch is cut: micro-batches (one forward pass each) -> steps (one optimiser step each).

        5 micro-batches, accumulate 2:   [.. ..] [.. ..] [..]    3 steps

    The loader leaves out a smaller micro-batch at the end; the gradients of a smaller step are weighted by its clips.
    """

    clips: int
    """That an epoch trains on."""
    micro_batches: int
    """Per epoch: the length of the loader."""
    accumulate: int
    """Micro-batches per step."""

    @property
    def steps(self) -> int:
        """Optimiser steps per epoch."""
        return math.ceil(self.micro_batches / self.accumulate)

    def step_batches(self, step_in_epoch: int) -> int:
        """Micro-batches of one step: fewer in an epoch's last."""
        return min(self.accumulate, self.micro_batches - step_in_epoch * self.accumulate)


def micro_batch_of(recipe: TrainRecipe) -> int:
    """Clips per forward pass; the batch is a whole number of these.

    Raises:
        UsageError: it is not.
    """
    micro_batch = min(recipe.micro_batch, recipe.batch_size)
    if recipe.batch_size % micro_batch:
        fitting = max(n for n in range(1, micro_batch + 1) if recipe.batch_size % n == 0)
        raise UsageError(
            f"train.batch_size={recipe.batch_size} should be a multiple of train.micro_batch={micro_batch}. "
            f"Use train.micro_batch={fitting}, or change the batch size."
        )
    return micro_batch


def learning_rate(recipe: TrainRecipe, step: int, steps_per_epoch: int) -> float:
    """The learning rate of a step of the run (from 0), before the groups' multipliers.

    With warm-up, a straight line (or a geometric one) from warmup_start * lr to what the schedule gives where the
    warm-up ends (Goyal et al. 2017, section 2.2; as in PySlowFast's lr_policy.py).
    """
    warmup = round(recipe.warmup_epochs * steps_per_epoch)
    if step >= warmup:
        return _scheduled(recipe, step, steps_per_epoch)
    first, last = recipe.warmup_start * recipe.lr, _scheduled(recipe, warmup, steps_per_epoch)
    if recipe.warmup == "exponential":
        return float(first * (last / first) ** (step / warmup))
    return first + (last - first) * step / warmup


def _scheduled(recipe: TrainRecipe, step: int, steps_per_epoch: int) -> float:
    if recipe.schedule == "constant":
        return recipe.lr
    if recipe.schedule == "cosine":  # Loshchilov and Hutter 2017, equation 5, without restarts, down to 0
        steps = (recipe.cosine_epochs or recipe.epochs) * steps_per_epoch
        return recipe.lr * 0.5 * (1 + math.cos(math.pi * min(1.0, step / steps)))
    if recipe.schedule == "staircase":
        assert recipe.decay_videos is not None
        return float(recipe.lr * recipe.gamma ** (step * recipe.batch_size // recipe.decay_videos))
    # Rounded because 0.1 epochs of 30 steps are 3.0000000000000004 of them.
    passed = sum(step >= round(milestone * steps_per_epoch, 6) for milestone in recipe.milestones)
    return float(recipe.lr * recipe.gamma**passed)


def describe_schedule(recipe: TrainRecipe) -> str:
    """The schedule in words.

    >>> describe_schedule(TrainRecipe(epochs=60, batch_size=8, lr=0.01, milestones=(20, 40), warmup_epochs=2))
    'lr 0.01, times 0.1 after epochs 20, 40, warm-up over 2 epochs from 0.001'
    """
    if recipe.schedule == "steps" and recipe.milestones:
        course = f", times {recipe.gamma:g} after epochs {', '.join(f'{m:g}' for m in recipe.milestones)}"
    elif recipe.schedule == "cosine":
        course = ", cosine to 0" + (f" over {recipe.cosine_epochs:g} epochs" if recipe.cosine_epochs else "")
    elif recipe.schedule == "staircase":
        course = f", times {recipe.gamma:g} after every {recipe.decay_videos} videos"
    else:
        course = ", constant"
    kind = "exponential warm-up" if recipe.warmup == "exponential" else "warm-up"
    warm = f", {kind} over {recipe.warmup_epochs:g} epochs from {recipe.warmup_start * recipe.lr:g}"
    return f"lr {recipe.lr:g}{course}{warm if recipe.warmup_epochs else ''}"


def parameter_groups(module: nn.Module, recipe: TrainRecipe) -> list[ParamGroup]:
    """The recipe's groups for a module in training mode, each parameter in at most one.

    Parameters that no group names (partial batch norm) are frozen here, so that no gradient is computed for them.

    Raises:
        PluginError: a group names a parameter that is not there, or two groups the same one, or none names any.
    """
    groups = [group for group in recipe.param_groups(module) if group.params]
    parameters = dict(module.named_parameters())
    named = Counter(name for group in groups for name in group.params)
    for name, times in named.items():
        if name not in parameters:
            raise PluginError(
                f'The model\'s parameter groups name "{name}", which it does not have. '
                f"{did_you_mean(name, parameters)} Report it to the model's author."
            )
        if times > 1:
            raise PluginError(
                f'Each parameter belongs to one group, found "{name}" in {times}. Report it to the model\'s author.'
            )
    if not named:
        raise PluginError("The model's parameter groups should name what to train, found no parameter in them.")
    for name, parameter in parameters.items():
        if name not in named:
            parameter.requires_grad_(False)
    return groups


def build_optimizer(module: nn.Module, recipe: TrainRecipe) -> torch.optim.Optimizer:
    """The recipe's optimiser; the learning rate of its groups is set before every step by `set_learning_rate`.

    `weight_decay` is coupled L2 for sgd, adam and rmsprop and decoupled for adamw; `momentum` is Adam's first beta.
    """
    parameters = dict(module.named_parameters())
    groups: list[dict[str, Any]] = [
        {
            "params": [parameters[name] for name in group.params],
            "name": group.name,
            "lr_mult": group.lr_mult,
            "weight_decay": recipe.weight_decay * group.decay_mult,
        }
        for group in parameter_groups(module, recipe)
    ]
    if recipe.optimizer == "sgd":
        if recipe.nesterov and recipe.momentum == 0:
            raise UsageError("train.nesterov needs train.momentum above 0, found 0. Set one or the other.")
        return torch.optim.SGD(groups, lr=recipe.lr, momentum=recipe.momentum, nesterov=recipe.nesterov)
    if recipe.nesterov:
        raise UsageError(f"train.nesterov goes with train.optimizer=sgd, found {recipe.optimizer}. Set either.")
    if recipe.optimizer == "rmsprop":
        return FluidRMSprop(groups, lr=recipe.lr, momentum=recipe.momentum)
    kind = torch.optim.AdamW if recipe.optimizer == "adamw" else torch.optim.Adam
    return kind(groups, lr=recipe.lr, betas=(recipe.momentum, 0.999))


def set_learning_rate(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Give every group its multiple of `lr`."""
    for group in optimizer.param_groups:
        group["lr"] = lr * group["lr_mult"]
