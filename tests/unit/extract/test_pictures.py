"""Pictures on their way into a store: which way they take, and what the JPEG then shows."""

import cv2
import numpy as np
import pytest
import simplejpeg

from vtk_cli.api.video import Cut, DecodeReport, PlanarDecoder, Planes
from vtk_cli.extract.clip import Clip, Encoding, encode_clip
from vtk_cli.extract.pictures import encode_picture, pictures
from vtk_cli.flow.quantize import grey
from vtk_cli.testing.decoders import MadeClip
from vtk_cli.video.pyav import DECODER, PyavDecoder


class OnlyRgb:
    """A decoder as others write them: no way round RGB."""

    def __init__(self):
        self._decoder = PyavDecoder()
        self.probe, self.read, self.frames = self._decoder.probe, self._decoder.read, self._decoder.frames


@pytest.fixture
def path(tmp_path):
    return MadeClip(name="clip.mp4", codec="libx264", frames=5).write(tmp_path)


def test_a_decoder_without_planes_works_as_ever(path):
    assert isinstance(DECODER.build(), PlanarDecoder)
    assert not isinstance(OnlyRgb(), PlanarDecoder)
    planar = pictures(DECODER.build(), path, Cut(short_side=40), DecodeReport())
    for ours, theirs in zip(planar, pictures(OnlyRgb(), path, Cut(short_side=40), DecodeReport()), strict=True):
        assert (ours.planes() is None, theirs.planes() is None) == (False, True)
        assert np.array_equal(ours.rgb(), theirs.rgb())
        shown = [simplejpeg.decode_jpeg(encode_picture(one, 95)).astype(int) for one in (ours, theirs)]
        assert np.abs(shown[0] - shown[1]).mean() < 1


def planes_of(height, width):
    draw = np.random.default_rng(height * 100 + width)
    half = (height + 1) // 2, (width + 1) // 2
    luma, blue, red = (draw.integers(0, 256, size, dtype=np.uint8) for size in ((2 * half[0], 2 * half[1]), half, half))
    luma[height:], luma[:, width:] = luma[height - 1], luma[:, width - 1 : width]
    return Planes(width=width, height=height, luma_HW=luma, blue_HW=blue, red_HW=red)


class Picture:
    def __init__(self, planes):
        self.planes = lambda: planes


@pytest.mark.parametrize(("height", "width"), [(48, 64), (48, 65), (49, 64), (49, 65), (1, 1), (1, 8), (9, 1), (2, 2)])
def test_the_jpeg_holds_the_planes(height, width):
    planes = planes_of(height, width)
    data = encode_picture(Picture(planes), 100)
    shown = simplejpeg.decode_jpeg(data, colorspace="GRAY")
    assert shown.shape == (height, width, 1)
    assert np.abs(shown[..., 0].astype(int) - planes.luma_HW[:height, :width]).max() <= 3


def test_colours_are_at_half_resolution_either_way(path):
    for decoder in (DECODER.build(), OnlyRgb()):
        picture = next(iter(pictures(decoder, path, Cut(short_side=31), DecodeReport())))
        assert simplejpeg.decode_jpeg_header(encode_picture(picture, 90)) == (31, 47, "YCbCr", "420")


class Seen:
    """A flow method that remembers what it was given."""

    batch = 1

    def __init__(self):
        self.greys = []

    def many(self, previous_NHW, following_NHW):
        self.greys += [*previous_NHW, *following_NHW]
        return np.zeros((len(previous_NHW), 1, 2, *previous_NHW.shape[1:]), np.float32)


def test_flow_sees_the_grey_of_the_rgb_picture_and_frames_do_not_depend_on_it(path):
    encoding = Encoding(short_side=32, square_pixels=True, quality=90, keep_truncated=False)
    clip, seen = Clip(id="clip", path=path), Seen()
    both = encode_clip(DECODER.build(), seen, encoding, clip, frames=True, beat=lambda: None)
    alone = encode_clip(DECODER.build(), None, encoding, clip, frames=True, beat=lambda: None)
    assert both.frames == alone.frames
    rgb = list(PyavDecoder().frames(path, Cut(short_side=32), DecodeReport()))
    assert len(seen.greys) == 8
    for number, given in enumerate(seen.greys):
        expected = rgb[(number + 1) // 2]
        assert np.array_equal(given, grey(expected))
        assert np.array_equal(given, cv2.cvtColor(expected, cv2.COLOR_RGB2GRAY))
