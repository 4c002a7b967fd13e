import pytest
from hypothesis import given
from hypothesis import strategies as st

from vtk_cli.loader.geometry import Size, centre, spatial_views, view_size

pictures = st.builds(Size, st.integers(64, 700), st.integers(64, 700))


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


def test_the_rounded_four_to_three_is_torchvisions():
    """torchvision's video presets resize to 128 x 171 where cutting off gives 170."""
    assert view_size(Size(340, 256), 128, "4:3-rounded") == (171, 128)
    assert view_size(Size(340, 256), 128, "4:3") == (170, 128)


@pytest.mark.parametrize("tall", [False, True])
@pytest.mark.parametrize("long", [256, 257, 340, 341, 342, 455])
def test_three_crops_at_the_edges_are_pyslowfasts_uniform_crop(long, tall):
    middle = -(-(long - 256) // 2)
    expected = [0, long - 256, middle]
    found = spatial_views(Size(256, long) if tall else Size(long, 256), 256, 3, "edges")
    assert [crop.box[tall] for crop in found] == expected
    assert {crop.box[not tall] for crop in found} == {0}


@pytest.mark.parametrize("long", [256, 257, 340, 341, 342, 455])
def test_three_crops_in_steps_are_those_of_the_nonlocal_reader(long):
    step = int((long - 256) / 2)
    found = spatial_views(Size(long, 256), 256, 3, "steps")
    assert [crop.box.left for crop in found] == [0, 2 * step, step]


@pytest.mark.parametrize("grid", ["quarters", "edges", "steps"])
@pytest.mark.parametrize("number", [1, 3, 5, 10])
@given(picture=pictures)
def test_every_test_crop_lies_inside(number, grid, picture):
    crops = spatial_views(picture, min(picture) - 5, number, grid)
    assert len(crops) == number
    for (left, top, width, height), _ in crops:
        assert 0 <= left <= left + width <= picture.width
        assert 0 <= top <= top + height <= picture.height
