import sys
from itertools import pairwise

import cv2
import numpy as np
import pans
import pytest

from vtk_cli import registry
from vtk_cli.config import resolve
from vtk_cli.errors import PluginError, UsageError
from vtk_cli.flow.motion import Motion
from vtk_cli.flow.warp import FEW, IMPLAUSIBLE, Camera, WarpConfig, recorded_with, taken_apart

CLIPS = ["davis_cat.mp4", "kinetics_flipping_a_pancake.mkv"]
LIMIT = 0.1
"""Pixels that may be left of the background's motion, on average."""


def dis():
    spec = registry.load("vtk.flow", "dis")
    return spec.build(spec.config())


@pytest.fixture(scope="module", params=CLIPS)
def frame(request, shared):
    return pans.frame_of(shared / "data" / "videos" / request.param)


@pytest.fixture(scope="module")
def cat(shared):
    return pans.frame_of(shared / "data" / "videos" / CLIPS[0])


@pytest.mark.parametrize("name", pans.MOTIONS)
def test_the_cameras_motion_is_undone(frame, name):
    flow_K2HW = Motion(dis(), WarpConfig())(*pans.pair_of(frame, pans.MOTIONS[name]))
    plain, (mean, upper) = pans.residual(flow_K2HW[0], pans.inner())[0], pans.residual(flow_K2HW[1], pans.inner())
    assert plain > 0.45
    assert mean < LIMIT
    assert upper < 0.25


@pytest.mark.parametrize("name", ["pan 0.5", "pan 8", "turn"])
def test_an_object_keeps_its_own_motion(frame, name):
    """It covers a fifth of the picture and has more texture than the scene."""
    homography = pans.MOTIONS[name]
    views = pans.pair_of(frame, homography)
    carried = np.rint((homography @ [160, 130, 1])[:2] - [160, 130]).astype(int)
    background = pans.paste(
        views, np.ascontiguousarray(frame[150:0:-1, 120:0:-1]), (100, 55), carried + np.array([4, -3])
    )
    warped_2HW = Motion(dis(), WarpConfig())(*views)[1]
    assert pans.residual(warped_2HW, background & pans.inner())[0] < LIMIT
    own = np.median(warped_2HW[:, 80:180, 130:190], axis=(1, 2))
    assert np.abs(own - [4, -3]).max() < 0.8  # its place was rounded to whole pixels


def test_tvl1_leaves_less_than_a_tenth_of_a_pixel(cat):
    spec = registry.load("vtk.flow", "tvl1")
    warped_2HW = Motion(spec.build(spec.config()), WarpConfig())(*pans.pair_of(cat, pans.MOTIONS["pan 3.5"]))[1]
    assert pans.residual(warped_2HW, pans.inner())[0] < LIMIT


def test_where_the_second_picture_has_nothing_flow_is_zero(cat):
    """A strip of 60 px that came into view only afterwards, or never: no garbage."""
    before, after = pans.pair_of(cat, pans.shift(60, 0))
    picture_HW = Camera(WarpConfig())._undo(before, after, pans.shift(60, 0))
    assert (picture_HW[:, -60:] == before[:, -60:]).all()
    flow_2HW = dis()(before, picture_HW)
    assert np.abs(flow_2HW[:, :, -60:]).mean() < 0.05
    replicated = cv2.warpPerspective(
        after, pans.shift(60, 0), before.shape[::-1], flags=cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REPLICATE
    )
    assert np.abs(dis()(before, replicated)[:, :, -60:]).mean() > 0.5


def test_the_homography_takes_the_previous_picture_to_the_following_one(cat):
    wanted = pans.MOTIONS["projective"]
    before, after = pans.pair_of(cat, wanted)
    found, cause = Camera(WarpConfig()).homography(before, after, dis()(before, after))
    assert cause == ""
    corners = np.array([[[0, 0], [339, 0], [339, 255], [0, 255]]], np.float64)
    away = cv2.perspectiveTransform(corners, found) - cv2.perspectiveTransform(corners, wanted)
    assert np.abs(away).max() < 0.5


def test_features_find_what_flow_cannot_follow(cat):
    """Flow that has lost its way points anywhere."""
    before, after = pans.pair_of(cat, pans.shift(45, 10))
    lost = np.random.default_rng(0).uniform(-20, 20, (2, *before.shape)).astype(np.float32)
    found, cause = Camera(WarpConfig()).homography(before, after, lost)
    assert cause == ""
    assert found[:2, 2] == pytest.approx([45, 10], abs=1)
    assert Camera(WarpConfig(features=0)).hold(before, after, lost) == (None, FEW)


def test_a_still_camera_costs_no_second_pass(cat):
    before, after = pans.pair_of(cat, pans.shift(0, 0))
    after = np.clip(after + np.random.default_rng(0).normal(0, 2, after.shape), 0, 255).astype(np.uint8)
    calls = []
    method = dis()

    def counting(previous_HW, following_HW):
        calls.append(1)
        return method(previous_HW, following_HW)

    motion = Motion(counting, WarpConfig())
    flow_K2HW = motion(before, after)
    assert len(calls) == 1
    assert (flow_K2HW[0] == flow_K2HW[1]).all()
    assert motion.take_note() == ""


