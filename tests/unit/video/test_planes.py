"""Planes for a JPEG encoder: the right levels, the right sizes, and only where colours allow it."""

import av
import numpy as np
import pytest
import simplejpeg

from vtk_cli.api.video import Cut, DecodeReport, Planes
from vtk_cli.errors import VideoError
from vtk_cli.extract.pictures import encode_picture
from vtk_cli.testing.decoders import MadeClip
from vtk_cli.video.planes import PlaneMaker
from vtk_cli.video.pyav import DECODER

UNSPECIFIED, BT709, BT601, SMPTE170M, BT2020 = 2, 1, 5, 6, 9
LIMITED, FULL = 1, 2


def frame_of(planes, pix_fmt="yuv420p", levels=LIMITED, space=BT601):
    """A frame of these planes (HW uint8), what lies beside them in memory filled with noise."""
    height, width = planes[0].shape
    frame = av.VideoFrame(width, height, pix_fmt)
    frame.color_range, frame.colorspace = levels, space
    draw = np.random.default_rng(0)
    for plane, wanted in zip(frame.planes, planes, strict=True):
        memory = draw.integers(0, 256, (plane.height, plane.line_size), dtype=np.uint8)
        memory[:, : plane.width] = wanted
        plane.update(memory.tobytes())
    return frame


