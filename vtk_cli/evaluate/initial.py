"""What a training run starts from: `--init auto | none | FILE | NAME`."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from vtk_cli.api.models import ModelSpec, Pretrained, StateDict
from vtk_cli.errors import CheckpointError, FetchError, UsageError
from vtk_cli.evaluate.foreign import Destination
from vtk_cli.evaluate.published import Published, fetch_weights, find_weights, published
from vtk_cli.evaluate.weights import WeightsInfo, listed, load_weights
from vtk_cli.workspace import Workspace


@dataclass(frozen=True, slots=True, kw_only=True)
class Initial:
    """Entries of a model's state dict, and where they come from."""

    tensors: StateDict = field(default_factory=dict)
    origin: str = "none"
    num_classes: int | None = None
    """Of the weights' own classifier, where they are a whole model."""


def initial_weights(spec: ModelSpec[Any], config: Any, workspace: Workspace, init: str = "auto") -> Initial:
    """The tensors that `init` names, in the model's own names.

    auto: what the model's paper starts from, from <root>/weights or fetched from where it is published. none: nothing.
    Otherwise a file of weights that vtk wrote, a name in <root>/weights, or a published name.

    Raises:
        UsageError: nothing has that name.
        FetchError: it is not here and cannot be fetched.
        CheckpointError: the file is damaged, or is for another trunk.
    """
    if init == "none":
        return Initial()
    pretrained = spec.pretrained(config)
    if init == "auto":
        if pretrained is None:
            return Initial()
        return _adapted(_find_pretrained(pretrained, workspace), pretrained)
    return _loaded(_find(init, workspace), pretrained)


def apply_initial(module: nn.Module, initial: Initial, num_classes: int) -> list[str]:
    """Load initial weights; returns the names of what keeps its own initialisation because the classes are others.

    Raises:
        CheckpointError: a tensor has no place in the model, or another shape for another reason.
    """
    own = module.state_dict()
    left_out = [
        name
        for name, tensor in initial.tensors.items()
        if name in own and _is_classifier(own[name], tensor, num_classes, initial.num_classes)
    ]
    taken = {name: tensor for name, tensor in initial.tensors.items() if name not in left_out}
    wrong = [name for name, tensor in taken.items() if name not in own or own[name].shape != tensor.shape]
    if wrong:
        raise CheckpointError(
            f"The initial weights {initial.origin} do not fit the model: {listed(wrong)} have no place or another "
            "shape. Give the model the configuration they were made with, or train with --init none."
        )
    module.load_state_dict(taken, strict=False)
    return left_out


def _is_classifier(own: Tensor, found: Tensor, num_classes: int, found_classes: int | None) -> bool:
    if found_classes is None or own.shape == found.shape or own.dim() != found.dim():
        return False
    sides = [(ours, theirs) for ours, theirs in zip(own.shape, found.shape, strict=True) if ours != theirs]
    return sides == [(num_classes, found_classes)]


def _find(init: str, workspace: Workspace) -> Path:
    with _or_none():
        return find_weights(init, workspace, "--init takes auto, none,")


def _find_pretrained(pretrained: Pretrained, workspace: Workspace) -> Path:
    path = workspace.weights / f"{pretrained.name}.safetensors"
    if path.is_file():
        return path
    found = {item.name: item for item in published()}.get(pretrained.name) or _unlisted(pretrained)
    with _or_none():
        return fetch_weights(found, workspace, mirror=os.environ.get("VTK_MIRROR", ""))


def _unlisted(pretrained: Pretrained) -> Published:
    """Weights that a model names itself, of a trunk that is no plugin: kept as its layout gives them."""
    destination = Destination(kind="trunk", plugin=pretrained.name, layouts=pretrained.layouts, build=None)
    return Published(name=pretrained.name, weights=pretrained.weights, destination=destination)


@contextmanager
def _or_none() -> Iterator[None]:
    """Weights that cannot be had are no reason not to train."""
    try:
        yield
    except FetchError as error:
        raise FetchError(f"{str(error).removesuffix('.')}, or train with --init none.") from error


def _adapted(path: Path, pretrained: Pretrained) -> Initial:
    tensors, info = load_weights(path)
    if info.kind != "trunk":
        raise CheckpointError(f"{path} should hold a trunk, found the whole model {info.model}. Name it with --init.")
    return _adapt(tensors, path, info, pretrained)


def _loaded(path: Path, pretrained: Pretrained | None) -> Initial:
    tensors, info = load_weights(path)
    if info.kind == "model":
        return Initial(tensors=tensors, origin=_origin(path, info), num_classes=len(info.classes))
    if pretrained is None:
        raise UsageError(f"{path} holds the trunk {info.model}, which this model does not start from. Use --init none.")
    return _adapt(tensors, path, info, pretrained)


def _adapt(tensors: StateDict, path: Path, info: WeightsInfo, pretrained: Pretrained) -> Initial:
    try:
        return Initial(tensors=pretrained.adapt(tensors), origin=_origin(path, info))
    except KeyError as error:
        raise CheckpointError(
            f"{path} holds the trunk {info.model} without {error}, which this model starts from. Name "
            f"{pretrained.name}."
        ) from error


def _origin(path: Path, info: WeightsInfo) -> str:
    known: Mapping[str, str] = info.provenance
    return f"{path.name} (sha256 {known['sha256'][:8]})" if "sha256" in known else path.name
