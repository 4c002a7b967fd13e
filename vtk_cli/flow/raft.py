"""RAFT, a network that refines flow step by step, with torchvision's modules and published weights.

Teed, Deng: RAFT: Recurrent All-Pairs Field Transforms for Optical Flow (ECCV 2020). torchvision's
models/optical_flow/raft.py is the network; pictures are padded as the original does (core/utils/utils.py, InputPadder).
The weights learned from colour pictures; here they get grey ones, three times the same plane.
"""

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from vtk_cli.api.flow import FlowMethod, FlowSpec
from vtk_cli.errors import PluginError, UsageError, VideoError
from vtk_cli.flow.opencv import check_above
from vtk_cli.flow.raft_weights import digest, find_weights, load_weights

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

MULTIPLE = 8
"""Pixels; the features have an eighth of the picture's size."""
LEAST = 128
"""Pixels; below, nothing is left of the features at the fourth level of the correlation pyramid."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RaftConfig:
    """Which network, and where it runs."""

    variant: Literal["large", "small"] = "large"
    """5.3 or 1.0 million parameters."""
    weights: str = ""
    """File of torchvision's weights, .pth or .safetensors; empty for its default where torch.hub keeps what it
    fetched. A store records "sha256:" and the file's digest, which is taken here too and looked for in that folder."""
    iterations: int = 12
    """Updates of the flow; more cost more and change less and less."""
    device: str = "auto"
    """auto, cpu, cuda or cuda:N; auto takes a GPU where there is one."""
    batch: int = 16
    """Pairs at once on a GPU. The CPU takes one at a time, in one thread."""

    def __post_init__(self) -> None:
        check_above("raft", self, least=1, names=("iterations", "batch"))


class Padding(NamedTuple):
    """Pixels that are added at each side."""

    left: int
    right: int
    top: int
    bottom: int


class Raft:
    """The network in evaluation mode on one device."""

    def __init__(self, config: RaftConfig) -> None:
        """Load the weights.

        Raises:
            PluginError: torchvision is not installed, or was made for another PyTorch.
            UsageError: there is no such device.
            CheckpointError: there are no weights, or they are damaged or of another network.
        """
        build = getattr(_torchvision(), f"raft_{config.variant}")
        self._device = _device(config.device)
        self._iterations = config.iterations
        self.batch = config.batch if self._device.type == "cuda" else 1
        network = build(weights=None, progress=False)
        load_weights(network, find_weights(config.weights, config.variant), config.variant)
        self._network = network.to(self._device).eval()

    def __call__(self, previous_HW: "NDArray[np.uint8]", following_HW: "NDArray[np.uint8]") -> "NDArray[np.float32]":
        flow_2HW: NDArray[np.float32] = self.many(previous_HW[None], following_HW[None])[0]
        return flow_2HW

    def many(self, previous_NHW: "NDArray[np.uint8]", following_NHW: "NDArray[np.uint8]") -> "NDArray[np.float32]":
        """flow_N2HW; the network sees the pictures padded, and its flow is cut to them again.

        Raises:
            VideoError: the GPU's memory is too small for so many pairs.
        """
        import numpy as np
        import torch

        _, height, width = previous_NHW.shape
        added = padding(height, width)
        with torch.inference_mode(), _exact(self._device):
            try:
                pictures = [self._prepared(greys, added) for greys in (previous_NHW, following_NHW)]
                flow = self._network(*pictures, num_flow_updates=self._iterations)[-1].cpu().numpy()
            except torch.OutOfMemoryError as error:
                raise VideoError(
                    f"The memory of {self._device} is too small for {len(previous_NHW)} pairs of {width}x{height} at "
                    "once. Use fewer --workers, a smaller flow.batch or flow.device=cpu."
                ) from error
        cut = flow[:, :, added.top : added.top + height, added.left : added.left + width]
        return np.ascontiguousarray(cut)

    def _prepared(self, grey_NHW: "NDArray[np.uint8]", added: Padding) -> "torch.Tensor":
        """picture_N3HW in -1..1, as torchvision's transform of these weights has it, its borders repeated outwards."""
        import torch
        from torch.nn.functional import pad

        grey_N1HW = torch.tensor(grey_NHW, device=self._device)[:, None]
        scaled = grey_N1HW.float().div(255).sub(0.5).div(0.5)
        return pad(scaled, added, mode="replicate").expand(-1, 3, -1, -1).contiguous()


def padding(height: int, width: int) -> Padding:
    """What brings a picture to the next multiples of 8, and to 128 at least, in its middle.

    >>> padding(256, 340)
    Padding(left=2, right=2, top=0, bottom=0)
    >>> padding(100, 129)
    Padding(left=3, right=4, top=14, bottom=14)
    """
    more_x, more_y = (max(LEAST, -(-size // MULTIPLE) * MULTIPLE) - size for size in (width, height))
    return Padding(more_x // 2, more_x - more_x // 2, more_y // 2, more_y - more_y // 2)


def _torchvision() -> Any:
    try:
        return importlib.import_module("torchvision.models.optical_flow")
    except (ImportError, RuntimeError, AttributeError, OSError) as error:  # all but the first: made for another torch
        import torch

        raise PluginError(
            f"The flow method raft needs torchvision, which does not import ({error}). Run: "
            f'pip install "vtk-cli[zoo]". It must be made for the PyTorch that is here, {torch.__version__}: take both '
            "from one index, as https://pytorch.org/get-started says."
        ) from error


def _device(name: str) -> "torch.device":
    import torch

    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:  # torch asserts that it was built with CUDA
        raise UsageError(
            f'flow.device takes auto, cpu, cuda or cuda:N of this machine, found "{name}". See `vtk doctor`.'
        ) from error
    return device


@contextmanager
def _exact(device: "torch.device") -> Iterator[None]:
    """One thread on the CPU, where vtk computes as many clips at once as there are cores; single precision on a GPU.

    Its convolutions would else round factors to 10 bits (TF32), and a store would depend on where it was made.
    """
    import torch

    threads = torch.get_num_threads()
    if device.type == "cpu":
        torch.set_num_threads(1)
    try:
        with torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False):
            yield
    finally:
        torch.set_num_threads(threads)


def _recorded(config: RaftConfig) -> dict[str, Any]:
    """What makes the flow what it is: the network and its weights, not the device."""
    weights = digest(find_weights(config.weights, config.variant))
    return {"variant": config.variant, "weights": weights, "iterations": config.iterations}


def _build(config: RaftConfig) -> FlowMethod:
    return Raft(config)


FLOW = FlowSpec(
    config=RaftConfig,
    build=_build,
    recorded=_recorded,
    summary="RAFT by torchvision: a network, for GPUs (CPU: 2 s per 340x256 pair); needs its weights (flow.weights).",
    paper="Teed, Deng: RAFT: Recurrent All-Pairs Field Transforms for Optical Flow, ECCV 2020",
)
