"""What is left of a generated camera motion in warped flow, and what the compensation costs.

    python tests/bench/warped.py CLIP... --flow tvl1

Each clip gives one frame, of which pairs are made as a panning, turning, zooming or tilting camera would see it; the
table shows the mean and the 95th percentile of the warped flow's length, 20 px from the border, averaged over the clips
and of the worst clip; then the same with an object of a fifth of the picture that moves by itself, and how far the
median of its warped flow is from its own motion.
"""

import argparse
import statistics
import sys
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))
import pans
from real_clips import real_clips

from vtk_cli.extract.plan import flow_config, flow_spec
from vtk_cli.flow.motion import Motion
from vtk_cli.flow.warp import Camera, WarpConfig

OBJECT = (120, 150)
"""Width and height of what is pasted in."""
OWN_MOTION = (4, -3)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", nargs="*", type=Path)
    parser.add_argument("--flow", default="tvl1")
    args = parser.parse_args()
    args.clips = args.clips or real_clips()
    method = flow_spec(args.flow).build(flow_config(args.flow, ())[0])
    motion = Motion(method, WarpConfig())
    frames = [pans.frame_of(clip) for clip in args.clips]
    print("| camera | flow, mean | warped, mean (p95) | worst clip | with an object | its motion is off by |")
    print("|---|---|---|---|---|---|")
    for name, homography in pans.MOTIONS.items():
        rows = [_measure(motion, frame, homography) for frame in frames]
        plain, mean, upper, beside, off = (statistics.mean(column) for column in zip(*rows, strict=True))
        worst = max(row[1] for row in rows)
        print(
            f"| {name} | {plain:.2f} | {mean:.3f} ({upper:.3f}) | {worst:.3f} | {beside:.3f} | {off:.2f} |", flush=True
        )
    _cost(method, frames)


def _measure(motion: Motion, frame: NDArray[np.uint8], homography: NDArray[np.float64]) -> tuple[float, ...]:
    """Residuals in pixels: of the plain flow, of warped flow (mean, 95th percentile), beside an object, of the object."""
    before, after = pans.pair_of(frame, homography)
    flow_K2HW = motion(before, after)
    plain, _ = pans.residual(flow_K2HW[0], pans.inner())
    mean, upper = pans.residual(flow_K2HW[1], pans.inner())
    width, height = OBJECT
    place = (60, 60)
    # What the camera does to the object's place, plus its own motion.
    centre = homography @ [place[0] + width / 2, place[1] + height / 2, 1]
    carried = np.rint(centre[:2] / centre[2] - [place[0] + width / 2, place[1] + height / 2]).astype(int)
    moved = (int(carried[0]) + OWN_MOTION[0], int(carried[1]) + OWN_MOTION[1])
    thing = np.ascontiguousarray(frame[:height, :width][::-1, ::-1])
    background = pans.paste((before, after), thing, place, moved)
    warped_2HW = motion(before, after)[1]
    beside, _ = pans.residual(warped_2HW, background & pans.inner())
    # The still camera sees the object where the homography's inverse takes it.
    seen = np.linalg.inv(homography) @ [*(np.array([place[0] + width / 2, place[1] + height / 2]) + moved), 1]
    own = seen[:2] / seen[2] - [place[0] + width / 2, place[1] + height / 2]
    found = np.median(warped_2HW[:, place[1] + 40 : place[1] + 110, place[0] + 30 : place[0] + 90], axis=(1, 2))
    return plain, mean, upper, beside, float(np.hypot(*(found - own)))


def _cost(method: object, frames: list[NDArray[np.uint8]]) -> None:
    """Milliseconds of CPU time per pair, medians; each picture's features are found once, as in a clip."""
    camera = Camera(WarpConfig())
    solved, held = [], []
    for frame in frames:
        before, after = pans.pair_of(frame, pans.MOTIONS["pan 3.5"])
        started = time.process_time()
        flow_2HW = method(before, after)  # type: ignore[operator]
        solved.append(time.process_time() - started)
        camera.hold(before, before, np.zeros_like(flow_2HW))
        started = time.process_time()
        camera.hold(before, after, flow_2HW)
        held.append(time.process_time() - started)
    flow, hold = (1e3 * statistics.median(taken) for taken in (solved, held))
    print(f"\nflow {flow:.0f} ms, finding and undoing the camera's motion {hold:.0f} ms of CPU time per pair")


if __name__ == "__main__":
    main()
