"""TV-L1 per pair on one core: vtk's kernel, its variants and its fast preset beside OpenCV's.

    python tests/bench/tvl1.py --repeats 5
    python tests/bench/tvl1.py --video clip.mp4 --frame 60 --short-side 256 --torch

The ways take turns, so that a machine that grows slower does so for all of them. The table gives medians of CPU seconds,
the ratio to OpenCV, and the mean distance to OpenCV's flow in pixels. Pairs: of --video, else the real ones of the
shared data, else made ones. Not a test: run it on a quiet machine.

--bound: nanoseconds per pixel and iteration of the kernel's inner loop, against the bound of arithmetic: what this core
reaches in the same minute on multiply-adds that need no memory (a product of matrices).

"""

import argparse
import os
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from vtk_cli.flow.tvl1 import FAST, FLOW, FastTvL1Config, TvL1Config
from vtk_cli.flow.tvl1_kernel import VARIANTS, KernelTvL1

Pair = tuple[NDArray[np.uint8], NDArray[np.uint8]]
Way = Callable[[NDArray[np.uint8], NDArray[np.uint8]], NDArray[np.float32]]


def opencv(previous: NDArray[np.uint8], following: NDArray[np.uint8]) -> NDArray[np.float32]:
    flow = cv2.optflow.DualTVL1OpticalFlow_create().calc(previous, following, None)
    return np.moveaxis(flow, 2, 0)


def ways(*, with_torch: bool) -> dict[str, Way]:
    """By name, OpenCV first; a variant that this processor does not run is left out."""
    from vtk_cli.errors import PluginError

    found: dict[str, Way] = {"opencv": opencv}
    for variant in VARIANTS:
        try:
            found[f"kernel {variant}"] = KernelTvL1(TvL1Config(), variant)
        except PluginError as error:
            print(error)
    found["tvl1_fast"] = FAST.build(FastTvL1Config())
    if with_torch:
        found["torch"] = FLOW.build(TvL1Config(engine="torch"))
    return found


def pairs_of(arguments: argparse.Namespace) -> dict[str, Pair]:
    if arguments.video:
        return {Path(arguments.video).name: pair_of_video(arguments.video, arguments.frame, arguments.short_side)}
    shared = Path(os.environ.get("VTK_SHARED", Path(__file__).resolve().parents[3] / "shared"))
    files = sorted((shared / "data/flow/tvl1_ref").glob("*.npz"))
    if files:
        loaded = {path.stem: np.load(path) for path in files}
        return {name: (pair["gray0"], pair["gray1"]) for name, pair in loaded.items()}
    noise = np.random.default_rng(0).normal(size=(256, 340)).astype(np.float32)
    picture = 128 + 60 * sum(cv2.GaussianBlur(noise, None, sigma) * sigma for sigma in (1.5, 4, 10))
    y, x = np.mgrid[0:256, 0:340].astype(np.float32)
    moved = cv2.remap(
        picture, x + 2 * np.sin(y / 40), y + np.cos(x / 30), cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT
    )
    before, after = (np.clip(np.rint(p), 0, 255).astype(np.uint8) for p in (picture, moved))
    return {"made": (before, after)}


def pair_of_video(path: str, frame: int, short_side: int) -> Pair:
    from vtk_cli.api.video import Cut
    from vtk_cli.flow.quantize import grey
    from vtk_cli.video.pyav import PyavDecoder

    pictures = PyavDecoder().read(Path(path), [frame, frame + 1], Cut(short_side=short_side))
    return grey(pictures[0]), grey(pictures[1])


def seconds(found: Mapping[str, Way], pair: Pair, repeats: int) -> dict[str, float]:
    """Median CPU seconds of each way; the quick ones run five times a round."""
    taken: dict[str, list[float]] = {name: [] for name in found}
    for _ in range(repeats):
        for name, way in found.items():
            for _ in range(1 if name in ("opencv", "torch") else 5):
                started = time.thread_time()
                way(*pair)
                taken[name].append(time.thread_time() - started)
    return {name: statistics.median(times) for name, times in taken.items()}


FLOPS = 65
"""Of one pixel in one iteration, counted in csrc/tvl1_kernels.c: 27 for the flow, 38 for its four duals; a fused
multiply-add counts two, a minimum, a square root and a reciprocal's estimate one."""


def bound(repeats: int) -> None:
    """Print the speed of iterations alone, 600 at full size and none that ends early, and of a matrix product."""
    iterations, (height, width) = 600, (256, 340)
    config = TvL1Config(scales=1, warps=1, median=1, epsilon=1e-9, inner_iterations=iterations, outer_iterations=1)
    pictures = np.random.default_rng(0).integers(0, 256, (2, height, width), dtype=np.uint8)
    square = np.random.default_rng(0).random((1024, 1024), dtype=np.float32)
    square @ square
    print(
        "\n| variant | ns per pixel and iteration | GFLOP/s | matrix product, GFLOP/s | share |\n|---|---|---|---|---|"
    )
    for variant in VARIANTS[:2]:
        solver = KernelTvL1(config, variant)
        ours, products = [], []
        for _ in range(repeats):
            started = time.process_time()
            solver(*pictures)
            ours.append((time.process_time() - started) / (iterations * height * width))
            started = time.process_time()
            square @ square
            products.append((time.process_time() - started) / (2 * 1024**3))
        ns, peak = 1e9 * statistics.median(ours), 1e-9 / statistics.median(products)
        print(f"| {variant} | {ns:.2f} | {FLOPS / ns:.1f} | {peak:.1f} | {FLOPS / ns / peak:.2f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--video")
    parser.add_argument("--frame", type=int, default=30)
    parser.add_argument("--short-side", type=int, default=256)
    parser.add_argument("--torch", action="store_true", help="also the torch engine, which is slow on a CPU")
    parser.add_argument("--bound", action="store_true", help="only the inner loop, against the bound of arithmetic")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    if arguments.bound:
        bound(arguments.repeats)
        return
    found = ways(with_torch=arguments.torch)
    for name, pair in pairs_of(arguments).items():
        height, width = pair[0].shape
        print(
            f"\n{name}, {width}x{height}\n\n| way | ms per pair | times OpenCV's speed | px from OpenCV |\n|---|---|---|---|"
        )
        expected = opencv(*pair)
        taken = seconds(found, pair, arguments.repeats)
        for way, time_taken in taken.items():
            distance = np.hypot(*(found[way](*pair) - expected)).mean()
            print(f"| {way} | {1e3 * time_taken:.1f} | {taken['opencv'] / time_taken:.1f} | {distance:.4f} |")


if __name__ == "__main__":
    main()
