"""What `vtk flows` tells of the installed flow methods."""

from dataclasses import fields
from typing import Any

from vtk_cli import registry
from vtk_cli.extract.plan import flow_spec


def list_methods() -> list[dict[str, Any]]:
    """Name, summary and distribution of every method; those of third parties are named without importing them."""
    return [_listed(name) for name in registry.names("vtk.flow")]


def show_method(name: str) -> dict[str, Any]:
    """A method with its parameters and their defaults.

    Raises:
        UsageError: there is no such method.
        PluginError: it does not load.
    """
    spec = flow_spec(name)
    config = spec.config()
    parameters = [
        {"parameter": f"flow.{field.name}", "default": getattr(config, field.name), "type": _type_name(field.type)}
        for field in fields(config)
    ]
    return {
        "name": name,
        "summary": spec.summary,
        "paper": spec.paper,
        "distribution": registry.find("vtk.flow", name).distribution,
        "parameters": parameters,
    }


def _listed(name: str) -> dict[str, Any]:
    plugin = registry.find("vtk.flow", name)
    origin = f"{plugin.distribution} {plugin.version}"
    summary = flow_spec(name).summary if plugin.first_party else f"`vtk flows show {name}`"
    return {"name": name, "summary": summary, "distribution": origin}


def _type_name(annotation: Any) -> str:
    return annotation.__name__ if isinstance(annotation, type) else str(annotation).removeprefix("typing.")
