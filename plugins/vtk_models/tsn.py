"""Temporal Segment Networks (Wang et al., ECCV 2016 and TPAMI 2018), as tsn-pytorch builds them.

An image network looks at one snippet from each segment of the video; the video's scores are the consensus of the
snippets' scores, taken before the softmax.

    clip_BTNCHW -> x_(BT)(NC)HW -> trunk -> feature_(BT)D -> dropout -> fc -> logits_BTK -> consensus -> logits_BK
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Self, cast

import torch
from torch import Tensor, nn

from vtk_cli.api.inputs import CHANNELS, Augment, InputSpec, Modality, Norm, View
from vtk_cli.api.models import ModelSpec, Pretrained, StateDict, trunk
from vtk_cli.api.recipes import ParamGroup, TrainRecipe
from vtk_cli.api.sampling import segments
from vtk_cli.errors import UsageError
from vtk_models import fluid
from vtk_models.layouts import convert

FRAMES: dict[Modality, int] = {"rgb": 1, "rgbdiff": 5, "flow": 5, "warped": 5}
"""Pictures per snippet that reach the trunk (tsn-pytorch main.py, `data_length`)."""

FLOW = frozenset({"flow", "warped"})

DROPOUT = {"rgb": 0.8, "rgbdiff": 0.8, "flow": 0.7, "warped": 0.7}
"""ECCV 2016 section 4.1."""

SCALES = {"rgb": (1.0, 0.875, 0.75, 0.66), "rgbdiff": (1.0, 0.875, 0.75)}
"""Of the multi-scale crop (tsn-pytorch models.py, `get_augmentation`); flow has RGB difference's."""

_FROZEN = (nn.BatchNorm2d, nn.SyncBatchNorm)


@dataclass(frozen=True, slots=True, kw_only=True)
class TSNConfig:
    trunk: str = "resnet50"
    """Any trunk: resnet18 ... resnet152, bninception (the papers'), or one that a plugin brings."""
    modality: Modality = "rgb"
    segments: int = 3
    test_segments: int = 25
    short_side: int = 256
    crop: int = 224
    test_crops: Literal[1, 3, 5, 10] = 10
    dropout: float | None = None
    """Before the classifier; None is the paper's 0.8, for flow 0.7."""
    partial_bn: bool = False
    """Freeze all batch norms but the first. For fine-tuning on small datasets from ImageNet; never from scratch."""
    consensus: Literal["average", "max"] = "average"
    """Over the segments' scores; the paper compares both and keeps the average."""

    def __post_init__(self) -> None:
        if self.modality not in FRAMES:
            raise UsageError(f'TSN knows the modalities {", ".join(FRAMES)}, found "{self.modality}".')
        if self.consensus not in ("average", "max"):
            raise UsageError(f'TSN knows the consensus average and max, found "{self.consensus}".')
        if self.dropout is not None and not 0 <= self.dropout < 1:
            raise UsageError(f"A dropout lies in [0, 1), found {self.dropout}.")


class TSN(nn.Module):
    """forward(clip_BTNCHW) -> logits_BK; any number of segments, RGB difference with N = 6 pictures."""

    def __init__(self, config: TSNConfig, num_classes: int) -> None:
        super().__init__()
        self.modality = config.modality
        self.consensus = config.consensus
        self.partial_bn = config.partial_bn
        spec = trunk(config.trunk)
        self.trunk = spec.build(FRAMES[config.modality] * CHANNELS[config.modality])
        self.stem_conv = "trunk." + cast("str", self.trunk.stem_conv)
        self.dropout = nn.Dropout(DROPOUT[config.modality] if config.dropout is None else config.dropout)
        self.fc = nn.Linear(cast("int", self.trunk.num_features), num_classes)
        nn.init.normal_(self.fc.weight, std=0.001)
        nn.init.zeros_(self.fc.bias)
        for norm in self._frozen_norms():
            norm.requires_grad_(requires_grad=False)

    def forward(self, clip_BTNCHW: Tensor) -> Tensor:
        if self.modality == "rgbdiff":
            clip_BTNCHW = clip_BTNCHW.diff(dim=2)
        num_segments = clip_BTNCHW.shape[1]
        feature_ND: Tensor = self.trunk(clip_BTNCHW.flatten(0, 1).flatten(1, 2))
        logits_BTK = self.fc(self.dropout(feature_ND)).unflatten(0, (-1, num_segments))
        logits_BK: Tensor = logits_BTK.amax(1) if self.consensus == "max" else logits_BTK.mean(1)
        return logits_BK

    def train(self, mode: bool = True) -> Self:
        """As every module's, except that frozen batch norms keep their running statistics."""
        super().train(mode)
        for norm in self._frozen_norms():
            norm.eval()
        return self

    def _frozen_norms(self) -> Sequence[nn.Module]:
        if not self.partial_bn:
            return []
        return [module for module in self.trunk.modules() if isinstance(module, _FROZEN)][1:]


