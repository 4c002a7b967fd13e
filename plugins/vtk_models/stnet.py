"""StNet (He et al., AAAI 2019), as Baidu's PaddlePaddle/models release/1.8 PaddleCV/video/models/stnet builds it.

N neighbouring frames, stacked along the channels, are one super-image; an image network sees T of them. Between its
stages, and after it, convolutions along T connect the super-images.

    clip_BTNCHW -> x_(BT)(NC)HW
      stem res2 res3 - TemporalModelling - res4 - TemporalModelling - res5 - average over space   -> feature_BTD
      TemporalXception - maximum over T - fc                                                      -> logits_BK

The paper's temporal block is Conv3d-BN-ReLU; the released code, whose numbers are published, has Conv3d-ReLU-BN and
adds its input.

The paper's best model looks with Inception-ResNet-v2, of which nothing was released. Its temporal blocks stand here
where its maps have the size of the ResNet's: after stage A at an eighth of the picture, as res3, and after stage B at a
sixteenth, as res4 (timm's feature_info counts its stages by the same sizes).
"""

from dataclasses import dataclass
from typing import Literal, cast

from torch import Tensor, nn
from torch.nn import functional

from vtk_cli.api.inputs import Augment, InputSpec, View
from vtk_cli.api.models import ModelSpec, Pretrained, StateDict, trunk
from vtk_cli.api.recipes import TrainRecipe
from vtk_cli.api.sampling import segments_paddle
from vtk_cli.errors import UsageError
from vtk_models import stnet_layouts
from vtk_models.trunks.inception_resnet_v2 import InceptionResNetV2
from vtk_models.trunks.resnet import BLOCKS, ResNet

XCEPTION_CHANNELS = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class StNetConfig:
    trunk: Literal["resnet", "inception_resnet_v2"] = "resnet"
    depth: int = 50
    """Of the ResNet: 50, 101 and 152 are the original's; 18 and 34 are ours, for small machines."""
    segments: int = 7
    """T in training; testing may take another."""
    frames: int = 5
    """N, frames per super-image."""
    test_segments: int = 25
    short_side: int = 256
    crop: int = 224
    test_crop: int | None = None
    """None is the whole short side: 256 of the 341 x 256 picture."""

    def __post_init__(self) -> None:
        if self.trunk not in ("resnet", "inception_resnet_v2"):
            raise UsageError(
                f'StNet looks with resnet or inception_resnet_v2, found "{self.trunk}". Name one of these; a ResNet\'s '
                "layers are model.depth."
            )
        if self.depth not in BLOCKS:
            raise UsageError(f"StNet's ResNet has depth {', '.join(map(str, BLOCKS))}, found {self.depth}.")

    @property
    def trunk_name(self) -> str:
        """As the plugin is called."""
        return f"resnet{self.depth}" if self.trunk == "resnet" else self.trunk


