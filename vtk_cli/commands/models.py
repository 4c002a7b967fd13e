"""`vtk models`: which models there are, what each eats and how it is configured and trained."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from vtk_cli.commands._options import Json, complete_model

if TYPE_CHECKING:
    from vtk_cli.registry import Plugin

app = typer.Typer(invoke_without_command=True)

Model = Annotated[str, typer.Argument(help="Model.", autocompletion=complete_model)]


@app.callback()
def models(ctx: typer.Context, *, as_json: Json = False) -> None:
    """List and show models; plain `vtk models` lists them."""
    if ctx.invoked_subcommand is None:
        list_(as_json=as_json)


@app.command("list")
def list_(*, as_json: Json = False) -> None:
    """Every installed model; one that does not load is listed with its reason."""
    from vtk_cli import console, registry

    rows = [_line(plugin) for plugin in registry.plugins("vtk.models")]
    if as_json:
        console.emit(rows)
    else:
        console.table(rows, ["model", "input", "summary", "paper", "error"])


@app.command()
def show(model: Model, *, as_json: Json = False) -> None:
    """A model's configuration, inputs, recipe and published weights."""
    from vtk_cli import console
    from vtk_cli.train import model_card

    card = model_card.card(model)
    if as_json:
        console.emit(card)
        return
    print(f"{card['model']}  {card['summary']}\n{card['paper']}".rstrip())
    for title, rows in model_card.tables(card).items():
        if rows:
            print(f"\n{title}")
            console.table(rows, list(rows[0]))


def _line(plugin: "Plugin") -> dict[str, Any]:
    from vtk_cli.api.models import ModelSpec
    from vtk_cli.errors import PluginError, UsageError

    line = {"model": plugin.name, "distribution": plugin.distribution, "version": plugin.version}
    try:
        spec = plugin.load()
        if not isinstance(spec, ModelSpec):
            return {**line, "error": f"is no ModelSpec but {type(spec).__name__}"}
        inputs = spec.inputs(spec.config())
    except (PluginError, UsageError) as error:
        return {**line, "error": str(error)}
    view = inputs.train
    return {
        **line,
        "input": f"{inputs.modality}, {view.segments} x {view.frames} frames of {view.crop}",
        "summary": spec.summary,
        "paper": spec.paper,
    }
