"""Loads plugins and, if asked, runs the contract's tests on them, in a process that may die of it.

`python -m vtk_cli.plugin_kit.trial` reads a JSON list of jobs on stdin and writes one JSON line per job on stdout.
"""

import importlib
import inspect
import json
import os
import sys
from collections.abc import Iterator
from typing import Any

from vtk_cli import registry
from vtk_cli.errors import PluginError

EXPECTED = {
    "vtk.models": "vtk_cli.api.models:ModelSpec",
    "vtk.trunks": "vtk_cli.api.models:TrunkSpec",
    "vtk.datasets": "vtk_cli.api.datasets:DatasetRecipe",
    "vtk.decoders": "vtk_cli.api.video:DecoderSpec",
    "vtk.flow": "vtk_cli.api.flow:FlowSpec",
    "vtk.loaders": "vtk_cli.api.loaders:LoaderSpec",
    "vtk.metrics": "vtk_cli.api.metrics:MetricSpec",
    "vtk.commands": "typer:Typer",
}
"""What an entry point of each group names."""

CONTRACTS = {
    "vtk.models": "vtk_cli.testing.models:ModelTests",
    "vtk.trunks": "vtk_cli.testing.trunks:TrunkTests",
    "vtk.flow": "vtk_cli.testing.flow:FlowTests",
}
"""Contracts that need nothing but the plugin's object; the others take files and run in their author's pytest."""


def load(plugin: registry.Plugin) -> object:
    """The plugin's object, of the type that its group holds.

    Raises:
        PluginError: it does not load, or is something else.
    """
    found = plugin.load()
    if plugin.group in EXPECTED:
        expected = _named(EXPECTED[plugin.group])
        if not isinstance(found, expected):
            raise PluginError(
                f"{plugin.value} should be a {expected.__name__}, found {type(found).__name__}. "
                f"Update {plugin.distribution}, or tell its author."
            )
    return found


def failures(group: str, found: Any) -> Iterator[str]:
    """The contract's tests that a plugin fails, each with its reason."""
    if group not in CONTRACTS:
        return
    body = {"spec": found}
    if group == "vtk.models":
        body["config"] = found.config() if found.tiny is None else found.tiny
    tests = type("Tests", (_named(CONTRACTS[group]),), body)
    for name, test in inspect.getmembers(tests(), inspect.ismethod):
        if name.startswith("test_") and not inspect.signature(test).parameters:
            try:
                test()
            except Exception as error:  # noqa: BLE001  a contract's test can fail by whatever the plugin raises
                yield f"{name}: {type(error).__name__}: {error}"


def _named(value: str) -> type[Any]:
    module, _, name = value.partition(":")
    found: type[Any] = getattr(importlib.import_module(module), name)
    return found


def _try(job: dict[str, Any]) -> str:
    """Why a plugin is not in order; empty if it is."""
    key = (job["name"], job["distribution"], job["value"])
    plugin = next(p for p in registry.plugins(job["group"]) if (p.name, p.distribution, p.value) == key)
    try:
        found = load(plugin)
    except PluginError as error:
        return str(error)
    return "; ".join(failures(job["group"], found)) if job["contract"] else ""


def main() -> None:
    """Do the jobs in their order; what a plugin prints goes to stderr."""
    answer = os.dup(1)
    os.dup2(2, 1)
    for job in json.load(sys.stdin):
        line = json.dumps(" ".join(_try(job).split()))
        os.write(answer, line.encode() + b"\n")


if __name__ == "__main__":
    main()
