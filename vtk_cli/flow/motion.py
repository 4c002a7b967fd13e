"""What is computed of pairs of pictures: a method's flow and, if wanted, flow without the camera's motion."""

from collections import Counter
from typing import TYPE_CHECKING

from vtk_cli.api.flow import BatchFlowMethod, FlowMethod
from vtk_cli.flow.warp import Camera, WarpConfig

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Motion:
    """A `BatchFlowMethod` whose results have one more axis: flow_NK2HW, K being flow and then warped flow, if wanted.

    Flow, which warped flow begins with, is computed once for both.
    """

    def __init__(self, method: FlowMethod, warp: WarpConfig | None = None) -> None:
        """`warp`: None where no warped flow is wanted; raises PluginError when OpenCV is not installed for it."""
        self.batch = max(1, method.batch) if isinstance(method, BatchFlowMethod) else 1
        self.warped = warp is not None
        """Whether warped flow is computed; may be switched off and on from clip to clip."""
        self._method = method
        self._camera = None if warp is None else Camera(warp)
        self._pairs = 0
        self._left: Counter[str] = Counter()

    def __call__(self, previous_HW: "NDArray[np.uint8]", following_HW: "NDArray[np.uint8]") -> "NDArray[np.float32]":
        flow_NK2HW = self.many(previous_HW[None], following_HW[None])
        flow_K2HW: NDArray[np.float32] = flow_NK2HW[0]
        return flow_K2HW

    def many(self, previous_NHW: "NDArray[np.uint8]", following_NHW: "NDArray[np.uint8]") -> "NDArray[np.float32]":
        import numpy as np

        flow_N2HW = self._solve(previous_NHW, following_NHW)
        if self._camera is None or not self.warped:
            return flow_N2HW[:, None]
        return np.stack([flow_N2HW, self._hold(self._camera, previous_NHW, following_NHW, flow_N2HW)], axis=1)

    def take_note(self) -> str:
        """What could not be compensated since the last question; a clip ends here."""
        pairs, left = self._pairs, self._left
        self._pairs, self._left = 0, Counter()
        if not left:
            return ""
        causes = ", ".join(f"{count} {cause}" for cause, count in sorted(left.items()))
        return f"camera motion not compensated in {left.total()} of {pairs} pairs ({causes})"

    def _hold(
        self,
        camera: Camera,
        previous_NHW: "NDArray[np.uint8]",
        following_NHW: "NDArray[np.uint8]",
        flow_N2HW: "NDArray[np.float32]",
    ) -> "NDArray[np.float32]":
        """Flow to the pictures that a still camera would have taken; the flow given where that is not known."""
        import numpy as np

        held = {}
        for number, pair in enumerate(zip(previous_NHW, following_NHW, flow_N2HW, strict=True)):
            picture_HW, cause = camera.hold(*pair)
            self._left.update([cause] if cause else [])
            if picture_HW is not None:
                held[number] = picture_HW
        self._pairs += len(previous_NHW)
        warped_N2HW = flow_N2HW.copy()
        if held:
            numbers = list(held)
            warped_N2HW[numbers] = self._solve(previous_NHW[numbers], np.stack(list(held.values())))
        return warped_N2HW

    def _solve(self, previous_NHW: "NDArray[np.uint8]", following_NHW: "NDArray[np.uint8]") -> "NDArray[np.float32]":
        import numpy as np

        if self.batch > 1 and isinstance(self._method, BatchFlowMethod):
            return self._method.many(previous_NHW, following_NHW)
        return np.stack([self._method(*pair) for pair in zip(previous_NHW, following_NHW, strict=True)])
