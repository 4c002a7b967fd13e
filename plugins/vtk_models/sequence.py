"""What the models on feature vectors share: their streams, the mask of real frames, and Paddle's leftovers.

B videos  F frames  D feature size of one stream  C columns, one softmax each
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from vtk_cli.api.inputs import Stream
from vtk_cli.api.models import StateDict
from vtk_cli.errors import UsageError
from vtk_models import fluid
from vtk_models.layouts import unwrap

YOUTUBE8M = ("rgb:1024", "audio:128")
"""The streams of YouTube-8M: Inception-v3's features after a PCA, and VGGish's, one of each per second."""

PADDLE_URL = "https://paddlemodels.bj.bcebos.com/video_classification/"

PADDLE_SOURCE = "PaddlePaddle/models release/1.8 PaddleCV/video/models/{}/README.md"

FLUID_KEPT = 0.5
"""fluid's dropout multiplies by 1 - p when it evaluates, and by nothing in training; p is 0.5 in all three models."""

_STREAM = re.compile(r"([A-Za-z0-9_.-]+):([1-9]\d{0,5})")

_ACCUMULATOR = re.compile(r".+_(moment[12]|beta[12]_pow_acc|momentum|mean_square|mean_grad)_\d+")
"""What fluid's Adam and RMSProp keep beside a parameter."""


def parse_streams(streams: Sequence[str]) -> tuple[Stream, ...]:
    """Streams that a configuration names as `name:size`.

    Raises:
        UsageError: there is none, one is written otherwise, or two have one name.

    >>> [(stream.name, stream.size) for stream in parse_streams(("rgb:1024", "audio:128"))]
    [('rgb', 1024), ('audio', 128)]
    """
    found = [_STREAM.fullmatch(text) for text in streams]
    wrong = [text for text, match in zip(streams, found, strict=True) if match is None]
    if wrong or not found:
        raise UsageError(
            f"Streams are written name:size, such as rgb:1024, found {', '.join(map(repr, wrong)) or 'none'}. "
            'Set model.streams=["rgb:1024"] to what the feature store holds.'
        )
    parsed = tuple(Stream(name=match[1], size=int(match[2])) for match in found if match)
    if len({stream.name for stream in parsed}) < len(parsed):
        raise UsageError(f"Streams have names of their own, found {', '.join(streams)}. Name each stream once.")
    return parsed


def stream_names(sizes: Sequence[int]) -> tuple[str, ...]:
    """Streams as a configuration writes them, for weights that only tell their sizes.

    >>> stream_names([1024, 128, 64])
    ('rgb:1024', 'audio:128', 'stream2:64')
    """
    names = {0: "rgb", 1: "audio"}
    return tuple(f"{names.get(place, f'stream{place}')}:{size}" for place, size in enumerate(sizes))


def check_dropout(dropout: float) -> None:
    """Raises UsageError for what is no probability below 1."""
    if not 0 <= dropout < 1:
        raise UsageError(f"A dropout lies in [0, 1), found {dropout}. Set model.dropout to such a number.")


def check_sizes(**sizes: int) -> None:
    """Raises UsageError for sizes below 1, by the names of their fields."""
    for name, size in sizes.items():
        if size < 1:
            raise UsageError(f"{name} is a number of units above 0, found {size}. Set model.{name} higher.")


def split_streams(
    feature_BFD: Tensor, mask_BF: Tensor, sizes: Sequence[int], padding: Sequence[float] | None = None
) -> list[Tensor]:
    """The streams one by one, x_BFD each; whatever stands where a video has no frame becomes `padding`, or zero."""
    fills = padding or [0.0] * len(sizes)
    mask_BF1 = mask_BF.unsqueeze(-1)
    parts = torch.split(feature_BFD, list(sizes), dim=2)
    return [torch.where(mask_BF1, part, fill) for part, fill in zip(parts, fills, strict=True)]


def softmax_over_frames(score_BFC: Tensor, mask_BF: Tensor) -> Tensor:
    """Weights that add up to 1 over a video's real frames, and are exactly 0 elsewhere."""
    lowest = torch.finfo(score_BFC.dtype).min
    return score_BFC.masked_fill(~mask_BF.unsqueeze(-1), lowest).softmax(dim=1)


def l2_normalize(x: Tensor, dim: int, *, floor: float = 0.0) -> Tensor:
    """Divided by the root of s + 1e-12, s the sum of squares (fluid); with `floor` of max(s, floor) (TensorFlow)."""
    squares = x.float() if x.dtype in (torch.bfloat16, torch.float16) else x
    total = squares.square().sum(dim, keepdim=True)
    return squares * (total.clamp(min=floor) if floor else total + 1e-12).rsqrt()


def uniform_by_length_(bias: Tensor) -> None:
    """What fluid's `MSRA()` does to a vector of n: uniform within sqrt(6 / n)."""
    bound = (6 / bias.numel()) ** 0.5
    nn.init.uniform_(bias, -bound, bound)


def paddle_tensors(checkpoint: Mapping[str, Any]) -> StateDict:
    """The tensors of Paddle's checkpoints, without what belongs to the optimiser or to the file format.

    Raises:
        CheckpointError: something else is among them.
    """
    kept = {
        name: value
        for name, value in checkpoint.items()
        if not (fluid.is_leftover(name) or _ACCUMULATOR.fullmatch(name) or name == "StructuredToParameterName@@")
    }
    return unwrap(kept, layout="paddle")
