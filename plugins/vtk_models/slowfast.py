"""SlowFast (Feichtenhofer et al., ICCV 2019): a slow pathway sees few frames, a thin fast one sees all of them.

    clip_BTNCHW -> x_BCTHW      T = all frames, t = T / alpha
      slow  every alpha-th frame -> stem     res2     res3     res4     res5 -> average over t, h, w --+
                                      ^        ^        ^        ^                                      cat - fc
      fast  all frames ------------> stem --- res2 --- res3 --- res4 --- res5 -> average over T, h, w --+

The fast pathway has 1/beta of the slow one's channels. Each ^ is a lateral connection: a convolution of stride alpha
over time brings the fast map to t frames and twice its channels, which are appended to the slow map's.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from vtk_cli.api.models import ModelSpec, Pretrained
from vtk_cli.errors import UsageError
from vtk_models.conv3d import TemporalConv
from vtk_models.slowfast_layouts import slowfast_layouts
from vtk_models.slowfast_parts import PAPER, RECIPE, Head, PathwayConfig, inflated_resnet, non_local_maker, views
from vtk_models.slowfast_weights import SLOWFAST_WEIGHTS
from vtk_models.trunks.resnet_3d_inflated import FAST, SLOW, InflatedResNet, initialise


@dataclass(frozen=True, slots=True, kw_only=True)
class SlowFastConfig(PathwayConfig):
    """The defaults are SlowFast 4x16, R50. 8x8 is alpha=4 fusion_kernel=7, 16x8 in addition frames=64."""

    fast_depth: int | None = None
    """Of the fast pathway's ResNet; None is the slow one's."""
    fast_res4_temporal: int | None = None
    """As `res4_temporal`, of the fast pathway."""
    alpha: int = 8
    """The fast pathway sees so many times as many frames."""
    beta: int = 8
    """The slow pathway has so many times as many channels (the paper's 1/beta)."""
    fusion_kernel: int = 5
    """Frames that the lateral convolutions span; PySlowFast has 7 in 8x8 of depth 50 without non-local blocks."""
    fusion_ratio: int = 2
    """Channels of a lateral connection as a multiple of the fast pathway's."""
    lateral_norm: bool = True
    """Whether batch norm and ReLU follow the lateral convolutions (PySlowFast; not in MMAction2 and X-Temporal)."""
    slow_frames: Literal["linspace", "every"] = "linspace"
    """Frames of the slow pathway: evenly from the first to the last (PySlowFast), or every alpha-th."""
    fc_bias: bool = True
    """X-Temporal's classifier has none."""

    def __post_init__(self) -> None:
        PathwayConfig.__post_init__(self)
        if self.slow_frames not in ("linspace", "every"):
            raise UsageError(f'SlowFast takes its slow frames by linspace or every, found "{self.slow_frames}".')
        if self.fusion_kernel % 2 == 0:
            raise UsageError(f"A lateral convolution spans an odd number of frames, found {self.fusion_kernel}.")
        if self.beta < 1 or self.width % self.beta:
            raise UsageError(f"beta divides the width of {self.width}, found beta={self.beta}. Choose another.")
        check_frames(self.frames, self.alpha)


class Lateral(nn.Module):
    """(x_BCtHW of the slow pathway, x_BcTHW of the fast one) -> x_B(C + ratio c)tHW."""

    def __init__(self, config: SlowFastConfig, channels: int) -> None:
        super().__init__()
        out_channels = channels * config.fusion_ratio
        self.conv = TemporalConv(channels, out_channels, config.fusion_kernel, config.alpha)
        self.bn = nn.BatchNorm3d(out_channels) if config.lateral_norm else None

    def forward(self, slow: Tensor, fast: Tensor) -> Tensor:
        fused = self.conv(fast)
        if self.bn is not None:
            fused = functional.relu(self.bn(fused), inplace=True)
        return torch.cat((slow, fused), 1)


class SlowFast(nn.Module):
    """forward(clip_BTNCHW) -> logits_BK; takes any number of frames that alpha divides, T x N together."""

    def __init__(self, config: SlowFastConfig, num_classes: int) -> None:
        super().__init__()
        self.alpha, self.slow_frames = config.alpha, config.slow_frames
        self.fast = InflatedResNet(
            FAST,
            config.fast_depth or config.depth,
            width=config.width // config.beta,
            temporal_blocks=(None, None, config.fast_res4_temporal, None),
        )
        sources = (config.width // config.beta, *self.fast.stage_channels[:3])
        self.slow = slow_pathway(config, joined=[channels * config.fusion_ratio for channels in sources])
        self.laterals = nn.ModuleList(Lateral(config, channels) for channels in sources)
        features = self.slow.num_features + self.fast.num_features
        self.head = Head(config, features, num_classes, bias=config.fc_bias)
        initialise(self.laterals)
        initialise(self.head)

    def forward(self, clip_BTNCHW: Tensor) -> Tensor:
        x_BCTHW = clip_BTNCHW.flatten(1, 2).transpose(1, 2)
        slow, fast = self.slow.stem(self._slow(x_BCTHW)), self.fast.stem(x_BCTHW)
        for lateral, slow_layer, fast_layer in zip(self.laterals, self.slow.layers, self.fast.layers, strict=True):
            slow, fast = slow_layer(lateral(slow, fast)), fast_layer(fast)
        logits_BK: Tensor = self.head(slow, fast)
        return logits_BK

    def _slow(self, x_BCTHW: Tensor) -> Tensor:
        frames = x_BCTHW.shape[2]
        check_frames(frames, self.alpha)
        if self.slow_frames == "every":
            return x_BCTHW[:, :, :: self.alpha]
        return torch.stack([x_BCTHW[:, :, index] for index in slow_indices(frames, self.alpha)], 2)


def slow_pathway(config: PathwayConfig, *, joined: Sequence[int] = (0, 0, 0, 0)) -> InflatedResNet:
    return InflatedResNet(
        SLOW,
        config.depth,
        width=config.width,
        joined=joined,
        temporal_blocks=(None, None, config.res4_temporal, None),
        non_local=non_local_maker(config),
        non_local_after=config.non_local,
    )


def slow_indices(frames: int, alpha: int) -> list[int]:
    """PySlowFast's slow frames: evenly from the first to the last, cut off.

    Exact, where torch.linspace rounds to single precision: up to 512 frames that changes one index of clips of 160
    frames with alpha 4, 400 and 512 with alpha 8, and 352 with alpha 16. Source: SlowFast datasets/utils.py,
    `pack_pathway_output`.

    >>> slow_indices(32, 4)
    [0, 4, 8, 13, 17, 22, 26, 31]
    >>> slow_indices(32, 8)
    [0, 10, 20, 31]
    """
    count = frames // alpha
    return [place * (frames - 1) // max(1, count - 1) for place in range(count)]


def check_frames(frames: int, alpha: int) -> None:
    if alpha < 1 or frames < alpha or frames % alpha:
        raise UsageError(
            f"SlowFast takes a number of frames that alpha divides, found {frames} frames and alpha={alpha}. "
            "Change one of them."
        )


def pretrained(config: SlowFastConfig) -> Pretrained | None:
    """For the slow pathway alone: no image network is as thin as the fast one."""
    if config.pretrained == "none":
        return None
    with torch.device("meta"):
        return inflated_resnet(config, SlowFast(config, 1).slow, "slow.")


MODEL = ModelSpec(
    config=SlowFastConfig,
    inputs=views,
    build=SlowFast,
    classifier="head.fc",
    recipe=RECIPE,
    pretrained=pretrained,
    weights=SLOWFAST_WEIGHTS,
    layouts=slowfast_layouts(SlowFast, SlowFastConfig),
    tiny=SlowFastConfig(
        width=16, frames=8, alpha=4, crop=32, test_crop=40, jitter=(40, 44), test_clips=2, non_local=((), (0,), (), ())
    ),
    summary="a slow pathway of few frames and a thin fast one of many, joined after every stage",
    paper=PAPER,
)
