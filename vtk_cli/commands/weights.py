"""`vtk weights`: weight files in the workspace and those that plugins name."""

from pathlib import Path
from typing import Annotated

import typer

from vtk_cli.commands import _options

app = typer.Typer(
    cls=_options.Listing, help="List, show, fetch and import weight files; plain `vtk weights` lists them."
)


@app.command("list")
def list_(root: _options.Root = None, as_json: _options.Json = False) -> None:
    """Weights in the workspace, and published ones that can be fetched."""
    from vtk_cli.console import emit, say, table
    from vtk_cli.evaluate.shelf import rows
    from vtk_cli.workspace import Workspace

    workspace = Workspace.locate(root)
    found = rows(workspace)
    if as_json:
        emit(found)
        return
    table(found, ["name", "here", "kind", "for", "classes", "layout", "licence"])
    if not found:
        say("No weights here, and none that an installed plugin names.")


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="A name of `vtk weights list`, or a file of weights.")],
    root: _options.Root = None,
    as_json: _options.Json = False,
) -> None:
    """What is known of some weights."""
    from vtk_cli.console import emit
    from vtk_cli.evaluate.shelf import describe
    from vtk_cli.workspace import Workspace

    found = describe(name, Workspace.locate(root))
    if as_json:
        emit(found)
        return
    for key, value in found.items():
        print(f"{key}: {value}")


@app.command()
def fetch(
    name: Annotated[str, typer.Argument(help="A published name of `vtk weights list`.")],
    mirror: Annotated[
        str,
        typer.Option(
            envvar="VTK_MIRROR", metavar="URL", help="Replaces scheme and host of the URL.", show_default=False
        ),
    ] = "",
    root: _options.Root = None,
    as_json: _options.Json = False,
) -> None:
    """Get published weights, verified by their sha256."""
    from vtk_cli.console import emit
    from vtk_cli.evaluate.foreign import fetch_weights
    from vtk_cli.evaluate.shelf import offered
    from vtk_cli.workspace import Workspace

    path = fetch_weights(offered(name), Workspace.locate(root), mirror=mirror)
    if as_json:
        emit({"name": name, "path": path})
    else:
        print(path)


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="PyTorch checkpoint, npz or safetensors.", show_default=False)],
    layout: Annotated[str, typer.Option(help="Dialect of the file; `vtk models show` lists a model's.")],
    model: Annotated[
        str | None,
        typer.Option(help="Model that it is for.", show_default=False, autocompletion=_options.complete_model),
    ] = None,
    trunk: Annotated[str | None, typer.Option(help="Trunk that it is for.", show_default=False)] = None,
    name: Annotated[
        str | None, typer.Option(help="Under which it is kept; the file's name if not given.", show_default=False)
    ] = None,
    classes: Annotated[
        str | None,
        typer.Option(help="Label order: a dataset such as kinetics400, or a text file.", show_default=False),
    ] = None,
    assignments: _options.Set = None,
    root: _options.Root = None,
    as_json: _options.Json = False,
) -> None:
    """Bring in a checkpoint of another project."""
    from vtk_cli.console import emit
    from vtk_cli.evaluate.shelf import bring_in
    from vtk_cli.workspace import Workspace

    path = bring_in(
        Workspace.locate(root),
        file,
        layout=layout,
        model=model,
        trunk=trunk,
        name=name,
        classes=classes,
        assignments=assignments or (),
    )
    if as_json:
        emit({"name": path.stem, "path": path})
    else:
        print(path)
