"""Attention Clusters (Long et al., CVPR 2018), as PaddlePaddle/models release/1.8 attention_cluster builds them.

Several attention units look at the frames of one stream, each with weights of its own, without regard to their order.
What a unit gathers is scaled and shifted by two learnt scalars and normalised, so that the units differ.

    x_BFD -> score -> softmax over frames -> weight_BFC -> weight^T x -> w * . + b -> L2 norm / sqrt(C) -> unit_BCD
    all streams' units -> dropout -> fc1 tanh -> fc2 tanh -> fc -> logits_BK
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from vtk_cli.api.inputs import FeatureSpec
from vtk_cli.api.models import Layout, ModelSpec, StateDict, Weights
from vtk_cli.api.recipes import TrainRecipe
from vtk_cli.api.sampling import stratified
from vtk_cli.errors import UsageError
from vtk_models import sequence
from vtk_models.layouts import convert


@dataclass(frozen=True, slots=True, kw_only=True)
class AttentionClusterConfig:
    streams: tuple[str, ...] = sequence.YOUTUBE8M
    """name:size of each kind of feature, as the feature store keeps them."""
    clusters: tuple[int, ...] = (32,)
    """C, attention units: one number for every stream, or one for each."""
    frames: int = 100
    """Feature vectors sampled from a video; a short one repeats some."""
    hidden: tuple[int, int] = (1024, 4096)
    """Widths of the two layers before the classifier."""
    dropout: float = 0.5
    """Of what the units gathered."""

    def __post_init__(self) -> None:
        streams = sequence.parse_streams(self.streams)
        if len(self.clusters) not in (1, len(streams)) or min(self.clusters) < 1:
            raise UsageError(
                f"clusters holds one number above 0 for all streams or one for each of the {len(streams)}, found "
                f"{self.clusters}. Set model.clusters=[32]."
            )
        sequence.check_sizes(hidden=min(self.hidden))
        sequence.check_dropout(self.dropout)

    @property
    def clusters_of_streams(self) -> tuple[int, ...]:
        return self.clusters if len(self.clusters) > 1 else self.clusters * len(self.streams)


class ShiftingAttention(nn.Module):
    """The attention units of one stream: x_BFD, mask_BF -> unit_B(CD)."""

    def __init__(self, size: int, clusters: int) -> None:
        super().__init__()
        self.score = nn.Linear(size, clusters)
        self.shift_weight = nn.Parameter(torch.empty(clusters))
        self.shift_bias = nn.Parameter(torch.empty(clusters))

    def forward(self, x_BFD: Tensor, mask_BF: Tensor) -> Tensor:
        weight_BFC = sequence.softmax_over_frames(self.score(x_BFD), mask_BF)
        seen_BCD = weight_BFC.transpose(1, 2) @ x_BFD.to(weight_BFC.dtype)
        shifted_BCD = seen_BCD * self.shift_weight.unsqueeze(-1) + self.shift_bias.unsqueeze(-1)
        unit_BCD: Tensor = sequence.l2_normalize(shifted_BCD, dim=-1) / len(self.shift_weight) ** 0.5
        return unit_BCD.flatten(1)


class AttentionCluster(nn.Module):
    """forward(feature_BFD, mask_BF) -> logits_BK; any number of frames, whose order does not matter."""

    def __init__(self, config: AttentionClusterConfig, num_classes: int) -> None:
        super().__init__()
        self.sizes = [stream.size for stream in sequence.parse_streams(config.streams)]
        pairs = list(zip(self.sizes, config.clusters_of_streams, strict=True))
        self.streams = nn.ModuleList(ShiftingAttention(size, clusters) for size, clusters in pairs)
        self.dropout = nn.Dropout(config.dropout)
        self.fc1 = nn.Linear(sum(size * clusters for size, clusters in pairs), config.hidden[0])
        self.fc2 = nn.Linear(*config.hidden)
        self.fc = nn.Linear(config.hidden[1], num_classes)
        self._initialise()

    def forward(self, feature_BFD: Tensor, mask_BF: Tensor) -> Tensor:
        parts = sequence.split_streams(feature_BFD, mask_BF, self.sizes)
        units = [stream(part, mask_BF) for stream, part in zip(self.streams, parts, strict=True)]
        hidden = self.fc1(self.dropout(torch.cat(units, dim=1))).tanh()
        logits_BK: Tensor = self.fc(self.fc2(hidden).tanh())
        return logits_BK

    def _initialise(self) -> None:
        """As fluid's graph, whose initialisers take a vector of n for a layer with n inputs: hence biases that vary."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                sequence.uniform_by_length_(module.bias)
            elif isinstance(module, ShiftingAttention):
                for shift in (module.shift_weight, module.shift_bias):
                    nn.init.normal_(shift, std=shift.numel() ** -0.25)
        nn.init.normal_(self.fc.bias, std=(2 / self.fc.bias.numel()) ** 0.5)


