"""Options and completions that several commands share."""

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from vtk_cli import registry


class Listing(TyperGroup):
    """Subcommands of which `list` runs when none is named: `vtk runs --json` is `vtk runs list --json`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        named = bool(args) and (not args[0].startswith("-") or args[0] in ctx.help_option_names)
        return super().parse_args(ctx, args if named or ctx.resilient_parsing else ["list", *args])


def _complete(group: str, start: str) -> list[str]:
    return [name for name in registry.names(group) if name.startswith(start)]


def complete_model(incomplete: str) -> list[str]:
    return _complete("vtk.models", incomplete)


def complete_recipe(incomplete: str) -> list[str]:
    return _complete("vtk.datasets", incomplete)


def complete_flow(incomplete: str) -> list[str]:
    return _complete("vtk.flow", incomplete)


def complete_decoder(incomplete: str) -> list[str]:
    return _complete("vtk.decoders", incomplete)


def complete_dataset(ctx: typer.Context, incomplete: str) -> list[str]:
    """Datasets that are in the workspace."""
    from vtk_cli.workspace import Workspace

    return [name for name in Workspace.locate(ctx.params.get("root")).datasets() if name.startswith(incomplete)]


def complete_run(ctx: typer.Context, incomplete: str) -> list[str]:
    """Runs that are in the workspace."""
    from vtk_cli.workspace import Workspace

    runs = Workspace.locate(ctx.params.get("root")).runs
    return sorted(p.name for p in runs.glob("*") if p.is_dir() and p.name.startswith(incomplete))


Root = Annotated[
    Path | None,
    typer.Option("--root", help="Workspace folder; else $VTK_HOME, else ./vtk-data.", show_default=False),
]
Weights = Annotated[
    str,
    typer.Option(
        help="best or last of the run; else a file of weights, or a name of `vtk weights list`, which is fetched where "
        "it is not here."
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout.")]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="SECTION.KEY=VALUE",
        help="Change one setting, such as train.lr=0.01; repeatable.",
        show_default=False,
    ),
]
Config = Annotated[Path | None, typer.Option("--config", help="TOML file of settings.", show_default=False)]
DatasetName = Annotated[
    str | None,
    typer.Argument(help="Dataset; the current one if not named.", show_default=False, autocompletion=complete_dataset),
]
