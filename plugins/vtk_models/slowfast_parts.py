"""What SlowFast and its slow pathway alone have in common: settings, views, parameter groups and the end of the net."""

from dataclasses import dataclass
from functools import partial
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional

from vtk_cli.api.inputs import IMAGENET, Augment, InputSpec, Norm, View
from vtk_cli.api.models import Pretrained, StateDict, trunk
from vtk_cli.api.recipes import ParamGroup, TrainRecipe
from vtk_cli.api.sampling import Sampler, dense, dense_tin, pyslowfast, segments_slowfast
from vtk_cli.errors import UsageError
from vtk_models.fcn_head import mean_over_positions, window_averages, window_side
from vtk_models.inflate import inflate
from vtk_models.nonlocal_block import Kind, NonLocalBlock, Pool
from vtk_models.trunks.resnet_3d_inflated import InflatedResNet, NonLocal

Protocol = Literal["pyslowfast", "pyslowfast-ssv2", "mmaction2", "x-temporal"]

Average = Literal["probabilities", "logits", "features"]
Scores = Literal["softmax", "sigmoid"]
Start = Literal["none", "imagenet"]

CHOICES = {
    "head": get_args(Average),
    "scores": get_args(Scores),
    "pretrained": get_args(Start),
    "protocol": get_args(Protocol),
}

NOWHERE: tuple[tuple[int, ...], ...] = ((), (), (), ())

NON_LOCAL = ((), (1, 3), (1, 3, 5), ())
"""Blocks of res2 to res5 after which PySlowFast's NLN configurations of ResNet-50 have non-local blocks."""

PAPER = "Feichtenhofer et al., SlowFast Networks for Video Recognition, ICCV 2019 (arXiv 1812.03982)"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Protocol:
    """How one code base feeds its networks; published numbers and weights go with it."""

    norm: Norm
    sampler: Sampler
    grid: Literal["quarters", "edges", "steps"] = "edges"
    average: Literal["logits", "probabilities"] = "probabilities"
    inverse: bool = False
    """Whether training draws uniformly from the inverse of the short side."""
    runs: bool = True
    """Whether the sampler counts a clip's pictures as frames of one segment, or as segments of one frame."""


PYSLOWFAST = Norm(mean=(0.45, 0.45, 0.45), std=(0.225, 0.225, 0.225))

