import zlib

import av
import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from vtk_cli.errors import StoreError
from vtk_cli.flow.png import SIGNATURE, decode_png, encode_png, png_size
from vtk_cli.flow.quantize import codec_of, decode_flow, decode_grey, encode_flow, encode_grey

PLANES = hnp.arrays(np.uint8, hnp.array_shapes(min_dims=2, max_dims=2, max_side=20))
PLANE = np.add.outer(np.arange(24), 3 * np.arange(32)).astype(np.uint8)


@given(PLANES)
def test_what_is_written_is_read(plane):
    data = encode_png(plane)
    assert (decode_png(data) == plane).all()
    assert (decode_png(memoryview(data)) == plane).all()
    assert png_size(data) == plane.shape
    assert encode_png(plane) == data


@given(PLANES)
def test_opencv_reads_it(plane):
    assert (cv2.imdecode(np.frombuffer(encode_png(plane), np.uint8), cv2.IMREAD_UNCHANGED) == plane).all()


@pytest.mark.parametrize(
    "name", ["FILTER_NONE", "FILTER_SUB", "FILTER_UP", "FILTER_AVG", "FILTER_PAETH", "ALL_FILTERS"]
)
def test_what_other_programs_write_is_read(name):
    filters = getattr(cv2, f"IMWRITE_PNG_{name}")
    there, data = cv2.imencode(".png", PLANE, [cv2.IMWRITE_PNG_FILTER, filters])
    assert there
    assert (decode_png(data.tobytes()) == PLANE).all()


def test_ffmpeg_reads_it(tmp_path):
    (tmp_path / "plane.png").write_bytes(encode_png(PLANE))
    with av.open(str(tmp_path / "plane.png")) as file:
        frame = next(file.decode(video=0))
    assert frame.format.name == "gray"
    assert (frame.to_ndarray() == PLANE).all()


@given(st.binary(max_size=80))
def test_other_bytes_are_refused(data):
    for bytes_ in (data, SIGNATURE + data):
        with pytest.raises(ValueError, match=r"it |its "):
            decode_png(bytes_)


@given(st.data())
def test_damage_is_found(data):
    """A byte that is turned, or missing at the end."""
    png = bytearray(encode_png(PLANE))
    place = data.draw(st.integers(0, len(png) - 1))
    if data.draw(st.booleans()):
        png[place] ^= data.draw(st.integers(1, 255))
    else:
        del png[place:]
    with pytest.raises(ValueError, match=r"it |its "):
        decode_png(bytes(png))


@pytest.mark.parametrize(
    ("picture", "message"),
    [
        (np.zeros((4, 4, 3), np.uint8), "it should be grey, of 8 bits and not interlaced, found bits 8, colour 2"),
        (np.zeros((4, 4), np.uint16), "found bits 16, colour 0"),
    ],
)
def test_other_kinds_of_png_are_refused(picture, message):
    _, data = cv2.imencode(".png", picture)
    with pytest.raises(ValueError, match=message):
        decode_png(data.tobytes())


def test_a_small_file_that_claims_to_be_huge():
    data = encode_png(PLANE)
    header = data[12:16] + (1 << 20).to_bytes(4, "big") + data[20:29]
    with pytest.raises(ValueError, match="its sides should have 1 to 16384 pixels, found 1048576x24"):
        decode_png(data[:12] + header + zlib.crc32(header).to_bytes(4, "big") + data[33:])


def test_pixels_that_are_cut_off():
    """Chunks that are whole hold too little."""
    short = encode_png(PLANE[:5])
    header = encode_png(PLANE)[:33]
    with pytest.raises(ValueError, match="its pixels are cut off after 165 of 792 bytes"):
        decode_png(header + short[33:])


@given(hnp.arrays(np.uint8, (2, 6, 7)))
def test_a_pair_is_stored_without_loss(planes):
    data = encode_flow(planes, 0, "png")
    assert codec_of(data) == "png"
    assert (decode_flow(data) == planes).all()
    assert (decode_flow(memoryview(data)) == planes).all()


def test_both_codecs_are_told_apart():
    assert codec_of(encode_grey(PLANE, 90)) == "jpeg"
    assert np.abs(decode_grey(encode_grey(PLANE, 100)).astype(int) - PLANE).max() <= 2
    with pytest.raises(StoreError, match="even height"):
        decode_flow(encode_grey(PLANE[:3], 0, "png"))
    with pytest.raises(StoreError, match=r"grey JPEG or PNG: it is cut off"):
        decode_flow(encode_flow(np.zeros((2, 4, 4), np.uint8), 0, "png")[:40])
