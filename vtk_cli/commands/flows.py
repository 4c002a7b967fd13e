"""`vtk flows`: list and show optical-flow methods."""

from typing import Annotated

import typer

from vtk_cli.commands._options import Json, Listing, complete_flow

app = typer.Typer(cls=Listing, help="List and show optical-flow methods; plain `vtk flows` lists them.")


@app.command("list")
def list_(*, as_json: Json = False) -> None:
    """Every installed method; one that does not load is shown with its reason."""
    from vtk_cli import console
    from vtk_cli.extract.methods import list_methods

    found = list_methods()
    if as_json:
        console.emit(found)
    else:
        console.table(found, ["name", "summary", "distribution"])


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="Flow method.", autocompletion=complete_flow)], *, as_json: Json = False
) -> None:
    """One method: what it is and the parameters that --set flow.<parameter>= changes, with their defaults."""
    from vtk_cli import console
    from vtk_cli.extract.methods import show_method

    found = show_method(name)
    if as_json:
        console.emit(found)
        return
    for key in ("name", "summary", "paper", "distribution"):
        typer.echo(f"{key:<12}  {found[key]}")
    typer.echo()
    console.table(found["parameters"], ["parameter", "default", "type"])
