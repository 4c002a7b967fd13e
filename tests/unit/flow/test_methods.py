import csv
import subprocess
import sys

import cv2
import numpy as np
import pytest
from flow_pairs import grey_png, read_flo

from vtk_cli import registry
from vtk_cli.config import resolve
from vtk_cli.errors import PluginError, UsageError, VideoError
from vtk_cli.flow import dis, farneback, opencv
from vtk_cli.testing.flow import waves


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
    folder = shared / "data" / "flow"
    before, after = (grey_png(folder / f"{pair}_img{n}.png") for n in (0, 1))
    truth = read_flo(folder / f"{pair}_gt.flo")
    flow_2HW = spec.FLOW.build(spec.FLOW.config())(before, after)
    error = np.hypot(*(flow_2HW - truth)).mean()
    with (folder / "aepe_reference.csv").open() as file:
        expected = next(float(row[column]) for row in csv.DictReader(file) if row["pair"] == pair)
    assert error == pytest.approx(expected, abs=0.002)


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
    with pytest.raises(PluginError, match=r'dis needs OpenCV.*pip install "vtk-cli\[opencv\]"'):
        dis.FLOW.build(dis.DisConfig())


def test_naming_the_methods_imports_no_opencv():
    code = "import sys, vtk_cli.flow.tvl1, vtk_cli.flow.dis, vtk_cli.flow.farneback; sys.exit('cv2' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_one_thread_is_used():
    opencv.require("dis")
    assert cv2.getNumThreads() == 1
