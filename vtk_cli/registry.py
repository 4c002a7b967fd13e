"""Plugins: entry-point groups -> names -> objects.

A plugin is an entry point of an installed distribution: its name is what the user types, its value is `module:OBJECT`.
Names are listed without importing anything; only the one asked for is loaded. A plugin that does not load is one line
in `vtk plugins` and never disturbs another command. First-party models, datasets, decoders, flow methods, loaders and
metrics come through this same door.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points

from vtk_cli.errors import PluginError, UsageError, did_you_mean

API_VERSION = 1
"""Major version of the plugin API. An object that states another one in its `api` attribute is not used."""

GROUPS = {
    "vtk.models": "model",
    "vtk.trunks": "trunk",
    "vtk.datasets": "dataset",
    "vtk.decoders": "decoder",
    "vtk.flow": "flow method",
    "vtk.loaders": "loader",
    "vtk.metrics": "metric",
    "vtk.loggers": "logger",
    "vtk.commands": "command",
}
"""Every entry-point group, with the singular that messages call its members by."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plugin:
    """One entry point, not loaded yet."""

    group: str
    name: str
    distribution: str
    version: str
    entry_point: EntryPoint

    @property
    def value(self) -> str:
        """`module:OBJECT`, as the distribution states it."""
        return self.entry_point.value

    @property
    def first_party(self) -> bool:
        """Whether it comes with vtk itself; lists import only these, so that nobody else's code runs unasked."""
        return self.distribution == "vtk-cli"

    @property
    def qualified(self) -> str:
        """`distribution:name`, which is never ambiguous."""
        return f"{self.distribution}:{self.name}"

    def load(self) -> object:
        """Import the plugin's object.

        Raises:
            PluginError: its module does not import, the object is absent, or it is written for another plugin API.
        """
        kind = GROUPS[self.group]
        try:
            found = self.entry_point.load()
        except (Exception, SystemExit) as error:  # a plugin's module can raise anything while it is imported
            raise PluginError(
                f"The {kind} {self.qualified} (version {self.version}) does not load: {type(error).__name__}: {error}. "
                f"Update or remove it: pip install -U {self.distribution}, or pip uninstall {self.distribution}."
            ) from error
        api = getattr(found, "api", API_VERSION)
        if api != API_VERSION:
            raise PluginError(
                f"The {kind} {self.qualified} (version {self.version}) is written for plugin API {api}; this vtk has "
                f"plugin API {API_VERSION}. Install the version of {self.distribution} that goes with this vtk."
            )
        return found


def plugins(group: str) -> list[Plugin]:
    """Every installed plugin of a group, sorted by name and distribution; nothing is imported."""
    return sorted(_scan(group), key=lambda plugin: (plugin.name, plugin.distribution))


def names(group: str) -> list[str]:
    """What a user can type for this group: each name once, the qualified form where two distributions share it."""
    found = plugins(group)
    shared = {plugin.name for plugin in found if sum(other.name == plugin.name for other in found) > 1}
    return [plugin.qualified if plugin.name in shared else plugin.name for plugin in found]


def find(group: str, name: str) -> Plugin:
    """The plugin that a user means by `name` or `distribution:name`.

    Raises:
        UsageError: there is none of that name, or two distributions offer it.
    """
    found = plugins(group)
    matches = [plugin for plugin in found if name in (plugin.name, plugin.qualified)]
    if not matches:
        raise UsageError(f'There is no {GROUPS[group]} "{name}". {did_you_mean(name, names(group))}')
    if len(matches) > 1:
        choices = " or ".join(plugin.qualified for plugin in matches)
        raise UsageError(
            f'The {GROUPS[group]} "{name}" is offered by {len(matches)} installed distributions. Name one: {choices}.'
        )
    return matches[0]


def load(group: str, name: str) -> object:
    """Find a plugin and import its object; see `find` and `Plugin.load` for what is raised."""
    return find(group, name).load()


def _scan(group: str) -> Iterator[Plugin]:
    seen = set()
    for entry_point in entry_points(group=group):
        distribution = entry_point.dist
        owner = distribution.name if distribution else "unknown"
        # An editable install beside a wheel, or a path listed twice, shows the same entry point twice.
        key = (owner, entry_point.name, entry_point.value)
        if key not in seen:
            seen.add(key)
            version = distribution.version if distribution else "?"
            yield Plugin(
                group=group, name=entry_point.name, distribution=owner, version=version, entry_point=entry_point
            )
