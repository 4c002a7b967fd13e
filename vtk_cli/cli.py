"""The root of the command line, and the one place where a VtkError becomes an exit code."""

import os
import sys
from contextlib import suppress
from errno import EACCES, EDQUOT, EIO, ENAMETOOLONG, ENOSPC, EPERM, EROFS
from importlib import import_module
from io import TextIOWrapper
from pathlib import Path
from typing import Any, NoReturn

import typer
from typer.core import TyperCommand, TyperGroup

from vtk_cli import registry
from vtk_cli.errors import PluginError, UsageError, VtkError, did_you_mean

COMMANDS = {
    "demo": "Run every step, down to the report, on a small synthetic set.",
    "download": "Get a public dataset.",
    "index": "Make a dataset of your own videos.",
    "extract": "Write frames and optical flow into stores.",
    "check": "Find damaged, missing and duplicate clips and damaged stores.",
    "train": "Train a model.",
    "test": "Test a trained model by its paper's protocol.",
    "fuse": "Fuse the scores of several runs.",
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


CTRL_C = 130
"""What a shell reports of a program that Ctrl-C ended; commands that can go on later exit with `Interrupted`'s code."""


REFUSED = frozenset({EACCES, EDQUOT, EIO, ENAMETOOLONG, ENOSPC, EPERM, EROFS})
"""Refusals of the operating system that any path of a user can meet and no program can foresee: not bugs."""


class _Commands(TyperGroup):
    """Commands by name; a command's module is imported when that command runs, never to list it."""

    def get_help_option(self, ctx: Any) -> Any:
        """`--help`, false instead of None where it is not given: typer would import pydantic to convert the None."""
        option = super().get_help_option(ctx)
        if option is not None:
            option.default = False
        return option

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002  the base class passes it
        return [*COMMANDS, *(name for name in registry.names("vtk.commands") if name not in COMMANDS)]

    def get_command(self, ctx: Any, cmd_name: str) -> TyperCommand | None:
        """What `vtk --help` shows of a command."""
        if cmd_name not in self.list_commands(ctx):
            return None
        return TyperCommand(cmd_name, help=COMMANDS.get(cmd_name, "(plugin)"))

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        known = self.list_commands(ctx)
        if not (ctx.resilient_parsing or args[0] in known or args[0].startswith("-")):
            raise UsageError(f'There is no command "{args[0]}". {did_you_mean(args[0], known, most=len(known))}')
        name, _, rest = super().resolve_command(ctx, args)
        if name is None:
            return None, None, rest
        found = import_module(f"vtk_cli.commands.{name}").app if name in COMMANDS else _plugin(name)
        found.rich_markup_mode = None  # plain help, as at the root: rich is heavy
        found._add_completion = False  # noqa: SLF001  the root offers it; typer has no public switch once an app is made
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
    # The options of completion stand in a command's place; before a command their None would cost pydantic likewise.
    app._add_completion = not sys.argv[1:] or sys.argv[1].startswith("-")  # noqa: SLF001
    _survive_streams()
    try:
        app()
    except VtkError as error:
        _end(str(error), error.exit_code)
    except OSError as error:
        if error.errno not in REFUSED:
            raise
        place = f"{error.filename}"[:200] if error.filename else "A file"
        _end(f"{place} cannot be used: {error.strerror}. Choose another place, or make room and give permission.", 5)
    except SystemExit as ended:
        if ended.code == CTRL_C:
            _end("Stopped by Ctrl-C. The same command can be run again.", CTRL_C)
        if isinstance(ended.__context__, BrokenPipeError):
            sys.exit(0)  # the reader of a pipe has gone (vtk ... | head); nothing is left to say
        raise


def _end(message: str, code: int) -> NoReturn:
    with suppress(OSError):  # stderr may be a pipe whose reader has gone
        sys.stderr.write(f"vtk: {message}\n")
    sys.exit(code)


def _survive_streams() -> None:
    """Names that the terminal's encoding lacks are escaped, not fatal; a closed stream takes or gives nothing."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, Path(os.devnull).open(mode, encoding="utf-8"))  # noqa: SIM115  open until the end
        elif mode == "w" and isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
