"""TV-L1 in torch: pairs per second by batch, as it stands and compiled; on the CPU beside OpenCV's.

    python tests/bench/tvl1_torch.py --repeats 5
    python tests/bench/tvl1_torch.py --device cuda --pairs 512 --batches 16,64,256 --compiled

The ways take turns, so that a machine that grows slower does so for all of them; the table gives medians of the time
that passes. Pairs are the real ones of the shared data of one size, as they are, mirrored and backwards, so that they
need different numbers of iterations; where there is no such data, made ones. On a GPU the time holds the way of the
pictures there and of the flow back. Not a test: run it on a quiet machine.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from tvl1 import opencv, pairs_of  # beside this file

from vtk_cli.flow.tvl1 import TvL1Config
from vtk_cli.flow.tvl1_torch import TorchTvL1

Way = Callable[[NDArray[np.uint8]], NDArray[np.float32]]


def pictures(options: argparse.Namespace) -> NDArray[np.uint8]:
    """2NHW: `--pairs` of them, going round."""
    found = list(pairs_of(argparse.Namespace(video=None)).values())
    size = found[-1][0].shape
    pairs = [np.stack(pair) for pair in found if pair[0].shape == size]
    pairs += [pair[::-1] for pair in pairs]
    pairs += [pair[:, :, ::-1] for pair in pairs]
    pairs += [pair[:, ::-1] for pair in pairs]
    return np.stack([pairs[number % len(pairs)] for number in range(options.pairs)], axis=1)


def one_by_one(pictures_2NHW: NDArray[np.uint8]) -> NDArray[np.float32]:
    return np.stack([opencv(*pair) for pair in pictures_2NHW.transpose(1, 0, 2, 3)])


def ways(options: argparse.Namespace) -> dict[str, Way]:
    """By name; the first is what the others are compared with."""
    found: dict[str, Way] = {"opencv": one_by_one} if options.device == "cpu" else {}
    for compiled in (False, True) if options.compiled else (False,):
        for batch in [int(text) for text in options.batches.split(",")] if options.device != "cpu" else [1]:
            started = time.perf_counter()
            engine = TorchTvL1(TvL1Config(), options.device, batch, compiled=compiled)
            name = f"{'compiled' if compiled else 'as it stands'}, batch {batch}"
            print(f"{name}: ready after {time.perf_counter() - started:.1f} s")
            found[name] = lambda pictures_2NHW, engine=engine: engine.many(*pictures_2NHW)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--pairs", type=int, default=2)
    parser.add_argument("--batches", default="1,16,64", help="on a GPU")
    parser.add_argument("--compiled", action="store_true", help="also compiled: minutes of compiling on a CPU")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    cv2.setNumThreads(options.threads)
    pictures_2NHW, found = pictures(options), ways(options)
    flows = {name: way(pictures_2NHW) for name, way in found.items()}  # warms up as well
    taken: dict[str, list[float]] = {name: [] for name in found}
    for _ in range(options.repeats):
        for name, way in found.items():
            started = time.perf_counter()
            way(pictures_2NHW)
            taken[name].append((time.perf_counter() - started) / options.pairs)
    _, count, height, width = pictures_2NHW.shape
    first = next(iter(found))
    print(f"\n{count} pairs of {width}x{height} on {options.device}; distance and ratio to: {first}\n")
    print("| way | ms per pair | pairs/s | ratio | mean distance, px |\n|---|---|---|---|---|")
    for name, times in taken.items():
        each, ratio = statistics.median(times), statistics.median(taken[first]) / statistics.median(times)
        distance = np.linalg.norm(flows[name] - flows[first], axis=1).mean()
        print(f"| {name} | {1000 * each:.2f} | {1 / each:.2f} | {ratio:.2f} | {distance:.5f} |")


if __name__ == "__main__":
    main()
