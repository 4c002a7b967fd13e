"""Which scores file a user of `vtk fuse` means."""

from collections.abc import Sequence
from pathlib import Path

from vtk_cli.errors import DataError, UsageError
from vtk_cli.evaluate.scores_file import ScoresFile
from vtk_cli.run_dir import RunDir
from vtk_cli.workspace import Workspace


def find_scores(given: str, workspace: Workspace, split: str | None) -> Path:
    """The scores file that a user means: the file itself, or a run's of a split, by default the one that tests.

    Raises:
        UsageError: there is no such file or run, or the run has several splits and none is named.
        DataError: the run has no scores of the split.
    """
    if given.endswith(".npz"):
        if not Path(given).is_file():
            raise UsageError(f"There is no scores file at {given}. Check the path, or name a run.")
        return Path(given)
    run = RunDir.find(workspace.runs, given)
    there = sorted(path.stem for path in run.scores.glob("*.npz"))
    test = run.info().splits.get("test")
    wanted = split or (test if test in there else there[0] if len(there) == 1 else test)
    if wanted in there:
        return run.scores / f"{wanted}.npz"
    if wanted is None and there:
        raise UsageError(f"{run.name} has scores of {', '.join(there)}. Name one of them with --split.")
    raise _untested(run, wanted, there)


def beside(file: ScoresFile, split: str) -> Path:
    """The scores of another split that lie beside these; raises DataError where there are none."""
    prefix = file.path.stem.removesuffix(file.split) if file.path.stem.endswith(file.split) else ""
    path = file.path.with_name(f"{prefix}{split}.npz")
    if path.is_file():
        return path
    if file.run is not None:
        raise _untested(file.run, split, sorted(path.stem for path in file.run.scores.glob("*.npz")))
    raise DataError(f"Scores of the split {split} should lie at {path}, beside {file.path}. Put them there.")


def _untested(run: RunDir, split: str | None, there: Sequence[str]) -> DataError:
    of = f" of the split {split}" if split else ""
    option = f" --split {split}" if split else ""
    return DataError(
        f"The run {run.name} should have scores{of}, found {', '.join(there) or 'none'}. Make them: "
        f"`vtk test {run.name}{option}`."
    )
