"""Parts of NeXtVLAD: batch norm over real frames, the aggregation of one stream, of all, and the classifiers.

B videos  F frames  D features of a stream  G groups  K clusters  E = expansion x D / G  P = F x G  H hidden units
N networks of a mixture  M experts
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from vtk_cli.errors import UsageError
from vtk_models import sequence

Dialect = Literal["paddle", "tensorflow"]

BATCH_NORM: dict[Dialect, tuple[float, float]] = {"paddle": (1e-5, 0.1), "tensorflow": (1e-3, 1e-3)}
"""eps and momentum: fluid's defaults (its momentum 0.9 is torch's 0.1) and slim's (decay 0.999)."""

CUT = 1.3
"""slim's variance_scaling_initializer widens the variance so much before it cuts at two standard deviations."""


def fan_in_normal_(weight: Tensor, fan_in: int, dialect: Dialect) -> None:
    """He's initialisation, variance 2 / fan_in, as each dialect draws it."""
    if dialect == "paddle":
        nn.init.normal_(weight, std=(2 / fan_in) ** 0.5)
    else:
        std = (CUT * 2 / fan_in) ** 0.5
        nn.init.trunc_normal_(weight, std=std, a=-2 * std, b=2 * std)


def eigenvalue_scale(source: str, size: int) -> Tensor:
    """sqrt(eigenvalue) + 1e-4 of the first `size` components; ones for "weights", which bring their own.

    Raises:
        UsageError: the file cannot be read, or holds fewer numbers or others than eigenvalues.
    """
    if source == "weights":
        return torch.ones(size)
    try:
        values = np.load(source, allow_pickle=False) if source.endswith(".npy") else np.loadtxt(source)
        found = np.asarray(values, dtype=np.float64).ravel()
    except (OSError, ValueError) as error:
        raise UsageError(
            f'model.eigenvalues is a file of numbers (.npy, or text), "weights" or none, found "{source}": {error}. '
            "Give the path of YouTube-8M's eigenvals.npy."
        ) from error
    if len(found) < size or not (found[:size] >= 0).all():
        raise UsageError(
            f"model.eigenvalues needs {size} numbers of 0 and above, found {len(found)} in {source}. "
            "Give another file, or model.eigenvalues=none for features that are not whitened."
        )
    return torch.from_numpy((np.sqrt(found[:size]) + 1e-4).astype(np.float32))


def batch_norm(size: int, dialect: Dialect) -> nn.BatchNorm1d:
    eps, momentum = BATCH_NORM[dialect]
    return nn.BatchNorm1d(size, eps=eps, momentum=momentum)


class FrameBatchNorm(nn.Module):
    """Batch norm of x_BFC whose statistics in training are those of the real frames, as if there were no padding.

    Parameters and buffers are called as torch.nn.BatchNorm1d's.
    """

    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor

    def __init__(self, size: int, dialect: Dialect) -> None:
        super().__init__()
        self.eps, self.momentum = BATCH_NORM[dialect]
        self.weight = nn.Parameter(torch.ones(size))
        self.bias = nn.Parameter(torch.zeros(size))
        self.register_buffer("running_mean", torch.zeros(size))
        self.register_buffer("running_var", torch.ones(size))
        self.register_buffer("num_batches_tracked", torch.tensor(0))

    def forward(self, x_BFC: Tensor, mask_BF: Tensor) -> Tensor:
        x_NC = x_BFC.flatten(0, 1)
        if not self.training:
            out_NC = functional.batch_norm(
                x_NC, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps
            )
            return out_NC.view(x_BFC.shape)
        with torch.autocast(x_NC.device.type, enabled=False):
            x_NC = x_NC.to(torch.promote_types(x_NC.dtype, torch.float32))
            real_N = mask_BF.flatten().to(x_NC.dtype)
            count = real_N.sum()
            mean_C = (real_N @ x_NC) / count
            centred_NC = x_NC - mean_C
            var_C = (real_N @ centred_NC.square()) / count
            self._track(mean_C.detach(), var_C.detach() * (count / (count - 1).clamp(min=1)))
            out_NC = centred_NC * ((var_C + self.eps).rsqrt() * self.weight) + self.bias
        return out_NC.view(x_BFC.shape)

    def _track(self, mean_C: Tensor, var_C: Tensor) -> None:
        with torch.no_grad():
            self.running_mean.lerp_(mean_C.to(self.running_mean.dtype), self.momentum)
            self.running_var.lerp_(var_C.to(self.running_var.dtype), self.momentum)
            self.num_batches_tracked.add_(1)


