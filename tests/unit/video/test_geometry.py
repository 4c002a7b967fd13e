import doctest
import struct
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vtk_cli.video import geometry
from vtk_cli.video.geometry import UPRIGHT, Orientation, orientation, scaled_size, shown_size, turn

ONE = 1 << 16


def matrix(a, b, c, d):
    return struct.pack("=9i", a * ONE, b * ONE, 0, c * ONE, d * ONE, 0, 0, 0, 1 << 30)


def test_examples_in_the_docstrings():
    results = doctest.testmod(geometry)
    assert results.attempted > 5
    assert not results.failed


@pytest.mark.parametrize(
    ("stored", "aspect", "short_side", "scaled"),
    [
        ((340, 256), Fraction(64, 51), None, (427, 256)),  # mmaction2_demo.mp4
        ((340, 256), Fraction(1024, 765), None, (455, 256)),  # mmaction2_part_0.mp4
        ((200, 112), Fraction(224, 225), None, (199, 112)),  # tcodec_test_non_zero_start.mp4
        ((320, 240), Fraction(1), 256, (341, 256)),
        ((321, 241), Fraction(1), None, (321, 241)),
        ((1, 1), Fraction(1), 256, (256, 256)),
        ((3, 1000), Fraction(1), 1, (1, 333)),
        ((1000, 1000), Fraction(1, 5000), None, (1, 1000)),
        ((5, 2), Fraction(1), 1, (3, 1)),  # 2.5 goes up
    ],
)
def test_scaled_size(stored, aspect, short_side, scaled):
    assert scaled_size(*stored, aspect, short_side) == scaled


@given(
    st.integers(1, 5000),
    st.integers(1, 5000),
    st.fractions(Fraction(1, 4), 4, max_denominator=100),
    st.integers(1, 1000),
)
def test_short_side_is_exact_and_the_other_within_half_a_pixel(width, height, aspect, short_side):
    scaled = scaled_size(width, height, aspect, short_side)
    assert min(scaled) == short_side
    shown = (width * aspect, Fraction(height))
    ideal = max(shown) * short_side / min(shown)
    assert abs(max(scaled) - ideal) <= Fraction(1, 2)


DIHEDRAL = [
    (1, 0, 0, 1),
    (0, 1, -1, 0),
    (-1, 0, 0, -1),
    (0, -1, 1, 0),
    (-1, 0, 0, 1),
    (1, 0, 0, -1),
    (0, 1, 1, 0),
    (0, -1, -1, 0),
]


@pytest.mark.parametrize(("a", "b", "c", "d"), DIHEDRAL)
def test_each_point_lands_where_the_matrix_says(a, b, c, d):
    """All turns and mirrorings against the definition: stored (p, q) is shown at (a p + c q, b p + d q)."""
    stored = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    found = orientation(matrix(a, b, c, d))
    shown = turn(stored, found)
    assert shown.flags.c_contiguous
    assert shown.shape[1::-1] == shown_size(3, 2, found)
    places = {(a * p + c * q, b * p + d * q): stored[q, p] for p in range(3) for q in range(2)}
    left, top = min(x for x, _ in places), min(y for _, y in places)
    for (x, y), pixel in places.items():
        assert (shown[y - top, x - left] == pixel).all()


def test_angles_between_quarter_turns_go_to_the_nearest():
    nearly = struct.pack("=9i", 1000, ONE, 0, -ONE, 1000, 0, 0, 0, 1 << 30)
    assert orientation(nearly) == Orientation(mirrored=False, clockwise=90)


@pytest.mark.parametrize("damaged", [b"", b"\0" * 35, b"\0" * 36])
def test_a_damaged_matrix_turns_nothing(damaged):
    assert orientation(damaged) == UPRIGHT
