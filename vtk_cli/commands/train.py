"""`vtk train MODEL [DATASET]`: train a model, or go on with a run."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vtk_cli.commands._options import Config, DatasetName, Json, Root, Set, complete_model, complete_run
from vtk_cli.errors import UsageError

if TYPE_CHECKING:
    from vtk_cli.run_dir import RunDir

app = typer.Typer()

Model = Annotated[
    str | None,
    typer.Argument(help="Model; `vtk models` lists them.", show_default=False, autocompletion=complete_model),
]
Init = Annotated[
    str | None,
    typer.Option(
        "--init",
        metavar="auto|none|NAME|FILE",
        help="Weights to start from: what the model's paper starts from (the default), none, a published name, a file.",
        show_default=False,
    ),
]
Resume = Annotated[
    str | None,
    typer.Option("--resume", metavar="RUN", help="Go on with a run.", show_default=False, autocompletion=complete_run),
]
Split = Annotated[
    str | None, typer.Option("--split", help="Split to train on; else the dataset's own.", show_default=False)
]
ValSplit = Annotated[
    str | None,
    typer.Option("--val-split", help="Split to validate on after each epoch; else the dataset's.", show_default=False),
]
CheckpointEvery = Annotated[
    str | None,
    typer.Option(
        "--checkpoint-every",
        metavar="STEPS|TIME",
        help="Besides the end of each epoch: 500 (steps), 90s, 10min, 2h, or 0 for never.",
        show_default=False,
    ),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show shapes, sizes, steps and schedule; train nothing.")]


@app.command()
def train(
    model: Model = None,
    dataset: DatasetName = None,
    config: Config = None,
    assignments: Set = None,
    init: Init = None,
    split: Split = None,
    val_split: ValSplit = None,
    checkpoint_every: CheckpointEvery = None,
    resume: Resume = None,
    root: Root = None,
    *,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Train a model on a dataset; the recipe is the model's own and every value of it can be changed.

    Settings come from the model, then from --config, then from --set: sections model, train, data and run.
    Ctrl-C, SIGTERM and SIGUSR1 end a run after the step it is in, with a checkpoint and exit code 75; --resume goes on
    as if it had not been interrupted.
    """
    flags = {"init": init, "checkpoint_every": checkpoint_every}
    settings = [*(assignments or ()), *(f"run.{key}={json.dumps(value)}" for key, value in flags.items() if value)]
    if resume is not None:
        fixed = {"MODEL": model, "--config": config, "--init": init, "--split": split, "--val-split": val_split}
        given = [name for name, value in fixed.items() if value is not None]
        if given or dry_run:
            raise UsageError(
                f"--resume takes model, dataset and settings from the run, found {', '.join(given or ['--dry-run'])} "
                "beside it. Leave that out."
            )
        run = _resume(resume, settings, root)
    elif model is None:
        raise UsageError("Name a model (`vtk models` lists them), or a run with --resume.")
    else:
        splits = {use: name for use, name in (("train", split), ("val", val_split)) if name}
        found = _new(model, dataset, config, settings, splits, root, dry_run=dry_run, as_json=as_json)
        if found is None:
            return
        run = found
    _tell(run, root, as_json=as_json)


def _new(
    model: str,
    dataset: str | None,
    config: Path | None,
    settings: list[str],
    splits: dict[str, str],
    root: Path | None,
    *,
    dry_run: bool,
    as_json: bool,
) -> "RunDir | None":
    from vtk_cli import console
    from vtk_cli.train.job import Job
    from vtk_cli.workspace import Workspace

    workspace = Workspace.locate(root)
    job = Job.new(workspace, model=model, dataset=dataset, file=config, assignments=settings, splits=splits)
    if not dry_run:
        return job.start()
    from vtk_cli.train.dry_run import describe

    found = describe(job)
    if as_json:
        console.emit(found)
    else:
        groups = found.pop("groups")
        console.table([{"setting": key, "value": str(value)} for key, value in found.items()], ["setting", "value"])
        print()
        console.table(groups, ["name", "tensors", "lr_mult", "decay_mult"])
    return None


def _resume(name: str, settings: list[str], root: Path | None) -> "RunDir":
    from vtk_cli.run_dir import RunDir
    from vtk_cli.train.job import Job
    from vtk_cli.workspace import Workspace

    workspace = Workspace.locate(root)
    run = RunDir.find(workspace.runs, name)
    if run.path.resolve().parent.name == "runs":  # a run that is named by its folder brings its workspace with it
        workspace = Workspace(run.path.resolve().parents[1])
    job, changed = Job.resumed(workspace, run, settings)
    job.resume(run, changed)
    return run


def _tell(run: "RunDir", root: Path | None, *, as_json: bool) -> None:
    from vtk_cli import console

    info = run.info()
    epochs = list(run.read_log("epoch"))
    if as_json:
        last = {key: value for key, value in (epochs[-1] if epochs else {}).items() if key not in ("kind", "time")}
        console.emit({"run": run.name, "path": run.path, "status": info.status, "last": last, "best": info.best})
        return
    best = {key: int(value) + 1 if key == "epoch" else value for key, value in info.best.items()}  # people count from 1
    console.table([{"run": run.name, "status": info.status, **best}], ["run", "status", *best])
    console.say(f"Next: vtk test {run.name}{f' --root {root}' if root else ''}")
