"""What a model plugin states: its configuration, what it eats, how it is built and trained, whose weights it takes.

An entry point of the group `vtk.models` names a `ModelSpec`, one of `vtk.trunks` a `TrunkSpec`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from vtk_cli import registry
from vtk_cli.api.inputs import FeatureSpec, InputSpec, Norm
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
    sha256: str = ""
    """Full digest, or its first 8 or more hex digits where the publisher gives only those (torchvision's names); empty
    where no digest is published: then the file's own is recorded and told."""
    by_hand: bool = False
    """The address is a page (a drive's folder, say) and no file: a person has to fetch it, then import it."""
    config: Mapping[str, Any] = field(default_factory=dict)
    """Fields of the model's configuration in which these weights differ from its defaults."""
    layout: str
    """Names the converter in `ModelSpec.layouts` (or `TrunkSpec.layouts`) that reads the file."""
    licence: str
    classes: str = ""
    """Name of the label order, e.g. kinetics400."""
    accuracy: Mapping[str, float] = field(default_factory=dict)
    """Published numbers in percent, by metric."""
    protocol: str = ""
    """How those numbers were measured, e.g. 8 frames, 10 clips x 3 crops of 256."""
    source: str = ""
    """Where url, digest and numbers are stated."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """A dialect of foreign checkpoints. A plain function serves where a file says nothing of the configuration."""

    convert: Callable[[StateDict], StateDict]
    """From the checkpoint, as read from its file, to the state dict of the model of `infer`'s configuration.

    Raises a CheckpointError that names every tensor left over or missing.
    """
    infer: Callable[[StateDict], Mapping[str, Any]] = lambda _checkpoint: {}
    """Fields of the configuration that the tensors, or the dialect, decide: depth, segments, direction of a shift."""

    def __call__(self, checkpoint: StateDict) -> StateDict:
        return self.convert(checkpoint)


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
    inputs: Callable[[ConfigT], InputSpec | FeatureSpec]
    build: Callable[[ConfigT, int], "nn.Module"]
    """(config, num_classes) -> module with forward(clip_BTNCHW, normalised float) -> logits_BK, or, for a FeatureSpec,
    forward(feature_BFD, mask_BF) -> logits_BK."""
    classifier: str = "fc"
    """Dotted name of the last linear layer (or 1x1x1 convolution); what it is given are a clip's features."""
    recipe: TrainRecipe
    extra_loss: "Callable[[nn.Module, Tensor, Tensor], Tensor] | None" = None
    """(the module, right after it gave logits_BK in training; those; labels) -> what is added to the recipe's loss, a
    mean over the videos. None: nothing is."""
    pretrained: Callable[[ConfigT], Pretrained | None] = lambda _config: None
    """What training starts from unless `--init` says otherwise; None is from scratch."""
    weights: Mapping[str, Weights] = field(default_factory=dict)
    """Published weights of the whole model, by name."""
    layouts: Mapping[str, Callable[[StateDict], StateDict]] = field(default_factory=dict)
    """Dialects of foreign checkpoints by name: a `Layout`, or a function from their tensors to this model's."""
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
