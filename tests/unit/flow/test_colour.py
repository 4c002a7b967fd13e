import colorsys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from vtk_cli.flow.colour import BEYOND, legend, to_rgb, wheel


def colour(x, y, most=1.0):
    return tuple(int(value) for value in to_rgb(np.array([x, y], np.float32).reshape(2, 1, 1), most)[0, 0])


def hue(x, y):
    return 360 * colorsys.rgb_to_hsv(*(value / 255 for value in colour(x, y)))[0]


def test_corners_of_the_wheel_are_the_papers():
    """15 bins from red to yellow, then 6, 4, 11, 13 and 6."""
    found = wheel()
    assert found.shape == (55, 3)
    corners = {
        0: (255, 0, 0),
        15: (255, 255, 0),
        21: (0, 255, 0),
        25: (0, 255, 255),
        36: (0, 0, 255),
        49: (255, 0, 255),
    }
    assert {number: tuple(found[number].tolist()) for number in corners} == corners


def test_bins_between_corners_are_the_papers():
    """floor(255 i / n) upwards, 255 - floor(255 i / n) downwards."""
    found = {number: tuple(wheel()[number].tolist()) for number in (1, 14, 16, 24, 26, 35, 37, 48, 50, 54)}
    assert found == {
        1: (255, 17, 0),
        14: (255, 238, 0),
        16: (255 - 42, 255, 0),
        24: (0, 255, 191),
        26: (0, 255 - 23, 255),
        35: (0, 255 - 231, 255),
        37: (19, 0, 255),
        48: (235, 0, 255),
        50: (255, 0, 255 - 42),
        54: (255, 0, 255 - 212),
    }


def test_directions_have_the_papers_colours():
    assert colour(1, 0) == (255, 0, 0)
    assert colour(-1, 0) == (0, 255 - 46, 255)  # bin 27
    assert colour(0, 1) == (255, 230, 0)  # between bins 13 (221) and 14 (238), at 13.5
    assert colour(0, -1) == (88, 0, 255)  # between bins 40 (78) and 41 (98), at 40.5


def test_no_motion_is_white_whatever_the_scale():
    assert (to_rgb(np.zeros((2, 3, 4), np.float32)) == 255).all()
    assert colour(0, 0, 7) == (255, 255, 255)


def test_saturation_grows_with_the_length():
    shades = [colorsys.rgb_to_hsv(*colour(0.3 * part, -0.4 * part, 0.5))[1] for part in (0, 0.25, 0.5, 0.75, 1)]
    assert shades == pytest.approx([0, 0.25, 0.5, 0.75, 1], abs=0.01)


def test_longer_than_the_scale_is_darker():
    for x, y in ((1, 0), (-1, 0), (0.6, 0.8), (0.6, -0.8)):
        expected = np.array(colour(x, y, 1.00001)) * BEYOND
        assert np.abs(np.array(colour(3 * x, 3 * y)) - expected).max() <= 1
    assert max(colour(1.001, 0)) == 191


@pytest.mark.parametrize("degrees", range(0, 360, 15))
def test_opposite_directions_have_far_hues(degrees):
    """The wheel gives more room to some hues, so opposite is not 180 degrees everywhere, but never near."""
    x, y = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    apart = abs(hue(x, y) - hue(-x, -y))
    assert min(apart, 360 - apart) > 120


def test_automatic_scale_ends_with_the_longest():
    flow_2HW = np.zeros((2, 1, 3), np.float32)
    flow_2HW[0] = (4, 2, 0)
    assert to_rgb(flow_2HW)[0].tolist() == [[255, 0, 0], [255, 128, 128], [255, 255, 255]]
    assert (to_rgb(flow_2HW) == to_rgb(flow_2HW, 4)).all()


def test_unknown_flow_is_black_and_does_not_count():
    flow_2HW = np.ones((2, 1, 6), np.float32)
    flow_2HW[0, 0, 1:5] = (np.nan, np.inf, 1.7e9, -np.inf)
    flow_2HW[1, 0, 5] = np.nan
    found = to_rgb(flow_2HW)
    assert (found[0, 1:] == 0).all()
    assert (found[0, 0] == to_rgb(flow_2HW[:, :, :1])[0, 0]).all()
    assert (to_rgb(np.full((2, 2, 2), np.nan, np.float32)) == 0).all()


@pytest.mark.parametrize("most", [0, -1, float("nan")])
def test_a_scale_without_an_end_is_refused(most):
    with pytest.raises(ValueError, match="above 0"):
        to_rgb(np.zeros((2, 1, 1), np.float32), most)


@given(arrays(np.float32, (2, 3, 4), elements=st.floats(width=32)), st.none() | st.floats(1e-6, 1e6))
def test_any_flow_gives_a_picture(flow_2HW, most):
    found = to_rgb(flow_2HW, most)
    assert (found.shape, found.dtype) == ((3, 4, 3), np.uint8)
    known = np.isfinite(flow_2HW).all(axis=0) & (np.abs(flow_2HW) < 1e9).all(axis=0)
    assert (found[known].max(axis=1) >= 190).all()  # a hue has a full channel, darkened by 0.75 at most


def test_the_legend_shows_where_colours_point():
    picture, inside = legend(101)
    assert picture.shape == (101, 101, 3)
    assert picture[50, 50].tolist() == [255, 255, 255]
    places = {(1, 0): (50, 100), (-1, 0): (50, 0), (0, 1): (100, 50), (0, -1): (0, 50)}
    for (x, y), (row, column) in places.items():
        assert tuple(picture[row, column].tolist()) == colour(x, y)
        assert inside[row, column]
    assert not inside[0, 0]
    assert inside.mean() == pytest.approx(np.pi / 4, abs=0.02)
