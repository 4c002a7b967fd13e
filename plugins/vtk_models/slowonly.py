"""SlowOnly: the slow pathway of SlowFast by itself, a 3D ResNet that looks at time in its last two stages alone.

    clip_BTNCHW -> x_BCTHW -> stem - res2 - res3 - res4 - res5 -> average over T, h, w -> fc -> logits_BK

Few frames far apart: 4x16 are 4 frames, 16 apart. No stage reduces their number.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vtk_cli.api.models import ModelSpec, Pretrained
from vtk_models.slowfast import slow_pathway
from vtk_models.slowfast_layouts import slowonly_layouts
from vtk_models.slowfast_parts import PAPER, RECIPE, Head, PathwayConfig, inflated_resnet, views
from vtk_models.slowfast_weights import SLOWONLY_WEIGHTS
from vtk_models.trunks.resnet_3d_inflated import initialise


@dataclass(frozen=True, slots=True, kw_only=True)
class SlowOnlyConfig(PathwayConfig):
    """The defaults are Slow 4x16, R50; 8x8 is frames=8 stride=8."""

    frames: int = 4
    stride: int = 16


class SlowOnly(nn.Module):
    """forward(clip_BTNCHW) -> logits_BK; any number of frames, T x N together."""

    def __init__(self, config: SlowOnlyConfig, num_classes: int) -> None:
        super().__init__()
        self.slow = slow_pathway(config)
        self.head = Head(config, self.slow.num_features, num_classes)
        initialise(self.head)

    def forward(self, clip_BTNCHW: Tensor) -> Tensor:
        logits_BK: Tensor = self.head(self.slow(clip_BTNCHW.flatten(1, 2).transpose(1, 2)))
        return logits_BK


def pretrained(config: SlowOnlyConfig) -> Pretrained | None:
    if config.pretrained == "none":
        return None
    with torch.device("meta"):
        return inflated_resnet(config, slow_pathway(config), "slow.")


MODEL = ModelSpec(
    config=SlowOnlyConfig,
    inputs=views,
    build=SlowOnly,
    classifier="head.fc",
    # configs/Kinetics/SLOW_4x16_R50.yaml says the same as SlowFast's.
    recipe=RECIPE,
    pretrained=pretrained,
    weights=SLOWONLY_WEIGHTS,
    layouts=slowonly_layouts(SlowOnly, SlowOnlyConfig),
    tiny=SlowOnlyConfig(width=16, crop=32, test_crop=40, jitter=(40, 44), test_clips=2, non_local=((), (0,), (), ())),
    summary="few frames far apart through a ResNet whose last two stages span time",
    paper=PAPER,
)
