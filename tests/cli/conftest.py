"""What the tests of commands share."""

import pytest
from typed import typed


@pytest.fixture
def vtk(monkeypatch, capsys):
    """vtk(*arguments) -> (exit code, stdout, stderr) of one command."""
    return typed(monkeypatch, capsys)
