"""How much of extraction is work: time inside decode, flow, encode and store beside wall time x workers.

    python tests/bench/extract_overhead.py --methods frames,tvl1 --clips 24 --frames 120
    python tests/bench/extract_overhead.py --videos FOLDER --repeats 3

Real extractions by `vtk_cli.extract.run`, in turns: frames alone, then with each flow method. The workers' kernels are
wrapped by clocks (a sitecustomize.py on their PYTHONPATH). What is not kernel time is start-up (to the first clip),
idling at the end (from a worker's last clip to the end of the run), and the rest: Python between the kernels, pipes,
checks. Start-up and idling do not grow with the number of clips; the last column is the share without them.
"""

import argparse
import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import av
import numpy as np

from vtk_cli.api.datasets import VideoRow
from vtk_cli.catalog import Catalog
from vtk_cli.extract.plan import Request
from vtk_cli.extract.run import extract
from vtk_cli.workspace import DatasetDir, Workspace

KERNELS = ("decode", "flow", "encode", "store")
CLOCKS = '''
import json, os, sys, time

if "--multiprocessing-fork" in sys.argv:
    from vtk_cli.extract import clip, worker
    from vtk_cli.video import convert

    spent = dict.fromkeys(("decode", "flow", "encode", "store"), 0.0)
    moments, running = {}, []

    def timed(kernel, function):
        """Adds up the time in a function; a kernel called by another is taken from that one."""
        def call(*arguments, **options):
            running.append(0.0)
            begun = time.perf_counter()
            try:
                return function(*arguments, **options)
            finally:
                whole = time.perf_counter() - begun
                spent[kernel] += whole - running.pop()
                if running:
                    running[-1] += whole
        return call

    def timed_pictures(*arguments):
        pictures = iter(timed("decode", decode)(*arguments))
        following = timed("decode", lambda: next(pictures, None))
        while (picture := following()) is not None:
            yield picture

    def do(self, task):
        moments.setdefault("first", time.time())
        original(self, task)
        moments["last"] = time.time()
        with open(os.environ["VTK_CLOCKS"] + f"/{os.getpid()}.json", "w") as file:
            json.dump({**spent, **moments}, file)

    for name in ("rgb", "planes"):
        setattr(convert.LazyPicture, name, timed("decode", getattr(convert.LazyPicture, name)))
    decode, clip.pictures = clip.pictures, timed_pictures
    for name in ("encode_picture", "encode_flow", "quantize"):
        setattr(clip, name, timed("encode", getattr(clip, name)))
    clip.grey = timed("flow", clip.grey)
    worker.Motion.many = timed("flow", worker.Motion.many)
    for name in ("__init__", "put", "commit", "close"):
        setattr(worker.ShardWriter, name, timed("store", getattr(worker.ShardWriter, name)))
    original, worker._Worker.do = worker._Worker.do, do
'''


def measure(dataset: DatasetDir, folder: Path, method: str, workers: int) -> dict[str, float]:
    """Seconds of all workers together: each kernel, start-up, idling, and wall x workers."""
    for store in dataset.path.glob("*-256"):
        shutil.rmtree(store)
    clocks = Path(tempfile.mkdtemp(dir=folder))
    os.environ["VTK_CLOCKS"] = str(clocks)
    begun = time.time()
    summary = extract(dataset, Request(flow="" if method == "frames" else method, workers=workers))
    ended = time.time()
    if summary.failed:
        sys.exit(f"{summary.failed[0].id}: {summary.failed[0].cause}")
    found: dict[str, float] = defaultdict(float)
    for file in clocks.iterdir():
        one = json.loads(file.read_text())
        for kernel in KERNELS:
            found[kernel] += one[kernel]
        found["start"] += one["first"] - begun
        found["end"] += ended - one["last"]
    return {**found, "wall": (ended - begun) * workers, "frames": float(summary.decoded)}


def make_dataset(root: Path, videos: list[Path]) -> DatasetDir:
    workspace = Workspace(root)
    dataset = workspace.new_dataset("bench")
    rows = [VideoRow(id=f"{n:04}-{path.stem}", path=str(path), labels=(0,), splits=()) for n, path in enumerate(videos)]
    with Catalog.create(dataset.catalog, ("a",), rows, {"dataset": "bench"}) as catalog:
        catalog.set_status([(row.id, "ready", "") for row in rows])
    return dataset


def make_clip(path: Path, frames: int) -> None:
    """A 340x256 H.264 clip of blurred noise that moves, with the detail of a real one."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (80, 120, 3), dtype=np.uint8).repeat(8, 0).repeat(8, 1).astype(np.float32)
    smooth = sum(np.roll(coarse, (dy, dx), (0, 1)) for dy in range(5) for dx in range(5)) / 25
    grain = rng.normal(0, 6, smooth.shape)
    scene = np.clip(smooth + grain, 0, 255).astype(np.uint8)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=30)
        stream.width, stream.height, stream.pix_fmt = 340, 256, "yuv420p"
        for number in range(frames):
            y, x = 2 * number % 300, 3 * number % 500
            picture = np.ascontiguousarray(scene[y : y + 256, x : x + 340])
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())


def report(methods: list[str], rounds: dict[str, list[dict[str, float]]]) -> None:
    columns = (*KERNELS, "start", "end", "rest")
    print("% of wall time x workers, medians")
    print(
        f"{'':12}{'frames':>8}{'ms/frame':>10}" + "".join(f"{c:>8}" for c in columns) + f"{'kernels':>9}{'steady':>8}"
    )
    for method in methods:
        rows = []
        for found in rounds[method]:
            kernels = sum(found[kernel] for kernel in KERNELS)
            rest = found["wall"] - kernels - found["start"] - found["end"]
            shares = [100 * found.get(column, rest) / found["wall"] for column in columns]
            steady = 100 * kernels / (kernels + rest)
            cost = 1000 * found["wall"] / found["frames"]
            rows.append([found["frames"], cost, *shares, 100 * kernels / found["wall"], steady])
        frames, cost, *shares = (statistics.median(column) for column in zip(*rows, strict=True))
        print(f"{method:12}{frames:8.0f}{cost:10.2f}" + "".join(f"{share:8.1f}" for share in shares))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", default="frames,dis,farneback,tvl1", help="frames, and flow methods beside them")
    parser.add_argument("--videos", type=Path, help="folder of clips, instead of made ones")
    parser.add_argument("--clips", type=int, default=32)
    parser.add_argument("--frames", type=int, default=120, help="of a made clip")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    methods = options.methods.split(",")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "sitecustomize.py").write_text(CLOCKS)
        os.environ["PYTHONPATH"] = os.pathsep.join([name, os.environ.get("PYTHONPATH", "")])
        made = folder / "clip.mp4"
        if options.videos is None:
            make_clip(made, options.frames)
        videos = sorted(options.videos.iterdir()) if options.videos else [made]
        dataset = make_dataset(folder / "root", [videos[n % len(videos)] for n in range(options.clips)])
        rounds: dict[str, list[dict[str, float]]] = defaultdict(list)
        for _ in range(options.repeats):
            for method in methods:
                rounds[method].append(measure(dataset, folder, method, options.workers))
        report(methods, rounds)


if __name__ == "__main__":
    main()
