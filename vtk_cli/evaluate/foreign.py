"""Bringing in weights that other projects published: converted, checked against what they are for, and tried.

A file is written only when every tensor has its place and every place its tensor.
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from vtk_cli import registry
from vtk_cli.api.datasets import DatasetRecipe
from vtk_cli.api.inputs import FeatureSpec, InputSpec
from vtk_cli.api.models import Layout, ModelSpec, StateDict, TrunkSpec, trunk
from vtk_cli.config import overlay, resolve, settable
from vtk_cli.console import warn
from vtk_cli.errors import CheckpointError, MismatchError, PluginError, UsageError, VtkError, did_you_mean
from vtk_cli.evaluate.readers import read_foreign
from vtk_cli.evaluate.verify import make_check
from vtk_cli.evaluate.weights import WeightsInfo, check_fit, config_values, save_weights

Convert = Callable[[StateDict], StateDict]
Finish = Callable[[Any], Any]
"""From a configuration with what was inferred to the one with what a user or publisher set on top."""

_CONFUSED = (KeyError, IndexError, ValueError, TypeError, AttributeError, RuntimeError)
"""What a layout can raise on tensors that it was not written for."""
_DRAWS = frozenset(
    (
        Tensor.normal_,
        Tensor.uniform_,
        nn.init.kaiming_uniform_,
        nn.init.normal_,
        nn.init.uniform_,
        nn.init.trunc_normal_,
    )
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """What foreign weights are for."""

    kind: Literal["model", "trunk"]
    plugin: str
    layouts: Mapping[str, Convert]
    build: Callable[[int], nn.Module] | None
    """(num_classes) -> the module; a trunk ignores the number. None: not known (yet, where there is `settle`), so what
    the layout gives is taken as it is."""
    config: Mapping[str, Any] = field(default_factory=dict)
    inputs: InputSpec | FeatureSpec | None = None
    multi_label: bool = False
    settle: Callable[[Mapping[str, Any], str], "Destination"] | None = None
    """(fields that a layout inferred, whence) -> the same with its configuration; None where that is fixed already."""
    overruled: tuple[str, ...] = ()
    """What was set otherwise than the layout inferred, each as a clause."""
    stated: bool = False
    """The settings are the publisher's, who knows better than a layout what tensors alone do not decide."""


@dataclass(frozen=True, slots=True)
class Fitted:
    """A checkpoint in a model's own names, and the configuration that takes it."""

    destination: Destination
    tensors: StateDict
    num_classes: int


