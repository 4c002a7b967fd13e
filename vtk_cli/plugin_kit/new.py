"""`vtk plugins new`: a complete plugin project that trains as it is."""

import re
from importlib.resources import files
from pathlib import Path
from string import Template

from vtk_cli.errors import UsageError
from vtk_cli.files import write_atomic

_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")

LAYOUT = {
    "pyproject.toml": "pyproject.toml",
    "README.md": "README.md",
    "init.py": "{package}/__init__.py",
    "model.py": "{package}/model.py",
    "test_model.py": "tests/test_model.py",
}
"""Template -> file of the project."""


def write_project(name: str, parent: Path) -> list[Path]:
    """Write <parent>/<name> and return its files.

    Raises:
        UsageError: the name cannot be a distribution's and a package's, or the folder is there.
    """
    if not _NAME.fullmatch(name):
        raise UsageError(
            f'A plugin name is lower-case words joined by "-", such as my-model; found "{name}". Rename it.'
        )
    target = parent / name
    if target.exists():
        raise UsageError(f"{target} is there already. Choose another name, or another folder with --dir.")
    values = {"name": name, "package": name.replace("-", "_"), "title": _title(name)}
    written = []
    for template, place in LAYOUT.items():
        text = files("vtk_cli.plugin_kit").joinpath("template", f"{template}.txt").read_text(encoding="utf-8")
        path = target / place.format(**values)
        write_atomic(path, Template(text).substitute(values))
        written.append(path)
    return written


def _title(name: str) -> str:
    """The name as that of a class.

    >>> _title("my-net2")
    'MyNet2'
    """
    return "".join(word.capitalize() for word in name.split("-"))
