"""A bidirectional LSTM with peepholes on padded sequences, which torch.nn.LSTM cannot hold.

    i = sigmoid(Wx + Uh + p_i * c)      f = sigmoid(Wx + Uh + p_f * c)      g = tanh(Wx + Uh)
    c' = f * c + i * g                  o = sigmoid(Wx + Uh + p_o * c')     h' = o * tanh(c')

Gers and Schmidhuber, 2000; PaddlePaddle fluid `dynamic_lstm`. Parameters have torch.nn.LSTM's names and order of gates
(i, f, g, o); peephole_l0 [3, H] holds p_i, p_f, p_o.

    B videos  F frames  E input size  H units  L LSTMs side by side  G = 4H
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

DIRECTIONS = ("_l0", "_l0_reverse")


class BidirectionalLSTM(nn.Module):
    """The parameters of both directions; `run_side_by_side` computes."""

    def __init__(self, in_features: int, hidden: int, *, peepholes: bool) -> None:
        super().__init__()
        self.hidden = hidden
        self.peepholes = peepholes
        shapes = {
            "weight_ih": (4 * hidden, in_features),
            "weight_hh": (4 * hidden, hidden),
            "bias_ih": (4 * hidden,),
            "bias_hh": (4 * hidden,),
        }
        for direction in DIRECTIONS:
            for name, shape in {**shapes, **({"peephole": (3, hidden)} if peepholes else {})}.items():
                self.register_parameter(f"{name}{direction}", nn.Parameter(torch.empty(shape)))
        self._initialise()

    def gates(self, x_FBE: Tensor, shut_FB1: Tensor) -> list[Tensor]:
        """What the input adds to the gates, gate_FBG of each direction, in the order in which that one reads.

        Where there is no frame the input gate is shut and the forget gate open. So the backward direction, which meets
        the padding first, comes to a video's last frame with its state still zero.
        """
        blocks = (-torch.inf, torch.inf, 0.0, 0.0)
        closed_G = torch.cat([x_FBE.new_full((self.hidden,), value) for value in blocks])
        found = []
        for direction in DIRECTIONS:
            bias_G = self.get_parameter(f"bias_ih{direction}") + self.get_parameter(f"bias_hh{direction}")
            gate_FBG = functional.linear(x_FBE, self.get_parameter(f"weight_ih{direction}"), bias_G)
            found.append(torch.where(shut_FB1, closed_G.to(gate_FBG.dtype), gate_FBG))
        return [found[0], found[1].flip(0)]

    def recurrent_weights(self) -> list[Tensor]:
        return [self.get_parameter(f"weight_hh{direction}") for direction in DIRECTIONS]

    def peephole_weights(self) -> list[Tensor]:
        return [self.get_parameter(f"peephole{direction}") for direction in DIRECTIONS] if self.peepholes else []

    def _initialise(self) -> None:
        """As fluid's `dynamic_lstm`: Xavier uniform, zeros; without peepholes as paddle.nn.LSTM: within 1/sqrt(H)."""
        for name, parameter in self.named_parameters():
            if not self.peepholes:
                nn.init.uniform_(parameter, -(self.hidden**-0.5), self.hidden**-0.5)
            elif name.startswith("weight"):
                nn.init.xavier_uniform_(parameter)
            else:
                nn.init.zeros_(parameter)


def run_side_by_side(lstms: Sequence[BidirectionalLSTM], inputs: Sequence[Tensor], mask_BF: Tensor) -> list[Tensor]:
    """The states of several LSTMs of one size, each on its own x_BFE: state_BF(2H), forward before backward.

    A step of the loop is one batched matrix product for all of them and both directions; the input's share is
    computed for all frames before. Real frames stand first in a row; states where there is none mean nothing.
    """
    shut_FB1 = ~mask_BF.t().unsqueeze(-1)
    gates = [
        gate_FBG
        for lstm, x_BFE in zip(lstms, inputs, strict=True)
        for gate_FBG in lstm.gates(x_BFE.transpose(0, 1), shut_FB1)
    ]
    weights = torch.stack([weight for lstm in lstms for weight in lstm.recurrent_weights()])
    peepholes = [weight for lstm in lstms for weight in lstm.peephole_weights()]
    state_FLBH: Tensor = Recurrence.apply(  # type: ignore[no-untyped-call]
        torch.stack(gates, dim=1), weights, torch.stack(peepholes) if peepholes else None
    )
    return [
        torch.cat((state_FLBH[:, 2 * place], state_FLBH[:, 2 * place + 1].flip(0)), dim=-1).transpose(0, 1)
        for place in range(len(lstms))
    ]


