"""A command as it is typed, with its exit code."""

import io
import sys

import pytest

from vtk_cli.cli import main


def typed(monkeypatch, capsys):
    """vtk(*arguments) -> (exit code, stdout, stderr)."""

    def vtk(*arguments, stdin=""):
        monkeypatch.setattr(sys, "argv", ["vtk", *map(str, arguments)])
        monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        captured = capsys.readouterr()
        return ended.value.code or 0, captured.out, captured.err

    return vtk
