"""Where training clips are cut, against the originals' numbers."""

import math
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vtk_cli.api.inputs import IMAGENET, Augment, InputSpec, View
from vtk_cli.api.sampling import segments
from vtk_cli.errors import UsageError
from vtk_cli.loader.draws import drawn_short_side, multiscale_offsets, multiscale_pairs, resized_box, train_place
from vtk_cli.loader.geometry import Box, Size, centre

TSN_SCALES = (1, 0.875, 0.75, 0.66)
pictures = st.builds(Size, st.integers(64, 700), st.integers(64, 700))


def view(crop=224, short_side=256, **changes):
    return View(segments=1, frames=1, short_side=short_side, crop=crop, sampler=segments, **changes)


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


@pytest.mark.parametrize("kind", ["random", "multiscale", "centre", "resized", "corners"])
@given(picture=pictures, seed=st.integers(0, 30))
def test_every_training_crop_lies_inside(kind, picture, seed):
    crop = train_place(picture, view(48, min(picture)), Augment(crop=kind), Random(seed)).box
    assert 0 <= crop.left <= crop.left + crop.width <= picture.width
    assert 0 <= crop.top <= crop.top + crop.height <= picture.height
    assert min(crop.width, crop.height) > 0
    assert kind not in ("random", "centre") or crop[2:] == (48, 48)


def test_random_crops_reach_every_place():
    rng = Random(0)
    crops = {train_place(Size(34, 33), view(32, 33), Augment(crop="random"), rng).box[:2] for _ in range(200)}
    assert crops == {(x, y) for x in range(3) for y in range(2)}


def test_multiscale_draws_every_pair_and_offset():
    rng = Random(0)
    crops = {train_place(Size(340, 256), view(), Augment(crop="multiscale"), rng).box for _ in range(4000)}
    expected = {
        Box(*offset, *pair)
        for pair in multiscale_pairs(Size(340, 256), 224, Augment(crop="multiscale").scales, 1)
        for offset in multiscale_offsets(Size(340, 256), pair)
    }
    assert crops == expected


@given(seed=st.integers(0, 1000), inverse=st.booleans())
def test_a_drawn_short_side_lies_in_its_range(seed, inverse):
    augment = Augment(crop="random", short_sides=(256, 320), inverse=inverse)
    assert 256 <= drawn_short_side(augment, Random(seed)) <= 320
    low, high = (1 / 320, 1 / 256) if inverse else (256, 320)
    drawn = Random(seed).uniform(low, high)
    assert drawn_short_side(augment, Random(seed)) == round(1 / drawn if inverse else drawn)


def test_short_side_jitter_cuts_out_of_a_picture_of_that_size():
    augment = Augment(crop="random", short_sides=(256, 320))
    sides = set()
    for seed in range(200):
        place = train_place(Size(340, 256), view(), augment, Random(seed))
        assert place.at == (place.at.height * 340 // 256, place.at.height)
        assert place.box[2:] == (224, 224)
        assert 0 <= place.box.left <= place.at.width - 224
        sides.add(place.at.height)
    assert min(sides) < 260
    assert max(sides) > 315


@given(picture=st.builds(Size, st.integers(200, 300), st.integers(200, 300)), seed=st.integers(0, 50))
def test_a_resized_box_has_an_area_and_a_ratio_that_were_asked_for(picture, seed):
    augment = Augment(crop="resized", area=(0.25, 1.0), ratio=(0.75, 4 / 3))
    box = resized_box(picture, augment, Random(seed))
    # Rounding the sides moves them by half a pixel each.
    slack = 1.5 / min(box.width, box.height)
    assert 0.75 - slack <= box.width / box.height <= 4 / 3 + slack
    assert box.width * box.height / (picture.width * picture.height) >= 0.25 * (1 - 2 * slack)


def test_a_resized_box_that_never_fits_is_the_middle():
    """torchvision's fallback: the largest part whose ratio is in range."""
    augment = Augment(crop="resized", area=(1.0, 1.0), ratio=(0.75, 4 / 3))
    assert resized_box(Size(400, 100), augment, Random(0)) == Box((400 - 133) // 2, 0, 133, 100)
    assert resized_box(Size(100, 400), augment, Random(0)) == Box(0, (400 - 133) // 2, 100, 133)


def test_corner_crops_are_those_of_3d_resnets():
    scales = tuple(2 ** (-k / 4) for k in range(5))
    augment = Augment(crop="corners", scales=scales)
    rng, picture = Random(0), Size(170, 128)
    found = {train_place(picture, view(112, 128), augment, rng).box for _ in range(2000)}
    expected = set()
    for scale in scales:
        side = int(128 * scale)
        right, bottom = 170 - side, 128 - side
        places = [(0, 0), (right, 0), (0, bottom), (right, bottom), centre(picture, side)[:2]]
        expected |= {Box(*place, side, side) for place in places}
    assert found == expected


@given(seed=st.integers(0, 300))
def test_paddles_tsm_cuts_the_input_out_of_a_multiscale_crop(seed):
    """Resized to 256 and cut at 224 there; here the same part of the picture, to half a pixel of it."""
    augment = Augment(crop="multiscale", scales=TSN_SCALES, then_random=256)
    outer = Augment(crop="multiscale", scales=TSN_SCALES)
    box = train_place(Size(341, 256), view(), augment, Random(seed)).box
    around = train_place(Size(341, 256), view(256), outer, Random(seed)).box
    for low, side, outer_low, outer_side in (
        (box.left, box.width, around.left, around.width),
        (box.top, box.height, around.top, around.height),
    ):
        assert outer_low <= low <= low + side <= outer_low + outer_side
        assert math.isclose(side, outer_side * 224 / 256, abs_tol=1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"short_sides": (200, 320)}, "neither can be smaller than the crop"),
        ({"short_sides": (320, 256)}, "low before"),
        ({"then_random": 200}, "then_random=200"),
    ],
)
def test_an_augmentation_smaller_than_the_crop_is_refused(changes, message):
    with pytest.raises(UsageError, match=message):
        InputSpec(modality="rgb", train=view(), test=view(), norm=IMAGENET, augment=Augment(crop="random", **changes))


def test_training_takes_one_view():
    with pytest.raises(UsageError, match="one view of a video, found clips=2"):
        InputSpec(modality="rgb", train=view(clips=2), test=view(), norm=IMAGENET, augment=Augment(crop="random"))
