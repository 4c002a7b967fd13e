"""Weights that plugins name: listing them, fetching them, and saying how to get them where that is not possible."""

import json
import os
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

from vtk_cli import registry
from vtk_cli.api.models import ModelSpec, TrunkSpec, Weights
from vtk_cli.config import overlay
from vtk_cli.console import Progress, say
from vtk_cli.errors import CheckpointError, FetchError, PluginError, UsageError, did_you_mean
from vtk_cli.evaluate.foreign import Destination, for_trunk, import_weights, label_names, open_model
from vtk_cli.fetch.http import Fetcher, NotThere
from vtk_cli.workspace import Workspace


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """Weights that a plugin names."""

    name: str
    weights: Weights
    destination: Destination


def published() -> Iterator[Published]:
    """Every weight file that an installed model or trunk names; plugins that do not load are left out."""
    for group in ("vtk.trunks", "vtk.models"):
        for name in registry.names(group):
            try:
                spec = cast("ModelSpec[Any] | TrunkSpec", registry.load(group, name))
            except PluginError:
                continue  # `vtk plugins` says why
            for key, weights in spec.weights.items():
                yield Published(name=f"{name}-{key}", weights=weights, destination=_destination(name, spec, weights))


def offered(name: str) -> Published:
    """Published weights by name; raises UsageError when there are none."""
    found = {item.name: item for item in published()}
    if name not in found:
        raise UsageError(f'No installed plugin names weights "{name}". {did_you_mean(name, found)}')
    return found[name]


def find_weights(name: str, workspace: Workspace, option: str) -> Path:
    """The file that a user means by a path, a name in <root>/weights, or a published name, which is fetched.

    Raises:
        UsageError: nothing has that name; the message begins with what `option` takes.
        FetchError: it is published, not here, and cannot be fetched; the message says how to get it.
        CheckpointError: what was fetched is not what was published.
    """
    for path in (Path(name), workspace.weights / f"{name}.safetensors"):
        if path.is_file():
            return path
    found = {item.name: item for item in published()}
    if name in found:
        return fetch_weights(found[name], workspace, mirror=os.environ.get("VTK_MIRROR", ""))
    here = [path.stem for path in workspace.weights.glob("*.safetensors")]
    raise UsageError(
        f'{option} a file of weights or a name; there is no "{name}". {did_you_mean(name, [*here, *found])} '
        "`vtk weights list` shows them."
    )


def fetch_weights(found: Published, workspace: Workspace, *, mirror: str = "") -> Path:
    """Bring a published file into the workspace; nothing is fetched when it is there.

    `mirror` replaces the scheme and host of the URL; where that has no such file, the published address is asked.

    Raises:
        FetchError: it cannot be had; the message says how to bring it in by hand.
        CheckpointError: it is another file than the one that was published.
    """
    target = workspace.weights / f"{found.name}.safetensors"
    if target.is_file():
        return target
    if found.weights.by_hand:
        raise FetchError(f"The weights {found.name} should be in {workspace.weights}, found none. {by_hand(found)}.")
    raw = _download(found, workspace, mirror)
    weights = found.weights
    try:
        import_weights(
            raw,
            target,
            found.destination,
            weights.layout,
            classes=_classes(found),
            label_order=weights.classes,
            provenance=_provenance(weights),
        )
    finally:
        raw.unlink(missing_ok=True)
    return target


def by_hand(found: Published) -> str:
    """What a person does to bring in published weights, as the end of a sentence."""
    where = f"on the page {found.weights.url}" if found.weights.by_hand else f"from {found.weights.url}"
    return f"Get the file {where} and run `{import_command(found)}`"


def import_command(found: Published) -> str:
    """The command that imports a published file which was fetched by hand."""
    weights, destination = found.weights, found.destination
    words = ["--layout", weights.layout, f"--{destination.kind}", destination.plugin]
    for name, value in weights.config.items():
        words += ["--set", f"model.{name}={_assigned(value)}"]
    if _classes(found):
        words += ["--classes", weights.classes]
    return "vtk weights import FILE " + shlex.join([*words, "--name", found.name])


def _assigned(value: Any) -> str:
    """A value as `--set` reads it back.

    >>> _assigned(None), _assigned("dense"), _assigned(((), (0, 2)))
    ('none', 'dense', '[[], [0, 2]]')
    """
    if value is None:
        return "none"
    if isinstance(value, str):
        return value
    return json.dumps(value)  # numbers, truth values and lists are TOML's too


def _destination(name: str, spec: ModelSpec[Any] | TrunkSpec, weights: Weights) -> Destination:
    """The trunk, or the model in the configuration that the weights' entry and the file's tensors say."""
    if isinstance(spec, TrunkSpec):
        return for_trunk(name, spec)
    layers = {f"model.{field}": (value, f"the weights of {name}") for field, value in weights.config.items()}
    return open_model(name, spec, lambda config: overlay("model", config, layers), stated=True)


def _classes(found: Published) -> tuple[str, ...] | None:
    """Class names, where a recipe of that label order is installed."""
    known = found.destination.kind == "model" and found.weights.classes in registry.names("vtk.datasets")
    return label_names(found.weights.classes) if known else None


def _provenance(weights: Weights) -> Mapping[str, str]:
    told = {"url": weights.url, "licence": weights.licence, "source": weights.source, "protocol": weights.protocol}
    return {name: text for name, text in told.items() if text}


def _download(found: Published, workspace: Workspace, mirror: str) -> Path:
    url = found.weights.url
    raw = workspace.weights / f".{found.name}{Path(urlsplit(url).path).suffix}"
    with Progress(f"fetching {found.name}", total=None, unit="bytes") as bar:
        fetcher = Fetcher(on_bytes=bar.advance)
        try:
            address, digest = _fetch(fetcher, url, raw, mirror)
        except FetchError as error:
            what = str(error).partition(". ")[0]  # the advice after it is of `vtk download`'s options
            raise FetchError(
                f"The weights {found.name} are not in {workspace.weights} and cannot be fetched: {what}. Without a "
                f"network: {by_hand(found)[0].lower()}{by_hand(found)[1:]}."
            ) from error
    if not found.weights.sha256:
        say(f"{found.name}: no digest of it is published; the one found, sha256 {digest}, is recorded with it")
    elif not digest.startswith(found.weights.sha256.lower()):
        raw.unlink(missing_ok=True)
        raise CheckpointError(
            f"{address} should have sha256 {found.weights.sha256}..., found {digest}. The file was changed; "
            "get it from another place and bring it in with `vtk weights import`."
        )
    return raw


def _fetch(fetcher: Fetcher, url: str, target: Path, mirror: str) -> tuple[str, str]:
    """The address that the file came from, and its digest."""
    if mirror:
        address = mirror.rstrip("/") + urlsplit(url).path
        try:
            return address, fetcher.fetch(address, target).sha256
        except NotThere:
            say(f"{mirror} has no {urlsplit(url).path}; fetching it from {urlsplit(url).netloc}")
    return url, fetcher.fetch(url, target).sha256
