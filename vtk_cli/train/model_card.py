"""What `vtk models show` says of a model: everything its spec states, with types and defaults."""

from collections.abc import Mapping
from dataclasses import asdict, fields, is_dataclass
from typing import Any, get_type_hints

from vtk_cli.api.inputs import FeatureSpec, InputSpec
from vtk_cli.config import settable
from vtk_cli.evaluate.foreign import load_model_spec
from vtk_cli.train.cost import Cost, cost
from vtk_cli.train.optim import describe_schedule


def card(name: str) -> dict[str, Any]:
    """A model's spec as plain values.

    Raises:
        UsageError: there is no such model.
        PluginError: it does not load.
    """
    spec = load_model_spec(name)
    config = spec.config()
    pretrained = spec.pretrained(config)
    return {
        "model": name,
        "summary": spec.summary,
        "paper": spec.paper,
        "config": {key: _setting(spec.config, config, key) for key in settable(config)},
        "inputs": _inputs(spec.inputs(config)),
        "cost": asdict(cost(spec, config)),
        "recipe": {key: getattr(spec.recipe, key) for key in settable(spec.recipe)},
        "schedule": describe_schedule(spec.recipe),
        "starts_from": pretrained.name if pretrained else None,
        "weights": {key: asdict(weights) for key, weights in spec.weights.items()},
        "layouts": sorted(spec.layouts),
    }


def tables(found: Mapping[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """A card as titled tables for a terminal."""
    recipe = found["recipe"]
    return {
        "configuration (--set model.KEY=VALUE)": [{"key": key, **value} for key, value in found["config"].items()],
        **_input_tables(found["inputs"], found["starts_from"]),
        "cost": [{"what": key, "value": value} for key, value in _cost_lines(Cost(**found["cost"])).items()],
        f"recipe (--set train.KEY=VALUE): {found['schedule']}": [
            {"key": key, "value": str(value)} for key, value in recipe.items()
        ],
        "published weights": [
            {
                "name": name,
                "classes": w["classes"],
                "accuracy": _accuracy(w["accuracy"]),
                "protocol": w["protocol"],
                "layout": w["layout"],
                "licence": w["licence"],
            }
            for name, w in found["weights"].items()
        ],
    }


def _inputs(inputs: InputSpec | FeatureSpec) -> dict[str, Any]:
    if isinstance(inputs, FeatureSpec):
        return {
            "streams": [asdict(stream) for stream in inputs.streams],
            "frames": inputs.frames,
            "sampler": _named(inputs.sampler),
        }
    return {
        "modality": inputs.modality,
        "train": _plain(inputs.train),
        "test": _plain(inputs.test),
        "validation": None if inputs.validation is None else _named(inputs.validation),
        "norm": _plain(inputs.norm),
        "augment": _plain(inputs.augment),
    }


def _input_tables(inputs: Mapping[str, Any], starts_from: str | None) -> dict[str, list[dict[str, Any]]]:
    if "streams" in inputs:
        return {
            "streams of features": inputs["streams"],
            "input": [{"what": key, "value": str(inputs[key])} for key in ("frames", "sampler")],
        }
    train, test = inputs["train"], inputs["test"]
    rest = {
        "modality": inputs["modality"],
        "validation sampler": inputs["validation"] or train["sampler"],
        **inputs["norm"],
        **inputs["augment"],
        "starts from": starts_from,
    }
    return {
        "views": [{"view": key, "train": str(train[key]), "test": str(test[key])} for key in train],
        "input": [{"what": key, "value": str(value)} for key, value in rest.items()],
    }


def _cost_lines(found: Cost) -> dict[str, str]:
    views = "as many views as it has windows" if not found.views else f"{found.views} view{'s'[: found.views > 1]}"
    return {
        f"parameters ({found.classes} classes)": f"{found.parameters:,}",
        "multiply-adds, a training input": f"{found.train_gmacs:.2f} G",
        "multiply-adds, a test view": f"{found.test_gmacs:.2f} G, {views} per video",
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
