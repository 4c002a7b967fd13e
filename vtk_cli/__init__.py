"""vtk: datasets, frames and optical flow, training and testing for video action recognition.

    import vtk_cli
    classifier = vtk_cli.load("runs/20261120-1200-stnet-ucf101-1a2b")
    classifier.predict("clip.mp4")

Importing this package imports nothing heavy.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from vtk_cli.evaluate.classifier import Classifier

__all__ = ["__version__", "load"]


def load(
    run_or_weights: str | Path,
    *,
    root: Path | None = None,
    weights: str = "best",
    device: str = "auto",
    clips: int | None = None,
    crops: Literal[1, 3, 5, 10] | None = None,
    segments: int | None = None,
) -> "Classifier":
    """A trained model, ready to name the actions in videos; see `vtk_cli.evaluate.classifier.load`."""
    from vtk_cli.evaluate import classifier

    return classifier.load(
        run_or_weights, root=root, weights=weights, device=device, clips=clips, crops=crops, segments=segments
    )


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("vtk-cli")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