def param_groups(module: nn.Module) -> list[ParamGroup]:
    """tsn-pytorch's `get_optim_policies`: biases learn twice as fast and do not decay, nor do batch norms.

    The first convolution of a flow network, made from an RGB one, learns five times as fast. Frozen parameters are in
    no group; a trunk's parameters that belong to no convolution or linear layer go with the batch norms.
    """
    if not isinstance(module, TSN):
        raise UsageError(f"TSN's parameter groups are for a TSN, found {type(module).__name__}.")
    first = 5.0 if module.modality in FLOW else 1.0
    groups: dict[str, list[str]] = {
        name: [] for name in ("first_conv_weight", "first_conv_bias", "weight", "bias", "norm")
    }
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            owner, _, kind = name.rpartition(".")
            if not isinstance(module.get_submodule(owner), nn.Conv1d | nn.Conv2d | nn.Conv3d | nn.Linear):
                kind = "norm"
            elif owner == module.stem_conv:
                kind = f"first_conv_{kind}"
            groups[kind].append(name)
    lr_mult = {"first_conv_weight": first, "first_conv_bias": 2 * first, "bias": 2.0}
    return [
        ParamGroup(
            name=kind,
            params=tuple(names),
            lr_mult=lr_mult.get(kind, 1.0),
            decay_mult=1.0 if kind.endswith("weight") else 0.0,
        )
        for kind, names in groups.items()
        if names
    ]


def inputs(config: TSNConfig) -> InputSpec:
    frames = FRAMES[config.modality]
    return InputSpec(
        modality=config.modality,
        train=View(
            segments=config.segments,
            frames=frames,
            short_side=config.short_side,
            crop=config.crop,
            sampler=segments,
        ),
        test=View(
            segments=config.test_segments,
            frames=frames,
            short_side=config.short_side,
            crop=config.crop,
            crops=config.test_crops,
            sampler=segments,
        ),
        norm=norm(config.modality, trunk(config.trunk).norm),
        augment=Augment(crop="multiscale", scales=SCALES.get(config.modality, SCALES["rgbdiff"])),
    )


def norm(modality: Modality, rgb: Norm) -> Norm:
    """What tsn-pytorch makes of the trunk's RGB numbers for the other modalities.

    Flow: centred on its zero, over the mean of the trunk's std. RGB difference: the raw picture, so that the model
    subtracts raw pictures, in the trunk's unit and order: a std near 1/255 says that it reads 0..255, as BN-Inception
    does, any other that it reads 0..1.
    """
    if modality == "rgb":
        return rgb
    std = sum(rgb.std) / len(rgb.std)
    reads_bytes = std < 0.05
    if modality == "rgbdiff":
        unit = 1 / 255 if reads_bytes else 1.0
        return Norm(mean=(0.0, 0.0, 0.0), std=(unit, unit, unit), order=rgb.order)
    centre = 128 / 255 if reads_bytes else 0.5
    return Norm(mean=(centre, centre), std=(std, std))


