"""The weights of a workspace as `vtk weights` shows and changes them."""

import re
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from vtk_cli.errors import CheckpointError, UsageError, did_you_mean
from vtk_cli.evaluate.foreign import for_model, for_trunk, import_weights, label_names, load_model_spec, setting
from vtk_cli.evaluate.published import Published, by_hand, offered, published
from vtk_cli.evaluate.verify import Verified, run_check
from vtk_cli.evaluate.weights import WeightsInfo, config_from, load_into, load_weights, read_metadata
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
    path = _kept(name, workspace)
    if path is not None:
        info = WeightsInfo.from_metadata(path, read_metadata(path))
        return {"name": path.stem, "path": str(path), **asdict(info)}
    item = offered(name)
    get = by_hand(item) if item.weights.by_hand else f"`vtk weights fetch {name}`"
    return {
        "name": name,
        "kind": item.destination.kind,
        "for": item.destination.plugin,
        **asdict(item.weights),
        "get": get,
    }


def bring_in(
    workspace: Workspace,
    file: Path,
    *,
    layout: str,
    model: str | None = None,
    trunk: str | None = None,
    name: str | None = None,
    output: Path | None = None,
    classes: str | None = None,
    assignments: Iterable[str] = (),
) -> Path:
    """Import a foreign checkpoint to `output`, else into the workspace; returns where it is.

    Raises:
        UsageError: both a model and a trunk are named, or a name cannot be a file's; see also `import_weights`.
        CheckpointError: the file cannot be read or does not fit.
    """
    if model is not None and trunk is not None:
        raise UsageError("`vtk weights import` takes --model NAME for a whole model or --trunk NAME for a trunk.")
    target = _target(workspace, file, name, output)
    destination = None
    if model is not None:
        destination = for_model(model, finish=setting(assignments))
    elif trunk is not None:
        destination = for_trunk(trunk)
    names = None if classes is None else label_names(classes)
    order = "" if classes is None else Path(classes).stem
    import_weights(file, target, destination, layout, finish=setting(assignments), classes=names, label_order=order)
    return target


def verify(name: str, workspace: Workspace) -> Verified:
    """Run the check that is stored with weights, by name or file.

    Raises:
        UsageError: there are none of that name here.
        CheckpointError: the file is damaged, has no check, or does not fit the installed model.
    """
    path = _kept(name, workspace)
    if path is None:
        here = [kept.stem for kept in workspace.weights.glob("*.safetensors")]
        raise UsageError(f'There are no weights "{name}" in {workspace.weights}. {did_you_mean(name, here)}')
    tensors, info = load_weights(path)
    if info.kind == "trunk":
        module = for_trunk(info.model).build
    else:
        spec = load_model_spec(info.model)
        config = config_from(spec, info, path)
        module = for_model(info.model, config).build
    assert module is not None
    built = module(len(info.classes))
    load_into(built, tensors, path)
    return run_check(built, tensors, info.check, path)


def _kept(name: str, workspace: Workspace) -> Path | None:
    """The file that a path or a name in <root>/weights means."""
    paths = (Path(name), workspace.weights / f"{name}.safetensors")
    return next((path for path in paths if path.is_file()), None)


def _target(workspace: Workspace, file: Path, name: str | None, output: Path | None) -> Path:
    if output is not None:
        if name is not None:
            raise UsageError("`vtk weights import` takes --name for the workspace or --output for a file of your own.")
        if output.suffix != ".safetensors":
            raise UsageError(f"--output takes a file that ends in .safetensors, found {output}. Add the suffix.")
        return output
    kept = name or file.stem
    if not _NAME.fullmatch(kept):
        raise UsageError(f'Weights are named by letters, digits and "._+-", found "{kept}". Give another --name.')
    return workspace.weights / f"{kept}.safetensors"


def _row(item: Published) -> dict[str, Any]:
    weights = item.weights
    return {
        "name": item.name,
        "here": "by hand" if weights.by_hand else "no",
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
