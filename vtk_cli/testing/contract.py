"""What the contracts of models and trunks share."""

from typing import Any

from torch import Tensor

from vtk_cli.errors import CheckpointError


class Contract:
    """Its tests use no fixtures, so they run without pytest too."""

    @classmethod
    def names(cls) -> list[str]:
        """The tests by name."""
        return [name for name in dir(cls) if name.startswith("test_")]


def refusal(layout: Any, checkpoint: dict[str, Tensor]) -> str:
    """With which message a layout refuses a checkpoint; empty if it takes it."""
    try:
        layout(checkpoint)
    except CheckpointError as error:
        return str(error)
    return ""
