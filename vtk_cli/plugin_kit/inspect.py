"""Which plugins are installed and in order. Each distribution is tried in processes of its own."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby

from vtk_cli import registry
from vtk_cli.errors import UsageError, did_you_mean

LOAD_SECONDS = 60.0
"""A distribution whose plugins take longer to import hangs."""
CONTRACT_SECONDS = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """One line of `vtk plugins`."""

    group: str
    name: str
    distribution: str
    version: str
    ok: bool
    reason: str = ""
    """Why it is not in order, or what to know of one that is."""


def installed(name: str | None = None) -> list[registry.Plugin]:
    """Every plugin, or those that a user means by `name` or `distribution:name`, in any group.

    Raises:
        UsageError: there is none of that name.
    """
    found = [plugin for group in registry.GROUPS for plugin in registry.plugins(group)]
    if name is None:
        return found
    meant = [plugin for plugin in found if name in (plugin.name, plugin.qualified)]
    if not meant:
        raise UsageError(f'There is no plugin "{name}". {did_you_mean(name, {p.name for p in found})}')
    return meant


def examine(plugins: Sequence[registry.Plugin], *, contract: bool) -> list[Verdict]:
    """Load every plugin, and run the contract's tests on those that have one if asked; the order stays."""
    by_owner = sorted(plugins, key=lambda plugin: plugin.distribution)
    parts = [list(part) for _, part in groupby(by_owner, key=lambda plugin: plugin.distribution)]
    with ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool:
        reasons = [reason for part in pool.map(lambda part: _try(part, contract=contract), parts) for reason in part]
    found = dict(zip(map(_key, by_owner), reasons, strict=True))
    return [_verdict(plugin, found[_key(plugin)]) for plugin in plugins]


def _try(plugins: Sequence[registry.Plugin], *, contract: bool) -> list[str]:
    """Why each is not in order, empty if it is. One that ends its process has its own line; the rest goes on."""
    reasons: list[str] = []
    while len(reasons) < len(plugins):
        done, end = _run(plugins[len(reasons) :], contract=contract)
        reasons += done
        if len(reasons) < len(plugins):
            reasons.append(end)
    return reasons


def _run(plugins: Sequence[registry.Plugin], *, contract: bool) -> tuple[list[str], str]:
    """(answers, how the process ended) of one process that tries these in their order."""
    jobs = [
        {"group": p.group, "name": p.name, "distribution": p.distribution, "value": p.value, "contract": contract}
        for p in plugins
    ]
    seconds = CONTRACT_SECONDS if contract else LOAD_SECONDS
    command = [sys.executable, "-P", "-m", "vtk_cli.plugin_kit.trial"]
    given = json.dumps(jobs).encode()
    try:
        done = subprocess.run(command, input=given, capture_output=True, timeout=seconds, check=False)  # noqa: S603
        output, end = done.stdout, _ending(done.returncode)
    except subprocess.TimeoutExpired as late:
        output, end = late.stdout or b"", f"does not finish within {seconds:g} s"
    return [json.loads(line) for line in output.splitlines(keepends=True) if line.endswith(b"\n")], end


def _ending(code: int) -> str:
    how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
    return f"loading it ends the process ({how})"


def _key(plugin: registry.Plugin) -> tuple[str, str, str, str]:
    return plugin.group, plugin.name, plugin.distribution, plugin.value


def _verdict(plugin: registry.Plugin, reason: str) -> Verdict:
    sharing = [p.distribution for p in registry.plugins(plugin.group) if p.name == plugin.name and p != plugin]
    others = [owner for owner in sharing if owner != plugin.distribution]
    if not reason and others:
        reason = (
            f"{' and '.join(others)} has a {registry.GROUPS[plugin.group]} of this name too: type {plugin.qualified}"
        )
        return _line(plugin, reason, ok=True)
    return _line(plugin, reason, ok=not reason)


def _line(plugin: registry.Plugin, reason: str, *, ok: bool) -> Verdict:
    return Verdict(
        group=plugin.group,
        name=plugin.name,
        distribution=plugin.distribution,
        version=plugin.version,
        ok=ok,
        reason=reason,
    )
