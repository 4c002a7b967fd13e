"""A run folder for weights that were not trained here, so that their scores are kept and reported as those of a run."""

import os
import shutil
from datetime import UTC, datetime
from pathlib import Path

from vtk_cli.errors import DataError, UsageError
from vtk_cli.evaluate.weights import WeightsInfo, read_metadata
from vtk_cli.run_dir import RunDir, RunInfo
from vtk_cli.workspace import Workspace


def run_of_weights(path: Path, workspace: Workspace, dataset: str) -> RunDir:
    """The run that a file of weights belongs to: the one it lies in, else <root>/runs/<its name>, made for it.

    Raises:
        CheckpointError: the file is damaged or no whole model.
        UsageError: a run that was trained has that name.
        DataError: the folder cannot be written.
    """
    own = RunDir(path.absolute().parent.parent)
    if own.checkpoints == path.absolute().parent and (own.path / "run.json").is_file():
        return own
    run = RunDir(workspace.runs / path.stem)
    if run.config.exists():
        raise UsageError(
            f"The scores of {path} should lie in {run.path}, found a run that was trained there. Name it: "
            f"`vtk test {run.name} --weights {path}`."
        )
    info = WeightsInfo.from_metadata(path, read_metadata(path))
    run.path.mkdir(parents=True, exist_ok=True)
    run.write_info(
        RunInfo(
            model=info.model,
            dataset=info.dataset or dataset,
            classes=info.classes,
            label_order=info.label_order,
            flip=info.flip,
            multi_label=info.multi_label,
            splits={},
            stores=info.stores,
            status="finished",
            created=datetime.now(UTC).isoformat(timespec="seconds"),
        )
    )
    _link(path, run.checkpoints / "best.safetensors")
    return run


def _link(path: Path, target: Path) -> None:
    """The same file under another name, a copy where the file system has no links."""
    try:
        target.parent.mkdir(exist_ok=True)
        target.unlink(missing_ok=True)
        try:
            os.link(path, target)
        except OSError:
            shutil.copyfile(path, target)
    except OSError as error:
        raise DataError(
            f"{target} cannot be written: {error.strerror}. Free space or choose another --root."
        ) from error
