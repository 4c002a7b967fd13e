"""Temporal interlacing (Shao, Qian and Liu, AAAI 2020): channels move along time as far as a small network says.

The first F channels of a map fall into four groups, which move by b0, b1, -b0 and -b1 frames: one b0 and b1 per clip,
fractions allowed. Then every frame of them is weighted, by w0[t] in the first and third group, by w1[t] in the others.

    channels   0 .. F/4   F/4 .. F/2   F/2 .. 3F/4   3F/4 .. F   F .. C        group by    +0.5 frames:  y[t] =
    moved by   b0         b1           -b0           -b1         stay          x[t]/2 + x[t-1]/2, and x[-1] is 0

B clips  T frames  G groups  F channels that move  C channels  N = B x T, frames fastest. A move is a matrix of T x T,
the same for all pixels of a group, so that the moves of a map are a few thin matrix products and no gathering.
"""

from typing import Any, NamedTuple, Self, cast

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

GROUPS = 4

MOST_FRAMES = 4.0
"""Offsets are MOST_FRAMES * (sigmoid - 1/2): less than two frames either way, however many frames a clip has."""

FIRST_OFFSET = 0.5108
"""Initial bias of the offsets, logit(0.625): every clip starts with half a frame."""


class OffsetNet(nn.Module):
    """What the frames' means say of how far to move: mean_BFT -> offset_BP of P = 2 groups, in frames, in (-2, 2)."""

    def __init__(self, channels: int, num_segments: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(channels, 1, 3, padding=1)
        self.fc1 = nn.Linear(num_segments, num_segments)
        self.fc2 = nn.Linear(num_segments, GROUPS // 2)
        nn.init.constant_(self.fc2.bias, FIRST_OFFSET)

    def forward(self, mean_BFT: Tensor) -> Tensor:
        score_BP = self.fc2(functional.relu(self.fc1(self.conv(mean_BFT).squeeze(1))))
        # Under autocast the score comes in bfloat16; a fraction of a frame deserves the parameters' precision.
        offset_BP: Tensor = MOST_FRAMES * (score_BP.to(self.fc2.weight.dtype).sigmoid() - 0.5)
        return offset_BP


class WeightNet(nn.Module):
    """What the frames' means say of how much each counts: mean_BFT -> weight_BPT in (0, 2), about 1 to begin with."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(channels, GROUPS // 2, 3, padding=1)
        nn.init.zeros_(cast("Tensor", self.conv.bias))

    def forward(self, mean_BFT: Tensor) -> Tensor:
        weight_BPT: Tensor = 2 * self.conv(mean_BFT).to(self.conv.weight.dtype).sigmoid()
        return weight_BPT


class Moves(NamedTuple):
    """A map, and how its first `channels` channels move."""

    x_NCHW: Tensor
    matrix_BGTT: Tensor
    channels: int


class Interlace(nn.Module):
    """The operator: x_NCHW -> x_NCHW of clips of `num_segments` frames; the two networks are made for that many."""

    def __init__(self, in_channels: int, num_segments: int, shift_div: int) -> None:
        super().__init__()
        self.num_segments = num_segments
        self.channels = in_channels // shift_div
        self.offset = OffsetNet(self.channels, num_segments)
        self.weight = WeightNet(self.channels)

    def forward(self, x_NCHW: Tensor) -> Tensor:
        moves = self.moves(x_NCHW)
        return mix(moves.x_NCHW, moves.matrix_BGTT, self.channels)

    def moves(self, x_NCHW: Tensor) -> Moves:
        """What is to be done to a map, for an `InterlacedConv` to do."""
        x_NCHW, mean_NF = _mean(x_NCHW, self.channels)
        mean_BFT = mean_NF.view(-1, self.num_segments, self.channels).mT.to(self.offset.fc1.weight.dtype)
        offset_BP, weight_BPT = self.offset(mean_BFT), self.weight(mean_BFT)
        offset_BG, weight_BGT = torch.cat((offset_BP, -offset_BP), 1), torch.cat((weight_BPT, weight_BPT), 1)
        matrix_BGTT = move_matrix(offset_BG, self.num_segments) * weight_BGT.unsqueeze(-1)
        return Moves(x_NCHW, matrix_BGTT, self.channels)


class InterlacedConv(nn.Conv2d):
    """A convolution of a map, or of what becomes of a map by `Moves`: for 1x1 ones without a copy of what stays."""

    @classmethod
    def of(cls, conv: nn.Conv2d) -> Self:
        """One without bias, with the same weight; it draws no random numbers."""
        sides = cast("tuple[int, int]", conv.kernel_size), cast("tuple[int, int]", conv.stride)
        padding = cast("tuple[int, int]", conv.padding)
        interlaced = cls(conv.in_channels, conv.out_channels, *sides, padding, bias=False, device="meta")
        interlaced.weight = conv.weight
        return interlaced

    def forward(self, x: Tensor | Moves) -> Tensor:
        if isinstance(x, Tensor):
            return super().forward(x)
        if self.kernel_size != (1, 1) or self.stride != (1, 1) or torch.compiler.is_compiling():
            return super().forward(mix(*x))
        x_NCHW, weight, kind = x.x_NCHW, self.weight, x.x_NCHW.device.type
        if torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind):
            x_NCHW, weight = (tensor.to(torch.get_autocast_dtype(kind)) for tensor in (x_NCHW, weight))
        out_NCHW: Tensor = _MixedPointwise.apply(x_NCHW, x.matrix_BGTT.to(x_NCHW.dtype), weight, x.channels)  # type: ignore[no-untyped-call]
        return out_NCHW


def move_matrix(offset_BG: Tensor, num_segments: int) -> Tensor:
    """How much of frame s is in frame t after a move: matrix_BGTT of [t, s], the distance split between neighbours.

    A positive offset moves frames to later times; what comes from beyond the clip is 0. The gradient reaches an offset
    through its fraction only, as its whole part has none.

    >>> move_matrix(torch.tensor([[1.25]]), 4)[0, 0]
    tensor([[0.0000, 0.0000, 0.0000, 0.0000],
            [0.7500, 0.0000, 0.0000, 0.0000],
            [0.2500, 0.7500, 0.0000, 0.0000],
            [0.0000, 0.2500, 0.7500, 0.0000]])
    """
    offset_BG11 = offset_BG[..., None, None]
    whole_BG11 = offset_BG11.detach().floor()
    part_BG11 = offset_BG11 - whole_BG11
    frame_T = torch.arange(num_segments, dtype=offset_BG.dtype, device=offset_BG.device)
    past_BGTT = frame_T[:, None] - frame_T - whole_BG11
    return torch.where(past_BGTT == 0, 1 - part_BG11, torch.where(past_BGTT == 1, part_BG11, 0.0))


def mix(x_NCHW: Tensor, matrix_BGTT: Tensor, channels: int) -> Tensor:
    """Mix the frames of the first `channels` channels, in G equal groups, by a matrix each; the others stay."""
    matrix_BGTT = matrix_BGTT.to(x_NCHW.dtype)
    if torch.compiler.is_compiling():
        return _mix_plainly(x_NCHW, matrix_BGTT, channels)
    mixed_NCHW: Tensor = _Mix.apply(x_NCHW, matrix_BGTT, channels)  # type: ignore[no-untyped-call]
    return mixed_NCHW


def _mean(x_NCHW: Tensor, channels: int) -> tuple[Tensor, Tensor]:
    """The map, to be used from here on, and mean_NF of its first channels."""
    if torch.compiler.is_compiling():
        return x_NCHW, x_NCHW[:, :channels].mean((2, 3))
    x_NCHW, mean_NF = _Mean.apply(x_NCHW, channels)  # type: ignore[no-untyped-call]
    return x_NCHW, mean_NF


def _mix_plainly(x_NCHW: Tensor, matrix_BGTT: Tensor, channels: int) -> Tensor:
    """For the compiler, which draws the parts together itself, and for exported graphs."""
    groups, num_segments = matrix_BGTT.shape[1:3]
    x_BTGS = x_NCHW[:, :channels].reshape(-1, num_segments, groups, channels // groups * x_NCHW[0, 0].numel())
    mixed_BTGS = torch.matmul(matrix_BGTT, x_BTGS.transpose(1, 2)).transpose(1, 2)
    mixed_NFHW = mixed_BTGS.reshape(-1, channels, *x_NCHW.shape[2:])
    return torch.cat((mixed_NFHW, x_NCHW[:, channels:]), dim=1)


class _Mean(torch.autograd.Function):
    """The mean over the pixels of the first channels, beside the map itself.

    Autograd alone would make a map of zeros for the gradient of those channels and add it to the map's own. Here it is
    added in place: `_Mix` is the only one that uses the map that comes out, and its gradient is a new tensor.
    """

    @staticmethod
    def forward(ctx: Any, x_NCHW: Tensor, channels: int) -> tuple[Tensor, Tensor]:
        ctx.channels, ctx.pixels = channels, x_NCHW[0, 0].numel()
        return x_NCHW.view_as(x_NCHW), x_NCHW[:, :channels].mean((2, 3))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_NCHW: Tensor, grad_NF: Tensor) -> tuple[Tensor, None]:
        grad_NCHW[:, : ctx.channels] += (grad_NF / ctx.pixels)[..., None, None]
        return grad_NCHW, None


class _Mix(torch.autograd.Function):
    """`mix` with one pass over the map forward and one backward, in its own memory layout."""

    @staticmethod
    def forward(ctx: Any, x_NCHW: Tensor, matrix_BGTT: Tensor, channels: int) -> Tensor:
        ctx.format = _format(x_NCHW)
        ctx.sizes = channels, *matrix_BGTT.shape[1:3]
        x_NCHW = x_NCHW.contiguous(memory_format=ctx.format)
        x_GBTS = _grouped(x_NCHW, *ctx.sizes)
        ctx.save_for_backward(x_GBTS, matrix_BGTT)
        out_NCHW = torch.empty_like(x_NCHW)
        out_NCHW[:, channels:] = x_NCHW[:, channels:]
        _move(x_GBTS, matrix_BGTT, out_NCHW, channels)
        return out_NCHW

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_NCHW: Tensor) -> tuple[Tensor, Tensor, None]:
        x_GBTS, matrix_BGTT = ctx.saved_tensors
        grad_NCHW = grad_NCHW.contiguous(memory_format=ctx.format)
        grad_GBTS = _grouped(grad_NCHW, *ctx.sizes)
        channels = ctx.sizes[0]
        grad_x_NCHW = torch.empty_like(grad_NCHW)
        grad_x_NCHW[:, channels:] = grad_NCHW[:, channels:]
        _move(grad_GBTS, matrix_BGTT.mT, grad_x_NCHW, channels)
        return grad_x_NCHW, _grad_matrix(grad_GBTS, x_GBTS), None


class _MixedPointwise(torch.autograd.Function):
    """A 1x1 convolution of a mixed map: the product of the channels that move plus that of those that stay."""

    @staticmethod
    def forward(ctx: Any, x_NCHW: Tensor, matrix_BGTT: Tensor, weight_OC11: Tensor, channels: int) -> Tensor:
        ctx.format = _format(x_NCHW)
        ctx.sizes = channels, *matrix_BGTT.shape[1:3]
        x_NCHW = x_NCHW.contiguous(memory_format=ctx.format)
        x_GBTS = _grouped(x_NCHW, *ctx.sizes)
        moved_NFHW = torch.empty_like(x_NCHW[:, :channels], memory_format=ctx.format)
        _move(x_GBTS, matrix_BGTT, moved_NFHW, channels)
        ctx.save_for_backward(x_NCHW, x_GBTS, moved_NFHW, matrix_BGTT, weight_OC11)
        sizes = x_NCHW.shape[0], weight_OC11.shape[0], *x_NCHW.shape[2:]
        out_NOHW = torch.empty(sizes, dtype=x_NCHW.dtype, device=x_NCHW.device, memory_format=ctx.format)
        x_PCS, out_POS = _matrices(x_NCHW), _matrices(out_NOHW)
        weight_POC = weight_OC11.flatten(1).expand(len(x_PCS), -1, -1)
        torch.bmm(weight_POC[:, :, channels:], x_PCS[:, channels:], out=out_POS)
        torch.baddbmm(out_POS, weight_POC[:, :, :channels], _matrices(moved_NFHW), out=out_POS)
        return out_NOHW

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_NOHW: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        x_NCHW, x_GBTS, moved_NFHW, matrix_BGTT, weight_OC11 = ctx.saved_tensors
        channels = ctx.sizes[0]
        grad_POS = _matrices(grad_NOHW.contiguous(memory_format=ctx.format))
        weight_PCO = weight_OC11.flatten(1).t().expand(len(grad_POS), -1, -1)
        grad_x_NCHW, grad_moved_NFHW = torch.empty_like(x_NCHW), torch.empty_like(moved_NFHW)
        torch.bmm(weight_PCO[:, channels:], grad_POS, out=_matrices(grad_x_NCHW)[:, channels:])
        torch.bmm(weight_PCO[:, :channels], grad_POS, out=_matrices(grad_moved_NFHW))
        grad_GBTS = _grouped(grad_moved_NFHW, *ctx.sizes)
        _move(grad_GBTS, matrix_BGTT.mT, grad_x_NCHW, channels)
        parts = (_matrices(moved_NFHW), _matrices(x_NCHW)[:, channels:])
        grad_weight_OC = torch.cat([_summed_products(grad_POS, part_PKS) for part_PKS in parts], 1)
        return grad_x_NCHW, _grad_matrix(grad_GBTS, x_GBTS), grad_weight_OC.view_as(weight_OC11), None


def _channels_last(x_NCHW: Tensor) -> bool:
    return x_NCHW.is_contiguous(memory_format=torch.channels_last) and not x_NCHW.is_contiguous()


def _format(x_NCHW: Tensor) -> torch.memory_format:
    return torch.channels_last if _channels_last(x_NCHW) else torch.contiguous_format


def _matrices(x_NCHW: Tensor) -> Tensor:
    """A view as P matrices of channels by pixels: one for each frame in NCHW, one for all in NHWC."""
    if _channels_last(x_NCHW):
        return x_NCHW.permute(1, 0, 2, 3).flatten(1).unsqueeze(0)
    return x_NCHW.view(*x_NCHW.shape[:2], -1)


def _summed_products(grad_POS: Tensor, x_PKS: Tensor) -> Tensor:
    """The gradient of a weight, over all frames, without a product for each of them in memory."""
    out_OK = grad_POS.new_empty(grad_POS.shape[1], x_PKS.shape[1])
    return torch.addbmm(out_OK, grad_POS, x_PKS.mT, beta=0)


def _move(x_GBTS: Tensor, matrix_BGTT: Tensor, out_NCHW: Tensor, channels: int) -> None:
    """Write the products of the matrices and `x_GBTS` to the first channels of `out_NCHW`."""
    groups, num_segments = matrix_BGTT.shape[1:3]
    if _channels_last(out_NCHW):
        out_GBTSF = _by_pixel(out_NCHW, channels, groups, num_segments)
        out_GBTSF.copy_(torch.matmul(matrix_BGTT.transpose(0, 1), x_GBTS).view(out_GBTSF.shape))
    else:
        out_GBTS = _grouped(out_NCHW, channels, groups, num_segments)
        for group in range(groups):
            torch.bmm(matrix_BGTT[:, group], x_GBTS[group], out=out_GBTS[group])


def _grad_matrix(grad_GBTS: Tensor, x_GBTS: Tensor) -> Tensor:
    pairs = zip(grad_GBTS, x_GBTS, strict=True)
    return torch.stack([torch.bmm(grad_BTS, x_BTS.mT) for grad_BTS, x_BTS in pairs], 1)


def _grouped(x_NCHW: Tensor, channels: int, groups: int, num_segments: int) -> Tensor:
    """The channels that move as matrices of T x S, S the values of one group in one frame.

    A view in NCHW. In NHWC they are packed, pixel by pixel, as no product takes runs of a few channels.
    """
    if _channels_last(x_NCHW):
        return _by_pixel(x_NCHW, channels, groups, num_segments).flatten(3)
    return (
        x_NCHW[:, :channels]
        .view(-1, num_segments, groups, channels // groups * x_NCHW[0, 0].numel())
        .permute(2, 0, 1, 3)
    )


def _by_pixel(x_NCHW: Tensor, channels: int, groups: int, num_segments: int) -> Tensor:
    """A view of the channels that move as x_GBTSF, S pixels and F channels of a group."""
    x_NHWC = x_NCHW.permute(0, 2, 3, 1)
    pixels = x_NHWC.shape[1] * x_NHWC.shape[2]
    x_BTSGF = x_NHWC[..., :channels].view(-1, num_segments, pixels, groups, channels // groups)
    return x_BTSGF.permute(3, 0, 1, 2, 4)