def pretrained(config: TSNConfig) -> Pretrained | None:
    """The trunk's ImageNet weights, if it has any; a first convolution of another modality gets the mean over RGB."""
    spec = trunk(config.trunk)
    if "imagenet" not in spec.weights:
        return None
    channels = FRAMES[config.modality] * CHANNELS[config.modality]

    def adapt(state: StateDict) -> StateDict:
        adapted = {f"trunk.{name}": tensor for name, tensor in state.items()}
        if config.modality != "rgb":
            # tsn-pytorch models.py `_construct_flow_model` and `_construct_diff_model`: repeated, not rescaled.
            with torch.device("meta"):
                stem = cast("str", spec.build(3).stem_conv) + ".weight"
            adapted[f"trunk.{stem}"] = state[stem].mean(1, keepdim=True).repeat(1, channels, 1, 1)
        return adapted

    return Pretrained(
        name=f"{config.trunk}-imagenet", weights=spec.weights["imagenet"], layouts=spec.layouts, adapt=adapt
    )


def tsn_pytorch_layout(checkpoint: StateDict) -> StateDict:
    """tsn-pytorch's and X-Temporal's files: `base_model.` and `new_fc`, or `base_model.fc` where dropout was 0.

    Raises:
        CheckpointError: it holds other tensors, or no classifier.
    """

    def rename(name: str) -> str | None:
        name = re.sub(r"^(new_fc|base_model\.fc)\.", "fc.", name)
        if name in ("fc.weight", "fc.bias"):
            return name
        return f"trunk.{name.removeprefix('base_model.')}" if name.startswith("base_model.") else None

    required = {"fc.weight": "new_fc.weight", "fc.bias": "new_fc.bias"}
    return convert(checkpoint, layout="tsn-pytorch", rename=rename, required=required)


def mmaction2_layout(checkpoint: StateDict) -> StateDict:
    """MMAction2's Recognizer2D with a ResNet: ConvModules of a `conv` and a `bn`.

    Raises:
        CheckpointError: it holds other tensors, or no classifier.
    """

    def rename(name: str) -> str | None:
        if name.startswith("cls_head.fc_cls."):
            return name.replace("cls_head.fc_cls", "fc")
        if not name.startswith("backbone."):
            return None
        name = name.replace("backbone.", "trunk.", 1)
        name = name.replace(".downsample.conv.", ".downsample.0.").replace(".downsample.bn.", ".downsample.1.")
        return re.sub(r"\.conv(\d)\.bn\.", r".bn\1.", re.sub(r"\.conv(\d)\.conv\.", r".conv\1.", name))

    required = {"fc.weight": "cls_head.fc_cls.weight", "fc.bias": "cls_head.fc_cls.bias"}
    return convert(checkpoint, layout="mmaction2", rename=rename, required=required)


def paddle_layout(checkpoint: StateDict) -> StateDict:
    """Paddle's TSN. It averages features and classifies once, which a linear classifier cannot tell from ours.

    Raises:
        CheckpointError: it holds other tensors, or no classifier.
    """

    def rename(name: str) -> str | None:
        if fluid.is_leftover(name):
            return ""
        ours = fluid.resnet_name(name)
        return f"trunk.{ours}" if ours else fluid.classifier_name(name)

    required = {"fc.weight": "fc_0.w_0", "fc.bias": "fc_0.b_0"}
    return fluid.transpose_classifier(convert(checkpoint, layout="paddle", rename=rename, required=required))


MODEL = ModelSpec(
    config=TSNConfig,
    inputs=inputs,
    build=TSN,
    # TSN on Kinetics as temporal-shift-module's README trains it.
    recipe=TrainRecipe(
        epochs=50,
        batch_size=128,
        lr=0.02,
        weight_decay=1e-4,
        milestones=(20, 40),
        clip_norm=20.0,
        param_groups=param_groups,
    ),
    pretrained=pretrained,
    layouts={
        "tsn-pytorch": tsn_pytorch_layout,
        "x-temporal": tsn_pytorch_layout,
        "mmaction2": mmaction2_layout,
        "paddle": paddle_layout,
    },
    tiny=TSNConfig(
        trunk="resnet18", segments=2, test_segments=3, test_crops=1, short_side=32, crop=32, partial_bn=False
    ),
    summary="snippets from equal segments through an image network, scores averaged; RGB, flow or RGB difference",
    paper="Wang et al., Temporal Segment Networks, ECCV 2016 (arXiv 1608.00859) and TPAMI 2018",
)
