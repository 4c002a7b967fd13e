import csv
import subprocess
import sys

import cv2
import numpy as np
import pytest

from vtk_cli import registry
from vtk_cli.config import resolve
from vtk_cli.errors import PluginError, UsageError, VideoError
from vtk_cli.flow import dis, farneback, opencv, tvl1
from vtk_cli.testing.flow import waves

REFERENCES = [
    "kinetics_R6llTwEh07w_00150",
    "ucf101_v_BaseballPitch_g01_c01_00060",
    "ucf101_v_SoccerJuggling_g23_c01_00100",
]


@pytest.mark.parametrize("name", REFERENCES[1:])
def test_tvl1_defaults_are_opencvs(shared, name):
    """The whole 320x240 pairs, about 1 s each; the slow 340x256 one adds nothing but time."""
    reference = np.load(shared / "data" / "flow" / "tvl1_ref" / f"{name}.npz")
    flow_2HW = tvl1.FLOW.build(tvl1.TvL1Config())(reference["gray0"], reference["gray1"])
    expected = np.moveaxis(reference["flow"], 2, 0)
    assert np.abs(flow_2HW - expected).mean() < 1e-3


@pytest.mark.parametrize(
    ("pair", "column", "spec"),
    [
        ("chairs_1", "farneback", farneback),
        ("chairs_3", "farneback", farneback),
        ("chairs_1", "dis_medium", dis),
        ("chairs_3", "dis_medium", dis),
    ],
)
def test_error_against_ground_truth_is_the_references(shared, pair, column, spec):
    """TV-L1 takes 20 s on these pairs; it is held to OpenCV's own output above."""
    folder = shared / "data" / "flow"
    before, after = (_grey_png(folder / f"{pair}_img{n}.png") for n in (0, 1))
    truth = _read_flo(folder / f"{pair}_gt.flo")
    flow_2HW = spec.FLOW.build(spec.FLOW.config())(before, after)
    error = np.hypot(*(flow_2HW - truth)).mean()
    with (folder / "aepe_reference.csv").open() as file:
        expected = next(float(row[column]) for row in csv.DictReader(file) if row["pair"] == pair)
    assert error == pytest.approx(expected, abs=0.002)


def test_every_parameter_of_tvl1_reaches_opencv():
    solver = tvl1.TvL1(
        tvl1.TvL1Config(
            tau=0.2,
            lambda_=0.1,
            theta=0.25,
            scales=3,
            scale_step=0.7,
            warps=2,
            epsilon=0.02,
            inner_iterations=11,
            outer_iterations=4,
            median=3,
        )
    )._solver
    found = [
        solver.getTau(),
        solver.getLambda(),
        solver.getTheta(),
        solver.getScalesNumber(),
        solver.getScaleStep(),
        solver.getWarpingsNumber(),
        solver.getEpsilon(),
        solver.getInnerIterations(),
        solver.getOuterIterations(),
        solver.getMedianFiltering(),
    ]
    assert found == [0.2, 0.1, 0.25, 3, 0.7, 2, 0.02, 11, 4, 3]


def test_defaults_are_those_of_an_opencv_object():
    mine, theirs = tvl1.TvL1(tvl1.TvL1Config())._solver, cv2.optflow.DualTVL1OpticalFlow_create()
    getters = [name for name in dir(theirs) if name.startswith("get") and name != "getDefaultName"]
    assert len(getters) > 9
    assert [getattr(mine, name)() for name in getters] == [getattr(theirs, name)() for name in getters]


def test_presets_of_dis_differ():
    errors = []
    for preset in ("ultrafast", "fast", "medium"):
        flow_2HW = dis.FLOW.build(dis.DisConfig(preset=preset))(waves(), waves(2, 1))
        errors.append(float(np.abs(flow_2HW - np.array([2, 1]).reshape(2, 1, 1)).mean()))
    assert len(set(errors)) == 3


def test_pictures_too_small_for_a_method_are_a_video_error():
    tiny = np.zeros((6, 6), np.uint8)
    with pytest.raises(VideoError, match="dis cannot work on pictures of 6x6"):
        dis.FLOW.build(dis.DisConfig())(tiny, tiny)


@pytest.mark.parametrize(
    ("name", "assignment", "message"),
    [
        ("tvl1", "flow.tau=0", "flow.tau of tvl1 should be above 0, found 0"),
        ("tvl1", "flow.scales=0", "flow.scales of tvl1 should be at least 1"),
        ("tvl1", "flow.scale_step=1.5", "below 1"),
        ("tvl1", "flow.median=4", "flow.median does not take 4"),
        ("tvl1", "flow.lambda=1", 'no key "lambda". Did you mean "lambda_"'),
        ("dis", "flow.preset=best", "flow.preset does not take 'best'"),
        ("farneback", "flow.window=-1", "at least 1, found -1"),
        ("farneback", "flow.pyramid_scale=1", "below 1"),
    ],
)
def test_wrong_parameters_are_named(name, assignment, message):
    with pytest.raises(UsageError) as caught:
        resolve({"flow": registry.load("vtk.flow", name).config()}, assignments=[assignment])
    assert message in str(caught.value)


def test_without_opencv_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(PluginError, match=r'tvl1 needs OpenCV.*pip install "vtk-cli\[opencv\]"'):
        tvl1.FLOW.build(tvl1.TvL1Config())


def test_without_contributed_modules_the_right_package_is_named(monkeypatch):
    monkeypatch.delattr(cv2, "optflow")
    with pytest.raises(PluginError, match=r"contributed modules.*pip uninstall opencv-python"):
        tvl1.FLOW.build(tvl1.TvL1Config())


def test_naming_the_methods_imports_no_opencv():
    code = "import sys, vtk_cli.flow.tvl1, vtk_cli.flow.dis, vtk_cli.flow.farneback; sys.exit('cv2' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_one_thread_is_used():
    opencv.require("dis")
    assert cv2.getNumThreads() == 1


def _grey_png(path):
    return cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2GRAY)


def _read_flo(path):
    """Middlebury: float 202021.25, width, height (int32), then (u, v) row by row."""
    data = path.read_bytes()
    width, height = np.frombuffer(data, np.int32, 2, 4)
    return np.moveaxis(np.frombuffer(data, np.float32, offset=12).reshape(height, width, 2), 2, 0)
