"""How a model is trained: what its paper reports, as values."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from vtk_cli.errors import UsageError

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, slots=True, kw_only=True)
class ParamGroup:
    """Parameters that share a learning-rate and a weight-decay multiplier."""

    name: str
    params: tuple[str, ...]
    """Names as `named_parameters()` gives them."""
    lr_mult: float = 1.0
    decay_mult: float = 1.0


def one_group(module: "nn.Module") -> list[ParamGroup]:
    """Every trainable parameter with the same learning rate and decay, as Paddle's optimisers treat them."""
    return [ParamGroup(name="all", params=tuple(name for name, p in module.named_parameters() if p.requires_grad))]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainRecipe:
    """Optimiser, schedule and length of a training run; its fields are what `--set train.<field>=` changes."""

    epochs: int
    batch_size: int
    """Videos per optimiser step, over all devices and accumulated micro-batches."""
    micro_batch: int = 16
    """Videos per forward pass on one device; the batch is accumulated from these (batch norm sees this many)."""
    optimizer: Literal["sgd", "adamw", "adam"] = "sgd"
    lr: float
    momentum: float = 0.9
    nesterov: bool = False
    weight_decay: float = 0.0
    """Coupled L2 for sgd and adam, decoupled for adamw."""
    schedule: Literal["steps", "cosine", "constant"] = "steps"
    milestones: tuple[float, ...] = ()
    """steps: epochs after which the learning rate is multiplied by `gamma`; fractions of an epoch are allowed."""
    gamma: float = 0.1
    warmup_epochs: float = 0.0
    """Epochs of linear warm-up, by step, from `warmup_start * lr`."""
    warmup_start: float = 0.1
    clip_norm: float | None = None
    """Largest joint norm of all gradients; None leaves them as they are."""
    label_smoothing: float = 0.0
    loss: Literal["cross_entropy", "binary_cross_entropy"] = "cross_entropy"
    """The second for datasets with several labels per video."""
    param_groups: Callable[[Any], list[ParamGroup]] = one_group
    """(the nn.Module in training mode) -> groups; a parameter that none of them names is not trained."""

    def __post_init__(self) -> None:
        for field in ("epochs", "batch_size", "micro_batch", "lr"):
            if getattr(self, field) <= 0:
                raise UsageError(f"A training recipe needs {field} above 0, found {getattr(self, field)}.")
        if not 0 <= self.label_smoothing < 1:
            raise UsageError(f"label_smoothing lies in [0, 1), found {self.label_smoothing}.")
        if any(value < 0 for value in (self.weight_decay, self.warmup_epochs, self.momentum)):
            raise UsageError("weight_decay, warmup_epochs and momentum cannot be negative.")
