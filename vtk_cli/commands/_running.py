"""What the commands that run a trained model share."""

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from vtk_cli.errors import UsageError

if TYPE_CHECKING:
    from vtk_cli.loader.options import DataOptions
    from vtk_cli.workspace import Workspace

Crops = Literal[1, 3, 5, 10]
CROPS: tuple[Crops, ...] = (1, 3, 5, 10)


def other_weights(weights: str, workspace: "Workspace") -> Path | None:
    """The file that `--weights FILE` or `--weights NAME` means; None for a run's own best and last.

    Raises:
        UsageError: nothing has that name.
        FetchError: they are published, not here, and cannot be fetched.
    """
    from vtk_cli.evaluate.published import find_weights

    if weights in ("best", "last"):
        return None
    return find_weights(weights, workspace, "--weights takes best, last or")


def names_run(word: str | None, workspace: "Workspace") -> bool:
    """Whether the first word of a command that has `--weights FILE` is a RUN, which it may leave out."""
    from vtk_cli.run_dir import RunDir

    if word is None or word in workspace.datasets() or Path(word).is_file():
        return False
    try:
        RunDir.find(workspace.runs, word)
    except UsageError:
        return False
    return True


def data_options(assignments: list[str] | None) -> "DataOptions":
    """The section `data` with what `--set data.<field>=` changes."""
    from vtk_cli.config import resolve
    from vtk_cli.loader.options import DataOptions

    options: DataOptions = resolve({"data": DataOptions()}, assignments=assignments or ())["data"]
    return options


def spatial_views(number: int | None) -> Crops | None:
    """`--crops`, checked."""
    if number is None:
        return None
    for crops in CROPS:
        if crops == number:
            return crops
    raise UsageError(f"--crops takes 1, 3, 5 or 10, found {number}.")
