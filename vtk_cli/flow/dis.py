"""Dense Inverse Search, by OpenCV.

Kroeger, Timofte, Dai, Van Gool: Fast Optical Flow using Dense Inverse Search (ECCV 2016), table 1 for the presets.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from vtk_cli.api.flow import FlowMethod, FlowSpec
from vtk_cli.flow.opencv import calculate, require

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class DisConfig:
    """Parameters of DISOpticalFlow."""

    preset: Literal["ultrafast", "fast", "medium"] = "medium"
    """OpenCV's sets of patch size, stride, iterations and finest scale."""


class Dis:
    def __init__(self, config: DisConfig) -> None:
        """Take the preset; raises PluginError when OpenCV is not installed."""
        self._cv2 = require("dis")
        self._preset = getattr(self._cv2, f"DISOPTICAL_FLOW_PRESET_{config.preset.upper()}")

    def __call__(self, previous_HW: "NDArray[np.uint8]", following_HW: "NDArray[np.uint8]") -> "NDArray[np.float32]":
        # A solver's result depends on the pairs it saw before (1 of 60 random pairs of 40x32). A new one costs nothing
        # that can be measured.
        solver = self._cv2.DISOpticalFlow_create(self._preset)
        return calculate("dis", lambda a, b: solver.calc(a, b, None), previous_HW, following_HW)


def _build(config: DisConfig) -> FlowMethod:
    return Dis(config)


FLOW = FlowSpec(
    config=DisConfig,
    build=_build,
    summary="Dense Inverse Search by OpenCV: 0.002 to 0.015 s per 340x256 pair.",
    paper="Kroeger, Timofte, Dai, Van Gool: Fast Optical Flow using Dense Inverse Search, ECCV 2016",
)
