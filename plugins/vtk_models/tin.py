"""Temporal Interlacing Network (Shao, Qian and Liu, AAAI 2020).

A ResNet sees one frame of each segment; before the first convolution of every residual block a quarter of the channels
moves along time, as far as a small network reads off the clip (interlace.py). The shortcut is left alone.

    clip_BT1CHW -> x_(BT)CHW -> blocks, each of an interlaced input -> feature_(BT)D -> dropout -> fc -> mean over T

Written from a description of the operator: the authors' repository carries no licence. The two networks of a block are
made for one number of segments, so weights for 8 segments are of no use for 16.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self, cast

from torch import Tensor, nn

from vtk_cli.api.inputs import Augment, InputSpec, View
from vtk_cli.api.models import ModelSpec, Pretrained, StateDict, trunk
from vtk_cli.api.recipes import ParamGroup, TrainRecipe
from vtk_cli.api.sampling import dense_tin, segments
from vtk_cli.errors import CheckpointError, UsageError
from vtk_models import tin_layouts
from vtk_models.groups import frozen_norms, policy_groups
from vtk_models.interlace import GROUPS, Interlace, InterlacedConv
from vtk_models.trunks.resnet import BLOCKS, STAGE_WIDTHS, ResNet

TRUNKS = tuple(f"resnet{depth}" for depth in BLOCKS)

CUSTOM_LINEARS = 32
"""Linear layers, from the first on, that the original takes for the offset networks' when it forms its groups."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TINConfig:
    trunk: str = "resnet50"
    """resnet18 ... resnet152; every block is interlaced, in ResNet-101 too."""
    segments: int = 8
    """T, in training and testing; 8 and 16 are the original's."""
    shift_div: int = 4
    """One channel in so many moves."""
    dropout: float = 0.8
    """Before the classifier."""
    partial_bn: bool = False
    """Freeze all batch norms but the first."""
    sampling: Literal["segments", "dense"] = "segments"
    """dense: segments `stride` frames apart, for Kinetics."""
    stride: int = 2
    """dense: the original's dense_sample_rate."""
    short_side: int = 256
    crop: int = 224
    test_crops: Literal[1, 3, 5, 10] = 3
    test_clips: int = 1
    """10 in the numbers published for several clips and crops."""
    average: Literal["logits", "probabilities"] = "probabilities"
    """What is averaged over test views; X-Temporal averages logits."""

    def __post_init__(self) -> None:
        if self.trunk not in TRUNKS:
            raise UsageError(f'TIN interlaces {", ".join(TRUNKS)}, found "{self.trunk}". Name one of these.')
        if self.segments < 1:
            raise UsageError(f"TIN needs at least 1 segment, found {self.segments}. Raise model.segments.")
        most = STAGE_WIDTHS[0] // GROUPS
        if not 1 <= self.shift_div <= most or most % self.shift_div:
            raise UsageError(
                f"TIN moves 1 channel in 1, 2, 4, 8 or {most}, so that four groups fit the first block's "
                f"{STAGE_WIDTHS[0]}; found shift_div={self.shift_div}. Name one of these."
            )
        if not 0 <= self.dropout < 1:
            raise UsageError(f"A dropout lies in [0, 1), found {self.dropout}. Lower model.dropout.")
        if self.sampling not in ("segments", "dense"):
            raise UsageError(f'TIN samples segments or dense, found "{self.sampling}". Name one of these.')


class TIN(nn.Module):
    """forward(clip_BTNCHW) -> logits_BK for T = `config.segments` and N = 1."""

    def __init__(self, config: TINConfig, num_classes: int) -> None:
        super().__init__()
        self.segments = config.segments
        self.partial_bn = config.partial_bn
        self.trunk = cast("ResNet", trunk(config.trunk).build(3))
        self.interlace = nn.ModuleList(
            nn.ModuleList(_interlace(block, config) for block in stage) for stage in self.trunk.stages
        )
        self.dropout = nn.Dropout(config.dropout)
        self.fc = nn.Linear(self.trunk.num_features, num_classes)
        nn.init.normal_(self.fc.weight, std=0.001)
        nn.init.zeros_(self.fc.bias)
        for norm in self._frozen_norms():
            norm.requires_grad_(requires_grad=False)
        self.register_load_state_dict_pre_hook(_refuse_other_segments)  # type: ignore[no-untyped-call]

    def forward(self, clip_BTNCHW: Tensor) -> Tensor:
        if clip_BTNCHW.shape[1] != self.segments:
            raise UsageError(
                f"This TIN is made for {self.segments} segments, found a clip of {clip_BTNCHW.shape[1]}. "
                "Leave model.segments at what the weights were trained with."
            )
        x = self.trunk.stem(clip_BTNCHW.flatten(0, 2))
        for blocks, interlaces in zip(self.trunk.stages, self.interlace, strict=True):
            for block, interlace in zip(blocks, cast("nn.ModuleList", interlaces), strict=True):
                # What `moves` returns goes to the block's first convolution, an InterlacedConv, and nowhere else.
                x = block(x, cast("Interlace", interlace).moves)
        feature_ND: Tensor = self.trunk.avgpool(x).flatten(1)
        logits_BTK: Tensor = self.fc(self.dropout(feature_ND)).unflatten(0, (-1, self.segments))
        return logits_BTK.mean(1)

    def train(self, mode: bool = True) -> Self:
        """As every module's, except that frozen batch norms keep their running statistics."""
        super().train(mode)
        for norm in self._frozen_norms():
            norm.eval()
        return self

    def _frozen_norms(self) -> Sequence[nn.Module]:
        return frozen_norms(self.trunk) if self.partial_bn else []


