"""Temporal Shift Module (Lin, Gan and Han, ICCV 2019): a TSN whose snippets see their neighbours.

Inside an image network a part of the channels moves to the next and to the previous frame (shift.py), which costs no
parameter and no multiplication. Before whom they move, for each family of trunks:

    ResNet         conv1 of the residual blocks, the shortcut sees x as it was ("blockres"); or the whole block
                   ("block"); of ResNet-101 and 152 MIT shifts every second block
    BN-Inception   all blocks but the first half of the stem
    MobileNetV2    the residual branch of every block with a shortcut

With `shift="online"` frames see earlier ones only, so that `TSM.stream` gives the same scores frame by frame.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import cast

import torch
from torch import Tensor, nn

from vtk_cli.api.inputs import InputSpec
from vtk_cli.api.models import ModelSpec
from vtk_cli.api.recipes import TrainRecipe
from vtk_cli.errors import UsageError
from vtk_models import tsn
from vtk_models.groups import Policy
from vtk_models.nonlocal_block import KINDS, Kind, NonLocalBlock
from vtk_models.shift import DIRECTIONS, Direction, temporal_pool, temporal_shift
from vtk_models.trunks.bninception import BLOCKS, BNInception
from vtk_models.trunks.mobilenetv2 import InvertedResidual, MobileNetV2
from vtk_models.trunks.resnet import Mix, ResNet
from vtk_models.tsm_layouts import NONLOCAL_BLOCKS, PLACES, Place, layouts, shift_every
from vtk_models.tsm_weights import WEIGHTS
from vtk_models.tsn import TSN, TSNConfig

Shift = Callable[[int], Mix]
"""T -> the shift of B x T frames."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TSMConfig(TSNConfig):
    segments: int = 8
    test_segments: int | None = None
    test_crops: tsn.Crops = 1
    dropout: float | None = 0.5
    policy: Policy = "fc_lr5"
    shift: Direction = "next_first"
    """Where the first channels come from: the next frame (MIT, X-Temporal, MMAction2), the previous one (Paddle:
    `prev_first`), or nothing from later frames at all (`online`)."""
    shift_div: int = 8
    """One channel in so many moves each way; PaddleVideo's is the number of segments."""
    shift_every: int | None = None
    """ResNets: of the blocks of a stage the first and every so manieth after it are shifted; None is MIT's 1, for
    ResNet-101 and 152 its 2. X-Temporal and Paddle shift every block."""
    place: Place = "blockres"
    """ResNets: before the residual branch or before the whole block (then of every block)."""
    temporal_pool: bool = False
    """ResNets: halve the frames before layer2."""
    non_local: Kind | None = None
    """ResNet-50: non-local blocks after blocks 0 and 2 of layer2 and 0, 2 and 4 of layer3; MIT's kind is
    embedded_gaussian."""
    non_local_bias: bool = True
    """Of their last convolution: MIT's has one, MMAction2's not."""

    def __post_init__(self) -> None:
        TSNConfig.__post_init__(self)
        for name, known in (("shift", DIRECTIONS), ("place", PLACES), ("non_local", (None, *KINDS))):
            if getattr(self, name) not in known:
                raise UsageError(
                    f'{name} is one of {", ".join(map(str, known))}, found "{getattr(self, name)}". Name one of them.'
                )
        for name in ("shift_div", "shift_every"):
            value = getattr(self, name)
            if value is not None and value < (2 if name == "shift_div" else 1):
                raise UsageError(f"{name} is {'2' if name == 'shift_div' else '1'} or more, found {value}. Raise it.")
        if self.non_local and self.trunk != "resnet50":
            raise UsageError(
                f'TSM has non-local blocks in resnet50, found trunk="{self.trunk}". Leave one of them out.'
            )
        if self.consensus == "weighted" and self.temporal_pool:
            raise UsageError("A weighted consensus counts segments, found temporal_pool=True. Leave one of them out.")


