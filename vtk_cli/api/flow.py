"""What an optical-flow method offers. An entry point of the group `vtk.flow` names a `FlowSpec`."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from vtk_cli import registry

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class FlowMethod(Protocol):
    """Dense flow between two grey pictures. One object serves one process."""

    def __call__(self, previous_HW: "NDArray[np.uint8]", following_HW: "NDArray[np.uint8]") -> "NDArray[np.float32]":
        """flow_2HW in pixels, x then y: what stands at (x, y) before stands at (x + u, y + v) after."""


@runtime_checkable
class BatchFlowMethod(FlowMethod, Protocol):
    """A method that is faster on many pairs at once, as on a GPU. Extraction hands it up to `batch` pairs of a clip."""

    batch: int
    """Pairs; 1 for one at a time."""

    def many(self, previous_NHW: "NDArray[np.uint8]", following_NHW: "NDArray[np.uint8]") -> "NDArray[np.float32]":
        """flow_N2HW: what calls with the single pairs give."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowSpec:
    """A flow plugin. `config` is a frozen dataclass whose fields are what `--set flow.<field>=` changes."""

    config: type[Any]
    build: Callable[[Any], FlowMethod]
    """(config) -> method; raises PluginError when what it needs is not installed."""
    recorded: Callable[[Any], Mapping[str, Any]] = asdict
    """(config) -> what a store's meta.json says of it, JSON values. Leaves out what changes where and how fast flow is
    computed, and not what it is: a store is added to only under the same record."""
    summary: str = ""
    paper: str = ""
    api: int = registry.API_VERSION
