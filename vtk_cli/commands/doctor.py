"""`vtk doctor`: what works on this machine, and what to do about what does not."""

import typer

from vtk_cli.commands._options import Json, Root

app = typer.Typer()


@app.command()
def doctor(root: Root = None, *, as_json: Json = False) -> None:
    """Load every backend for real and say what to do about each that fails; exit code 4 if a required one does."""
    from dataclasses import asdict

    from vtk_cli import console
    from vtk_cli.doctor.check import examine
    from vtk_cli.errors import PluginError
    from vtk_cli.workspace import Workspace

    found = examine(Workspace.locate(root).root)
    if as_json:
        console.emit([asdict(finding) for finding in found])
    else:
        name_width = max(len(finding.name) for finding in found)
        for finding in found:
            line = f"{finding.name:<{name_width}}  {finding.status:<13}  {finding.detail}"
            print(f"{line}. {finding.advice}" if finding.advice else line)
    broken = [finding.name for finding in found if finding.required and finding.status != "ok"]
    if broken:
        raise PluginError(
            f"vtk needs {', '.join(broken)}, which {'do' if len(broken) > 1 else 'does'} not work here. "
            "Do what the line says, then run `vtk doctor` again."
        )