def _interlace(block: nn.Module, config: TINConfig) -> Interlace:
    block.conv1 = InterlacedConv.of(cast("nn.Conv2d", block.conv1))
    return Interlace(block.conv1.in_channels, config.segments, config.shift_div)


def _refuse_other_segments(module: nn.Module, state: dict[str, Any], prefix: str, *_: object) -> None:
    fc1_TT = state.get(f"{prefix}interlace.0.0.offset.fc1.weight")
    if isinstance(module, TIN) and fc1_TT is not None and len(fc1_TT) != module.segments:
        raise CheckpointError(
            f"This TIN is made for {module.segments} segments, found weights for {len(fc1_TT)}. "
            f"Build it with segments={len(fc1_TT)}."
        )


def param_groups(module: nn.Module) -> list[ParamGroup]:
    """The original's: TSM's with a faster classifier, and the offset networks' linear layers at the common rate.

    It takes the first 32 linear layers for those. ResNet-101 has 66 of them, of which 34 thus learn five times as fast
    with the classifier; ResNet-18 has 16, so that the classifier counts among them.
    """
    if not isinstance(module, TIN):
        raise UsageError(f"TIN's parameter groups are for a TIN, found {type(module).__name__}.")
    linears = [name for name, layer in module.named_modules() if isinstance(layer, nn.Linear)]
    return policy_groups(module, "rgb", fc_lr5=True, custom=linears[:CUSTOM_LINEARS])


def inputs(config: TINConfig) -> InputSpec:
    dense = config.sampling == "dense"

    def view(clips: int, crops: Literal[1, 3, 5, 10]) -> View:
        return View(
            segments=config.segments,
            frames=1,
            stride=config.stride if dense else 1,
            short_side=config.short_side,
            crop=config.crop,
            clips=clips,
            crops=crops,
            average=config.average,
            sampler=dense_tin if dense else segments,
        )

    return InputSpec(
        modality="rgb",
        train=view(clips=1, crops=1),
        test=view(config.test_clips, config.test_crops),
        norm=trunk(config.trunk).norm,
        augment=Augment(crop="multiscale"),
    )


def pretrained(config: TINConfig) -> Pretrained:
    """The ResNet's ImageNet weights; what moves channels starts anew."""
    spec = trunk(config.trunk)

    def adapt(state: StateDict) -> StateDict:
        return {f"trunk.{name}": tensor for name, tensor in state.items()}

    return Pretrained(
        name=f"{config.trunk}-imagenet", weights=spec.weights["imagenet"], layouts=spec.layouts, adapt=adapt
    )


MODEL = ModelSpec(
    config=TINConfig,
    inputs=inputs,
    build=TIN,
    # Something-Something, 8 GPUs with 6 videos each.
    recipe=TrainRecipe(
        epochs=40,
        batch_size=48,
        micro_batch=6,
        lr=0.02,
        weight_decay=5e-4,
        schedule="cosine",
        warmup_epochs=1,
        warmup_start=0.1,
        clip_norm=20.0,
        param_groups=param_groups,
    ),
    pretrained=pretrained,
    weights=tin_layouts.WEIGHTS,
    layouts=tin_layouts.layouts(lambda found: TIN(TINConfig(**found), 1)),
    tiny=TINConfig(trunk="resnet18", segments=4, test_crops=1, short_side=32, crop=32),
    summary="a ResNet whose channels move along time as far as a small network says, before every residual block",
    paper="Shao, Qian and Liu, Temporal Interlacing Network, AAAI 2020 (arXiv 2001.06499)",
)
