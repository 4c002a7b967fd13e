"""The root of the command line, and the one place where a VtkError becomes an exit code."""

import sys
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from vtk_cli import registry
from vtk_cli.errors import PluginError, VtkError

COMMANDS = {
    "demo": "Make a small dataset and run every step on it, down to the report.",
    "download": "Get a public dataset.",
    "index": "Make a dataset of your own videos.",
    "extract": "Write frames and optical flow into stores.",
    "check": "Look for damaged, missing and duplicate clips and damaged stores.",
    "train": "Train a model.",
    "test": "Test a trained model by its paper's protocol.",
    "predict": "Name the actions in videos.",
    "report": "Write a run's HTML report.",
    "runs": "List, show and compare runs.",
    "models": "List and show models.",
    "datasets": "List and show datasets.",
    "flows": "List and show optical-flow methods.",
    "weights": "List, fetch and import weight files.",
    "plugins": "List, check and start plugins.",
    "doctor": "Load every backend for real and say what is wrong.",
}
"""First-party commands in the order of `vtk --help`, each the file of its name in commands/."""


class _Commands(TyperGroup):
    """Commands by name; a command's module is imported when that command runs, never to list it."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002  the base class passes it
        return [*COMMANDS, *(name for name in registry.names("vtk.commands") if name not in COMMANDS)]

    def get_command(self, ctx: Any, cmd_name: str) -> TyperCommand | None:
        """What `vtk --help` shows of a command."""
        if cmd_name not in self.list_commands(ctx):
            return None
        return TyperCommand(cmd_name, help=COMMANDS.get(cmd_name, "(plugin)"))

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        name, _, rest = super().resolve_command(ctx, args)
        if name is None:
            return None, None, rest
        found = import_module(f"vtk_cli.commands.{name}").app if name in COMMANDS else _plugin(name)
        command = typer.main.get_command(found)
        command.name = name
        return name, command, rest


def _plugin(name: str) -> typer.Typer:
    found = registry.load("vtk.commands", name)
    if not isinstance(found, typer.Typer):
        raise PluginError(
            f'The command "{name}" should be a typer.Typer, found {type(found).__name__}. Ask its author.'
        )
    return found


app = typer.Typer(
    name="vtk",
    cls=_Commands,
    help="Datasets, frames and optical flow, training and testing for video action recognition.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def _root() -> None:
    pass


def main() -> None:
    """Run the command line; a VtkError ends it with one sentence on stderr and its exit code."""
    try:
        app()
    except VtkError as error:
        sys.stderr.write(f"vtk: {error}\n")
        sys.exit(error.exit_code)
    except BrokenPipeError:
        sys.stderr.close()  # the reader of a pipe has gone (vtk ... | head); nothing is left to say
        sys.exit(0)
