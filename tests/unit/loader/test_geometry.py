from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vtk_cli.api.inputs import Augment, View
from vtk_cli.api.sampling import segments
from vtk_cli.loader.geometry import (
    Box,
    Size,
    centre,
    multiscale_offsets,
    multiscale_pairs,
    spatial_views,
    train_crop,
    view_size,
)

TSN_SCALES = (1, 0.875, 0.75, 0.66)
pictures = st.builds(Size, st.integers(64, 700), st.integers(64, 700))


def view(crop=224, short_side=256):
    return View(segments=1, frames=1, short_side=short_side, crop=crop, sampler=segments)


@pytest.mark.parametrize(
    ("picture", "size"),
    [((1280, 720), (341, 256)), ((256, 256), (341, 256)), ((720, 1280), (256, 341)), ((456, 256), (341, 256))],
)
def test_four_to_three_is_paddles_group_scale(picture, size):
    assert view_size(Size(*picture), 256, "4:3") == size


@given(picture=pictures, short_side=st.integers(16, 400))
def test_keeping_the_aspect_brings_the_short_side_to_its_size(picture, short_side):
    size = view_size(picture, short_side, "keep")
    assert min(size) == short_side
    assert (size.width < size.height) == (picture.width < picture.height) or size.width == size.height
    assert abs(max(size) - short_side * max(picture) / min(picture)) < 1


@given(picture=pictures)
def test_a_picture_of_the_views_size_stays_as_it_is(picture):
    assert view_size(picture, min(picture), "keep") == picture


def test_multiscale_pairs_are_those_of_tsn():
    """340 x 256, scales 1 .875 .75 .66: sides 256 224 192 168, ten pairs (facts section 3)."""
    pairs = multiscale_pairs(Size(340, 256), 224, TSN_SCALES, 1)
    sides = [256, 224, 192, 168]
    assert pairs == [(w, h) for i, h in enumerate(sides) for j, w in enumerate(sides) if abs(i - j) <= 1]
    assert len(pairs) == 10
    assert len(multiscale_pairs(Size(340, 256), 224, TSN_SCALES[:3], 1)) == 7
    assert len(multiscale_pairs(Size(340, 256), 224, TSN_SCALES, 0)) == 4


@pytest.mark.parametrize(("base", "snapped"), [(253, 221), (254, 224), (256, 224), (258, 224), (259, 224), (260, 227)])
def test_a_side_within_three_pixels_of_the_input_snaps_to_it(base, snapped):
    """int(254 x .875) = 222 and 226 are less than 3 away, 221 and 227 are not."""
    assert multiscale_pairs(Size(400, base), 224, (0.875,), 1) == [(snapped, snapped)]


def test_multiscale_offsets_are_the_thirteen_of_tsn():
    x, y = (340 - 192) // 4, (256 - 168) // 4
    expected = [
        (0, 0),
        (4 * x, 0),
        (0, 4 * y),
        (4 * x, 4 * y),
        (2 * x, 2 * y),
        (0, 2 * y),
        (4 * x, 2 * y),
        (2 * x, 4 * y),
        (2 * x, 0),
        (x, y),
        (3 * x, y),
        (x, 3 * y),
        (3 * x, 3 * y),
    ]
    assert multiscale_offsets(Size(340, 256), Size(192, 168)) == expected


@pytest.mark.parametrize("kind", ["random", "multiscale", "centre"])
@given(picture=pictures, seed=st.integers(0, 30))
def test_every_training_crop_lies_inside(kind, picture, seed):
    crop = train_crop(picture, view(48, min(picture)), Augment(crop=kind), Random(seed))
    assert 0 <= crop.left <= crop.left + crop.width <= picture.width
    assert 0 <= crop.top <= crop.top + crop.height <= picture.height
    assert kind == "multiscale" or crop[2:] == (48, 48)


def test_random_crops_reach_every_place():
    rng = Random(0)
    crops = {train_crop(Size(34, 33), view(32, 33), Augment(crop="random"), rng)[:2] for _ in range(200)}
    assert crops == {(x, y) for x in range(3) for y in range(2)}


def test_multiscale_draws_every_pair_and_offset():
    rng = Random(0)
    crops = {train_crop(Size(340, 256), view(), Augment(crop="multiscale"), rng) for _ in range(4000)}
    expected = {
        Box(*offset, *pair)
        for pair in multiscale_pairs(Size(340, 256), 224, Augment(crop="multiscale").scales, 1)
        for offset in multiscale_offsets(Size(340, 256), pair)
    }
    assert crops == expected


@pytest.mark.parametrize(("width", "left"), [(340, 58), (341, 58), (342, 59), (343, 60), (224, 0), (225, 0), (227, 2)])
def test_the_centre_rounds_halves_to_even(width, left):
    assert centre(Size(width, 256), 224).left == left == round((width - 224) / 2.0)


def test_ten_crops_are_group_over_samples():
    x, y = (341 - 224) // 4, (256 - 224) // 4
    corners = [(0, 0), (4 * x, 0), (0, 4 * y), (4 * x, 4 * y), (2 * x, 2 * y)]
    found = spatial_views(Size(341, 256), 224, 10)
    assert [(crop.box.left, crop.box.top) for crop in found] == [place for place in corners for _ in (0, 1)]
    assert [crop.mirrored for crop in found] == [False, True] * 5
    assert found[2].box.left == 116  # the true corner is 117
    assert spatial_views(Size(341, 256), 224, 5) == found[::2]


def test_three_crops_are_left_right_centre_and_top_bottom_centre():
    assert [c.box[:2] for c in spatial_views(Size(341, 256), 256, 3)] == [(0, 0), (84, 0), (42, 0)]
    assert [c.box[:2] for c in spatial_views(Size(256, 341), 256, 3)] == [(0, 0), (0, 84), (0, 42)]
    assert [c.box[:2] for c in spatial_views(Size(341, 256), 224, 3)] == [(0, 16), (116, 16), (58, 16)]


@pytest.mark.parametrize("number", [1, 3, 5, 10])
@given(picture=pictures)
def test_every_test_crop_lies_inside(number, picture):
    crops = spatial_views(picture, min(picture) - 5, number)
    assert len(crops) == number
    for (left, top, width, height), _ in crops:
        assert 0 <= left <= left + width <= picture.width
        assert 0 <= top <= top + height <= picture.height
