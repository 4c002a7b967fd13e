"""What a model plugin states: its configuration, what it eats, how it is built and trained, whose weights it takes.

An entry point of the group `vtk.models` names a `ModelSpec`, one of `vtk.trunks` a `TrunkSpec`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, TypeVar

from vtk_cli import registry
from vtk_cli.api.inputs import InputSpec, Norm
from vtk_cli.api.recipes import TrainRecipe
from vtk_cli.errors import PluginError

if TYPE_CHECKING:
    from torch import Tensor, nn

ConfigT = TypeVar("ConfigT")
StateDict = dict[str, "Tensor"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """One weight file that can be fetched and what is known of it."""

    url: str
    sha256: str
    """Full digest, or its first 8 or more hex digits where the publisher gives only those (torchvision's names)."""
    layout: str
    """Names the converter in `ModelSpec.layouts` (or `TrunkSpec.layouts`) that reads the file."""
    licence: str
    classes: str = ""
    """Name of the label order, e.g. kinetics400."""
    accuracy: Mapping[str, float] = field(default_factory=dict)
    """Published numbers in percent, by metric."""
    source: str = ""
    """Where url, digest and numbers are stated."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrunkSpec:
    """A 2D image network without classifier that models wrap; group `vtk.trunks`.

    `build(in_channels)` returns a module with `forward(x_BCHW) -> feature_BD`, an int attribute `num_features` (D), and
    `stem_conv`, the dotted name of its first convolution (for cross-modality initialisation).
    """

    build: Callable[[int], "nn.Module"]
    norm: Norm
    """What its ImageNet weights expect."""
    weights: Mapping[str, Weights] = field(default_factory=dict)
    layouts: Mapping[str, Callable[[StateDict], StateDict]] = field(default_factory=dict)
    paper: str = ""
    api: int = registry.API_VERSION


@dataclass(frozen=True, slots=True, kw_only=True)
class Pretrained:
    """Where a model's initial weights come from, and how they become its own.

    `adapt` gets a file's tensors already brought to the trunk's own names by `layouts[weights.layout]` and returns
    entries of the model's state dict: conv1 of a model that sees 15 channels is made from one that sees 3, say. What it
    leaves out keeps its initialisation.
    """

    name: str
    """Under which the file is kept in the workspace, e.g. resnet50-imagenet."""
    weights: Weights
    layouts: Mapping[str, Callable[[StateDict], StateDict]]
    adapt: Callable[[StateDict], StateDict]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSpec(Generic[ConfigT]):
    """One architecture. `config` is a frozen dataclass whose fields are what `--set model.<field>=` changes."""

    config: type[ConfigT]
    inputs: Callable[[ConfigT], InputSpec]
    build: Callable[[ConfigT, int], "nn.Module"]
    """(config, num_classes) -> module with forward(clip_BTNCHW, normalised float) -> logits_BK."""
    recipe: TrainRecipe
    pretrained: Callable[[ConfigT], Pretrained | None] = lambda _config: None
    """What training starts from unless `--init` says otherwise; None is from scratch."""
    weights: Mapping[str, Weights] = field(default_factory=dict)
    """Published weights of the whole model, by name."""
    layouts: Mapping[str, Callable[[StateDict], StateDict]] = field(default_factory=dict)
    """Dialects of foreign checkpoints: name -> function from their tensors to this model's state dict."""
    tiny: ConfigT | None = None
    """A small configuration that the contract tests and `vtk plugins check` run on a CPU in seconds."""
    summary: str = ""
    paper: str = ""
    api: int = registry.API_VERSION


def trunk(name: str) -> TrunkSpec:
    """The trunk that a model's `trunk=` field names; any installed plugin of the group `vtk.trunks`.

    Raises:
        UsageError: there is none of that name.
        PluginError: it does not load, or is no TrunkSpec.
    """
    found = registry.load("vtk.trunks", name)
    if not isinstance(found, TrunkSpec):
        raise PluginError(f'The trunk "{name}" should be a TrunkSpec, found {type(found).__name__}. Ask its author.')
    return found