class TemporalModelling(nn.Module):
    """A residual convolution over three neighbouring super-images: x + BN(ReLU(conv(x))).

    The original's Conv3d with kernel (3, 1, 1) on [B, C, T, H, W] is the same as a Conv2d with kernel (3, 1) on
    [B, C, T, HW]. On a CPU that takes about a third less time, and its bfloat16 gradient holds for T = 2 as well, where
    the Conv3d of torch 2.13 gives NaN.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, (3, 1), padding=(1, 0))
        self.bn = nn.BatchNorm2d(channels)

    def forward(self, x_NCHW: Tensor, num_segments: int) -> Tensor:
        """N is B x T, segments fastest."""
        x_BTCHW = x_NCHW.view(-1, num_segments, *x_NCHW.shape[1:])
        x_BCTS = x_BTCHW.transpose(1, 2).flatten(3)
        out_BCTS: Tensor = x_BCTS + self.bn(functional.relu(self.conv(x_BCTS), inplace=True))
        return out_BCTS.transpose(1, 2).reshape(x_NCHW.shape)


class TemporalXception(nn.Module):
    """Separable convolutions along T beside a 1x1 one: x_BDT -> x_BET."""

    def __init__(self, in_channels: int, channels: int = XCEPTION_CHANNELS) -> None:
        super().__init__()
        self.bn_in = nn.BatchNorm1d(in_channels)
        self.depthwise1 = nn.Conv1d(in_channels, in_channels, 3, padding=1, groups=in_channels)
        self.pointwise1 = nn.Conv1d(in_channels, channels, 1)
        self.bn = nn.BatchNorm1d(channels)
        self.depthwise2 = nn.Conv1d(channels, channels, 3, padding=1, groups=channels)
        self.pointwise2 = nn.Conv1d(channels, channels, 1)
        self.shortcut = nn.Conv1d(in_channels, channels, 1)
        self.bn_out = nn.BatchNorm1d(channels)

    def forward(self, x_BDT: Tensor) -> Tensor:
        x = self.bn_in(x_BDT)
        out = functional.relu(self.bn(self.pointwise1(self.depthwise1(x))), inplace=True)
        out = self.pointwise2(self.depthwise2(out)) + self.shortcut(x)
        return functional.relu(self.bn_out(out), inplace=True)


class StNet(nn.Module):
    """forward(clip_BTNCHW) -> logits_BK; any T, H and W from 32 on (Inception-ResNet-v2: from 75 on).

    The temporal blocks stand before the last two stages: 512 and 1024 channels wide for bottlenecks, 128 and 256 for
    the basic blocks of depths 18 and 34, whose Xception block takes 512 features instead of 2048; 320 and 1088 for
    Inception-ResNet-v2, which has 1536 features.
    """

    def __init__(self, config: StNetConfig, num_classes: int) -> None:
        super().__init__()
        self.trunk = cast("ResNet | InceptionResNetV2", trunk(config.trunk_name).build(3 * config.frames))
        *_, third, second, last = self.trunk.stage_channels
        self.temporal1 = TemporalModelling(third)
        self.temporal2 = TemporalModelling(second)
        self.xception = TemporalXception(last)
        self.fc = nn.Linear(XCEPTION_CHANNELS, num_classes)
        self._initialise()

    def forward(self, clip_BTNCHW: Tensor) -> Tensor:
        num_segments = clip_BTNCHW.shape[1]
        *early, third, second, last = self.trunk.stages
        x = self.trunk.stem(clip_BTNCHW.flatten(0, 1).flatten(1, 2))
        for stage in early:
            x = stage(x)
        x = self.temporal1(third(x), num_segments)
        x = self.temporal2(second(x), num_segments)
        feature_BTD = self.trunk.avgpool(last(x)).flatten(1).unflatten(0, (-1, num_segments))
        logits_BK: Tensor = self.fc(self.xception(feature_BTD.transpose(1, 2)).amax(2))
        return logits_BK

    def _initialise(self) -> None:
        """As fluid's graph: Kaiming normal over fan-in in the trunk, Kaiming uniform in the temporal convolutions.

        The classifier is uniform within 1/sqrt(D) of the trunk's D features, not of its own 1024 inputs.
        """
        for name, module in self.named_modules():
            if name.startswith("trunk.") and isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            elif isinstance(module, nn.Conv1d | nn.Conv2d) and module.bias is not None:
                nn.init.kaiming_uniform_(module.weight, nonlinearity="relu")
                nn.init.zeros_(module.bias)
        bound = self.trunk.num_features**-0.5
        nn.init.uniform_(self.fc.weight, -bound, bound)
        nn.init.zeros_(self.fc.bias)


def inputs(config: StNetConfig) -> InputSpec:
    def view(segments: int, crop: int) -> View:
        return View(
            segments=segments,
            frames=config.frames,
            short_side=config.short_side,
            aspect="4:3",
            crop=crop,
            sampler=segments_paddle,
        )

    return InputSpec(
        modality="rgb",
        train=view(config.segments, config.crop),
        test=view(config.test_segments, config.short_side if config.test_crop is None else config.test_crop),
        norm=trunk(config.trunk_name).norm,
        augment=Augment(crop="random"),
    )


def pretrained(config: StNetConfig) -> Pretrained:
    """The trunk's ImageNet weights, batch-norm statistics included; the temporal blocks and fc start anew.

    The first convolution is the mean over RGB of the ImageNet kernel, divided by N and repeated for all 3N channels: a
    super-image of equal grey frames gives what ImageNet's gives for one (`load_pretrain_params`).
    """
    spec = trunk(config.trunk_name)
    stem = "conv1.weight" if config.trunk == "resnet" else f"{InceptionResNetV2.stem_conv}.weight"

    def adapt(state: StateDict) -> StateDict:
        kernel = state[stem].mean(1, keepdim=True) / config.frames
        adapted = {f"trunk.{name}": tensor for name, tensor in state.items()}
        return {**adapted, f"trunk.{stem}": kernel.repeat(1, 3 * config.frames, 1, 1)}

    return Pretrained(
        name=f"{config.trunk_name}-imagenet", weights=spec.weights["imagenet"], layouts=spec.layouts, adapt=adapt
    )


MODEL = ModelSpec(
    config=StNetConfig,
    inputs=inputs,
    build=StNet,
    # configs/stnet.yaml: batch 128 on 8 GPUs, x0.1 at 1/3 and 2/3 of 60 epochs, L2 on every parameter.
    recipe=TrainRecipe(epochs=60, batch_size=128, micro_batch=16, lr=0.01, weight_decay=1e-4, milestones=(20, 40)),
    pretrained=pretrained,
    weights=stnet_layouts.WEIGHTS,
    layouts={"paddle": stnet_layouts.paddle(lambda found: StNet(StNetConfig(**found), 1))},
    tiny=StNetConfig(depth=18, segments=2, frames=2, test_segments=3, short_side=40, crop=32),
    summary="super-images of neighbouring frames through a ResNet with temporal convolutions between its stages",
    paper="He et al., StNet: Local and Global Spatial-Temporal Modeling for Action Recognition, AAAI 2019",
)