def inputs(config: AttentionClusterConfig) -> FeatureSpec:
    return FeatureSpec(streams=sequence.parse_streams(config.streams), frames=config.frames, sampler=stratified)


LAYERS = {"fc1": "fc1", "fc2": "fc2", "logistic": "fc"}
"""fluid's names and ours."""

STREAM = {"conv.weight": "score.weight", "conv.bias": "score.bias", "shift_w": "shift_weight", "shift_b": "shift_bias"}
"""Parts of one stream: fluid's, after `satt0.`, and ours."""


def paddle_convert(checkpoint: StateDict) -> StateDict:
    """The released AttentionCluster weights; halves fc1, in whose place fluid halves its input when it evaluates.

    Raises:
        CheckpointError: it holds other tensors, or lacks some.
    """
    tensors = sequence.paddle_tensors(checkpoint)

    def rename(name: str) -> str | None:
        if found := re.fullmatch(r"satt(\d+)\.(.+)", name):
            return f"streams.{found[1]}.{STREAM[found[2]]}" if found[2] in STREAM else None
        layer, _, part = name.rpartition(".")
        ours = {"weights": "weight", "bias": "bias"}.get(part)
        return f"{LAYERS[layer]}.{ours}" if layer in LAYERS and ours else None

    required = {f"{ours}.weight": f"{layer}.weights" for layer, ours in LAYERS.items()}
    required.update({f"{ours}.bias": f"{layer}.bias" for layer, ours in LAYERS.items()})
    for place in range(max(1, len(_stream_sizes(tensors)))):
        required.update({f"streams.{place}.{ours}": f"satt{place}.{theirs}" for theirs, ours in STREAM.items()})
    state = convert(tensors, layout="paddle", rename=rename, required=required)
    for name in [name for name in state if name.endswith("score.weight")]:
        state[name] = state[name].flatten(1)
    for layer in LAYERS.values():
        state[f"{layer}.weight"] = state[f"{layer}.weight"].t().contiguous()
    state["fc1.weight"] = state["fc1.weight"] * sequence.FLUID_KEPT
    return state


def paddle_infer(checkpoint: StateDict) -> Mapping[str, Any]:
    """Streams, units and widths, from the shapes."""
    tensors = sequence.paddle_tensors(checkpoint)
    shapes = _stream_sizes(tensors)
    if not shapes or "fc1.bias" not in tensors or "fc2.bias" not in tensors:
        return {}
    return {
        "streams": sequence.stream_names([size for _, size in shapes]),
        "clusters": tuple(clusters for clusters, _ in shapes),
        "hidden": (len(tensors["fc1.bias"]), len(tensors["fc2.bias"])),
    }


def _stream_sizes(tensors: StateDict) -> list[tuple[int, int]]:
    """(C, D) of each stream."""
    names = sorted((name for name in tensors if re.fullmatch(r"satt\d+\.conv\.weight", name)), key=_number)
    return [(int(tensors[name].shape[0]), int(tensors[name].shape[1])) for name in names]


def _number(name: str) -> int:
    return int(name.removeprefix("satt").partition(".")[0])


MODEL = ModelSpec(
    config=AttentionClusterConfig,
    inputs=inputs,
    build=AttentionCluster,
    # configs/attention_cluster.yaml: 8 GPUs of 256 videos; no weight decay.
    recipe=TrainRecipe(
        epochs=5,
        batch_size=2048,
        micro_batch=256,
        optimizer="adam",
        lr=1e-3,
        schedule="constant",
        loss="binary_cross_entropy",
        reduction="sum_classes",
    ),
    weights={
        "youtube8m": Weights(
            url=f"{sequence.PADDLE_URL}AttentionCluster.pdparams",
            layout="paddle",
            licence="Apache-2.0",
            accuracy={"hit1": 87.0, "perr": 78.0, "gap": 84.0},
            protocol="YouTube-8M (2018) validation, 100 of at most 300 frames, rgb and audio",
            source=sequence.PADDLE_SOURCE.format("attention_cluster"),
        )
    },
    layouts={"paddle": Layout(convert=paddle_convert, infer=paddle_infer)},
    tiny=AttentionClusterConfig(streams=("rgb:24", "audio:8"), clusters=(3, 2), frames=6, hidden=(64, 128)),
    summary="attention units with a shifting operation on frame features; the order of the frames does not matter",
    paper="Long et al., Attention Clusters, CVPR 2018 (arXiv 1711.09550)",
)