class TSM(TSN):
    """forward(clip_BTNCHW) -> logits_BK; any number of segments."""

    eager = ("fc.bias",)

    def __init__(self, config: TSMConfig, num_classes: int) -> None:
        super().__init__(config, num_classes)
        self.config = config
        self.shift_every = config.shift_every or shift_every(config.trunk)
        self.nonlocals = nn.ModuleDict()
        if not isinstance(self.trunk, ResNet | BNInception | MobileNetV2):
            raise UsageError(
                f'TSM shifts ResNets, bninception and mobilenetv2, found trunk="{config.trunk}". Name one of them.'
            )
        if not isinstance(self.trunk, ResNet) and (config.temporal_pool or config.place != "blockres"):
            raise UsageError(
                f'temporal_pool and place="block" are for ResNets, found trunk="{config.trunk}". Leave them out.'
            )
        if isinstance(self.trunk, BNInception):
            for norm in self.trunk.modules():
                if isinstance(norm, nn.BatchNorm2d):
                    norm.momentum = 0.9  # archs/bn_inception.py of TSM; TSN's copy has 0.1
        if config.non_local:
            self._add_nonlocals(config.non_local, bias=config.non_local_bias)
        self._freeze()

    def features(self, x_NCHW: Tensor, num_segments: int) -> Tensor:
        """feature_ND of B x T snippets, segments fastest; with temporal pooling of (T + 1) // 2 each."""
        div, direction = self.config.shift_div, self.config.shift

        def shift(num_segments: int) -> Mix:
            return partial(temporal_shift, num_segments=num_segments, div=div, direction=direction)

        return self._run(x_NCHW, num_segments, shift)

    def stream(self, frame_BNCHW: Tensor, memory: Sequence[Tensor] | None = None) -> tuple[Tensor, list[Tensor]]:
        """One snippet of each of B videos, and what the call for the snippet before returned -> logits_BK, memory.

        The logits are this snippet's own; their mean over the video is what `forward` gives for it. The memory holds
        the channels that move, of every shifted place: 10 small maps for MobileNetV2.

        Raises:
            UsageError: the model looks ahead: its shift is not online, or it has temporal pooling or non-local blocks.
        """
        config = self.config
        if config.shift != "online" or config.temporal_pool or config.non_local:
            raise UsageError(
                f'A stream needs shift="online" and neither temporal_pool nor non_local, found shift="{config.shift}", '
                f"temporal_pool={config.temporal_pool}, non_local={config.non_local}. Train such a model."
            )
        kept: list[Tensor] = []
        held = None if memory is None else iter(memory)
        mix = partial(_remembered, div=config.shift_div, held=held, kept=kept)
        snippet_BCHW = frame_BNCHW.diff(dim=1) if self.modality == "rgbdiff" else frame_BNCHW
        feature_BD = self._run(snippet_BCHW.flatten(1, 2), 1, lambda _: mix)
        logits_BK: Tensor = self.fc(self.dropout(feature_BD))
        return logits_BK, kept

    def _run(self, x: Tensor, num_segments: int, shift: Shift) -> Tensor:
        trunk = self.trunk
        if isinstance(trunk, ResNet):
            return trunk.pool(self._run_stages(trunk, trunk.stem(x), num_segments, shift))
        mix = shift(num_segments)
        if isinstance(trunk, BNInception):
            for place, block in enumerate(BLOCKS):
                x = trunk.run_block(block, mix(x) if place else x)
            return trunk.pool(x)
        for layer in cast("MobileNetV2", trunk).features:
            shifts = isinstance(layer, InvertedResidual) and layer.expands and layer.has_shortcut
            x = layer(x, mix) if shifts else layer(x)
        return cast("MobileNetV2", trunk).pool(x)

    def _run_stages(self, trunk: ResNet, x: Tensor, num_segments: int, shift: Shift) -> Tensor:
        for number, stage in enumerate(trunk.stages, start=1):
            if number == 2 and self.config.temporal_pool:
                x = temporal_pool(x, num_segments)
                num_segments = (num_segments + 1) // 2
            mix = shift(num_segments)
            for place, block in enumerate(stage):
                if self.config.place == "block":
                    x = block(mix(x))
                else:
                    x = block(x, None if place % self.shift_every else mix)
                if (name := f"layer{number}_{place}") in self.nonlocals:
                    x = self._attend(self.nonlocals[name], x, num_segments)
        return x

    @staticmethod
    def _attend(block: nn.Module, x_NCHW: Tensor, num_segments: int) -> Tensor:
        x_BCTHW = x_NCHW.view(-1, num_segments, *x_NCHW.shape[1:]).transpose(1, 2)
        z_BCTHW: Tensor = block(x_BCTHW)
        return z_BCTHW.transpose(1, 2).flatten(0, 1)

    def _add_nonlocals(self, kind: Kind, *, bias: bool) -> None:
        channels = cast("ResNet", self.trunk).stage_channels
        for stage, places in NONLOCAL_BLOCKS.items():
            for place in places:
                block = NonLocalBlock(channels[stage - 1], kind=kind, pool="after", scale=False, std=None)
                if not bias:
                    block.out.register_parameter("bias", None)
                self.nonlocals[f"layer{stage}_{place}"] = block


def _remembered(x_BCHW: Tensor, *, div: int, held: Iterator[Tensor] | None, kept: list[Tensor]) -> Tensor:
    """The online shift of a single frame: its first channels go into `kept`, those of the frame before come in."""
    fold = x_BCHW.shape[1] // div
    first_BFHW = x_BCHW[:, :fold].clone()
    kept.append(first_BFHW)
    before_BFHW = torch.zeros_like(first_BFHW) if held is None else next(held)
    return torch.cat((before_BFHW, x_BCHW[:, fold:]), dim=1)


def inputs(config: TSMConfig) -> InputSpec:
    """TSN's; Paddle's TSM is trained on multi-scale crops of 256, and a random 224 of these."""
    spec = tsn.inputs(config)
    if config.sampling != "paddle":
        return spec
    return replace(spec, augment=replace(tsn.multiscale(config.modality), then_random=config.short_side))


MODEL = ModelSpec(
    config=TSMConfig,
    inputs=inputs,
    build=TSM,
    # scripts/train_tsm_kinetics_rgb_8f.sh
    recipe=TrainRecipe(
        epochs=50,
        batch_size=128,
        lr=0.02,
        weight_decay=1e-4,
        milestones=(20, 40),
        clip_norm=20.0,
        param_groups=tsn.param_groups,
    ),
    pretrained=lambda config: tsn.imagenet(config.trunk, config.modality),
    weights=WEIGHTS,
    layouts=layouts(lambda found: TSM(TSMConfig(**found), 1)),
    tiny=TSMConfig(trunk="resnet18", segments=4, short_side=32, crop=32),
    summary="a TSN that shifts channels between neighbouring frames inside its image network, offline or online",
    paper="Lin et al., TSM: Temporal Shift Module for Efficient Video Understanding, ICCV 2019 (arXiv 1811.08383)",
)
