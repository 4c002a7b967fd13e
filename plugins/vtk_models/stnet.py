"""StNet (He et al., AAAI 2019), as Baidu's PaddlePaddle/models release/1.8 PaddleCV/video/models/stnet builds it.

N neighbouring frames, stacked along the channels, are one super-image; an image network sees T of them. Between its
stages, and after it, convolutions along T connect the super-images.

    clip_BTNCHW -> x_(BT)(NC)HW
      stem res2 res3 - TemporalModelling - res4 - TemporalModelling - res5 - average over space   -> feature_BTD
      TemporalXception - maximum over T - fc                                                      -> logits_BK

The paper's temporal block is Conv3d-BN-ReLU; the released code, whose numbers are published, has Conv3d-ReLU-BN and
adds its input.
"""

import re
from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional

from vtk_cli.api.inputs import IMAGENET, Augment, InputSpec, View
from vtk_cli.api.models import ModelSpec, Pretrained, StateDict, trunk
from vtk_cli.api.recipes import TrainRecipe
from vtk_cli.api.sampling import segments_paddle
from vtk_cli.errors import UsageError
from vtk_models import fluid
from vtk_models.layouts import convert
from vtk_models.trunks.resnet import BLOCKS, ResNet

XCEPTION_CHANNELS = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class StNetConfig:
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
        if self.depth not in BLOCKS:
            raise UsageError(f"StNet's ResNet has depth {', '.join(map(str, BLOCKS))}, found {self.depth}.")


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
    """forward(clip_BTNCHW) -> logits_BK; any T, H and W from 32 on.

    The temporal blocks stand after res3 and res4 at every depth: 512 and 1024 channels wide for bottlenecks, 128 and
    256 for the basic blocks of depths 18 and 34, whose Xception block takes 512 features instead of 2048.
    """

    def __init__(self, config: StNetConfig, num_classes: int) -> None:
        super().__init__()
        self.trunk = ResNet(config.depth, in_channels=3 * config.frames)
        _, res3, res4, res5 = self.trunk.stage_channels
        self.temporal1 = TemporalModelling(res3)
        self.temporal2 = TemporalModelling(res4)
        self.xception = TemporalXception(res5)
        self.fc = nn.Linear(XCEPTION_CHANNELS, num_classes)
        self._initialise()

    def forward(self, clip_BTNCHW: Tensor) -> Tensor:
        num_segments = clip_BTNCHW.shape[1]
        trunk = self.trunk
        x = trunk.stem(clip_BTNCHW.flatten(0, 1).flatten(1, 2))
        x = self.temporal1(trunk.layer2(trunk.layer1(x)), num_segments)
        x = self.temporal2(trunk.layer3(x), num_segments)
        feature_BTD = trunk.avgpool(trunk.layer4(x)).flatten(1).unflatten(0, (-1, num_segments))
        logits_BK: Tensor = self.fc(self.xception(feature_BTD.transpose(1, 2)).amax(2))
        return logits_BK

    def _initialise(self) -> None:
        """As fluid's graph: Kaiming normal over fan-in in the trunk, Kaiming uniform in the temporal convolutions.

        The classifier is uniform within 1/sqrt(D) of the trunk's D features, not of its own 1024 inputs.
        """
        for name, module in self.named_modules():
            if name.startswith("trunk.") and isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
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
        norm=IMAGENET,
        augment=Augment(crop="random"),
    )


def pretrained(config: StNetConfig) -> Pretrained:
    """The ResNet's ImageNet weights, batch-norm statistics included; the temporal blocks and fc start anew.

    conv1 is the mean over RGB of the ImageNet kernel, divided by N and repeated for all 3N channels: a super-image of
    equal grey frames gives what ImageNet's conv1 gives for one (`load_pretrain_params`).
    """
    spec = trunk(f"resnet{config.depth}")

    def adapt(state: StateDict) -> StateDict:
        conv1 = state["conv1.weight"].mean(1, keepdim=True) / config.frames
        adapted = {f"trunk.{name}": tensor for name, tensor in state.items()}
        return {**adapted, "trunk.conv1.weight": conv1.repeat(1, 3 * config.frames, 1, 1)}

    return Pretrained(
        name=f"resnet{config.depth}-imagenet", weights=spec.weights["imagenet"], layouts=spec.layouts, adapt=adapt
    )