class _Unfilled(TorchFunctionMode):
    """Modules made in it draw no initial weights: they get others, and drawing takes seconds."""

    def __torch_function__(
        self, func: Any, _types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        named = kwargs or {}
        if func in _DRAWS:
            return args[0] if args else named["tensor"]
        return func(*args, **named)


def for_model(name: str, config: Any = None, *, finish: Finish = lambda config: config) -> Destination:
    """Weights of a whole model: in exactly this configuration, or in the one that the file's layout infers.

    `finish` sets what the user says on top of the latter; it may not contradict what the tensors decide.
    """
    spec = load_model_spec(name)
    return open_model(name, spec, finish) if config is None else _configured(name, spec, config)


def open_model(name: str, spec: ModelSpec[Any], finish: Finish, *, stated: bool = False) -> Destination:
    """As `for_model`, of a spec that is at hand; its configuration is found when a file is."""

    def settle(inferred: Mapping[str, Any], origin: str) -> Destination:
        found = _inferred(spec, inferred, origin)
        config = finish(found)
        overruled = tuple(
            f"model.{field} is set to {getattr(config, field)} where {origin} says {getattr(found, field)}"
            for field in inferred
            if getattr(config, field) != getattr(found, field)
        )
        return replace(_configured(name, spec, config), overruled=overruled, stated=stated)

    return Destination(kind="model", plugin=name, layouts=spec.layouts, build=None, settle=settle)


def for_trunk(name: str, spec: TrunkSpec | None = None) -> Destination:
    """Weights of an image network that reads RGB."""
    found = trunk(name) if spec is None else spec
    return Destination(kind="trunk", plugin=name, layouts=found.layouts, build=lambda _num_classes: found.build(3))


def setting(assignments: Iterable[str]) -> Finish:
    """What `--set model.<field>=value` changes in a configuration."""
    chosen = list(assignments)
    return lambda config: resolve({"model": config}, assignments=chosen)["model"]


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


def import_weights(
    file: Path,
    target: Path,
    destination: Destination | None,
    layout: str,
    *,
    finish: Finish = lambda config: config,
    classes: tuple[str, ...] | None = None,
    label_order: str = "",
    provenance: Mapping[str, str] | None = None,
) -> WeightsInfo:
    """Convert a foreign checkpoint, check that it is whole, try it, and write it to `target`.

    Without a destination it is for the one installed model that it fits, with `finish` on top of what was inferred.

    Raises:
        UsageError: the plugin knows no such layout, `classes` are not as many as the file's, a setting contradicts the
            tensors, or several models would take it.
        CheckpointError: the file cannot be read, or is not what the layout and the model say.
    """
    if destination is not None and layout not in destination.layouts:
        raise UsageError(
            f'The {destination.kind} {destination.plugin} knows no layout "{layout}". '
            f"{did_you_mean(layout, destination.layouts)}"
        )
    checkpoint = cast("StateDict", read_foreign(file))
    if destination is None:
        fitted = find_destination(layout, checkpoint, file, finish)
    else:
        fitted = fit(destination, layout, checkpoint, file)
    destination, num_classes = fitted.destination, fitted.num_classes
    if destination.overruled and not destination.stated:
        warn(f"{'; '.join(destination.overruled)}; the setting was taken, as the tensors fit it too.")
    if classes is not None and len(classes) != num_classes:
        raise UsageError(f"{file} has {num_classes} classes, found {len(classes)} names. Name the right label order.")
    names = classes or tuple(str(number) for number in range(num_classes))
    info = WeightsInfo(
        kind=destination.kind,
        model=destination.plugin,
        config=destination.config,
        classes=names if destination.kind == "model" else (),
        label_order=label_order,
        multi_label=destination.multi_label,
        provenance={"file": file.name, "sha256": sha256_of(file), "layout": layout, **(provenance or {})},
        check=_stored_check(fitted),
    )
    save_weights(target, fitted.tensors, info)
    return info


def fit(destination: Destination, layout: str, checkpoint: StateDict, file: Path) -> Fitted:
    """A checkpoint in the names of what it is for.

    Raises:
        CheckpointError: a tensor is left over, missing or of another shape; all are named.
        UsageError: a setting contradicts the file.
    """
    convert = destination.layouts[layout]
    try:
        tensors = convert(checkpoint)
        inferred = convert.infer(checkpoint) if isinstance(convert, Layout) else {}
    except _CONFUSED as error:
        raise CheckpointError(
            f'{file} should be a checkpoint of {destination.plugin} in the layout "{layout}", found tensors that it '
            f"cannot make sense of ({type(error).__name__}: {error}). Name the layout that it was written in."
        ) from error
    _check_sound(tensors, file)
    if destination.settle is not None:
        destination = destination.settle(inferred, f"{file} (layout {layout})")
    if destination.build is None:
        return Fitted(destination, tensors, 0)
    num_classes = _num_classes(destination, tensors)
    blank = _blank(destination, num_classes)
    try:
        check_fit(
            blank,
            tensors,
            f"{file} does not fit the {destination.kind} {destination.plugin}",
            "Name the layout and, with --set model.<field>=, the configuration that it was trained with.",
        )
    except MismatchError as error:
        if destination.overruled:
            raise _told(destination.overruled, error) from error
        raise
    return Fitted(destination, {name: tensors[name].to(own.dtype) for name, own in blank.items()}, num_classes)


def find_destination(layout: str, checkpoint: StateDict, file: Path, finish: Finish) -> Fitted:
    """The one installed model that a checkpoint fits.

    Raises:
        UsageError: no model knows the layout, or several would take the checkpoint.
        CheckpointError: none of those that know the layout takes it; the message has the reason of each.
    """
    fitting, reasons = [], {}
    known = dict(_models_by_layout())
    for name in known.get(layout, []):
        try:
            fitting.append(fit(for_model(name, finish=finish), layout, checkpoint, file))
        except VtkError as error:
            reasons[name] = str(error)
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        names = [fitted.destination.plugin for fitted in fitting]
        raise UsageError(
            f"{file} should be for one model, found that {len(names)} would take it: {', '.join(names)}. Say which "
            f"with --model {names[0]}, say."
        )
    if not reasons:
        raise UsageError(
            f'No installed model knows the layout "{layout}". {did_you_mean(layout, known)} A trunk is named with '
            "--trunk NAME."
        )
    told = "".join(f"\n  {name}: {reason}" for name, reason in reasons.items())
    raise CheckpointError(
        f'{file} should fit one of the models that know the layout "{layout}", found none that it fits:{told}\nName '
        "the model with --model and its configuration with --set model.<field>=, or the trunk with --trunk."
    )


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


def sha256_of(path: Path) -> str:
    """Of a file; of a folder over the names and digests of its files."""
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.is_file())
        lines = "".join(f"{sha256_of(file)}  {file.relative_to(path).as_posix()}\n" for file in files)
        return hashlib.sha256(lines.encode()).hexdigest()
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def build_loaded(destination: Destination, tensors: StateDict, num_classes: int) -> nn.Module:
    """The module with these tensors, which fit it."""
    assert destination.build is not None
    with _Unfilled():
        module = destination.build(num_classes)
    module.load_state_dict(tensors)
    return module


