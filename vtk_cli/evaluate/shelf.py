"""The weights of a workspace as `vtk weights` shows and changes them."""

import re
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from vtk_cli.config import resolve
from vtk_cli.errors import CheckpointError, UsageError, did_you_mean
from vtk_cli.evaluate.foreign import (
    Published,
    for_model,
    for_trunk,
    import_weights,
    label_names,
    load_model_spec,
    published,
)
from vtk_cli.evaluate.weights import WeightsInfo, read_metadata
from vtk_cli.workspace import Workspace

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,99}")


def rows(workspace: Workspace) -> list[dict[str, Any]]:
    """One row per weight file that is here or can be fetched."""
    found = {item.name: _row(item) for item in published()}
    for path in sorted(workspace.weights.glob("*.safetensors")):
        found[path.stem] = {**found.get(path.stem, {}), **_here(path)}
    return [found[name] for name in sorted(found)]


def describe(name: str, workspace: Workspace) -> dict[str, Any]:
    """All that is known of weights, by name or file.

    Raises:
        UsageError: there are none of that name.
        CheckpointError: the file is damaged.
    """
    kept = workspace.weights / f"{name}.safetensors"
    path = Path(name) if Path(name).is_file() else kept
    if path.is_file():
        info = WeightsInfo.from_metadata(path, read_metadata(path))
        return {"name": path.stem, "path": str(path), **asdict(info)}
    item = offered(name)
    return {"name": name, "kind": item.destination.kind, "for": item.destination.plugin, **asdict(item.weights)}


def offered(name: str) -> Published:
    """Published weights by name; raises UsageError when there are none."""
    found = {item.name: item for item in published()}
    if name not in found:
        raise UsageError(f'No installed plugin names weights "{name}". {did_you_mean(name, found)}')
    return found[name]


def bring_in(
    workspace: Workspace,
    file: Path,
    *,
    layout: str,
    model: str | None,
    trunk: str | None,
    name: str | None,
    classes: str | None,
    assignments: Iterable[str],
) -> Path:
    """Import a foreign checkpoint into the workspace; returns where it is kept.

    Raises:
        UsageError: not exactly one of model and trunk is named, or a name cannot be a file's.
        CheckpointError: the file cannot be read or does not fit.
    """
    if (model is None) == (trunk is None):
        raise UsageError("`vtk weights import` takes --model NAME for a whole model or --trunk NAME for a trunk.")
    kept = name or file.stem
    if not _NAME.fullmatch(kept):
        raise UsageError(f'Weights are named by letters, digits and "._+-", found "{kept}". Give another --name.')
    if model is not None:
        config = resolve({"model": load_model_spec(model).config()}, assignments=assignments)["model"]
        destination = for_model(model, config)
    else:
        destination = for_trunk(str(trunk))
    names = None if classes is None else label_names(classes)
    order = "" if classes is None else Path(classes).stem
    target = workspace.weights / f"{kept}.safetensors"
    import_weights(file, target, destination, layout, classes=names, label_order=order)
    return target


def _row(item: Published) -> dict[str, Any]:
    weights = item.weights
    return {
        "name": item.name,
        "here": "no",
        "kind": item.destination.kind,
        "for": item.destination.plugin,
        "classes": weights.classes,
        "layout": weights.layout,
        "licence": weights.licence,
        "url": weights.url,
    }


def _here(path: Path) -> dict[str, Any]:
    try:
        info = WeightsInfo.from_metadata(path, read_metadata(path))
    except CheckpointError as error:
        return {"name": path.stem, "here": "damaged", "kind": str(error)}
    here = {"name": path.stem, "here": "yes", "kind": info.kind, "for": info.model, "path": str(path)}
    if info.kind == "model":
        here["classes"] = info.label_order or f"{len(info.classes)} classes"
    return here
