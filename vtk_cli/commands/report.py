"""`vtk report`: a run as one HTML file."""

from typing import Annotated

import typer

from vtk_cli.commands._options import Json, Root, complete_run

app = typer.Typer()

Run = Annotated[
    str,
    typer.Argument(help="Run: its name, how its name begins, its folder, or latest.", autocompletion=complete_run),
]


@app.command()
def report(run: Run = "latest", root: Root = None, *, as_json: Json = False) -> None:
    """Write a run's report: curves, accuracy, confusions, sample clips, configuration, all in one HTML file."""
    from vtk_cli import console
    from vtk_cli.report.page import write_report
    from vtk_cli.run_dir import RunDir
    from vtk_cli.workspace import Workspace

    workspace = Workspace.locate(root)
    found = RunDir.find(workspace.runs, run)
    size = write_report(found, workspace)
    if as_json:
        console.emit({"run": found.name, "report": found.report, "bytes": size})
    else:
        print(found.report)
