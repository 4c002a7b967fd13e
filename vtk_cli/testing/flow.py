"""The contract of a flow method, as a test class. Subclass it, name the method, inherit the tests.

class TestMine(FlowTests):
    spec = FLOW
"""

import dataclasses
from typing import cast

import numpy as np
from numpy.typing import NDArray

from vtk_cli.api.flow import FlowMethod, FlowSpec

HEIGHT, WIDTH = 72, 96


def waves(shift_x: float = 0.0, shift_y: float = 0.0) -> NDArray[np.uint8]:
    """A grey picture without flat places; its content shifted right and down by that many pixels."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float64)
    x, y = x - shift_x, y - shift_y
    waves = np.sin(x / 3.1) + np.sin(y / 3.7) + np.sin((x + y) / 5.3) + np.sin((x - 2 * y) / 7.9)
    return cast("NDArray[np.uint8]", np.rint(127.5 + 30 * waves).astype(np.uint8))


def _blocks(seed: int) -> NDArray[np.uint8]:
    """A small picture of random squares, on which solvers go astray."""
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 5), dtype=np.uint8)
    return coarse.repeat(8, axis=0).repeat(8, axis=1)


class FlowTests:
    """What every flow method holds to. `spec` is the plugin's object."""

    spec: FlowSpec
    tolerance: float = 0.35
    """Pixels by which the median flow of a picture shifted by two pixels may be wrong."""

    def method(self) -> FlowMethod:
        return self.spec.build(self.spec.config())

    def test_result_is_two_float_planes(self) -> None:
        flow_2HW = self.method()(waves(), waves(1))
        assert flow_2HW.shape == (2, HEIGHT, WIDTH)
        assert flow_2HW.dtype == np.float32
        assert np.isfinite(flow_2HW).all()

    def test_x_points_right(self) -> None:
        self._moves(2.0, 0.0)

    def test_y_points_down(self) -> None:
        self._moves(0.0, 2.0)

    def test_left_and_up_are_negative(self) -> None:
        self._moves(-1.5, -1.0)

    def test_still_pictures_have_no_flow(self) -> None:
        flow_2HW = self.method()(waves(), waves())
        assert np.abs(flow_2HW[:, 8:-8, 8:-8]).max() < 0.1

    def test_the_same_pictures_give_the_same_bytes(self) -> None:
        method = self.method()
        first = method(waves(), waves(2, 1)).tobytes()
        method(waves(5), waves(3))
        assert method(waves(), waves(2, 1)).tobytes() == first
        assert self.method()(waves(), waves(2, 1)).tobytes() == first

    def test_what_was_computed_before_does_not_matter(self) -> None:
        pairs = [(_blocks(2 * number), _blocks(2 * number + 1)) for number in range(2)]
        method = self.method()
        forwards = [method(*pair).tobytes() for pair in pairs]
        backwards = [method(*pair).tobytes() for pair in reversed(pairs)]
        assert forwards == backwards[::-1]

    def test_pictures_are_left_as_they_are(self) -> None:
        before, after = waves(), waves(2)
        self.method()(before, after)
        assert (before == waves()).all()
        assert (after == waves(2)).all()

    def test_any_size_works(self) -> None:
        method = self.method()
        for height, width in ((48, 72), (71, 53), (64, 64)):
            flow_2HW = method(waves()[:height, :width].copy(), waves(1)[:height, :width].copy())
            assert flow_2HW.shape == (2, height, width)

    def test_parameters_are_a_frozen_dataclass_with_defaults(self) -> None:
        config = self.spec.config()
        assert config == self.spec.config()
        assert hash(config) == hash(self.spec.config()), "a frozen dataclass of plain values can be hashed"
        assert dataclasses.replace(config) == config

    def test_it_says_what_it_is(self) -> None:
        assert self.spec.summary

    def _moves(self, x: float, y: float) -> None:
        flow_2HW = self.method()(waves(), waves(x, y))[:, 12:-12, 12:-12]
        found = np.median(flow_2HW, axis=(1, 2))
        assert np.abs(found - (x, y)).max() < self.tolerance, f"moved by {(x, y)}, found {tuple(found)}"
