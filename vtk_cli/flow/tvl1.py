"""TV-L1, the flow of TSN and most two-stream work, by OpenCV's contributed DualTVL1OpticalFlow.

Zach, Pock, Bischof: A Duality Based Approach for Realtime TV-L1 Optical Flow (2007), section 3; the numerical scheme
and the names of its parameters: Sanchez, Meinhardt-Llopis, Facciolo: TV-L1 Optical Flow Estimation (IPOL 2013).
The defaults are OpenCV's (modules/optflow/src/tvl1flow.cpp); dense_flow and denseflow use them unchanged.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from vtk_cli.api.flow import FlowMethod, FlowSpec
from vtk_cli.errors import UsageError
from vtk_cli.flow.opencv import calculate, check_above, require

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class TvL1Config:
    """Parameters of DualTVL1OpticalFlow, with OpenCV's defaults."""

    tau: float = 0.25
    """Time step of the dual variable; at most 0.25 converges for certain."""
    lambda_: float = 0.15
    """Weight of the data term: smaller gives smoother flow."""
    theta: float = 0.3
    """Tightness of the coupling between the two parts of the energy."""
    scales: int = 5
    """Levels of the picture pyramid; levels below 16 pixels are left out."""
    scale_step: float = 0.8
    """Size of a level over the size of the next finer one; between 0 and 1."""
    warps: int = 5
    """Linearisations of the data term per level."""
    epsilon: float = 0.01
    """Iterations stop when the flow's mean square change per pixel falls below this squared."""
    inner_iterations: int = 30
    """Iterations between two medians."""
    outer_iterations: int = 10
    """Medians per warp."""
    median: Literal[1, 3, 5] = 5
    """Side of the median filter in pixels; 1 is none."""

    def __post_init__(self) -> None:
        check_above("tvl1", self, least=1, names=("scales", "warps", "inner_iterations", "outer_iterations"))
        check_above("tvl1", self, least=0, names=("tau", "lambda_", "theta", "scale_step", "epsilon"), strictly=True)
        if self.scale_step >= 1:
            raise UsageError(f"flow.scale_step should be below 1, found {self.scale_step}. Use 0.8.")


class TvL1:
    """OpenCV's solver; it keeps its buffers, so one object serves one process."""

    def __init__(self, config: TvL1Config) -> None:
        """Make a solver; raises PluginError when OpenCV's contributed modules are not installed."""
        self._solver = require("tvl1", "optflow").optflow.DualTVL1OpticalFlow_create(
            tau=config.tau,
            lambda_=config.lambda_,
            theta=config.theta,
            nscales=config.scales,
            warps=config.warps,
            epsilon=config.epsilon,
            innnerIterations=config.inner_iterations,  # OpenCV's spelling
            outerIterations=config.outer_iterations,
            scaleStep=config.scale_step,
            medianFiltering=config.median,
        )

    def __call__(self, previous_HW: "NDArray[np.uint8]", following_HW: "NDArray[np.uint8]") -> "NDArray[np.float32]":
        return calculate("tvl1", lambda a, b: self._solver.calc(a, b, None), previous_HW, following_HW)


def _build(config: TvL1Config) -> FlowMethod:
    return TvL1(config)


FLOW = FlowSpec(
    config=TvL1Config,
    build=_build,
    summary="TV-L1 by OpenCV: TSN's flow; sharp edges, 1 to 3 s per 340x256 pair.",
    paper="Zach, Pock, Bischof: A Duality Based Approach for Realtime TV-L1 Optical Flow, DAGM 2007",
)
