"""What the temporal shift costs a ResNet-50 of 8 frames, beside other ways to write it.

    python tests/bench/shift.py --threads 1 --repeats 15 --memory channels_last

The ways take turns, so that a machine that grows slower does so for all of them; the table gives medians and the ratio
to the network without shifts. Not a test: run it on a quiet machine.

    plain     no shift                        mit    zeros_like and three copies, as MIT's code
    ours      vtk_models.shift                cat    slices put together with torch.cat
"""

import argparse
import statistics
import time
from collections.abc import Callable, Mapping
from functools import partial

import torch
from torch import Tensor

from vtk_models.shift import temporal_shift
from vtk_models.trunks.resnet import Mix, ResNet


def mit(x_NCHW: Tensor, num_segments: int, div: int = 8) -> Tensor:
    """The formula of temporal-shift-module's README."""
    x = x_NCHW.view(-1, num_segments, *x_NCHW.shape[1:])
    fold = x.shape[2] // div
    out = torch.zeros_like(x)
    out[:, :-1, :fold] = x[:, 1:, :fold]
    out[:, 1:, fold : 2 * fold] = x[:, :-1, fold : 2 * fold]
    out[:, :, 2 * fold :] = x[:, :, 2 * fold :]
    return out.view(x_NCHW.shape)


def cat(x_NCHW: Tensor, num_segments: int, div: int = 8) -> Tensor:
    """Slices and zeros put together."""
    x = x_NCHW.view(-1, num_segments, *x_NCHW.shape[1:])
    fold = x.shape[2] // div
    blank = x.new_zeros(x.shape[0], 1, fold, *x.shape[3:])
    first = torch.cat((x[:, 1:, :fold], blank), 1)
    second = torch.cat((blank, x[:, :-1, fold : 2 * fold]), 1)
    return torch.cat((first, second, x[:, :, 2 * fold :]), 2).view(x_NCHW.shape)


def run(trunk: ResNet, x: Tensor, mix: Mix | None) -> Tensor:
    x = trunk.stem(x)
    for stage in trunk.stages:
        for block in stage:
            x = block(x, mix)
    return trunk.pool(x)


def seconds(ways: Mapping[str, Callable[[], object]], repeats: int, device: str) -> dict[str, float]:
    """Median of each way; the first round warms up and does not count."""
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for round_ in range(repeats + 1):
        for name, way in ways.items():
            started = time.perf_counter()
            way()
            if device != "cpu":
                torch.cuda.synchronize()
            if round_:
                taken[name].append(time.perf_counter() - started)
    return {name: statistics.median(times) for name, times in taken.items()}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--depth", type=int, default=50)
    parser.add_argument("--frames", type=int, default=8)
    parser.add_argument("--videos", type=int, default=1)
    parser.add_argument("--crop", type=int, default=224)
    parser.add_argument("--repeats", type=int, default=11)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--memory", choices=("contiguous", "channels_last"), default="contiguous")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--compile", action="store_true", help="compile each way as one graph")
    return parser.parse_args()


def measure(options: argparse.Namespace, mixes: dict[str, Mix | None]) -> list[dict[str, float]]:
    """Seconds of inference and of a training step, by the way to shift."""
    memory = torch.channels_last if options.memory == "channels_last" else torch.contiguous_format
    trunk = ResNet(options.depth).to(options.device, memory_format=memory)
    clip = torch.randn(options.videos * options.frames, 3, options.crop, options.crop, device=options.device)
    clip = clip.contiguous(memory_format=memory)
    forward = torch.compile(run, fullgraph=True) if options.compile else run

    def step(mix: Mix | None) -> None:
        trunk.zero_grad(set_to_none=True)
        forward(trunk, clip, mix).sum().backward()

    trunk.eval()
    with torch.no_grad():
        ways = {name: partial(forward, trunk, clip, mix) for name, mix in mixes.items()}
        inference = seconds(ways, options.repeats, options.device)
    trunk.train()
    steps = {name: partial(step, mix) for name, mix in mixes.items()}
    return [inference, seconds(steps, options.repeats, options.device)]


def main() -> None:
    options = arguments()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    mixes: dict[str, Mix | None] = {
        "plain": None,
        "ours": partial(temporal_shift, num_segments=options.frames),
        "mit": partial(mit, num_segments=options.frames),
        "cat": partial(cat, num_segments=options.frames),
    }
    measured = measure(options, mixes)
    print(f"{'':8}{'inference ms':>14}{'ratio':>8}{'training ms':>14}{'ratio':>8}")
    for name in mixes:
        row = [(taken[name] * 1000, taken[name] / taken["plain"]) for taken in measured]
        print(f"{name:8}" + "".join(f"{milliseconds:14.1f}{ratio:8.3f}" for milliseconds, ratio in row))


if __name__ == "__main__":
    main()
