"""`vtk models`: which models there are, what each eats and how it is configured and trained."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from vtk_cli.commands._options import Json, Listing, complete_model

if TYPE_CHECKING:
    from vtk_cli.registry import Plugin

app = typer.Typer(cls=Listing, help="List and show models; plain `vtk models` lists them.")

Model = Annotated[str, typer.Argument(help="Model.", autocompletion=complete_model)]


@app.command("list")
def list_(*, as_json: Json = False) -> None:
    """Every installed model; those of other distributions are named without importing them."""
    from vtk_cli import console, registry

    rows = [_line(plugin) for plugin in registry.plugins("vtk.models")]
    if as_json:
        console.emit(rows)
    else:
        console.table(rows, ["model", "input", "summary", "paper"])


@app.command()
def show(model: Model, *, as_json: Json = False) -> None:
    """A model's configuration, inputs, cost, recipe and published weights."""
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
    from vtk_cli.evaluate.foreign import load_model_spec

    line = {"model": plugin.name, "distribution": plugin.distribution, "version": plugin.version}
    if not plugin.first_party:
        return {**line, "summary": f"of {plugin.distribution} {plugin.version}: `vtk models show {plugin.name}`"}
    spec = load_model_spec(plugin.qualified)
    return {
        **line,
        "input": spec.inputs(spec.config()).summary,
        "summary": spec.summary,
        "paper": spec.paper,
    }
