"""`vtk runs`: list, show and compare training runs."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from vtk_cli.commands._options import Json, Listing, Root, complete_run

if TYPE_CHECKING:
    from collections.abc import Iterable

    from vtk_cli.report.summary import Difference, RunSummary

app = typer.Typer(cls=Listing, help="List, show and compare training runs; plain `vtk runs` lists them.")

Run = Annotated[
    str,
    typer.Argument(help="Run: its name, how its name begins, its folder, or latest.", autocompletion=complete_run),
]


@app.command("list")
def list_(root: Root = None, *, as_json: Json = False) -> None:
    """Every run with its state and accuracy, oldest first."""
    from dataclasses import asdict

    from vtk_cli import console
    from vtk_cli.report.summary import list_runs
    from vtk_cli.workspace import Workspace

    workspace = Workspace.locate(root)
    found = list_runs(workspace.runs)
    if as_json:
        console.emit([asdict(run) for run in found])
    elif found:
        console.table([_line(run) for run in found], list(_line(found[0])))
    else:
        console.say(f"There are no runs in {workspace.runs}. Make one with `vtk train MODEL`.")


@app.command()
def show(run: Run = "latest", root: Root = None, *, as_json: Json = False) -> None:
    """One run: its configuration, its numbers and where its files are."""
    from dataclasses import asdict

    from vtk_cli import console
    from vtk_cli.report import summary
    from vtk_cli.run_dir import RunDir
    from vtk_cli.workspace import Workspace

    found = RunDir.find(Workspace.locate(root).runs, run)
    info = found.info()
    paths = {"run": found.path, "checkpoints": found.checkpoints, "scores": found.scores, "report": found.report}
    there = {name: path for name, path in paths.items() if path.exists()}
    measured, configuration = summary.measured(found), summary.configuration(found)
    if as_json:
        console.emit({**asdict(info), "name": found.name, "metrics": measured, "config": configuration, "paths": there})
        return
    print(f"{found.name}\n{info.model} on {info.dataset} ({len(info.classes)} classes), started {info.created}\n")
    _pairs(measured.items())
    _pairs(configuration.items())
    _pairs(there.items())


@app.command()
def diff(a: Run, b: Run, root: Root = None, *, as_json: Json = False) -> None:
    """What differs between two runs: settings and numbers side by side."""
    from dataclasses import asdict

    from vtk_cli import console
    from vtk_cli.report import summary
    from vtk_cli.run_dir import RunDir
    from vtk_cli.workspace import Workspace

    runs = Workspace.locate(root).runs
    first, second = RunDir.find(runs, a), RunDir.find(runs, b)
    config, metrics = summary.diff(first, second)
    if as_json:
        sections = {"config": config, "metrics": metrics}
        listed = {name: [asdict(found) for found in differences] for name, differences in sections.items()}
        console.emit({"a": first.name, "b": second.name, **listed})
        return
    _side_by_side("setting", config, first.name, second.name)
    _side_by_side("result", metrics, first.name, second.name)


def _line(run: "RunSummary") -> dict[str, Any]:
    planned = f"{run.epochs_done}/{run.epochs}" if run.epochs else str(run.epochs_done)
    return {
        "name": run.name,
        "model": run.model,
        "dataset": run.dataset,
        "status": run.status,
        "epochs": planned,
        "val top-1": _percent(run.best_val_top1),
        "test top-1": _percent(run.test_top1),
        "started": run.created[:16].replace("T", " "),
    }


def _percent(share: float | None) -> str:
    return "" if share is None else f"{share * 100:.1f} %"


def _pairs(items: "Iterable[tuple[str, Any]]") -> None:
    shown = [(key, value) for key, value in items if value is not None]
    width = max((len(key) for key, _ in shown), default=0)
    for key, value in shown:
        print(f"{key.ljust(width)}  {value:.4g}" if isinstance(value, float) else f"{key.ljust(width)}  {value}")
    print()


def _side_by_side(what: str, found: "list[Difference]", a: str, b: str) -> None:
    from vtk_cli import console

    if not found:
        print(f"No {what} differs.\n")
        return
    rows = [{what: one.key, a: _said(one.a), b: _said(one.b)} for one in found]
    console.table(rows, [what, a, b])
    print()


def _said(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
