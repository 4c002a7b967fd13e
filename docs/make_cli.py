"""Writes docs/cli.md from the commands' own help: `python docs/make_cli.py`. A test keeps the page up to date."""

import os
import subprocess
import sys
from pathlib import Path

from vtk_cli.cli import COMMANDS

PAGE = Path(__file__).parent / "cli.md"
INTRO = """# Commands

Made by `python docs/make_cli.py` from the help that `vtk COMMAND --help` prints.

stdout carries results, stderr messages and progress; `--json` makes results one JSON document. Exit codes: 0 done,
1 failed, 2 usage, 3 some items failed (a list was written), 4 a plugin or optional dependency is missing or broken,
5 data missing or damaged, 75 interrupted and resumable.
"""
SUBCOMMANDS = {
    "datasets": ["list", "show"],
    "flows": ["list", "show"],
    "models": ["list", "show"],
    "plugins": ["list", "check", "new"],
    "runs": ["list", "show", "diff"],
    "weights": ["list", "show", "fetch", "import"],
}


def help_of(words: list[str]) -> str:
    """What `vtk WORDS --help` prints, 100 columns wide."""
    env = {**os.environ, "COLUMNS": "100", "TERMINAL_WIDTH": "100", "TERM": "dumb", "NO_COLOR": "1"}
    command = [sys.executable, "-m", "vtk_cli", *words, "--help"]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=True)  # noqa: S603  our own program
    text = done.stdout.replace("python -m vtk_cli", "vtk")
    return "\n".join(line.rstrip() for line in text.strip("\n").splitlines())


def render() -> str:
    parts = [INTRO]
    for command in COMMANDS:
        pages = [[command], *([command, sub] for sub in SUBCOMMANDS.get(command, []))]
        parts += [
            f"{'##' if len(words) == 1 else '###'} vtk {' '.join(words)}\n\n```\n{help_of(words)}\n```\n"
            for words in pages
        ]
    return "\n".join(parts)


if __name__ == "__main__":
    PAGE.write_text(render(), encoding="utf-8")