class Recurrence(torch.autograd.Function):
    """The loop over time, from zero states: gate_FLBG, weight_LGH, peephole_L3H (or None) -> state_FLBH.

    Its gradient is written out because the weights' is then one matrix product over all frames; left to autograd it is
    a sum of as many large matrices as there are frames. The cell is float32 or better, whatever autocast says.
    """

    @staticmethod
    def forward(ctx: Any, gate_FLBG: Tensor, weight_LGH: Tensor, peephole_L3H: Tensor | None) -> Tensor:
        dtype, shape = gate_FLBG.dtype, (*gate_FLBG.shape[1:3], weight_LGH.shape[2])
        weight_LHG = weight_LGH.to(dtype).transpose(1, 2)
        peep_i, peep_f, peep_o = _peepholes(peephole_L3H)
        cell = gate_FLBG.new_zeros(shape, dtype=torch.promote_types(dtype, torch.float32))
        state = gate_FLBG.new_zeros(shape)
        states, cells, gates = [], [], []
        keep = any(ctx.needs_input_grad)
        for gate_LBG in gate_FLBG.unbind(0):
            into, forget, candidate, out = torch.baddbmm(gate_LBG, state, weight_LHG).chunk(4, dim=-1)
            into, forget = (into + peep_i * cell).sigmoid(), (forget + peep_f * cell).sigmoid()
            candidate = candidate.tanh()
            cell = forget * cell + into * candidate
            out = (out + peep_o * cell).sigmoid()
            state = (out * cell.tanh()).to(dtype)
            states.append(state)
            if keep:
                cells.append(cell)
                gates.append((into, forget, candidate, out))
        state_FLBH = torch.stack(states)
        if keep:
            kept = [torch.stack(gate) for gate in zip(*gates, strict=True)]
            ctx.save_for_backward(weight_LGH, peephole_L3H, state_FLBH, torch.stack(cells), *kept)
        return state_FLBH

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        weight_LGH, peephole_L3H, state_FLBH, cell_FLBH, *gates = ctx.saved_tensors
        before_FLBH = functional.pad(cell_FLBH[:-1], (0, 0, 0, 0, 0, 0, 1, 0))
        steps = zip(grads[0], cell_FLBH, before_FLBH, *gates, strict=True)
        peep_i, peep_f, peep_o = _peepholes(peephole_L3H)
        dtype = state_FLBH.dtype
        weight = weight_LGH.to(dtype)
        d_cell, d_state = torch.zeros_like(cell_FLBH[0]), torch.zeros_like(state_FLBH[0])
        found = []
        for d_out_state, cell, before, into, forget, candidate, out in reversed(list(steps)):
            d_state = d_state + d_out_state
            squashed = cell.tanh()
            d_out = d_state * squashed * out * (1 - out)
            d_cell = d_cell + d_state * out * (1 - squashed.square()) + d_out * peep_o
            d_into = d_cell * candidate * into * (1 - into)
            d_forget = d_cell * before * forget * (1 - forget)
            d_candidate = d_cell * into * (1 - candidate.square())
            d_cell = d_cell * forget + d_into * peep_i + d_forget * peep_f
            found.append(torch.cat((d_into, d_forget, d_candidate, d_out), dim=-1).to(dtype))
            d_state = found[-1] @ weight
        d_gate_FLBG = torch.stack(found[::-1])
        d_weight_LGH = _over_frames(d_gate_FLBG[1:]).transpose(1, 2) @ _over_frames(state_FLBH[:-1])
        d_peephole = None
        if peephole_L3H is not None:
            d_into, d_forget, _, d_out = d_gate_FLBG.chunk(4, dim=-1)
            parts = (d_into * before_FLBH, d_forget * before_FLBH, d_out * cell_FLBH)
            d_peephole = torch.stack([part.sum((0, 2)) for part in parts], dim=1).to(peephole_L3H.dtype)
        return d_gate_FLBG, d_weight_LGH.to(weight_LGH.dtype), d_peephole


def _peepholes(peephole_L3H: Tensor | None) -> tuple[Tensor | float, ...]:
    """p_i, p_f and p_o as [L, 1, H]; zeros where there are none."""
    return (0.0, 0.0, 0.0) if peephole_L3H is None else peephole_L3H.unsqueeze(2).unbind(1)


def _over_frames(x_FLBC: Tensor) -> Tensor:
    """x_L(FB)C."""
    return x_FLBC.transpose(0, 1).flatten(1, 2)
