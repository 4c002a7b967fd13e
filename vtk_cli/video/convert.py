"""From a decoded frame to an RGB picture: one step of libswscale that converts and scales, then turning.

Or, for a JPEG encoder and where colours allow it, to planes (`planes`).

Colour matrix (BT.601, BT.709, BT.2020 ...) and range (limited or full) are those that the stream states; a stream that
states none is taken for BT.601 in limited range, as FFmpeg and OpenCV take it. HDR is not tone-mapped, interlaced
pictures are not deinterlaced, transparency is dropped.
"""

from fractions import Fraction
from typing import TYPE_CHECKING, cast

from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation, VideoReformatter

from vtk_cli.api.video import Cut, Planes
from vtk_cli.errors import VideoError
from vtk_cli.video.geometry import MAX_PIXELS, UPRIGHT, Orientation, orientation, scaled_size, shown_size, turn
from vtk_cli.video.planes import PlaneMaker
from vtk_cli.video.source import Source

if TYPE_CHECKING:
    from av.buffer import Buffer

    from vtk_cli.api.video import Picture

_SCALING = Interpolation.BILINEAR | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT | Interpolation.BITEXACT
"""libswscale's bilinear averages over all source pixels when it shrinks, and so comes nearest to converting exactly and
shrinking with Pillow's antialiased bilinear: a mean difference of 0.02 to 0.32 grey levels on five clips, where area
gives 0.02 to 0.62, bicubic 0.03 to 1.25 and fast bilinear 0.03 to 2.3. The other flags make unscaled conversion exact
(1.0 grey level too dark without them) and equal on every CPU."""


class Painter:
    """Makes pictures of one size from the frames of one file, reusing one scaler for RGB and one for planes."""

    def __init__(self, source: Source, first: VideoFrame, cut: Cut) -> None:
        """Settle the size by the file's header and `first`'s display matrix.

        Raises:
            VideoError: the picture would be too large.
        """
        aspect = source.sample_aspect if cut.square_pixels else Fraction(1)
        self.orientation = _orientation(first)
        self._scaled = scaled_size(source.width, source.height, aspect, cut.short_side)
        self.width, self.height = shown_size(*self._scaled, self.orientation)
        self._scaler = VideoReformatter()
        self._planes = PlaneMaker(*self._scaled)
        if self.width * self.height > MAX_PIXELS:
            raise VideoError(
                f"{source.path} would be shown at {self.width}x{self.height} pixels; vtk makes up to {MAX_PIXELS} "
                "pixels per picture. Ask for a smaller short side, or leave its pixels as they are stored."
            )

    def rgb(self, frame: VideoFrame) -> "Picture":
        """HWC uint8 RGB."""
        width, height = self._scaled
        rgb = self._scaler.reformat(frame, width, height, "rgb24", interpolation=_SCALING, threads=1)
        return turn(cast("Picture", rgb.to_ndarray()), self.orientation)

    def planes(self, frame: VideoFrame) -> Planes | None:
        """For a JPEG encoder; None for colours other than JPEG's, and for pictures that are to be turned.

        An odd side's last column of colours covers one pixel; turned, it would have to be the first, which JPEG lacks.
        """
        return self._planes(frame) if self.orientation == UPRIGHT else None


class LazyPicture:
    """A decoded frame and the painter that makes a picture of it when asked; see `DecodedPicture`."""

    def __init__(self, painter: Painter, frame: VideoFrame) -> None:
        self._painter, self._frame = painter, frame
        self._rgb: Picture | None = None

    def rgb(self) -> "Picture":
        if self._rgb is None:
            self._rgb = self._painter.rgb(self._frame)
        return self._rgb

    def planes(self) -> Planes | None:
        return self._painter.planes(self._frame)


def _orientation(frame: VideoFrame) -> Orientation:
    matrix = cast("Buffer | None", frame.side_data.get("DISPLAYMATRIX"))
    return UPRIGHT if matrix is None else orientation(bytes(matrix))
