"""Help is quick: no heavy module is imported to show it, and its processor time is bounded by typer's own."""

import json
import resource
import statistics
import subprocess
import sys

import pytest

from vtk_cli.cli import COMMANDS

HEAVY = [
    "torch",
    "numpy",
    "av",
    "lmdb",
    "PIL",
    "cv2",
    "simplejpeg",
    "requests",
    "pydantic",
    "rich",
    "ray",
    "safetensors",
]
HELP = """
import json, sys
sys.argv = ["vtk", *sys.argv[1:]]
from vtk_cli.cli import main
try:
    main()
except SystemExit as ended:
    assert not ended.code, ended.code
sys.stderr.write(json.dumps(sorted(sys.modules)))
"""
ROUNDS = 5
MOST = 3.0
"""Times the processor time of `python -c "import typer"`."""


def commands():
    return [[], *([name] for name in COMMANDS)]


@pytest.mark.parametrize("command", commands(), ids=lambda command: command[0] if command else "vtk")
def test_help_imports_nothing_heavy(command):
    done = subprocess.run([sys.executable, "-c", HELP, *command, "--help"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Usage: vtk" in done.stdout
    loaded = json.loads(done.stderr)
    assert [name for name in HEAVY if name in loaded] == []


def cpu_seconds(arguments):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *arguments], capture_output=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


@pytest.mark.parametrize("command", [[], ["train"], ["runs"], ["plugins"]], ids=str)
def test_help_takes_less_than_three_times_typer(command):
    bare, helped = [], []
    for _ in range(ROUNDS):
        bare.append(cpu_seconds(["-c", "import typer"]))
        helped.append(cpu_seconds(["-m", "vtk_cli", *command, "--help"]))
    assert statistics.median(helped) < MOST * statistics.median(bare)
