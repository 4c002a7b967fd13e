"""The temporal shift of TSM (Lin et al., ICCV 2019, section 3): a part of the channels comes from neighbouring frames.

                 channels   0 .. F   F .. 2F   2F .. C           F = C // div
    next_first   frame t    t + 1    t - 1     t                 MIT's code, X-Temporal, MMAction2
    prev_first   frame t    t - 1    t + 1     t                 Paddle
    online       frame t    t - 1    t         t                 no frame sees a later one

Beyond the first and last frame there are zeros. N is B x T, frames fastest.
"""

from typing import Any, Literal, cast, get_args

import torch
from torch import Tensor
from torch.nn import functional

Direction = Literal["next_first", "prev_first", "online"]
DIRECTIONS: tuple[Direction, ...] = get_args(Direction)

OFFSETS: dict[Direction, tuple[int, int]] = {"next_first": (1, -1), "prev_first": (-1, 1), "online": (-1, 0)}
"""Which frame, counted from its own, the first and the second F channels take."""


def temporal_shift(x_NCHW: Tensor, num_segments: int, *, div: int = 8, direction: Direction = "next_first") -> Tensor:
    """Shift C // div channels each way; fewer channels than `div` stay as they are.

    One pass over the memory forward and one backward, in the input's own memory layout. The operator is linear, so
    its gradient is the shift with both offsets turned round, and has gradients of any order itself.
    """
    fold = x_NCHW.shape[1] // div
    if fold == 0:
        return x_NCHW
    if torch.compiler.is_compiling():
        # A compiler derives and fuses both passes itself, and sees plain operators instead of a function of ours.
        return _shift(x_NCHW, num_segments, fold, *OFFSETS[direction])
    shifted_NCHW: Tensor = _Shift.apply(x_NCHW, num_segments, fold, *OFFSETS[direction])  # type: ignore[no-untyped-call]
    return shifted_NCHW


def temporal_pool(x_NCHW: Tensor, num_segments: int) -> Tensor:
    """The maximum over three neighbouring frames, every other one kept: T frames become (T + 1) // 2."""
    x_BTS = x_NCHW.reshape(-1, num_segments, x_NCHW[0].numel())
    pooled_BST = functional.max_pool1d(x_BTS.transpose(1, 2), 3, 2, 1)
    return pooled_BST.transpose(1, 2).reshape(-1, *x_NCHW.shape[1:])


class _Shift(torch.autograd.Function):
    @staticmethod
    def forward(x_NCHW: Tensor, num_segments: int, fold: int, first: int, second: int) -> Tensor:
        return _shift(x_NCHW, num_segments, fold, first, second)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:  # noqa: ARG004  torch's signature
        ctx.num_segments, ctx.fold, ctx.first, ctx.second = inputs[1:]

    @staticmethod
    def backward(ctx: Any, grad_NCHW: Tensor) -> tuple[Tensor, None, None, None, None]:
        back = _Shift.apply(grad_NCHW, ctx.num_segments, ctx.fold, -ctx.first, -ctx.second)  # type: ignore[no-untyped-call]
        return cast("Tensor", back), None, None, None, None


def _shift(x_NCHW: Tensor, num_segments: int, fold: int, first: int, second: int) -> Tensor:
    # Where the channels of a pixel lie side by side, one copy of everything and two of a part take less time than three
    # of parts: only the first runs straight through the memory.
    channels_last = x_NCHW.stride(1) == 1
    out_NCHW = x_NCHW.clone() if channels_last else torch.empty_like(x_NCHW)
    # Splitting the first dimension is a view in every memory layout.
    x_BTCHW = x_NCHW.view(-1, num_segments, *x_NCHW.shape[1:])
    out_BTCHW = out_NCHW.view(-1, num_segments, *x_NCHW.shape[1:])
    _move(x_BTCHW[:, :, :fold], out_BTCHW[:, :, :fold], first)
    _move(x_BTCHW[:, :, fold : 2 * fold], out_BTCHW[:, :, fold : 2 * fold], second)
    if not channels_last:
        out_BTCHW[:, :, 2 * fold :] = x_BTCHW[:, :, 2 * fold :]
    return out_NCHW


def _move(x_BTFHW: Tensor, out_BTFHW: Tensor, offset: int) -> None:
    """Frame t of `out` becomes frame t + offset of `x`, offset -1, 0 or 1; zeros where there is none."""
    if offset == 0:
        out_BTFHW.copy_(x_BTFHW)
    elif offset > 0:
        out_BTFHW[:, :-1] = x_BTFHW[:, 1:]
        out_BTFHW[:, -1] = 0
    else:
        out_BTFHW[:, 1:] = x_BTFHW[:, :-1]
        out_BTFHW[:, 0] = 0
