import cv2
import numpy as np
import pytest
import simplejpeg
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from vtk_cli.errors import StoreError, VideoError
from vtk_cli.flow.quantize import decode_flow, dequantize, encode_flow, encode_grey, grey, quantize

FLOWS = hnp.arrays(np.float32, (2, 4, 6), elements=st.floats(-60, 60, width=32))
BOUNDS = st.sampled_from([8.0, 20.0, 32.0])


def test_standing_still_is_128():
    assert (quantize(np.zeros((2, 3, 3), np.float32)) == 128).all()


def test_the_bound_is_the_end_of_the_scale():
    flow = np.array([[[-500, -20, 20, 500]], [[-19.9, 19.9, 20.0001, -20.0001]]], np.float32)
    assert quantize(flow).tolist() == [[[0, 0, 255, 255]], [[1, 254, 255, 0]]]


@pytest.mark.parametrize(("byte", "value"), [(0, 0.5), (2, 1.5), (2, 2.5), (4, 3.5), (254, 254.5)])
def test_ties_go_to_even(byte, value):
    flow = np.full((2, 1, 1), value - 127.5, np.float32)  # with B = 127.5 one pixel is one step
    assert quantize(flow, 127.5)[0, 0, 0] == byte


@given(FLOWS, BOUNDS)
def test_what_comes_back_is_half_a_step_away_at_most(flow, bound):
    back = dequantize(quantize(flow, bound), bound)
    assert np.abs(back - np.clip(flow, -bound, bound)).max() <= bound / 255 + 1e-5


@given(hnp.arrays(np.uint8, (2, 3, 5)), BOUNDS)
def test_bytes_are_kept_by_going_back_and_forth(planes, bound):
    assert (quantize(dequantize(planes, bound), bound) == planes).all()


@given(FLOWS, BOUNDS)
def test_larger_flow_never_has_a_smaller_byte(flow, bound):
    order = np.argsort(flow, axis=None)
    assert (np.diff(quantize(flow, bound).ravel()[order].astype(int)) >= 0).all()


def test_negating_x_mirrors_the_byte():
    """What the loader does when it flips flow: 255 - byte, exact but for ties."""
    flow = np.random.default_rng(0).uniform(-25, 25, (2, 40, 50)).astype(np.float32)
    assert (quantize(-flow) == 255 - quantize(flow)).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_no_numbers_are_refused(bad):
    with pytest.raises(VideoError, match="finite"):
        quantize(np.full((2, 2, 2), bad, np.float32))


def test_a_pair_is_one_grey_picture_with_x_above_y():
    y, x = np.mgrid[0:24, 0:32]
    planes = np.stack([x * 4 + 60, y * 5 + 40]).astype(np.uint8)
    data = encode_flow(planes, 95)
    assert simplejpeg.decode_jpeg_header(data)[:3] == (48, 32, "Gray")
    back = decode_flow(data)
    assert back.shape == planes.shape
    assert np.abs(back.astype(int) - planes).max() <= 2
    assert encode_flow(planes, 95) == data


def test_what_is_no_pair():
    with pytest.raises(StoreError, match="grey JPEG"):
        decode_flow(b"not a picture")
    with pytest.raises(StoreError, match="even height"):
        decode_flow(encode_grey(np.zeros((3, 4), np.uint8), 90))


def test_jpeg_at_quality_95_costs_hundredths_of_a_pixel():
    y, x = np.mgrid[0:64, 0:80] / 10
    flow = np.stack([6 * np.sin(x) + y, 4 * np.cos(y + x)]).astype(np.float32)
    stored = dequantize(decode_flow(encode_flow(quantize(flow), 95)))
    assert np.abs(stored - flow).mean() < 0.08


@given(hnp.arrays(np.uint8, (9, 7, 3)))
def test_grey_is_opencvs_to_the_byte(picture):
    assert (grey(picture) == cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)).all()


def test_grey_is_opencvs_on_many_colours():
    picture = np.random.default_rng(1).integers(0, 256, (500, 700, 3), dtype=np.uint8)
    assert (grey(picture) == cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)).all()