class VLAD(nn.Module):
    """The aggregation of one stream: x_BFD, mask_BF -> vlad_B(EK)."""

    def __init__(self, size: int, clusters: int, groups: int, *, expansion: int, dialect: Dialect) -> None:
        super().__init__()
        self.groups, self.dialect = groups, dialect
        wide, share = expansion * size, expansion * size // groups
        self.expand = nn.Linear(size, wide)
        self.attention = nn.Linear(wide, groups)
        self.assign = nn.Linear(wide, groups * clusters, bias=False)
        self.assign_bn = FrameBatchNorm(groups * clusters, dialect)
        self.centres_KE = nn.Parameter(torch.empty(clusters, share))
        self.bn = batch_norm(clusters * share, dialect)
        for layer in (self.expand, self.attention, self.assign):
            fan_in_normal_(layer.weight, layer.in_features, dialect)
        for layer in (self.expand, self.attention):
            nn.init.zeros_(layer.bias)
        # fluid takes the first side of a matrix for its inputs; in TensorFlow the centres lie the other way round.
        fan_in_normal_(self.centres_KE, clusters if dialect == "paddle" else share, dialect)

    def forward(self, x_BFD: Tensor, mask_BF: Tensor) -> Tensor:
        wide_BFW = self.expand(x_BFD)
        gate_BFG = self.attention(wide_BFW).sigmoid() * mask_BF.unsqueeze(-1)
        counted_BF = mask_BF if self.dialect == "paddle" else torch.ones_like(mask_BF)
        assigned_BFX = self.assign_bn(self.assign(wide_BFW), counted_BF)
        assigned_BFGK = assigned_BFX.unflatten(2, (self.groups, -1)).softmax(-1) * gate_BFG.unsqueeze(-1)
        assigned_BPK = assigned_BFGK.flatten(1, 2)
        wide_BEP = wide_BFW.unflatten(2, (self.groups, -1)).flatten(1, 2).transpose(1, 2)
        total_BEK = wide_BEP.to(assigned_BPK.dtype) @ assigned_BPK
        vlad_BEK = total_BEK - assigned_BPK.sum(1).unsqueeze(1) * self.centres_KE.t()
        vlad_BEK = sequence.l2_normalize(vlad_BEK, dim=1, floor=0.0 if self.dialect == "paddle" else 1e-12)
        out: Tensor = self.bn(vlad_BEK.flatten(1))
        return out


class Aggregation(nn.Module):
    """All streams' VLADs, a hidden layer and its context gate: [x_BFD ...], mask_BF -> feature_BH."""

    def __init__(
        self,
        shapes: Sequence[tuple[int, int, int]],
        *,
        expansion: int,
        hidden: int,
        gate: int,
        dropout: float,
        dialect: Dialect,
    ) -> None:
        """`shapes` holds (D, K, G) of each stream; `gate` is the width of the context gate's bottleneck."""
        super().__init__()
        self.streams = nn.ModuleList(VLAD(*shape, expansion=expansion, dialect=dialect) for shape in shapes)
        self.dropout = nn.Dropout(dropout)
        size = sum(features * expansion // groups * clusters for features, clusters, groups in shapes)
        self.hidden = nn.Linear(size, hidden, bias=False)
        self.hidden_bn = batch_norm(hidden, dialect)
        self.gate1 = nn.Linear(hidden, gate, bias=False)
        self.gate_bn = batch_norm(gate, dialect)
        self.gate2 = nn.Linear(gate, hidden, bias=False)
        for layer in (self.hidden, self.gate1, self.gate2):
            fan_in_normal_(layer.weight, layer.in_features, dialect)

    def forward(self, parts: Sequence[Tensor], mask_BF: Tensor) -> Tensor:
        vlads = [stream(part, mask_BF) for stream, part in zip(self.streams, parts, strict=True)]
        hidden_BH: Tensor = self.hidden_bn(self.hidden(self.dropout(torch.cat(vlads, dim=1))))
        gate_BH = self.gate2(functional.relu(self.gate_bn(self.gate1(hidden_BH)))).sigmoid()
        feature_BH: Tensor = hidden_BH * gate_BH
        return feature_BH


class MixtureOfExperts(nn.Module):
    """Per class a softmax over experts, and one more that always says no: feature_BH -> logits_BK.

    The original gives p, the sum of gate x sigmoid(expert); its logits, log p - log(1 - p), come from logarithms here.
    Source: linrongc/youtube-8m video_level_models.py, `MoeModel`.
    """

    def __init__(self, size: int, num_classes: int, experts: int) -> None:
        super().__init__()
        self.num_experts = experts
        self.gates = nn.Linear(size, num_classes * (experts + 1), bias=False)
        self.experts = nn.Linear(size, num_classes * experts)
        for layer in (self.gates, self.experts):
            nn.init.xavier_uniform_(layer.weight)
        nn.init.zeros_(self.experts.bias)

    def forward(self, feature_BH: Tensor) -> Tensor:
        gate_BKM = self.gates(feature_BH).unflatten(1, (-1, self.num_experts + 1)).log_softmax(-1)
        expert_BKM = self.experts(feature_BH).unflatten(1, (-1, self.num_experts)).to(gate_BKM.dtype)
        yes_BKM = gate_BKM[..., :-1] + functional.logsigmoid(expert_BKM)
        no_BKM = torch.cat((gate_BKM[..., :-1] + functional.logsigmoid(-expert_BKM), gate_BKM[..., -1:]), dim=-1)
        logits_BK: Tensor = yes_BKM.logsumexp(-1) - no_BKM.logsumexp(-1)
        return logits_BK


class BranchClassifiers(nn.Module):
    """A logistic classifier for each network of a mixture: feature_BNH -> logits_BNK."""

    def __init__(self, branches: int, size: int, num_classes: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(branches, num_classes, size))
        self.bias = nn.Parameter(torch.zeros(branches, num_classes))
        fan_in_normal_(self.weight, size, "tensorflow")

    def forward(self, feature_BNH: Tensor) -> Tensor:
        product_NBK = feature_BNH.transpose(0, 1) @ self.weight.transpose(1, 2)
        return product_NBK.transpose(0, 1) + self.bias
