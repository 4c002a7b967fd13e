"""Temporal Segment Networks (Wang et al., ECCV 2016 and TPAMI 2018), as tsn-pytorch builds them.

An image network looks at one snippet from each segment of the video; the video's scores are the consensus of the
snippets' scores, taken before the softmax.

    clip_BTNCHW -> x_(BT)(NC)HW -> trunk -> feature_(BT)D -> dropout -> fc -> logits_BTK -> consensus -> logits_BK
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal, Self, cast, get_args

import torch
from torch import Tensor, nn

from vtk_cli.api.inputs import CHANNELS, Augment, InputSpec, Modality, Norm, View
from vtk_cli.api.models import ModelSpec, Pretrained, StateDict, trunk
from vtk_cli.api.recipes import ParamGroup, TrainRecipe
from vtk_cli.api.sampling import (
    Sampler,
    dense_tsm,
    segments,
    segments_caffe,
    segments_mmaction2,
    segments_paddle,
    segments_validation,
)
from vtk_cli.errors import UsageError
from vtk_models.groups import POLICIES, Policy, frozen_norms, paddle_groups, policy_groups
from vtk_models.segment_layouts import FRAMES
from vtk_models.tsn_layouts import layouts
from vtk_models.tsn_weights import WEIGHTS

DROPOUT = {"rgb": 0.8, "rgbdiff": 0.8, "flow": 0.7, "warped": 0.7}
"""ECCV 2016 section 4.1."""

SCALES = {"rgb": (1.0, 0.875, 0.75, 0.66), "rgbdiff": (1.0, 0.875, 0.75)}
"""Of the multi-scale crop (tsn-pytorch models.py, `get_augmentation`); flow has RGB difference's."""

Crops = Literal[1, 3, 5, 10]

Consensus = Literal["average", "max", "weighted"]

Sampling = Literal["segments", "dense", "mmaction2", "caffe", "paddle"]
SAMPLERS: dict[Sampling, Sampler] = {
    "segments": segments,
    "dense": dense_tsm,
    "mmaction2": segments_mmaction2,
    "caffe": segments_caffe,
    "paddle": segments_paddle,
}