XCEPTION = {
    "xception_bn": "bn_in",
    "xception_att_conv": "depthwise1",
    "xception_att_2": "pointwise1",
    "xception_bndw": "bn",
    "xception_att1": "depthwise2",
    "xception_att1_2": "pointwise2",
    "xception_dw": "shortcut",
    "xception_bn2": "bn_out",
}
"""Layers of the temporal Xception block: the original's names and ours."""


def paddle_layout(checkpoint: StateDict) -> StateDict:
    """The released STNET weights: fluid's variables by their names; conv3d_K and batch_norm_K count from the input on.

    Raises:
        CheckpointError: it holds other tensors, or lacks some beside the trunk's.
    """
    places = {
        layer: f"temporal{place + 1}.{ours}"
        for kind, ours in (("conv3d", "conv"), ("batch_norm", "bn"))
        for layer, place in fluid.number_in_order(list(checkpoint), kind).items()
        if place < 2
    }

    def rename(name: str) -> str | None:
        if fluid.is_leftover(name):
            return ""
        if ours := fluid.resnet_name(name):
            return f"trunk.{ours}"
        layer, _, part = name.rpartition(".")
        ours = places.get(layer) or (f"xception.{XCEPTION[layer]}" if layer in XCEPTION else None)
        parts = fluid.NUMBERED_BATCH_NORM if re.search(r"\bbn", ours or "") else fluid.DENSE
        return f"{ours}.{parts[part]}" if ours and part in parts else fluid.classifier_name(name)

    converted = convert(checkpoint, layout="paddle", rename=rename, required=_required())
    # Its temporal convolutions are 3D on [B, C, T, H, W] and 2D on [B, D, T, 1], one dimension more than ours.
    flat = {
        name: tensor.squeeze(-1) if name.startswith(("temporal", "xception")) and tensor.dim() >= 4 else tensor
        for name, tensor in converted.items()
    }
    return fluid.transpose_classifier(flat)


def _required() -> dict[str, str]:
    required = {"trunk.conv1.weight": "conv1_weights", "fc.weight": "fc_0.w_0", "fc.bias": "fc_0.b_0"}
    for layer, ours in XCEPTION.items():
        parts = fluid.NUMBERED_BATCH_NORM if ours.startswith("bn") else fluid.DENSE
        required.update({f"xception.{ours}.{part}": f"{layer}.{suffix}" for suffix, part in parts.items()})
    for block in ("temporal1", "temporal2"):
        required.update({f"{block}.conv.{part}": f"conv3d_*.{suffix}" for suffix, part in fluid.DENSE.items()})
        required.update(
            {f"{block}.bn.{part}": f"batch_norm_*.{suffix}" for suffix, part in fluid.NUMBERED_BATCH_NORM.items()}
        )
    return required


MODEL = ModelSpec(
    config=StNetConfig,
    inputs=inputs,
    build=StNet,
    # configs/stnet.yaml: batch 128 on 8 GPUs, x0.1 at 1/3 and 2/3 of 60 epochs, L2 on every parameter.
    recipe=TrainRecipe(epochs=60, batch_size=128, micro_batch=16, lr=0.01, weight_decay=1e-4, milestones=(20, 40)),
    pretrained=pretrained,
    layouts={"paddle": paddle_layout},
    tiny=StNetConfig(depth=18, segments=2, frames=2, test_segments=3, short_side=40, crop=32),
    summary="super-images of neighbouring frames through a ResNet with temporal convolutions between its stages",
    paper="He et al., StNet: Local and Global Spatial-Temporal Modeling for Action Recognition, AAAI 2019",
)
