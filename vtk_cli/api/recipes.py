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
    optimizer: Literal["sgd", "adamw", "adam", "rmsprop"] = "sgd"
    """rmsprop: the centred one of Paddle's fluid, rho 0.95 and 1e-6 under the root."""
    lr: float
    momentum: float = 0.9
    """Of sgd and rmsprop; Adam's first beta."""
    nesterov: bool = False
    weight_decay: float = 0.0
    """Coupled L2 for sgd, adam and rmsprop, decoupled for adamw."""
    schedule: Literal["steps", "cosine", "constant", "staircase"] = "steps"
    milestones: tuple[float, ...] = ()
    """steps: epochs after which the learning rate is multiplied by `gamma`; fractions of an epoch are allowed."""
    gamma: float = 0.1
    decay_videos: int | None = None
    """staircase: the learning rate is multiplied by `gamma` after every so many videos."""
    cosine_epochs: float | None = None
    """cosine: epochs of its half period; None is `epochs`. Past it the learning rate stays 0."""
    warmup_epochs: float = 0.0
    """Epochs of warm-up, by step, from `warmup_start * lr`."""
    warmup_start: float = 0.1
    warmup: Literal["linear", "exponential"] = "linear"
    clip_norm: float | None = None
    """Largest joint norm of all gradients; None leaves them as they are."""
    label_smoothing: float = 0.0
    loss: Literal["cross_entropy", "binary_cross_entropy"] = "cross_entropy"
    """The second for datasets with several labels per video."""
    reduction: Literal["mean", "sum_classes", "sum"] = "mean"
    """binary_cross_entropy: the mean over videos and classes; the mean over videos of the sum over classes (Attention
    Cluster, NeXtVLAD); the sum over both (Attention LSTM), which makes the step grow with the batch."""
    param_groups: Callable[[Any], list[ParamGroup]] = one_group
    """(the nn.Module in training mode) -> groups; a parameter that none of them names is not trained."""

    def __post_init__(self) -> None:
        for field in ("epochs", "batch_size", "micro_batch", "lr"):
            if getattr(self, field) <= 0:
                raise UsageError(f"A training recipe needs {field} above 0, found {getattr(self, field)}.")
        if not 0 <= self.label_smoothing < 1:
            raise UsageError(f"label_smoothing lies in [0, 1), found {self.label_smoothing}.")
        if self.schedule == "staircase" and not self.decay_videos:
            raise UsageError("The schedule staircase needs decay_videos above 0, found none. Set it.")
        if any(value < 0 for value in (self.weight_decay, self.warmup_epochs, self.momentum)):
            raise UsageError("weight_decay, warmup_epochs and momentum cannot be negative.")
