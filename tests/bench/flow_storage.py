"""What flow costs on the disk and loses there: JPEG of several qualities, and PNG, which keeps the bytes as they are.

    python tests/bench/flow_storage.py CLIP... --flow tvl1 --pairs 3

Flow of real clips at short side 256, bound 20. End-point errors are against the flow before it was stored: clipping and
rounding to 8 bits are in all of them. Times are CPU time, the codecs in turn, medians; a pair is 2 x 340 x 256 bytes before it is
encoded.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vtk_cli import registry
from vtk_cli.api.stores import FlowCodec
from vtk_cli.api.video import Cut, DecodeReport, DecoderSpec
from vtk_cli.extract.plan import flow_config, flow_spec
from vtk_cli.flow.quantize import BOUND, decode_flow, dequantize, encode_flow, grey, quantize

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))
from real_clips import real_clips

WAYS: dict[str, tuple[FlowCodec, int]] = {
    **{f"JPEG {quality}": ("jpeg", quality) for quality in (75, 85, 90, 95, 100)},
    "PNG": ("png", 0),
}
EVERY = 12
"""Pairs are so many frames apart, from the fifth on."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", nargs="*", type=Path)
    parser.add_argument("--flow", default="tvl1")
    parser.add_argument("--pairs", type=int, default=3, help="of each clip")
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    args.clips = args.clips or real_clips()
    method = flow_spec(args.flow).build(flow_config(args.flow, ())[0])
    flows = [method(*pair) for clip in args.clips for pair in _pairs(clip, args.pairs)]
    print(f"{len(flows)} pairs of {len(args.clips)} clips, {args.flow}, bound {BOUND:g}\n")
    print("| stored as | bytes per pair | error, mean | 95th percentile | encode | decode |")
    print("|---|---|---|---|---|---|")
    exact = [dequantize(quantize(flow)) for flow in flows]
    print(f"| 8 bits alone | {flows[0].size} | {_errors(flows, exact)} | | |")
    encoded = {
        name: [encode_flow(quantize(f), quality, codec) for f in flows] for name, (codec, quality) in WAYS.items()
    }
    taken = _seconds(flows, encoded, args.repeats)
    for name, data in encoded.items():
        back = [dequantize(decode_flow(pair)) for pair in data]
        size = statistics.mean(map(len, data))
        encode, decode = (f"{1e3 * statistics.median(times):.1f} ms" for times in taken[name])
        print(f"| {name} | {size:.0f} | {_errors(flows, back)} | {encode} | {decode} |")


def _pairs(clip: Path, count: int) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.uint8]]]:
    spec = registry.load("vtk.decoders", "pyav")
    assert isinstance(spec, DecoderSpec)
    decoded = spec.build().frames(clip, Cut(short_side=256), DecodeReport())
    pictures = [grey(picture) for picture in islice(decoded, 4, 6 + EVERY * (count - 1))]
    for first in range(0, len(pictures) - 1, EVERY):
        yield pictures[first], pictures[first + 1]


def _errors(flows: list[NDArray[np.float32]], back: list[NDArray[np.float32]]) -> str:
    """Mean and 95th percentile over all pixels of all pairs."""
    errors = np.concatenate([np.hypot(*(one - other)).ravel() for one, other in zip(flows, back, strict=True)])
    return f"{errors.mean():.3f} px | {np.percentile(errors, 95):.3f} px"


def _seconds(
    flows: list[NDArray[np.float32]], encoded: dict[str, list[bytes]], repeats: int
) -> dict[str, tuple[list[float], list[float]]]:
    """CPU time of encoding and decoding a pair, each way in turn; the first round warms up and does not count."""
    planes = [quantize(flow) for flow in flows]
    taken: dict[str, tuple[list[float], list[float]]] = {name: ([], []) for name in WAYS}
    for round_ in range(repeats + 1):
        for name, (codec, quality) in WAYS.items():
            for plane, data in zip(planes, encoded[name], strict=True):
                started = time.process_time()
                encode_flow(plane, quality, codec)
                between = time.process_time()
                decode_flow(data)
                if round_:
                    taken[name][0].append(between - started)
                    taken[name][1].append(time.process_time() - between)
    return taken


if __name__ == "__main__":
    main()