@pytest.mark.parametrize(
    "pair",
    [
        (np.full((256, 340), 90, np.uint8),) * 2,
        (np.zeros((20, 24), np.uint8),) * 2,
        (np.zeros((5, 7), np.uint8),) * 2,
    ],
)
def test_too_few_matches_leave_the_pair_as_it_is_and_are_told(pair):
    motion = Motion(lambda a, _: np.full((2, *a.shape), 3, np.float32), WarpConfig())
    flow_K2HW = motion(*pair)
    assert (flow_K2HW == 3).all()
    assert flow_K2HW.shape == (2, 2, *pair[0].shape)
    motion(*pair)
    assert motion.take_note() == f"camera motion not compensated in 2 of 2 pairs (2 {FEW})"
    assert motion.take_note() == ""


def test_matches_of_pictures_that_have_nothing_in_common():
    """Noise, with flow that points anywhere."""
    rng = np.random.default_rng(3)
    before, after = rng.integers(0, 256, (2, 128, 160), dtype=np.uint8)
    flow_2HW = rng.uniform(-20, 20, (2, 128, 160)).astype(np.float32)
    assert Camera(WarpConfig()).hold(before, after, flow_2HW) == (None, FEW)


def test_a_person_before_a_plain_wall_does_not_pass_for_the_camera(cat):
    before, after = (np.full((256, 340), 120, np.uint8) for _ in range(2))
    pans.paste((before, after), np.ascontiguousarray(cat[100:260, 100:200]), (120, 60), (6, 0))
    flow_2HW = np.zeros((2, 256, 340), np.float32)
    flow_2HW[0, 60:220, 120:220] = 6
    camera = Camera(WarpConfig())
    assert camera.homography(before, after, flow_2HW) == (None, FEW)
    assert Camera(WarpConfig(min_spread=0.1)).hold(before, after, flow_2HW)[0] is not None


@pytest.mark.parametrize(
    ("homography", "plausible"),
    [
        (pans.shift(60, 0), True),
        (pans.shift(70, 0), False),
        (pans.zoom(1.2), True),
        (pans.zoom(-1), False),
        (np.diag([-1.0, 1, 1]), False),
        (pans.tilt(1e-4, 0), True),
        (pans.tilt(8e-3, 0), False),
        (-pans.shift(5, 5), True),
    ],
)
def test_what_a_camera_can_do(homography, plausible):
    assert Camera(WarpConfig())._is_plausible(homography, (256, 340)) is plausible


def test_an_implausible_homography_is_not_used(cat):
    before, after = pans.pair_of(cat, pans.shift(20, 0))
    camera = Camera(WarpConfig(max_shift=0.05))
    assert camera.hold(before, after, dis()(before, after)) == (None, IMPLAUSIBLE)


def test_the_same_pictures_give_the_same_bytes(cat):
    """Whatever the object saw before, and whether pairs come one by one or together."""
    views = [pans.pair_of(cat, motion)[1] for motion in (pans.shift(0, 0), pans.shift(2, 1), pans.shift(4, -1))]
    pictures = np.stack(views)
    together = Motion(dis(), WarpConfig()).many(pictures[:-1], pictures[1:])
    used = Motion(dis(), WarpConfig())
    used(*pans.pair_of(cat, pans.turn(3)))
    assert (used(pictures[1], pictures[2]) == together[1]).all()
    assert (used(pictures[0], pictures[1]) == together[0]).all()


def test_features_of_a_picture_are_found_once(cat):
    views = [pans.pair_of(cat, pans.shift(2 * step, 0))[1] for step in range(3)]
    camera = Camera(WarpConfig())
    found = []
    sift = camera._features._sift

    class Counting:
        def detectAndCompute(self, *args):
            found.append(1)
            return sift.detectAndCompute(*args)

    camera._features._sift = Counting()
    for before, after in pairwise(views):
        camera.hold(before, after.copy(), np.zeros((2, *before.shape), np.float32))
    assert len(found) == 3


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("warp.ransac_threshold=0", "warp.ransac_threshold should be above 0, found 0"),
        ("warp.min_inliers=3", "above 3"),
        ("warp.cell=1", "above 1"),
        ("warp.still=-1", "at least 0, found -1"),
        ("warp.ransac_treshold=1", 'Did you mean "ransac_threshold"'),
    ],
)
def test_wrong_parameters_are_named(assignment, message):
    with pytest.raises(UsageError) as caught:
        resolve({"warp": WarpConfig()}, assignments=[assignment])
    assert message in str(caught.value)


def test_parameters_are_recorded_beside_those_of_the_method():
    recorded = recorded_with({"epsilon": 0.02}, WarpConfig(cell=9))
    assert recorded["epsilon"] == 0.02
    assert recorded["warp.cell"] == 9
    flow, warp = taken_apart(recorded)
    assert (flow, WarpConfig(**warp)) == ({"epsilon": 0.02}, WarpConfig(cell=9))


def test_without_opencv_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(PluginError, match=r'needs OpenCV.*pip install "vtk-cli\[opencv\]"'):
        Camera(WarpConfig())
