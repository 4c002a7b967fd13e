"""What `vtk models show` says of a model: everything its spec states, with types and defaults."""

from collections.abc import Mapping
from dataclasses import asdict, fields, is_dataclass
from typing import Any, get_type_hints

from vtk_cli.config import settable
from vtk_cli.evaluate.foreign import load_model_spec
from vtk_cli.train.optim import describe_schedule


def card(name: str) -> dict[str, Any]:
    """A model's spec as plain values.

    Raises:
        UsageError: there is no such model.
        PluginError: it does not load.
    """
    spec = load_model_spec(name)
    config = spec.config()
    inputs = spec.inputs(config)
    pretrained = spec.pretrained(config)
    return {
        "model": name,
        "summary": spec.summary,
        "paper": spec.paper,
        "config": {key: _setting(spec.config, config, key) for key in settable(config)},
        "inputs": {
            "modality": inputs.modality,
            "train": _plain(inputs.train),
            "test": _plain(inputs.test),
            "norm": _plain(inputs.norm),
            "augment": _plain(inputs.augment),
        },
        "recipe": {key: getattr(spec.recipe, key) for key in settable(spec.recipe)},
        "schedule": describe_schedule(spec.recipe),
        "starts_from": pretrained.name if pretrained else None,
        "weights": {key: asdict(weights) for key, weights in spec.weights.items()},
        "layouts": sorted(spec.layouts),
    }


def tables(found: Mapping[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """A card as titled tables for a terminal."""
    inputs, recipe = found["inputs"], found["recipe"]
    train, test = inputs["train"], inputs["test"]
    views = [{"view": key, "train": str(train[key]), "test": str(test[key])} for key in train]
    rest = {"modality": inputs["modality"], **inputs["norm"], **inputs["augment"], "starts from": found["starts_from"]}
    return {
        "configuration (--set model.KEY=VALUE)": [{"key": key, **value} for key, value in found["config"].items()],
        "views": views,
        "input": [{"what": key, "value": str(value)} for key, value in rest.items()],
        f"recipe (--set train.KEY=VALUE): {found['schedule']}": [
            {"key": key, "value": str(value)} for key, value in recipe.items()
        ],
        "published weights": [
            {"name": name, "classes": w["classes"], "accuracy": _accuracy(w["accuracy"]), "licence": w["licence"]}
            for name, w in found["weights"].items()
        ],
    }


def _setting(kind: type[Any], config: Any, key: str) -> dict[str, Any]:
    hint = get_type_hints(kind)[key]
    return {"type": hint.__name__ if isinstance(hint, type) else str(hint), "default": getattr(config, key)}


def _plain(value: Any) -> dict[str, Any]:
    """A dataclass's fields; a function goes by its name."""
    assert is_dataclass(value)
    return {f.name: _named(getattr(value, f.name)) for f in fields(value)}


def _named(value: Any) -> Any:
    return getattr(value, "__name__", repr(value)) if callable(value) else value


def _accuracy(numbers: Mapping[str, float]) -> str:
    return ", ".join(f"{metric} {value:g}" for metric, value in numbers.items())
