"""Farnebäck's polynomial expansion, by OpenCV.

Farnebäck: Two-Frame Motion Estimation Based on Polynomial Expansion (SCIA 2003). OpenCV's function has no defaults;
these are those of its own samples (samples/python/opt_flow.py).
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from vtk_cli.api.flow import FlowMethod, FlowSpec
from vtk_cli.errors import UsageError
from vtk_cli.flow.opencv import calculate, check_above, require

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class FarnebackConfig:
    """Parameters of calcOpticalFlowFarneback."""

    pyramid_scale: float = 0.5
    """Size of a level over the size of the next finer one; below 1."""
    levels: int = 3
    """Levels of the picture pyramid."""
    window: int = 15
    """Side of the averaging window in pixels."""
    iterations: int = 3
    """Iterations per level."""
    neighbourhood: int = 5
    """Side of the neighbourhood that a polynomial is fitted to, in pixels: 5 or 7."""
    sigma: float = 1.2
    """Standard deviation of the Gaussian that weighs the neighbourhood, in pixels."""

    def __post_init__(self) -> None:
        check_above("farneback", self, least=1, names=("levels", "window", "iterations", "neighbourhood"))
        check_above("farneback", self, least=0, names=("pyramid_scale", "sigma"), strictly=True)
        if self.pyramid_scale >= 1:
            raise UsageError(f"flow.pyramid_scale should be below 1, found {self.pyramid_scale}. Use 0.5.")


class Farneback:
    def __init__(self, config: FarnebackConfig) -> None:
        """Take the parameters; raises PluginError when OpenCV is not installed."""
        self._cv2 = require("farneback")
        c = config
        self._parameters = (c.pyramid_scale, c.levels, c.window, c.iterations, c.neighbourhood, c.sigma, 0)

    def __call__(self, previous_HW: "NDArray[np.uint8]", following_HW: "NDArray[np.uint8]") -> "NDArray[np.float32]":
        return calculate(
            "farneback",
            lambda a, b: self._cv2.calcOpticalFlowFarneback(a, b, None, *self._parameters),
            previous_HW,
            following_HW,
        )


def _build(config: FarnebackConfig) -> FlowMethod:
    return Farneback(config)


FLOW = FlowSpec(
    config=FarnebackConfig,
    build=_build,
    summary="Farneback by OpenCV: smooth, about 0.03 s per 340x256 pair.",
    paper="Farneback: Two-Frame Motion Estimation Based on Polynomial Expansion, SCIA 2003",
)
