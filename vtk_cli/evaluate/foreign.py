"""Bringing in weights that other projects published: fetched or imported, converted, checked against what they are for.

Kept as <root>/weights/NAME.safetensors with where they come from. Pickles are read with `weights_only=True` alone.
"""

import argparse
import hashlib
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, Literal, cast
from urllib.parse import urlsplit
from zipfile import BadZipFile

import numpy as np
import torch
from torch import nn

from vtk_cli import registry
from vtk_cli.api.datasets import DatasetRecipe
from vtk_cli.api.models import ModelSpec, StateDict, TrunkSpec, Weights
from vtk_cli.console import Progress
from vtk_cli.errors import CheckpointError, PluginError, UsageError, did_you_mean
from vtk_cli.evaluate.weights import WeightsInfo, compare, config_values, read_weights, save_weights
from vtk_cli.fetch.http import Fetcher
from vtk_cli.workspace import Workspace

Layout = Callable[[StateDict], StateDict]

_NUMPY_SCALARS: list[Any] = [
    argparse.Namespace,
    np._core.multiarray.scalar,  # type: ignore[attr-defined]  # noqa: SLF001  how pickles name numpy's numbers
    np.dtype,
    *(getattr(np.dtypes, f"{kind}DType") for kind in ("Float64", "Float32", "Int64", "Int32", "Bool")),
]
"""What old training scripts left beside the tensors (`args`, `best_prec1`); harmless, so their files can be read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """What foreign weights are for."""

    kind: Literal["model", "trunk"]
    plugin: str
    layouts: Mapping[str, Layout]
    build: Callable[[int], nn.Module] | None
    """(num_classes) -> the module, without memory for its tensors; a trunk ignores the number. None: not known, so
    what the layout gives is taken as it is."""
    config: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """Weights that a plugin names."""

    name: str
    weights: Weights
    destination: Destination


def for_model(name: str, config: Any = None) -> Destination:
    """Weights of a whole model, in the given or its default configuration."""
    spec = load_model_spec(name)
    chosen = spec.config() if config is None else config

    def build(num_classes: int) -> nn.Module:
        with torch.device("meta"):
            return spec.build(chosen, num_classes)

    return Destination(kind="model", plugin=name, layouts=spec.layouts, build=build, config=config_values(chosen))


def for_trunk(name: str) -> Destination:
    """Weights of an image network that reads RGB."""
    spec = registry.load("vtk.trunks", name)
    if not isinstance(spec, TrunkSpec):
        raise PluginError(f'The trunk "{name}" should be a TrunkSpec, found {type(spec).__name__}. Ask its author.')
    found = spec

    def build(_num_classes: int) -> nn.Module:
        with torch.device("meta"):
            return found.build(3)

    return Destination(kind="trunk", plugin=name, layouts=spec.layouts, build=build, config={})


def load_model_spec(name: str) -> ModelSpec[Any]:
    """A model of the group vtk.models.

    Raises:
        UsageError: there is none of that name.
        PluginError: it does not load, or is no ModelSpec.
    """
    spec = registry.load("vtk.models", name)
    if not isinstance(spec, ModelSpec):
        raise PluginError(f'The model "{name}" should be a ModelSpec, found {type(spec).__name__}. Ask its author.')
    return spec


def published() -> Iterator[Published]:
    """Every weight file that an installed model or trunk names; plugins that do not load are left out."""
    for group, destination in (("vtk.trunks", for_trunk), ("vtk.models", for_model)):
        for name in registry.names(group):
            try:
                spec = cast("ModelSpec[Any] | TrunkSpec", registry.load(group, name))
                target = destination(name) if spec.weights else None
            except PluginError:
                continue  # `vtk plugins` says why
            if target is not None:
                for key, weights in spec.weights.items():
                    yield Published(name=f"{name}-{key}", weights=weights, destination=target)


def import_weights(
    file: Path,
    target: Path,
    destination: Destination,
    layout: str,
    *,
    classes: tuple[str, ...] | None = None,
    label_order: str = "",
    provenance: Mapping[str, str] | None = None,
) -> WeightsInfo:
    """Convert a foreign checkpoint, check that it is whole, and write it to `target`.

    Raises:
        UsageError: the plugin knows no such layout, or `classes` are not as many as the file's.
        CheckpointError: the file cannot be read, or is not what the layout and the model say.
    """
    if layout not in destination.layouts:
        raise UsageError(
            f'The {destination.kind} {destination.plugin} knows no layout "{layout}". '
            f"{did_you_mean(layout, destination.layouts)}"
        )
    tensors = destination.layouts[layout](cast("StateDict", read_foreign(file)))
    num_classes = _num_classes(destination, tensors)
    if destination.build and (differences := compare(destination.build(num_classes).state_dict(), tensors)):
        raise CheckpointError(
            f"{file} does not fit the {destination.kind} {destination.plugin}: {differences}. Name the layout and, "
            "with --set model.<field>=, the configuration that it was trained with."
        )
    if classes is not None and len(classes) != num_classes:
        raise UsageError(f"{file} has {num_classes} classes, found {len(classes)} names. Name the right label order.")
    names = classes or tuple(str(number) for number in range(num_classes))
    info = WeightsInfo(
        kind=destination.kind,
        model=destination.plugin,
        config=destination.config,
        classes=names if destination.kind == "model" else (),
        label_order=label_order,
        provenance={"file": file.name, "sha256": sha256_of(file), "layout": layout, **(provenance or {})},
    )
    save_weights(target, tensors, info)
    return info


def fetch_weights(found: Published, workspace: Workspace, *, mirror: str = "") -> Path:
    """Bring a published file into the workspace; nothing is fetched when it is there.

    `mirror` replaces the scheme and host of the URL.

    Raises:
        FetchError: it cannot be had.
        CheckpointError: it is another file than the one that was published.
    """
    target = workspace.weights / f"{found.name}.safetensors"
    if target.is_file():
        return target
    raw = _download(found, workspace, mirror)
    weights = found.weights
    classes = label_names(weights.classes) if found.destination.kind == "model" and weights.classes else None
    try:
        import_weights(
            raw,
            target,
            found.destination,
            weights.layout,
            classes=classes,
            label_order=weights.classes,
            provenance={"url": weights.url, "licence": weights.licence},
        )
    finally:
        raw.unlink(missing_ok=True)
    return target


def label_names(name: str) -> tuple[str, ...]:
    """Class names in label order: those of a dataset recipe, or the lines of a text file.

    Raises:
        UsageError: there is neither.
    """
    if Path(name).is_file():
        return tuple(line.strip() for line in Path(name).read_text(encoding="utf-8").splitlines() if line.strip())
    recipe = registry.load("vtk.datasets", name)
    if not isinstance(recipe, DatasetRecipe):
        raise PluginError(f'The dataset "{name}" should be a DatasetRecipe, found {type(recipe).__name__}.')
    return recipe.classes()


def read_foreign(path: Path) -> Mapping[str, Any]:
    """What a checkpoint file holds: PyTorch (tensors and plain values only), numpy's npz, or safetensors.

    Raises:
        CheckpointError: it is absent, none of these, or a pickle that would execute something.
    """
    if not path.is_file():
        raise CheckpointError(f"There is no file at {path}. Check the path.")
    try:
        if path.suffix == ".safetensors":
            return read_weights(path)
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as arrays:
                return dict(arrays)
        with torch.serialization.safe_globals(_NUMPY_SCALARS), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of pickle protocols: what cannot be read is an error below
            found = torch.load(path, map_location="cpu", weights_only=True)
    except (UnpicklingError, RuntimeError, EOFError, OSError, ValueError, KeyError, BadZipFile) as error:
        # torch's own text advises to load such files without the check.
        pickled = isinstance(error, UnpicklingError)
        reason = "a pickle that would run code" if pickled else (str(error).strip() or type(error).__name__)
        reason = reason.splitlines()[0].rstrip(".")
        raise CheckpointError(
            f"{path} should be a PyTorch checkpoint of tensors, an npz or a safetensors file, found: {reason}. "
            "Save its tensors alone, with torch.save or numpy.savez, where you trust it."
        ) from error
    if not isinstance(found, Mapping):
        raise CheckpointError(
            f"{path} should hold tensors by name, found {type(found).__name__}. Save the model's state_dict()."
        )
    return found


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _num_classes(destination: Destination, tensors: StateDict) -> int:
    """How many classes a file's classifier has: the side that changes when the model is built for another number."""
    if destination.kind == "trunk" or destination.build is None:
        return 0
    first, second = destination.build(7).state_dict(), destination.build(11).state_dict()
    for name, tensor in first.items():
        for axis, (one, other) in enumerate(zip(tensor.shape, second[name].shape, strict=True)):
            if one != other and name in tensors and tensors[name].dim() > axis:
                return int(tensors[name].shape[axis] * 7 // one)
    return 1


def _download(found: Published, workspace: Workspace, mirror: str) -> Path:
    url = found.weights.url
    address = mirror.rstrip("/") + urlsplit(url).path if mirror else url
    raw = workspace.weights / f".{found.name}{Path(urlsplit(url).path).suffix}"
    with Progress(f"fetching {found.name}", total=None, unit="bytes") as bar:
        fetched = Fetcher(on_bytes=bar.advance).fetch(address, raw)
    if not fetched.sha256.startswith(found.weights.sha256.lower()):
        raw.unlink(missing_ok=True)
        raise CheckpointError(
            f"{address} should have sha256 {found.weights.sha256}..., found {fetched.sha256}. The file was changed; "
            "get it from another place and bring it in with `vtk weights import`."
        )
    return raw
