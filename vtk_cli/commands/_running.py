"""What the commands that run a trained model share."""

from typing import TYPE_CHECKING, Literal

from vtk_cli.errors import UsageError

if TYPE_CHECKING:
    from vtk_cli.loader.options import DataOptions

Crops = Literal[1, 3, 5, 10]
CROPS: tuple[Crops, ...] = (1, 3, 5, 10)


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
