"""NeXtVLAD (Lin et al., ECCV 2018 workshops): Paddle's form, the paper's TensorFlow form and its mixture of several.

A frame's expanded features are cut into groups, each of which is assigned softly to clusters; what is left over after
the clusters' centres are subtracted is summed over frames and groups.

    x_BFD -> expand -> x, in G groups of E numbers -> a = softmax over K of BN(assign x), times the group's sigmoid
    V_ek = sum over frames and groups of a_k x_e, minus (sum of a_k) centre_ke -> L2 norm over E -> BN -> vlad_B(EK)
    all streams' -> dropout -> hidden BN -> context gating -> fc -> logits_BK

Both forms: PaddlePaddle/models release/1.8 PaddleCV/video/models/nextvlad and linrongc/youtube-8m nextvlad.py.

    what differs                     paddle          tensorflow
    streams after the first          K and G         K / 2 and G / 2
    eps and momentum of batch norms  1e-5, 0.1       1e-3, 0.001
    their statistics over frames     real frames     all, padding included
    L2 norm, s the sum of squares    s + 1e-12       at least 1e-12
    initial weights                  normal          normal, cut off at two standard deviations
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from vtk_cli.api.inputs import FeatureSpec
from vtk_cli.api.models import Layout, ModelSpec, StateDict, Weights
from vtk_cli.api.recipes import ParamGroup, TrainRecipe
from vtk_cli.api.sampling import first
from vtk_cli.errors import UsageError
from vtk_models import fluid, sequence
from vtk_models.layouts import convert
from vtk_models.nextvlad_blocks import (
    Aggregation,
    BranchClassifiers,
    Dialect,
    MixtureOfExperts,
    batch_norm,
    eigenvalue_scale,
    fan_in_normal_,
)

HALF_BIN = 4 / 512
"""The middle of a quantisation bin. The originals leave it out where they undo the PCA's whitening: rgb is
q * 4 / 255 - 2, and TensorFlow's padding, which stays zero before that, ends half a bin below zero."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NeXtVLADConfig:
    streams: tuple[str, ...] = sequence.YOUTUBE8M
    """name:size of each kind of feature, as the feature store keeps them."""
    dialect: Dialect = "paddle"
    """Which original: paddle, or tensorflow (the paper's)."""
    mixture: int = 1
    """Networks whose logits are weighed by a gate on the mean feature; 3 in the paper's submission (tensorflow)."""
    frames: int = 300
    """A longer video is cut. tensorflow: also the number of frames that statistics in training are taken over."""
    clusters: int = 128
    """K; 112 in the submission."""
    groups: int = 8
    """G."""
    expansion: int = 2
    """How many times wider the features are made first."""
    hidden: int = 2048
    gating_reduction: int = 8
    """Bottleneck of the context gate; 16 in the submission."""
    dropout: float = 0.5
    eigenvalues: str | None = None
    """Undo the whitening of the first stream by the square roots of its PCA's eigenvalues: a file of them (.npy or
    text; YouTube-8M's is eigenvals.npy), or "weights": ones until weights are loaded, which hold them as the buffer
    `eigen_param`. None: nothing is scaled, for features that are not whitened."""
    classifier: Literal["logistic", "moe"] = "logistic"
    """moe: a mixture of logistic experts for each class, as in the paper's code."""
    experts: int = 4
    """moe: experts per class."""
    distillation: float = 9.0
    """mixture: weight of the divergence between the mixture's and each network's softened scores."""
    temperature: float = 3.0
    """mixture: by which the logits are divided for it."""

    def __post_init__(self) -> None:
        sizes = [stream.size for stream in sequence.parse_streams(self.streams)]
        for field in ("mixture", "clusters", "groups", "expansion", "hidden", "gating_reduction", "experts"):
            sequence.check_sizes(**{field: getattr(self, field)})
        sequence.check_dropout(self.dropout)
        if self.mixture > 1 and (self.dialect != "tensorflow" or self.classifier != "logistic"):
            raise UsageError(
                "A mixture is the tensorflow dialect's, with the logistic classifier; found "
                f"{self.dialect} and {self.classifier}. Set model.dialect=tensorflow and model.classifier=logistic."
            )
        if any(size * self.expansion % groups for size, (_, groups) in zip(sizes, self.shapes, strict=True)):
            raise UsageError(
                f"Features times the expansion fall into equal groups, found {', '.join(self.streams)} times "
                f"{self.expansion} in {self.groups} groups. Set model.groups to a divisor."
            )
        if self.hidden < self.gating_reduction or min(min(shape) for shape in self.shapes) < 1:
            raise UsageError(
                f"The tensorflow dialect halves clusters and groups, and the gate divides hidden, to 1 at least; found "
                f"{self.clusters}, {self.groups} and {self.hidden} / {self.gating_reduction}. Set them higher."
            )
        if self.temperature <= 0 or self.distillation < 0:
            raise UsageError(
                f"The temperature lies above 0 and distillation is not negative, found {self.temperature} and "
                f"{self.distillation}. Set model.temperature=3 and model.distillation=9."
            )

    @property
    def shapes(self) -> tuple[tuple[int, int], ...]:
        """(K, G) of each stream."""
        half = 2 if self.dialect == "tensorflow" else 1
        others = (self.clusters // half, self.groups // half)
        return ((self.clusters, self.groups), *[others] * (len(self.streams) - 1))


class NeXtVLAD(nn.Module):
    """forward(feature_BFD, mask_BF) -> logits_BK; neither the order of frames nor padding matters when it evaluates."""

    eigen_param: Tensor | None

    def __init__(self, config: NeXtVLADConfig, num_classes: int) -> None:
        super().__init__()
        self.config = config
        self.sizes = [stream.size for stream in sequence.parse_streams(config.streams)]
        self.pads = config.dialect == "tensorflow"
        scale = None if config.eigenvalues is None else eigenvalue_scale(config.eigenvalues, self.sizes[0])
        self.register_buffer("eigen_param", scale)
        self.branches = nn.ModuleList(_aggregation(config, self.sizes) for _ in range(config.mixture))
        self.branch_logits_BNK: Tensor | None = None
        if config.mixture > 1:
            self.mix_bn = batch_norm(sum(self.sizes), config.dialect)
            self.mix = nn.Linear(sum(self.sizes), config.mixture)
            fan_in_normal_(self.mix.weight, sum(self.sizes), config.dialect)
            nn.init.zeros_(self.mix.bias)
        self.fc = _classifier(config, num_classes)

    def forward(self, feature_BFD: Tensor, mask_BF: Tensor) -> Tensor:
        parts, mask_BF = self._prepare(feature_BFD, mask_BF)
        found = [branch(parts, mask_BF) for branch in self.branches]
        if len(found) == 1:
            logits_BK: Tensor = self.fc(found[0])
            return logits_BK
        logits_BNK = self.fc(torch.stack(found, dim=1))
        self.branch_logits_BNK = logits_BNK if self.training else None
        weight_BN = self.mix(self.mix_bn(self._mean(parts))).softmax(-1)
        mixed_B1K: Tensor = weight_BN.unsqueeze(1) @ logits_BNK.to(weight_BN.dtype)
        return mixed_B1K.squeeze(1)

    def _prepare(self, feature_BFD: Tensor, mask_BF: Tensor) -> tuple[list[Tensor], Tensor]:
        """The streams, padded and scaled as the dialect has them."""
        missing = self.config.frames - feature_BFD.shape[1]
        if self.pads and self.training and missing > 0:
            feature_BFD = functional.pad(feature_BFD, (0, 0, 0, missing))
            mask_BF = functional.pad(mask_BF, (0, missing))
        parts = sequence.split_streams(feature_BFD, mask_BF, self.sizes, self._padding())
        if self.eigen_param is not None:
            parts[0] = parts[0] * self.eigen_param.to(parts[0].dtype)
        return parts, mask_BF

    def _padding(self) -> list[float]:
        whitened = self.pads and self.eigen_param is not None
        return [-HALF_BIN if whitened else 0.0, *[0.0] * (len(self.sizes) - 1)]

    def _mean(self, parts: list[Tensor]) -> Tensor:
        """Over `frames` frames, padding included, however many of these the batch holds."""
        frames = self.config.frames
        total_BD = torch.cat([part.sum(1) for part in parts], dim=1)
        if self.eigen_param is not None:
            rest = self._padding()[0] * (frames - parts[0].shape[1]) * self.eigen_param
            total_BD = total_BD + functional.pad(rest, (0, total_BD.shape[1] - len(rest))).to(total_BD.dtype)
        return total_BD / frames


def _aggregation(config: NeXtVLADConfig, sizes: list[int]) -> Aggregation:
    return Aggregation(
        [(size, *shape) for size, shape in zip(sizes, config.shapes, strict=True)],
        expansion=config.expansion,
        hidden=config.hidden,
        gate=config.hidden // config.gating_reduction,
        dropout=config.dropout,
        dialect=config.dialect,
    )


def _classifier(config: NeXtVLADConfig, num_classes: int) -> nn.Module:
    if config.mixture > 1:
        return BranchClassifiers(config.mixture, config.hidden, num_classes)
    if config.classifier == "moe":
        return MixtureOfExperts(config.hidden, num_classes, config.experts)
    fc = nn.Linear(config.hidden, num_classes)
    fan_in_normal_(fc.weight, config.hidden, config.dialect)
    nn.init.zeros_(fc.bias)
    return fc


def extra_loss(module: nn.Module, logits_BK: Tensor, label: Tensor) -> Tensor:
    """What a mixture's training adds: each network's own loss, and how far its scores are from the mixture's.

    The divergence is KL(softmax(mixture / T) || softmax(network / T)), summed over the networks, mean over the videos,
    times `distillation` (linrongc/youtube-8m nextvlad.py and train.py; its `cl_temperature` and `cl_lambda`). `label`
    holds class numbers, or 0/1 for every class. 0 for a single network.
    """
    if not isinstance(module, NeXtVLAD) or module.branch_logits_BNK is None:
        return logits_BK.new_zeros(())
    logits_BNK, module.branch_logits_BNK = module.branch_logits_BNK.float(), None
    temperature, count = module.config.temperature, logits_BNK.shape[1]
    if label.dim() == 1:
        own = functional.cross_entropy(logits_BNK.flatten(0, 1), label.repeat_interleave(count)) * count
    else:
        target_BNK = label.unsqueeze(1).expand_as(logits_BNK).float()
        own = functional.binary_cross_entropy_with_logits(logits_BNK, target_BNK, reduction="sum") / len(label)
    mixed_BK = (logits_BK.float() / temperature).log_softmax(-1)
    apart = functional.kl_div(
        (logits_BNK / temperature).log_softmax(-1),
        mixed_BK.unsqueeze(1).expand_as(logits_BNK),
        reduction="sum",
        log_target=True,
    )
    return own + module.config.distillation * apart / len(label)


def param_groups(module: nn.Module) -> list[ParamGroup]:
    """Only the classifier decays."""
    names = [name for name, parameter in module.named_parameters() if parameter.requires_grad]
    rest = tuple(name for name in names if not name.startswith("fc."))
    return [
        ParamGroup(name="classifier", params=tuple(name for name in names if name.startswith("fc."))),
        ParamGroup(name="rest", params=rest, decay_mult=0.0),
    ]


def inputs(config: NeXtVLADConfig) -> FeatureSpec:
    """YouTube-8M's whitened features lose the half bin of their quantisation; see `HALF_BIN`."""
    streams = sequence.parse_streams(config.streams)
    if config.eigenvalues is not None:
        streams = (dataclasses.replace(streams[0], offset=streams[0].offset - HALF_BIN), *streams[1:])
    return FeatureSpec(streams=streams, frames=config.frames, sampler=first)


STREAM = {
    "fc_expansion_w": "expand.weight",
    "fc_expansion_b": "expand.bias",
    "fc_group_attention_w": "attention.weight",
    "fc_group_attention_b": "attention.bias",
    "cluster_weights": "assign.weight",
    "cluster_weights2": "centres_KE",
}
"""Variables of one stream: Paddle's, after `video_` or `audio_`, and ours."""

PLACES = ("video", "audio")

HEAD = {
    "hidden1_fc_weights": "branches.0.hidden.weight",
    "gating_fc1_weights": "branches.0.gate1.weight",
    "gating_fc2_weights": "branches.0.gate2.weight",
    "logits_clf_weights": "fc.weight",
    "logits_clf_bias": "fc.bias",
    "eigen_param": "eigen_param",
}

NORMS = (
    *(f"branches.0.streams.{place}.{norm}" for place in range(len(PLACES)) for norm in ("assign_bn", "bn")),
    "branches.0.hidden_bn",
    "branches.0.gate_bn",
)
"""Batch norms in the order in which fluid numbers them."""


def paddle_convert(checkpoint: StateDict) -> StateDict:
    """The released NEXTVLAD weights; halves `hidden`, in whose place fluid halves its input when it evaluates.

    Raises:
        CheckpointError: it holds other tensors, or lacks some.
    """
    tensors = sequence.paddle_tensors(checkpoint)
    norms = {
        name: NORMS[at] for name, at in fluid.number_in_order(list(tensors), "batch_norm").items() if at < len(NORMS)
    }
    known = dict(HEAD)
    for place, prefix in enumerate(PLACES):
        known.update({f"{prefix}_{theirs}": f"branches.0.streams.{place}.{ours}" for theirs, ours in STREAM.items()})
    required = {ours: theirs for theirs, ours in known.items()}
    for at, ours in enumerate(NORMS):
        required.update({f"{ours}.{part}": f"batch_norm_{at}.{end}" for end, part in fluid.NUMBERED_BATCH_NORM.items()})

    def rename(name: str) -> str | None:
        layer, _, part = name.rpartition(".")
        if layer in norms and part in fluid.NUMBERED_BATCH_NORM:
            return f"{norms[layer]}.{fluid.NUMBERED_BATCH_NORM[part]}"
        return known.get(name)

    state = convert(tensors, layout="paddle", rename=rename, required=required)
    for name in [name for name in state if name.endswith(".weight") and state[name].dim() == 2]:
        state[name] = state[name].t().contiguous()
    state["branches.0.hidden.weight"] = state["branches.0.hidden.weight"] * sequence.FLUID_KEPT
    return state


def paddle_infer(checkpoint: StateDict) -> Mapping[str, Any]:
    """Sizes, from the shapes; the dialect, from the layout."""
    tensors = sequence.paddle_tensors(checkpoint)
    wide, centres = "{}_fc_expansion_w", "video_cluster_weights2"
    needed = (wide.format("video"), wide.format("audio"), centres, "video_cluster_weights", "gating_fc1_weights")
    if any(name not in tensors for name in needed):
        return {}
    shapes = {name: tuple(tensors[name].shape) for name in needed}
    clusters = shapes[centres][0]
    size, expanded = shapes[wide.format("video")]
    hidden, bottleneck = shapes["gating_fc1_weights"]
    return {
        "streams": sequence.stream_names([shapes[wide.format(prefix)][0] for prefix in PLACES]),
        "dialect": "paddle",
        "mixture": 1,
        "classifier": "logistic",
        "eigenvalues": "weights",
        "clusters": clusters,
        "groups": shapes["video_cluster_weights"][1] // clusters,
        "expansion": expanded // size,
        "hidden": hidden,
        "gating_reduction": hidden // bottleneck,
    }


MODEL = ModelSpec(
    config=NeXtVLADConfig,
    inputs=inputs,
    build=NeXtVLAD,
    extra_loss=extra_loss,
    # configs/nextvlad.yaml: 4 GPUs of 40 videos, which is what batch norm sees.
    recipe=TrainRecipe(
        epochs=6,
        batch_size=160,
        micro_batch=40,
        optimizer="adam",
        lr=2e-4,
        weight_decay=1e-5,
        schedule="staircase",
        gamma=0.8,
        decay_videos=2_000_000,
        loss="binary_cross_entropy",
        reduction="sum_classes",
        param_groups=param_groups,
    ),
    weights={
        "youtube8m": Weights(
            url=f"{sequence.PADDLE_URL}NEXTVLAD.pdparams",
            layout="paddle",
            licence="Apache-2.0",
            accuracy={"hit1": 89.60, "perr": 81.32, "gap": 87.09},
            protocol="YouTube-8M (2018) validation, all of at most 300 frames, rgb and audio",
            source=sequence.PADDLE_SOURCE.format("nextvlad"),
        )
    },
    layouts={"paddle": Layout(convert=paddle_convert, infer=paddle_infer)},
    tiny=NeXtVLADConfig(
        streams=("rgb:12", "audio:4"), frames=6, clusters=4, groups=2, hidden=64, gating_reduction=4, eigenvalues=None
    ),
    summary="soft assignment of grouped frame features to clusters; Paddle's form, the paper's, and its mixture",
    paper="Lin et al., NeXtVLAD, ECCV 2018 workshops (arXiv 1811.05014)",
)
