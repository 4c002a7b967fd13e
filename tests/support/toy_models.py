"""Models of a few numbers with layouts of their own, put beside the installed ones for tests of `vtk weights`."""

import dataclasses
from typing import Literal

import torch
from torch import nn

from vtk_cli import registry
from vtk_cli.api.inputs import Augment, FeatureSpec, InputSpec, Norm, Stream, View
from vtk_cli.api.models import Layout, ModelSpec, Weights
from vtk_cli.api.recipes import TrainRecipe
from vtk_cli.api.sampling import segments
from vtk_cli.errors import MismatchError, UsageError

RECIPE = TrainRecipe(epochs=1, batch_size=2, lr=0.1)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ToyConfig:
    width: int = 4
    segments: int = 2
    direction: Literal["next", "previous"] = "next"

    def __post_init__(self) -> None:
        if self.width < 1:
            raise UsageError(f"A toy has a width above 0, found {self.width}.")


class Toy(nn.Module):
    """clip_BTNCHW -> logits_BK; sees the order of the segments."""

    def __init__(self, config: ToyConfig, num_classes: int) -> None:
        super().__init__()
        self.shift = 1 if config.direction == "next" else -1
        self.conv = nn.Conv2d(3, config.width, 3)
        self.fc = nn.Linear(config.width, num_classes)

    def forward(self, clip_BTNCHW: torch.Tensor) -> torch.Tensor:
        x_BTCHW = clip_BTNCHW.squeeze(2)
        moved = x_BTCHW.roll(self.shift, 1) * torch.arange(x_BTCHW.shape[1]).view(1, -1, 1, 1, 1)
        feature_NC = self.conv((x_BTCHW + moved).flatten(0, 1)).tanh().mean((2, 3))
        return self.fc(feature_NC).unflatten(0, x_BTCHW.shape[:2]).mean(1)


def inputs(config: ToyConfig) -> InputSpec:
    view = View(segments=config.segments, frames=1, short_side=32, crop=32, sampler=segments)
    norm = Norm(mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))
    return InputSpec(modality="rgb", train=view, test=view, norm=norm, augment=Augment(crop="random"))


def convert(checkpoint):
    missing = [name for name in ("conv.weight", "conv.bias", "fc.weight", "fc.bias") if name not in checkpoint]
    unexpected = [name for name in checkpoint if name not in ("conv.weight", "conv.bias", "fc.weight", "fc.bias")]
    if missing or unexpected:
        raise MismatchError(f"found {unexpected}; missing: {missing}", unexpected=unexpected, missing=missing)
    return {name: torch.as_tensor(value) for name, value in checkpoint.items()}


LAYOUT = Layout(convert=convert, infer=lambda checkpoint: {"width": len(checkpoint["conv.weight"])})
BACKWARDS = Layout(convert=convert, infer=lambda checkpoint: {**LAYOUT.infer(checkpoint), "direction": "previous"})

TOY = ModelSpec(
    config=ToyConfig, inputs=inputs, build=Toy, recipe=RECIPE, layouts={"toy": LAYOUT, "backwards": BACKWARDS},
    tiny=ToyConfig(), summary="a toy",
)  # fmt: skip


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SequenceConfig:
    size: int = 6


class Sequence(nn.Module):
    """feature_BFD, mask_BF -> logits_BK."""

    def __init__(self, config: SequenceConfig, num_classes: int) -> None:
        super().__init__()
        self.fc = nn.Linear(config.size, num_classes)

    def forward(self, feature_BFD: torch.Tensor, mask_BF: torch.Tensor) -> torch.Tensor:
        return self.fc((feature_BFD * mask_BF[..., None]).sum(1) / mask_BF.sum(1, keepdim=True))


SEQUENCE = ModelSpec(
    config=SequenceConfig,
    inputs=lambda config: FeatureSpec(streams=(Stream(name="rgb", size=config.size),), frames=40, sampler=segments),
    build=Sequence, recipe=dataclasses.replace(RECIPE, loss="binary_cross_entropy"),
    layouts={"sequence": dict}, tiny=SequenceConfig(), summary="a sequence toy",
)  # fmt: skip


def tensors(width: int = 4, classes: int = 3, seed: int = 0) -> dict[str, torch.Tensor]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Toy(ToyConfig(width=width), classes).state_dict()


def offering(spec: ModelSpec, **weights: Weights) -> ModelSpec:
    return dataclasses.replace(spec, weights=weights)


def install(monkeypatch, **specs) -> None:
    """Models beside the installed ones, until the test ends."""
    names, load = registry.names, registry.load

    def all_names(group):
        return sorted([*names(group), *specs]) if group == "vtk.models" else names(group)

    def load_any(group, name):
        return specs[name] if group == "vtk.models" and name in specs else load(group, name)

    monkeypatch.setattr(registry, "names", all_names)
    monkeypatch.setattr(registry, "load", load_any)
