"""Makes docs/pictures anew: `python docs/make_pictures.py VIDEOS`, VIDEOS being the folder of the clips named below.

Clips and who made them: asl_help, intel-iot-devkit/sample-videos, CC BY 4.0; mdn_rabbit320, mdn/learning-area, CC0.
"""

import sys
from itertools import islice
from pathlib import Path

import numpy as np
import simplejpeg
from numpy.typing import NDArray

from vtk_cli.api.video import Cut, DecodeReport
from vtk_cli.extract.panels import Panel, draw
from vtk_cli.extract.plan import flow_spec
from vtk_cli.extract.preview import LONGEST
from vtk_cli.flow.colour import legend, to_rgb
from vtk_cli.flow.motion import Motion
from vtk_cli.flow.quantize import grey
from vtk_cli.flow.warp import WarpConfig
from vtk_cli.video.pyav import DECODER

FOLDER = Path(__file__).parent / "pictures"
MOST_BYTES = 60_000
Picture = NDArray[np.uint8]
Flow = NDArray[np.float32]


def main(videos: Path) -> None:
    sign, rabbit = Pair(videos / "asl_help.mkv", 45, 256), Pair(videos / "mdn_rabbit320.mp4", 66, 200)
    save("wheel", wheel(200))
    save("preview", sign.beside(sign.flows(["tvl1"])))
    save("methods", sign.beside(sign.flows(["farneback", "dis", "tvl1"])))
    save("warped", rabbit.beside(rabbit.flows(["tvl1"], WarpConfig())))


class Pair:
    """Picture `number` of a clip and the next one."""

    def __init__(self, clip: Path, number: int, short_side: int) -> None:
        pictures = list(DECODER.build().frames(clip, Cut(short_side=short_side), DecodeReport()))
        self._clip, self._number, self._count = clip.stem, number, len(pictures) - 1
        self._pictures = pictures[number : number + 2]

    def flows(self, methods: list[str], warp: WarpConfig | None = None) -> dict[str, Flow]:
        """Each method's flow, and with `warp` that without the camera's motion."""
        found: dict[str, Flow] = {}
        for method in methods:
            spec = flow_spec(method)
            motion = Motion(spec.build(spec.config()), warp)
            flow_K2HW = motion(*(grey(picture) for picture in self._pictures))
            found.update(zip((method, f"{method}, warped"), flow_K2HW, strict=False))
        return found

    def beside(self, flows: dict[str, Flow]) -> Picture:
        """The first picture and every flow, at one scale, as a preview shows them."""
        scale = max(float(np.percentile(np.hypot(*flow_2HW), LONGEST)) for flow_2HW in flows.values())
        shown = {label: to_rgb(flow_2HW, scale) for label, flow_2HW in flows.items()}
        panels = [
            Panel(label=label, count=self._count, read=lambda _, picture=picture: picture, scale=scale)
            for label, picture in shown.items()
        ]
        frame = Panel(label="frame", count=self._count, read=lambda _: self._pictures[0])
        return next(islice(draw(self._clip, [frame, *panels]), self._number, None))


def wheel(size: int) -> Picture:
    """The legend alone, on white."""
    picture, inside = legend(size)
    return np.where(inside[..., None], picture, np.uint8(255))


def save(name: str, picture: Picture) -> None:
    data = simplejpeg.encode_jpeg(np.ascontiguousarray(picture), quality=85, colorspace="RGB", colorsubsampling="444")
    if len(data) > MOST_BYTES:
        sys.exit(f"{name}.jpg should have at most {MOST_BYTES} bytes, found {len(data)}. Make it smaller.")
    (FOLDER / f"{name}.jpg").write_bytes(data)
    print(f"{name}.jpg: {picture.shape[1]}x{picture.shape[0]}, {len(data)} bytes")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
