"""What a metric offers. An entry point of the group `vtk.metrics` names a `MetricSpec`."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from vtk_cli import registry

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricSpec:
    """One number over a whole split."""

    compute: "Callable[[NDArray[np.float64], NDArray[np.int64]], float]"
    """(scores_BK, labels_B) -> value in [0, 1]; for `labels="multi"` the labels are a 0/1 matrix labels_BK."""
    labels: Literal["single", "multi"] = "single"
    summary: str = ""
    api: int = registry.API_VERSION
