"""What the flow methods that come from OpenCV share."""

from typing import TYPE_CHECKING, Any

from vtk_cli.errors import PluginError, UsageError, VideoError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

INSTALL = 'pip install "vtk-cli[opencv]"'


def require(method: str) -> Any:
    """The module cv2, held to one thread: vtk computes as many clips at once as there are cores.

    Raises:
        PluginError: OpenCV is not installed.
    """
    try:
        import cv2
    except ImportError as error:
        raise PluginError(
            f"The flow method {method} needs OpenCV, which does not import ({error}). Run: {INSTALL}"
        ) from error
    cv2.setNumThreads(1)
    return cv2


def calculate(
    method: str, solve: Any, previous_HW: "NDArray[np.uint8]", following_HW: "NDArray[np.uint8]"
) -> "NDArray[np.float32]":
    """Run one of OpenCV's solvers and bring its HW2 result to flow_2HW.

    Raises:
        VideoError: OpenCV refuses the pictures (DIS: smaller than its patches).
    """
    import cv2
    import numpy as np

    try:
        flow_HW2 = solve(previous_HW, following_HW)
    except cv2.error as error:
        height, width = previous_HW.shape
        raise VideoError(
            f"The flow method {method} cannot work on pictures of {width}x{height}: {error}. Use another method or a "
            "larger short side."
        ) from error
    return np.ascontiguousarray(np.moveaxis(flow_HW2, 2, 0))


def check_above(method: str, config: Any, *, least: float, names: tuple[str, ...], strictly: bool = False) -> None:
    """Raises UsageError where one of a configuration's numbers is too small to compute with."""
    for name in names:
        value = getattr(config, name)
        if value < least or (strictly and value == least):
            raise UsageError(
                f"flow.{name} of {method} should be {'above' if strictly else 'at least'} {least}, found {value}. "
                f"`vtk flows show {method}` prints the defaults."
            )
