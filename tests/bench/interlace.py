"""What interlacing adds to a plain ResNet's step: `python tests/bench/interlace.py [--repeats 7] [--threads 1]`.

Plain and interlaced steps take turns, so that a busy machine slows both. Told are the fastest and the median step of
each, in processor seconds, and the ratio of both; on a busy machine the fastest says more. Both networks are TINs with the same weights; the plain one's blocks are called without `mix`. The offset
and weight networks count as part of interlacing.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from vtk_models.tin import TIN, TINConfig


class Plain(nn.Module):
    """The same ResNet, whose blocks see their input as it is."""

    def __init__(self, tin: TIN) -> None:
        super().__init__()
        self.tin = tin

    def forward(self, clip_BTNCHW: Tensor) -> Tensor:
        feature_ND: Tensor = self.tin.trunk(clip_BTNCHW.flatten(0, 2))
        logits_BTK: Tensor = self.tin.fc(feature_ND).unflatten(0, (-1, self.tin.segments))
        return logits_BTK.mean(1)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--side", type=int, default=224)
    parser.add_argument("--formats", nargs="+", default=["contiguous_format", "channels_last"])
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    clip = torch.randn(1, 8, 1, 3, options.side, options.side)
    print(f"ResNet-50, 8 x {options.side}, {options.threads} threads, {options.repeats} repeats; processor seconds")
    for memory_format in options.formats:
        tin = TIN(TINConfig(dropout=0.0), 174).to(memory_format=getattr(torch, memory_format))  # type: ignore[call-overload]
        for what, step in (("inference", infer), ("training", train)):
            plain, interlaced = compare(step, Plain(tin), tin, clip, options.repeats)
            for name, of in (("fastest", min), ("median", statistics.median)):
                a, b = of(plain), of(interlaced)
                print(
                    f"{memory_format:18s}{what:10s}{name:8s} plain {a:6.3f}  tin {b:6.3f}  ratio {b / a:.3f}",
                    flush=True,
                )


def compare(
    step: Callable[[nn.Module, Tensor], None], plain: nn.Module, tin: nn.Module, clip: Tensor, repeats: int
) -> tuple[list[float], list[float]]:
    """Seconds of the steps of both; the first round warms up and the order turns each time."""
    seconds: tuple[list[float], list[float]] = ([], [])
    for repeat in range(repeats + 1):
        for which in (0, 1) if repeat % 2 else (1, 0):
            start = time.process_time()
            step((plain, tin)[which], clip)
            seconds[which].append(time.process_time() - start)
    return seconds[0][1:], seconds[1][1:]


def infer(model: nn.Module, clip: Tensor) -> None:
    model.eval()
    with torch.no_grad():
        model(clip)


def train(model: nn.Module, clip: Tensor) -> None:
    model.train()
    model.zero_grad()
    torch.autograd.backward(model(clip).square().sum())


if __name__ == "__main__":
    main()
