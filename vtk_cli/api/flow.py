"""What an optical-flow method offers. An entry point of the group `vtk.flow` names a `FlowSpec`."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from vtk_cli import registry

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class FlowMethod(Protocol):
    """Dense flow between two grey pictures. One object serves one process."""

    def __call__(self, previous_HW: "NDArray[np.uint8]", following_HW: "NDArray[np.uint8]") -> "NDArray[np.float32]":
        """flow_2HW in pixels, x then y: what stands at (x, y) before stands at (x + u, y + v) after."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowSpec:
    """A flow plugin. `config` is a frozen dataclass whose fields are what `--set flow.<field>=` changes."""

    config: type[Any]
    build: Callable[[Any], FlowMethod]
    """(config) -> method; raises PluginError when what it needs is not installed."""
    summary: str = ""
    paper: str = ""
    api: int = registry.API_VERSION