PROTOCOLS: dict[Protocol, _Protocol] = {
    "pyslowfast": _Protocol(norm=PYSLOWFAST, sampler=pyslowfast),
    "pyslowfast-ssv2": _Protocol(
        # RGB: OpenCV reads its pictures as BGR and REVERSE_INPUT_CHANNEL turns them round.
        norm=PYSLOWFAST,
        sampler=segments_slowfast,
        inverse=True,
    ),
    "mmaction2": _Protocol(norm=IMAGENET, sampler=dense, grid="steps"),
    "x-temporal": _Protocol(norm=IMAGENET, sampler=dense_tin, grid="quarters", average="logits", runs=False),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class PathwayConfig:
    depth: int = 50
    """Of the (slow) pathway's ResNet: 50, 101 or 152."""
    width: int = 64
    """Channels of the (slow) pathway's stem; the paper's networks have 64."""
    res4_temporal: int | None = None
    """How many blocks of res4 span three frames, the others one; None is all (6 in PySlowFast's R101_50_50)."""
    frames: int = 32
    """Pictures of a clip."""
    stride: int = 2
    """Of those pictures."""
    non_local: tuple[tuple[int, ...], ...] = NOWHERE
    """Blocks of res2 to res5, from 0, after which the (slow) pathway has a non-local block; NLN configurations of
    depth 50 have [[], [1, 3], [1, 3, 5], []]."""
    non_local_kind: Kind = "dot_product"
    non_local_pool: Pool = "before"
    """Where non-local blocks halve the picture: `before` phi and g (PySlowFast) or `after` (MMAction2)."""
    head: Average = "probabilities"
    """What is averaged on crops larger than `crop`: the probabilities of every place that such a crop has
    (PySlowFast), their logits (PyTorchVideo), or the features of the whole map (MMAction2, X-Temporal)."""
    scores: Scores = "softmax"
    """What makes probabilities of logits at each place; sigmoid where a video has several labels."""
    dropout: float = 0.5
    pretrained: Start = "none"
    """What training starts from: nothing (the paper), or an inflated ImageNet ResNet (MMAction2's SlowOnly)."""
    protocol: Protocol = "pyslowfast"
    """Whose sampling, normalisation and crops: `pyslowfast`; `pyslowfast-ssv2`, frames spread over the whole video;
    `mmaction2`; `x-temporal`."""
    jitter: tuple[int, int] = (256, 320)
    """Training draws the picture's short side from this range."""
    crop: int = 224
    short_side: int = 256
    """Of pictures at test time."""
    test_crop: int = 256
    test_clips: int = 10
    test_crops: Literal[1, 3] = 3

    def __post_init__(self) -> None:
        for setting, choices in CHOICES.items():
            if (found := getattr(self, setting)) not in choices:
                raise UsageError(f'{setting} is one of {", ".join(choices)}, found "{found}". Name one of them.')
        if not 0 <= self.dropout < 1:
            raise UsageError(f"A dropout lies in [0, 1), found {self.dropout}. Lower it.")
        if not 0 < self.jitter[0] <= self.jitter[1] or self.crop > self.jitter[0]:
            raise UsageError(
                f"jitter takes two short sides, the smaller first and at least the crop of {self.crop}, found "
                f"{self.jitter}. Raise it or lower the crop."
            )


def views(config: PathwayConfig) -> InputSpec:
    """Training: a random crop of a random scale. Testing: 10 clips x 3 crops, as the paper's section 4."""
    protocol = PROTOCOLS[config.protocol]
    segments, frames = (1, config.frames) if protocol.runs else (config.frames, 1)
    view = partial(View, segments=segments, frames=frames, stride=config.stride, sampler=protocol.sampler)
    return InputSpec(
        modality="rgb",
        train=view(short_side=config.jitter[0], crop=config.crop),
        test=view(
            short_side=config.short_side,
            crop=config.test_crop,
            clips=config.test_clips,
            crops=config.test_crops,
            crop_grid=protocol.grid,
            average=protocol.average,
        ),
        norm=protocol.norm,
        augment=Augment(crop="random", short_sides=config.jitter, inverse=protocol.inverse),
    )


def non_local_maker(config: PathwayConfig) -> NonLocal:
    return partial(NonLocalBlock, kind=config.non_local_kind, pool=config.non_local_pool)


class Head(nn.Module):
    """maps of each pathway x_BDTHW -> average over windows -> dropout -> fc -> logits_BK.

    Testing on larger crops than those of training gives several places P; by default what is returned then has as
    probabilities the mean of the places' probabilities. Source: SlowFast models/head_helper.py, `ResNetBasicHead`.
    """

    def __init__(self, config: PathwayConfig, num_features: int, num_classes: int, *, bias: bool = True) -> None:
        super().__init__()
        self.average, self.scores = config.head, config.scores
        self.window = window_side(config.crop)
        self.dropout = nn.Dropout(config.dropout)
        self.fc = nn.Linear(num_features, num_classes, bias=bias)

    def forward(self, *maps_BDTHW: Tensor) -> Tensor:
        if self.training or self.average == "features":
            return self._classify(torch.cat([x.mean((2, 3, 4)) for x in maps_BDTHW], 1))
        feature_BPD = torch.cat([window_averages(x, self.window) for x in maps_BDTHW], 2)
        if self.average == "logits" or feature_BPD.shape[1] == 1:
            # The classifier is linear, so features may be averaged as well.
            return self._classify(feature_BPD.mean(1))
        logits_BPK = self._classify(feature_BPD)
        if self.scores == "softmax":
            return mean_over_positions(logits_BPK)
        return functional.logsigmoid(logits_BPK).logsumexp(1) - functional.logsigmoid(-logits_BPK).logsumexp(1)

    def _classify(self, feature: Tensor) -> Tensor:
        logits: Tensor = self.fc(self.dropout(feature))
        return logits


def param_groups(module: nn.Module) -> list[ParamGroup]:
    """Batch norms do not decay, all else does, biases too (PySlowFast models/optimizer.py)."""
    norms = {name for name, layer in module.named_modules() if isinstance(layer, nn.BatchNorm3d | nn.SyncBatchNorm)}
    names = [name for name, parameter in module.named_parameters() if parameter.requires_grad]
    norm = tuple(name for name in names if name.rpartition(".")[0] in norms)
    return [
        ParamGroup(name="weight", params=tuple(name for name in names if name not in norm)),
        ParamGroup(name="norm", params=norm, decay_mult=0.0),
    ]


RECIPE = TrainRecipe(
    # configs/Kinetics/SLOWFAST_4x16_R50.yaml; batch norm of the original sees 8 clips, the share of one of its GPUs.
    epochs=196,
    batch_size=64,
    micro_batch=8,
    lr=0.1,
    nesterov=True,
    weight_decay=1e-4,
    schedule="cosine",
    warmup_epochs=34,
    warmup_start=0.1,
    param_groups=param_groups,
)


def inflated_resnet(config: PathwayConfig, pathway: InflatedResNet, prefix: str) -> Pretrained | None:
    """For `pathway`, whose names get `prefix`: torchvision's ImageNet ResNet of the same depth."""
    if config.pretrained == "none":
        return None
    name = f"resnet{config.depth}"
    spec = trunk(name)
    shapes = {key: tensor.shape for key, tensor in pathway.state_dict().items()}

    def adapt(state: StateDict) -> StateDict:
        return {prefix + key: tensor for key, tensor in inflate(state, shapes).items()}

    return Pretrained(name=f"{name}-imagenet", weights=spec.weights["imagenet"], layouts=spec.layouts, adapt=adapt)
