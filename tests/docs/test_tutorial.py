"""The tutorial's commands are run, in order, in an empty folder, exactly as printed."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TUTORIAL = ROOT / "docs" / "tutorial.md"


def commands(text: str) -> list[str]:
    """The lines of ```console blocks that begin with `$ `, with lines that end in a backslash joined.

    A block that follows the comment <!-- not run --> shows what needs the network or hours, and is left out.
    """
    found = []
    for skipped, block in re.findall(r"(<!-- not run -->\n)?```console\n(.*?)```", text, re.DOTALL):
        if not skipped:
            found += re.findall(r"^\$ (.*)$", block.replace("\\\n", ""), re.MULTILINE)
    return found


def test_the_parser_of_this_test_sees_the_commands() -> None:
    text = "```console\n$ vtk a\nout\n$ vtk b \\\n  --c\n```\n<!-- not run -->\n```console\n$ vtk d\n```\n"
    assert commands(text) == ["vtk a", "vtk b   --c"]


@pytest.mark.timeout(1200)
def test_the_tutorial_runs(tmp_path: Path) -> None:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    env = {k: v for k, v in os.environ.items() if not k.startswith("VTK_")} | {"PATH": path}
    lines = commands(TUTORIAL.read_text())
    assert len(lines) > 10
    for line in lines:
        done = subprocess.run(line, shell=True, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"$ {line}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    assert list(tmp_path.glob("**/runs/*/report.html"))
