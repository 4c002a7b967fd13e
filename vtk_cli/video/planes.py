"""From a decoded frame to the planes that a JPEG encoder takes, without the way over RGB.

Nearly all videos hold what JPEG holds: BT.601's luma and colour differences, the latter at half the size. What is left
to do is to scale each plane, and to stretch its levels where the video uses a part of them only (`levels`).

Most videos' colours lie half a pixel further to the left than a JPEG's, and where the width is odd the last column of
colours covers one pixel instead of two. Neither is made up for: it moves colours, not shapes, by a pixel at most.
"""

from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Interpolation, VideoReformatter

from vtk_cli.api.video import Planes
from vtk_cli.video.levels import even, levels, stretched

_HALVED = {"yuv420p", "yuvj420p"}
_FORMATS = _HALVED | {"yuv422p", "yuvj422p", "yuv444p", "yuvj444p"}
_BT601 = {2, 5, 6}
"""FFmpeg's AVCOL_SPC_: unspecified, which is taken for BT.601 as `convert` has it, BT470BG and SMPTE170M."""

_SCALING = Interpolation.BILINEAR | Interpolation.ACCURATE_RND | Interpolation.BITEXACT
"""As `convert` has it; the flags cost nothing here."""


class PlaneMaker:
    """Makes planes of one size from the frames of one file, reusing one scaler."""

    def __init__(self, width: int, height: int) -> None:
        self._width, self._height = width, height
        self._scaler = VideoReformatter()

    def __call__(self, frame: VideoFrame) -> Planes | None:
        """None for what is no BT.601 in 8-bit planes, and for fields of different times in one picture."""
        name = frame.format.name
        if name not in _FORMATS or frame.colorspace not in _BT601 or frame.interlaced_frame:
            return None
        full = frame.color_range == ColorRange.JPEG or name.startswith("yuvj")
        scaled = self._scale(frame, full=full)
        if full:
            luma, blue, red = map(levels, scaled.planes)
            luma = even(luma)
        else:
            luma, blue, red = stretched(scaled)
        return Planes(width=self._width, height=self._height, luma_HW=luma, blue_HW=blue, red_HW=red)

    def _scale(self, frame: VideoFrame, *, full: bool) -> VideoFrame:
        """At the wanted size with colours at half of it; levels stay as they are."""
        if frame.format.name in _HALVED and (frame.width, frame.height) == (self._width, self._height):
            return frame
        return self._scaler.reformat(
            frame,
            self._width,
            self._height,
            "yuv420p",
            interpolation=_SCALING,
            src_color_range=ColorRange.JPEG if full else ColorRange.MPEG,
            dst_color_range=ColorRange.JPEG if full else ColorRange.MPEG,
            threads=1,
        )
