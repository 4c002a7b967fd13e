"""TV-L1, the flow of TSN and most two-stream work, by vtk's own engines: compiled for CPUs, torch for GPUs.

Zach, Pock, Bischof: A Duality Based Approach for Realtime TV-L1 Optical Flow (2007), section 3; the numerical scheme
and the names of its parameters: Sanchez, Meinhardt-Llopis, Facciolo: TV-L1 Optical Flow Estimation (IPOL 2013). Scheme
and defaults are those of OpenCV's DualTVL1OpticalFlow, which dense_flow and denseflow use unchanged.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from vtk_cli.api.flow import FlowMethod, FlowSpec
from vtk_cli.errors import UsageError
from vtk_cli.flow.opencv import check_above

_HOW = frozenset({"engine", "device", "batch"})
"""Where and how fast flow is computed, not what it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TvL1Config:
    """Parameters of TV-L1, with OpenCV's defaults."""

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
    engine: Literal["auto", "kernel", "torch"] = "auto"
    """kernel: compiled, on the CPU. torch: any device. auto: kernel on the CPU where it was built, else torch."""
    device: str = "cpu"
    """cpu, cuda or cuda:N; a GPU wants torch and a batch."""
    batch: int = 32
    """Pairs that torch computes at once; the kernel takes one after the other."""

    def __post_init__(self) -> None:
        counts = ("scales", "warps", "inner_iterations", "outer_iterations", "batch")
        check_above("tvl1", self, least=1, names=counts)
        check_above("tvl1", self, least=0, names=("tau", "lambda_", "theta", "scale_step", "epsilon"), strictly=True)
        if self.scale_step >= 1:
            raise UsageError(f"flow.scale_step should be below 1, found {self.scale_step}. Use 0.8.")
        if self.engine == "kernel" and self.device != "cpu":
            raise UsageError(
                f"flow.engine=kernel runs on the CPU, found flow.device={self.device}. Use flow.engine=torch there."
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class FastTvL1Config(TvL1Config):
    """Parameters that give up little accuracy for speed; docs/flow.md has the measurements."""

    scales: int = 3
    scale_step: float = 0.5
    warps: int = 3
    epsilon: float = 0.02


def engine_of(config: TvL1Config) -> str:
    """The engine that a configuration means on this machine: kernel or torch."""
    from vtk_cli.flow.tvl1_kernel import absence

    if config.engine != "auto":
        return config.engine
    return "kernel" if config.device == "cpu" and not absence() else "torch"


def _build(config: TvL1Config) -> FlowMethod:
    if engine_of(config) == "kernel":
        from vtk_cli.flow.tvl1_kernel import KernelTvL1

        return KernelTvL1(config)
    from vtk_cli.flow.tvl1_torch import TorchTvL1

    return TorchTvL1(config, config.device, config.batch)


def _recorded(config: TvL1Config) -> Mapping[str, Any]:
    return {name: value for name, value in asdict(config).items() if name not in _HOW}


_PAPER = "Zach, Pock, Bischof: A Duality Based Approach for Realtime TV-L1 Optical Flow, DAGM 2007"

FLOW = FlowSpec(
    config=TvL1Config,
    build=_build,
    recorded=_recorded,
    summary="TV-L1 as OpenCV's: TSN's flow, sharp edges; compiled for CPUs, torch for GPUs.",
    paper=_PAPER,
)
FAST = FlowSpec(
    config=FastTvL1Config,
    build=_build,
    recorded=_recorded,
    summary="TV-L1 with fewer, coarser scales and a looser end: four times as fast, nearly as exact.",
    paper=_PAPER,
)
