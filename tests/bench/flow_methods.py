"""Every flow method: CPU time per pair on one core, and error against known flow.

    python tests/bench/flow_methods.py --repeats 3
    python tests/bench/flow_methods.py --methods tvl1 raft --set raft.weights=raft_large.safetensors

Time is the median over the real pairs of the shared data (two of 320x240, one of 340x256), the methods taking turns.
Errors are mean end-point errors in pixels on the pairs with ground truth there (FlyingChairs 512x384), as computed and
after storage as JPEG 95 with bound 20. Not a test: run it on a quiet machine.
"""

import argparse
import os
import statistics
import sys
import time
from pathlib import Path

import numpy as np

from vtk_cli import registry
from vtk_cli.config import resolve
from vtk_cli.flow.quantize import decode_flow, dequantize, encode_flow, quantize

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))
from flow_pairs import REFERENCES, endpoint_error, grey_png, read_flo, reference

KNOWN = ("chairs_1", "chairs_3")


def build(name: str, settings: list[str]):
    spec = registry.load("vtk.flow", name)
    own = [f"flow.{text.removeprefix(f'{name}.')}" for text in settings if text.startswith(f"{name}.")]
    return spec.build(resolve({"flow": spec.config()}, assignments=own)["flow"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", nargs="+", default=["tvl1", "tvl1_fast", "dis", "farneback"])
    parser.add_argument("--set", action="append", default=[], metavar="METHOD.KEY=VALUE")
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    shared = Path(os.environ.get("VTK_SHARED", Path(__file__).resolve().parents[3] / "shared"))
    methods = {name: build(name, arguments.set) for name in arguments.methods}
    pairs = [reference(shared, name)[:2] for name in REFERENCES]
    taken: dict[str, list[list[float]]] = {name: [[] for _ in pairs] for name in methods}
    for _ in range(arguments.repeats):
        for number, pair in enumerate(pairs):
            for name, method in methods.items():
                started = time.process_time()
                method(*pair)
                taken[name][number].append(time.process_time() - started)
    folder = shared / "data" / "flow"
    known = {pair: [grey_png(folder / f"{pair}_img{n}.png") for n in (0, 1)] for pair in KNOWN}
    truth = {pair: read_flo(folder / f"{pair}_gt.flo") for pair in KNOWN}
    print(f"| method | ms per pair | {' | '.join(f'{pair}, px (stored)' for pair in KNOWN)} |")
    print(f"|---|---|{'---|' * len(KNOWN)}")
    for name, method in methods.items():
        cells = []
        for pair in KNOWN:
            flow_2HW = method(*known[pair])
            stored_2HW = dequantize(decode_flow(encode_flow(quantize(flow_2HW), 95)))
            errors = endpoint_error(flow_2HW, truth[pair]), endpoint_error(stored_2HW, truth[pair])
            cells.append(f"{errors[0]:.2f} ({errors[1]:.2f})")
        ms = 1000 * np.mean([statistics.median(times) for times in taken[name]])
        print(f"| `{name}` | {ms:.0f} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