KNOWN: dict[str, Collection[str]] = {
    "modality": FRAMES,
    "sampling": SAMPLERS,
    "consensus": get_args(Consensus),
    "policy": POLICIES,
}
"""What the fields of a configuration may hold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TSNConfig:
    trunk: str = "resnet50"
    """Any trunk: resnet18 ... resnet152, bninception (the papers'), mobilenetv2, or one that a plugin brings."""
    modality: Modality = "rgb"
    segments: int = 3
    """T in training."""
    test_segments: int | None = 25
    """T in testing; None is as many as in training."""
    sampling: Sampling = "segments"
    """`segments` (tsn-pytorch, MIT), `dense` (MIT: over 64 frames), `mmaction2`, `caffe` or `paddle`, which also brings
    Paddle's pictures of 4:3."""
    short_side: int = 256
    crop: int = 224
    test_crop: int | None = None
    """None is `crop`; 256 of a short side of 256 is what MIT calls full resolution."""
    test_clips: int = 1
    """Temporal views; 10 for MIT's dense testing, 2 for its `--twice_sample`."""
    test_crops: Crops = 10
    average: Literal["logits", "probabilities"] = "logits"
    """Over the views of one video; MMAction2 averages probabilities."""
    dropout: float | None = None
    """Before the classifier; None is the paper's 0.8, for flow 0.7."""
    partial_bn: bool = False
    """Freeze all batch norms but the first. For fine-tuning on small datasets from ImageNet; never from scratch."""
    consensus: Consensus = "average"
    """Over the segments' scores. `max` is taken class by class; `weighted` learns a weight for each segment (TPAMI
    section 3.3), so that training and testing see the same number of segments; it starts as the average."""
    policy: Policy = "tsn"
    """Parameter groups: `tsn` (tsn-pytorch's), `fc_lr5` (TSM's code: the classifier five times as fast), `paddle`."""

    def __post_init__(self) -> None:
        for name, known in KNOWN.items():
            if getattr(self, name) not in known:
                raise UsageError(
                    f'{name} is one of {", ".join(known)}, found "{getattr(self, name)}". Name one of them'
                    f"{'; TSN.segment_logits gives each segment its own scores' if name == 'consensus' else ''}."
                )
        if self.consensus == "weighted" and self.segments != self.segments_of_a_test:
            raise UsageError(
                f"A weighted consensus has one weight per segment, found segments={self.segments} and "
                f"test_segments={self.test_segments}. Give both the same number."
            )
        if self.dropout is not None and not 0 <= self.dropout < 1:
            raise UsageError(f"A dropout lies in [0, 1), found {self.dropout}. Choose one in between.")

    @property
    def segments_of_a_test(self) -> int:
        return self.segments if self.test_segments is None else self.test_segments


class TSN(nn.Module):
    """forward(clip_BTNCHW) -> logits_BK; any number of segments, RGB difference with N = 6 pictures."""

    eager: tuple[str, ...] = ()
    """Parameters that Paddle's policy sets apart."""

    def __init__(self, config: TSNConfig, num_classes: int) -> None:
        super().__init__()
        self.modality = config.modality
        self.consensus = config.consensus
        self.partial_bn = config.partial_bn
        self.policy = config.policy
        self.trunk = trunk(config.trunk).build(FRAMES[config.modality] * CHANNELS[config.modality])
        self.dropout = nn.Dropout(DROPOUT[config.modality] if config.dropout is None else config.dropout)
        self.fc = nn.Linear(cast("int", self.trunk.num_features), num_classes)
        if config.consensus == "weighted":
            self.weight_T = nn.Parameter(torch.full((config.segments,), 1 / config.segments))
        nn.init.normal_(self.fc.weight, std=0.001)
        nn.init.zeros_(self.fc.bias)
        self._freeze()

    def forward(self, clip_BTNCHW: Tensor) -> Tensor:
        logits_BTK = self.segment_logits(clip_BTNCHW)
        if self.consensus == "max":
            return logits_BTK.amax(1)
        if self.consensus == "weighted":
            return (logits_BTK * self.weight_T[:, None]).sum(1)
        return logits_BTK.mean(1)

    def segment_logits(self, clip_BTNCHW: Tensor) -> Tensor:
        """logits_BTK before the consensus: what each segment alone speaks for (tsn-pytorch's consensus `identity`)."""
        if self.modality == "rgbdiff":
            clip_BTNCHW = clip_BTNCHW.diff(dim=2)
        videos, num_segments = clip_BTNCHW.shape[:2]
        feature_ND = self.features(clip_BTNCHW.flatten(0, 1).flatten(1, 2), num_segments)
        logits_BTK: Tensor = self.fc(self.dropout(feature_ND)).unflatten(0, (videos, -1))
        return logits_BTK

    def features(self, x_NCHW: Tensor, num_segments: int) -> Tensor:  # noqa: ARG002  networks that mix segments need it
        """feature_ND of B x T snippets, segments fastest."""
        feature_ND: Tensor = self.trunk(x_NCHW)
        return feature_ND

    def train(self, mode: bool = True) -> Self:
        """As every module's, except that frozen batch norms keep their running statistics."""
        super().train(mode)
        if self.partial_bn:
            for norm in frozen_norms(self):
                norm.eval()
        return self

    def _freeze(self) -> None:
        """With partial batch normalisation, all batch norms but the first stay as they are; for the end of __init__."""
        if self.partial_bn:
            for norm in frozen_norms(self):
                norm.requires_grad_(requires_grad=False)


def param_groups(module: nn.Module) -> list[ParamGroup]:
    """The groups of the module's `policy`, see vtk_models.groups.

    Raises:
        UsageError: it is no TSN.
    """
    if not isinstance(module, TSN):
        raise UsageError(f"TSN's parameter groups are for a TSN, found {type(module).__name__}. Pass the model itself.")
    if module.policy == "paddle":
        return paddle_groups(module, module.eager)
    return policy_groups(module, module.modality, fc_lr5=module.policy == "fc_lr5")


def inputs(config: TSNConfig) -> InputSpec:
    paddle = config.sampling == "paddle"

    def view(num_segments: int, crop: int, clips: int, crops: Crops) -> View:
        return View(
            segments=num_segments,
            frames=FRAMES[config.modality],
            short_side=config.short_side,
            aspect="4:3" if paddle else "keep",
            crop=crop,
            clips=clips,
            crops=crops,
            average=config.average,
            sampler=SAMPLERS[config.sampling],
        )

    return InputSpec(
        modality=config.modality,
        train=view(config.segments, config.crop, 1, 1),
        test=view(config.segments_of_a_test, config.test_crop or config.crop, config.test_clips, config.test_crops),
        norm=norm(config.modality, trunk(config.trunk).norm),
        augment=Augment(crop="random") if paddle else multiscale(config.modality),
        validation=segments_validation if config.sampling == "segments" else None,
    )


def multiscale(modality: Modality) -> Augment:
    return Augment(crop="multiscale", scales=SCALES.get(modality, SCALES["rgbdiff"]))


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


def imagenet(trunk_name: str, modality: Modality) -> Pretrained | None:
    """The trunk's ImageNet weights, if it has any; a first convolution of another modality gets the mean over RGB."""
    spec = trunk(trunk_name)
    if "imagenet" not in spec.weights:
        return None
    channels = FRAMES[modality] * CHANNELS[modality]

    def adapt(state: StateDict) -> StateDict:
        adapted = {f"trunk.{name}": tensor for name, tensor in state.items()}
        if modality != "rgb":
            # tsn-pytorch models.py `_construct_flow_model` and `_construct_diff_model`: repeated, not rescaled.
            with torch.device("meta"):
                stem = cast("str", spec.build(3).stem_conv) + ".weight"
            adapted[f"trunk.{stem}"] = state[stem].mean(1, keepdim=True).repeat(1, channels, 1, 1)
        return adapted

    return Pretrained(
        name=f"{trunk_name}-imagenet", weights=spec.weights["imagenet"], layouts=spec.layouts, adapt=adapt
    )


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
    pretrained=lambda config: imagenet(config.trunk, config.modality),
    weights=WEIGHTS,
    layouts=layouts(lambda found: TSN(TSNConfig(**found), 1)),
    tiny=TSNConfig(
        trunk="resnet18", segments=2, test_segments=3, test_crops=1, short_side=32, crop=32, partial_bn=False
    ),
    summary="snippets from equal segments through an image network, scores averaged; RGB, flow or RGB difference",
    paper="Wang et al., Temporal Segment Networks, ECCV 2016 (arXiv 1608.00859) and TPAMI 2018",
)
