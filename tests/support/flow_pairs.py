"""Pairs of pictures with known flow, from the shared data."""

import cv2
import numpy as np

REFERENCES = [
    "kinetics_R6llTwEh07w_00150",
    "ucf101_v_BaseballPitch_g01_c01_00060",
    "ucf101_v_SoccerJuggling_g23_c01_00100",
]
"""Real pairs with OpenCV 5.0's TV-L1. The first, a 340x256 pair, has places where nothing determines the flow: OpenCV
itself, given the same pictures with noise of 1e-5 grey levels, differs by 0.036 px on average from what it gives
without."""


def reference(shared, name):
    """previous_HW, following_HW, flow_2HW."""
    found = np.load(shared / "data" / "flow" / "tvl1_ref" / f"{name}.npz")
    return found["gray0"], found["gray1"], np.moveaxis(found["flow"], 2, 0)


def endpoint_error(flow_2HW, expected_2HW):
    """Mean distance in pixels."""
    return float(np.hypot(*(flow_2HW - expected_2HW)).mean())


def grey_png(path):
    return cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2GRAY)


def read_flo(path):
    """Middlebury: float 202021.25, width, height (int32), then (u, v) row by row."""
    data = path.read_bytes()
    width, height = np.frombuffer(data, np.int32, 2, 4)
    return np.moveaxis(np.frombuffer(data, np.float32, offset=12).reshape(height, width, 2), 2, 0)
