"""`vtk extract --features`: what a trained model makes of clips, into a store."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from vtk_cli.errors import UsageError

if TYPE_CHECKING:
    from vtk_cli.extract.run import Summary
    from vtk_cli.workspace import Workspace

READING = ("data.store", "data.decoder", "data.workers", "data.prefetch", "data.pin", "data.view_batch")
"""What --set changes with --features."""


def extract_features(
    dataset: str | None,
    root: Path | None,
    run: str,
    weights: str,
    device: str,
    settings: list[str],
    *,
    count: int | None,
    stride: int | None,
    **request: Any,
) -> "Summary":
    """`settings`: data.KEY=VALUE; `request`: the rest of a `FeatureRequest`."""
    from vtk_cli.commands._running import data_options
    from vtk_cli.evaluate.classifier import load
    from vtk_cli.evaluate.feature_store import FeatureRequest
    from vtk_cli.evaluate.feature_store import extract_features as extract
    from vtk_cli.evaluate.feature_windows import STRIDE, FeatureWindows
    from vtk_cli.workspace import Workspace

    for key in (text.partition("=")[0].strip() for text in settings):
        if key.startswith("data.") and key not in READING:
            raise UsageError(f"With --features, --set takes {', '.join(READING)}; found {key}.")
    windows = FeatureWindows(count=count, stride=STRIDE if count is None and stride is None else stride)
    wanted = FeatureRequest(windows=windows, options=data_options(settings), **request)
    workspace = Workspace.locate(root)
    folder = workspace.dataset(dataset)
    network = load(
        _network(run, workspace), root=root, weights=weights, device=device, view_batch=wanted.options.view_batch
    )
    return extract(folder, network, wanted)


def _network(given: str, workspace: "Workspace") -> str | Path:
    """A run as it is named; else the file of weights that a name means, which may have to be fetched."""
    from vtk_cli.evaluate.published import find_weights
    from vtk_cli.run_dir import RunDir

    try:
        return RunDir.find(workspace.runs, given).path
    except UsageError:
        return find_weights(given, workspace, "--features takes a run (`vtk runs` lists them),")