def _configured(name: str, spec: ModelSpec[Any], config: Any) -> Destination:
    return Destination(
        kind="model",
        plugin=name,
        layouts=spec.layouts,
        build=lambda num_classes: spec.build(config, num_classes),
        config=config_values(config),
        inputs=spec.inputs(config),
        multi_label=spec.recipe.loss == "binary_cross_entropy",
    )


def _inferred(spec: ModelSpec[Any], inferred: Mapping[str, Any], origin: str) -> Any:
    """The model's defaults with what a layout inferred in their place."""
    if unknown := sorted(set(inferred) - set(settable(spec.config()))):
        raise PluginError(f"{origin} was found to have {unknown[0]}, a setting that the model lacks. Ask its author.")
    return overlay("model", spec.config(), {f"model.{name}": (value, origin) for name, value in inferred.items()})


def _told(overruled: tuple[str, ...], error: MismatchError) -> UsageError:
    return UsageError(f"{'; '.join(overruled)}: {error} Drop the setting, or name the layout of the file.")


def _stored_check(fitted: Fitted) -> dict[str, Any]:
    """What the model gives for a made input, for `vtk weights verify`."""
    if fitted.destination.build is None:
        return {}
    module = build_loaded(fitted.destination, fitted.tensors, fitted.num_classes)
    return make_check(module, fitted.tensors, fitted.destination.inputs)


def _check_sound(tensors: Mapping[str, Any], file: Path) -> None:
    """Tensors as models hold them: dense, and none that is larger than its memory."""
    for name, tensor in tensors.items():
        dense = isinstance(tensor, Tensor) and tensor.layout == torch.strided and not tensor.is_quantized
        if not dense or tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
            raise CheckpointError(
                f"{file} should hold dense tensors of their own memory, found {name}, which is none. Save its tensors "
                "anew with torch.save where you trust it."
            )


def _models_by_layout() -> Iterable[tuple[str, list[str]]]:
    """Layouts and the installed models that know them; plugins that do not load are left out."""
    found: dict[str, list[str]] = {}
    for name in registry.names("vtk.models"):
        try:
            spec = load_model_spec(name)
        except PluginError:
            continue  # `vtk plugins` says why
        for layout in spec.layouts:
            found.setdefault(layout, []).append(name)
    return found.items()


def _blank(destination: Destination, num_classes: int) -> StateDict:
    """Names and shapes of the module's tensors, without memory for them."""
    assert destination.build is not None
    with torch.device("meta"), _Unfilled():
        return destination.build(num_classes).state_dict()


def _num_classes(destination: Destination, tensors: StateDict) -> int:
    """How many classes a file's classifier has: the side that changes when the model is built for another number."""
    if destination.kind == "trunk":
        return 0
    first, second = _blank(destination, 7), _blank(destination, 11)
    for name, tensor in first.items():
        for axis, (one, other) in enumerate(zip(tensor.shape, second[name].shape, strict=True)):
            if one != other and name in tensors and tensors[name].dim() > axis:
                return int(tensors[name].shape[axis] * 7 // one)
    return 1
