"""`vtk plugins`: list and check what is installed, start a new one."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vtk_cli.commands._options import Json, Listing

if TYPE_CHECKING:
    from vtk_cli.plugin_kit.inspect import Verdict

app = typer.Typer(cls=Listing, help="List and check plugins, start a new one; plain `vtk plugins` lists them.")


def _complete(incomplete: str) -> list[str]:
    from vtk_cli.plugin_kit.inspect import installed

    return sorted({plugin.name for plugin in installed() if plugin.name.startswith(incomplete)})


@app.command("list")
def list_(*, as_json: Json = False) -> None:
    """Every installed plugin, and whether it loads; each distribution is tried in a process of its own."""
    from vtk_cli.plugin_kit.inspect import examine, installed

    _show(examine(installed(), contract=False), as_json=as_json)


@app.command()
def check(
    name: Annotated[
        str | None,
        typer.Argument(help="NAME or DISTRIBUTION:NAME; every plugin if not named.", autocompletion=_complete),
    ] = None,
    *,
    as_json: Json = False,
) -> None:
    """Load plugins and run vtk's tests for models, trunks and flow methods on them; exit code 4 if one fails."""
    from vtk_cli.errors import PluginError
    from vtk_cli.plugin_kit.inspect import examine, installed

    verdicts = examine(installed(name), contract=True)
    _show(verdicts, as_json=as_json)
    wrong = [verdict.name for verdict in verdicts if not verdict.ok]
    if wrong:
        raise PluginError(f"{len(wrong)} of {len(verdicts)} plugins are not in order: {', '.join(wrong)}. See above.")


@app.command()
def new(
    name: Annotated[str, typer.Argument(help="Name of the distribution and of the model, such as my-model.")],
    folder: Annotated[Path, typer.Option("--dir", help="Folder that gets the project's folder.")] = Path(),
    *,
    as_json: Json = False,
) -> None:
    """Write a complete plugin project: a small model, its entry point and its tests."""
    from vtk_cli import console
    from vtk_cli.plugin_kit.new import write_project

    written = write_project(name, folder)
    if as_json:
        console.emit({"name": name, "files": written})
        return
    for path in written:
        print(path)
    console.say(f"Try it: pip install -e {folder / name} && vtk plugins check {name} && vtk train {name}")


def _show(verdicts: "list[Verdict]", *, as_json: bool) -> None:
    from dataclasses import asdict

    from vtk_cli import console

    if as_json:
        console.emit([asdict(verdict) for verdict in verdicts])
        return
    rows = [
        {
            "group": verdict.group,
            "name": verdict.name,
            "distribution": verdict.distribution,
            "version": verdict.version,
            "": "ok" if verdict.ok and not verdict.reason else verdict.reason,
        }
        for verdict in verdicts
    ]
    console.table(rows, ["group", "name", "distribution", "version", ""])
