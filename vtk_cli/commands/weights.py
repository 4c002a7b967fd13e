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
    from vtk_cli.evaluate.published import fetch_weights, offered
    from vtk_cli.workspace import Workspace

    path = fetch_weights(offered(name), Workspace.locate(root), mirror=mirror)
    if as_json:
        emit({"name": name, "path": path})
    else:
        print(path)


@app.command("import")
def import_(
    file: Annotated[
        Path,
        typer.Argument(
            help="PyTorch checkpoint, .pdparams, Caffe2 .pkl, a folder (or its tar) of fluid's variables, npz or "
            "safetensors.",
            show_default=False,
        ),
    ],
    layout: Annotated[str, typer.Option(help="Dialect of the file; `vtk models show` lists a model's.")],
    model: Annotated[
        str | None,
        typer.Option(
            help="Model that it is for; the one that it fits if not named.",
            show_default=False,
            autocompletion=_options.complete_model,
        ),
    ] = None,
    trunk: Annotated[str | None, typer.Option(help="Trunk that it is for.", show_default=False)] = None,
    name: Annotated[
        str | None,
        typer.Option(help="Under which the workspace keeps it; the file's name if not given.", show_default=False),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="OUT.safetensors", help="Write it there instead.", show_default=False),
    ] = None,
    classes: Annotated[
        str | None,
        typer.Option(help="Label order: a dataset such as kinetics400, or a text file.", show_default=False),
    ] = None,
    assignments: _options.Set = None,
    root: _options.Root = None,
    as_json: _options.Json = False,
) -> None:
    """Bring in a checkpoint of another project.

    Nothing is written when a tensor is left over or missing; --json lists the names of all of them.
    """
    from vtk_cli.console import emit
    from vtk_cli.errors import MismatchError
    from vtk_cli.evaluate.shelf import bring_in
    from vtk_cli.workspace import Workspace

    try:
        path = bring_in(
            Workspace.locate(root),
            file,
            layout=layout,
            model=model,
            trunk=trunk,
            name=name,
            output=output,
            classes=classes,
            assignments=assignments or (),
        )
    except MismatchError as error:
        if as_json:
            emit(error.names)
        raise
    if as_json:
        emit({"name": path.stem, "path": path})
    else:
        print(path)


@app.command()
def verify(
    name: Annotated[str, typer.Argument(help="A name in the workspace, or a file of weights.")],
    root: _options.Root = None,
    as_json: _options.Json = False,
) -> None:
    """Check that imported weights are unchanged and their model still gives the logits stored with them."""
    from vtk_cli.console import emit
    from vtk_cli.evaluate.shelf import verify as run
    from vtk_cli.workspace import Workspace

    found = run(name, Workspace.locate(root))
    if as_json:
        emit(found.to_json())
    found.check(name)
    if not as_json:
        print(f"{name}: the tensors are unchanged; the logits differ by {found.difference:.1e} of the largest one")