def all_levels(height, width):
    """Planes of a 4:2:0 picture in which every level stands."""
    sizes = [(height, width), *[((height + 1) // 2, (width + 1) // 2)] * 2]
    return [(np.arange(h * w) * 7 % 256).astype(np.uint8).reshape(h, w) for h, w in sizes]


def arrays(planes):
    return planes.luma_HW[: planes.height, : planes.width], planes.blue_HW, planes.red_HW


@pytest.mark.parametrize(("height", "width"), [(48, 64), (48, 65), (49, 64), (49, 65)])
def test_limited_levels_are_stretched_to_the_nearest(height, width):
    """With the sizes that planes have; tests of `levels` walk all levels and both ways to stretch them."""
    stored = all_levels(height, width)
    luma, *colours = arrays(PlaneMaker(width, height)(frame_of(stored)))
    exact = ((stored[0].astype(float) - 16) * 255 / 219).clip(0, 255)
    assert np.abs(luma - exact).max() <= 0.5
    for found, levels in zip(colours, stored[1:], strict=True):
        exact = ((levels.astype(float) - 128) * 255 / 224 + 128).clip(0, 255)
        assert np.abs(found - exact).max() <= 0.5
        assert (found[levels == 128] == 128).all()


def test_even_and_odd_widths_are_stretched_alike():
    luma, blue, red = all_levels(48, 64)
    even = PlaneMaker(64, 48)(frame_of([luma, blue, red]))
    odd = PlaneMaker(63, 48)(frame_of([luma[:, :63], blue, red]))
    for one, other in zip(arrays(even), arrays(odd), strict=True):
        assert np.array_equal(one[:, : other.shape[1]], other)


def test_a_stream_may_change_what_it_states_in_between():
    maker = PlaneMaker(64, 48)
    stated = [(0, UNSPECIFIED), (LIMITED, UNSPECIFIED), (LIMITED, BT601), (FULL, BT601), (0, SMPTE170M)]
    levels = [maker(frame_of(all_levels(48, 64), levels=levels, space=space)).luma_HW for levels, space in stated]
    assert [np.array_equal(found, levels[0]) for found in levels] == [True, True, True, False, True]


@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuvj420p"])
def test_full_range_is_left_as_it_is(pix_fmt):
    stored = all_levels(48, 64)
    planes = PlaneMaker(64, 48)(frame_of(stored, pix_fmt, FULL))
    assert all(np.array_equal(found, levels) for found, levels in zip(arrays(planes), stored, strict=True))


@pytest.mark.parametrize(("height", "width"), [(48, 65), (49, 64), (49, 65), (1, 1)])
@pytest.mark.parametrize("levels", [LIMITED, FULL])
def test_odd_sides_have_the_last_column_and_row_twice(height, width, levels):
    planes = PlaneMaker(width, height)(frame_of(all_levels(height, width), levels=levels))
    assert planes.luma_HW.shape == (height + height % 2, width + width % 2)
    assert np.array_equal(planes.luma_HW[-1], planes.luma_HW[height - 1])
    assert np.array_equal(planes.luma_HW[:, -1], planes.luma_HW[:, width - 1])


@pytest.mark.parametrize("levels", [LIMITED, FULL])
@pytest.mark.parametrize("size", [(64, 48), (65, 49), (31, 23)])
def test_the_decoders_own_memory_is_not_touched(levels, size):
    frame = frame_of(all_levels(48, 64), levels=levels)
    before = [bytes(plane) for plane in frame.planes]
    PlaneMaker(*size)(frame)
    assert [bytes(plane) for plane in frame.planes] == before


@pytest.mark.parametrize("size", [(64, 48), (32, 24), (41, 31), (100, 75)])
@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv422p", "yuv444p"])
@pytest.mark.parametrize(("levels", "space"), [(LIMITED, BT601), (LIMITED, SMPTE170M), (FULL, BT601), (0, UNSPECIFIED)])
def test_a_plain_colour_comes_back_from_the_jpeg(size, pix_fmt, levels, space):
    ycc = (94, 123, 210) if levels == FULL else (97, 124, 200)  # (200, 40, 90) by BT.601-7, section 3
    frame = av.VideoFrame(64, 48, pix_fmt)
    frame.color_range, frame.colorspace = levels, space
    for plane, level in zip(frame.planes, ycc, strict=True):
        plane.update(bytes([level]) * plane.buffer_size)
    planes = PlaneMaker(*size)(frame)
    data = simplejpeg.encode_jpeg_yuv_planes(*arrays(planes), quality=95)
    picture = simplejpeg.decode_jpeg(data)
    assert picture.shape == (size[1], size[0], 3)
    assert np.abs(picture.astype(int) - _rgb(*ycc, full=levels == FULL)).max() <= 3


def _rgb(luma, blue, red, *, full):
    if not full:
        luma, blue, red = (luma - 16) * 255 / 219, (blue - 128) * 255 / 224 + 128, (red - 128) * 255 / 224 + 128
    blue, red = blue - 128, red - 128
    return luma + 1.402 * red, luma - 0.344136 * blue - 0.714136 * red, luma + 1.772 * blue


@pytest.mark.parametrize(
    ("pix_fmt", "space"),
    [
        ("yuv420p", BT709),
        ("yuv420p", BT2020),
        ("yuv420p10le", BT601),
        ("yuva420p", BT601),
        ("gbrp", UNSPECIFIED),
        ("rgb24", UNSPECIFIED),
        ("gray", UNSPECIFIED),
        ("nv12", BT601),
    ],
)
def test_other_colours_go_over_rgb(pix_fmt, space):
    frame = av.VideoFrame(64, 48, pix_fmt)
    frame.colorspace = space
    assert PlaneMaker(64, 48)(frame) is None


def test_turned_and_interlaced_pictures_go_over_rgb(tmp_path):
    made = [
        MadeClip(name="turned.mp4", codec="libx264", frames=2, counter_clockwise=90),
        MadeClip(name="fields.mp4", codec="libx264", frames=2, options={"x264-params": "tff=1"}),
        MadeClip(name="upright.mp4", codec="libx264", frames=2),
    ]
    decoder = DECODER.build()
    found = {}
    for clip in made:
        pictures = decoder.pictures(clip.write(tmp_path), Cut(), DecodeReport())
        found[clip.name] = [picture.planes() is None for picture in pictures]
    assert found == {"turned.mp4": [True, True], "fields.mp4": [True, True], "upright.mp4": [False, False]}


def test_planes_that_do_not_belong_together_are_refused():
    half = np.zeros((2, 3), np.uint8)
    with pytest.raises(ValueError, match=r"planes of a 5x4 picture .* found \(\(4, 5\)"):
        Planes(width=5, height=4, luma_HW=np.zeros((4, 5), np.uint8), blue_HW=half, red_HW=half)


# --- against the way over RGB -----------------------------------------------------------------------------------------


class OverRgb:
    """A picture that keeps its planes to itself."""

    def __init__(self, picture):
        self.rgb = picture.rgb

    def planes(self):
        return None


def blocks(picture_HW3):
    """Mean colour of each block of 16 x 16 pixels."""
    height, width, _ = (side // 16 * 16 for side in picture_HW3.shape)
    return picture_HW3[:height, :width].reshape(height // 16, 16, width // 16, 16, 3).mean((1, 3))


def differences(path):
    """Of every eighth among the first pictures, both ways, after a JPEG each: per pixel, and of blocks."""
    pixels, means = [], []
    for number, picture in enumerate(DECODER.build().pictures(path, Cut(short_side=256), DecodeReport())):
        if number > 16 or picture.planes() is None:
            break
        if number % 8 == 0:
            ours, theirs = (
                simplejpeg.decode_jpeg(encode_picture(one, 90)).astype(float) for one in (picture, OverRgb(picture))
            )
            pixels.append(np.abs(ours - theirs).ravel())
            means.append(np.abs(blocks(ours) - blocks(theirs)).ravel())
    return (np.concatenate(pixels), np.concatenate(means)) if pixels else None


DRAWN = {
    "bad_decord_corrupted.mp4",
    "dali_cfr.mov",
    "tcodec_discard_first_keyframe.mp4",
    "tcodec_testsrc2_odd_height_and_width_vp9.mp4",
}
"""Test patterns: edges between full colours, which move by up to a pixel (see `vtk_cli.video.planes`)."""


def test_colours_of_real_clips_are_those_of_the_way_over_rgb(shared):
    """Two JPEGs of q90 of one picture, in grey levels; of blocks of 16 x 16 little but their colour is left."""
    found = {}
    for path in sorted((shared / "data/videos").iterdir()):
        try:
            difference = differences(path)
        except VideoError:
            continue
        if difference is not None:
            pixels, means = difference
            found[path.name] = (pixels.mean(), pixels.max(), means.mean())
    assert len(found) >= 45
    filmed = np.array([values for name, values in found.items() if name not in DRAWN])
    assert filmed[:, 0].mean() < 1.2
    assert filmed[:, 2].mean() < 0.4
    assert (filmed.max(axis=0) < (2.2, 60, 0.65)).all(), found
    drawn = np.array([found[name] for name in DRAWN])
    assert (drawn.max(axis=0) < (3, 170, 2.5)).all(), found
