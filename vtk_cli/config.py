"""A run's configuration: model defaults <- file <- --set, overlaid once; each layer checked, misspellings suggested.

Every section is a frozen dataclass that the part concerned owns (a model's config, a `TrainRecipe`, loader options).
Values are checked by pydantic against the field's type. Where each value came from is kept and written with it.
"""

import dataclasses
import json
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar, cast, get_args, get_type_hints

from pydantic import ConfigDict, TypeAdapter, ValidationError

from vtk_cli.errors import DataError, UsageError, did_you_mean

SectionT = TypeVar("SectionT")
Layers = Mapping[str, tuple[Any, str]]
"""Dotted key -> (value, where it came from)."""


@dataclasses.dataclass(frozen=True, slots=True)
class RunConfig:
    """Resolved sections by name, and the origin of each dotted key."""

    sections: Mapping[str, Any]
    origins: Mapping[str, str]

    def __getitem__(self, section: str) -> Any:
        return self.sections[section]


def resolve(defaults: Mapping[str, Any], *, file: Path | None = None, assignments: Iterable[str] = ()) -> RunConfig:
    """Overlay a TOML file and `section.key=value` assignments on dataclass defaults.

    Raises:
        UsageError: a key that no section has, a value that its field does not take, or a malformed assignment.
        DataError: the file is missing or no TOML.
    """
    layers: dict[str, tuple[Any, str]] = {}
    if file is not None:
        layers.update(read_file(file))
    for text in assignments:
        key, value = parse_assignment(text)
        layers[key] = (value, "--set")
    _check_keys(defaults, layers)
    sections = {name: overlay(name, default, layers) for name, default in defaults.items()}
    origins = {
        f"{name}.{field}": layers.get(f"{name}.{field}", (None, "default"))[1]
        for name, default in defaults.items()
        for field in settable(default)
    }
    return RunConfig(sections, origins)


def read_file(path: Path) -> dict[str, tuple[Any, str]]:
    """The keys of a TOML file whose tables are sections."""
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DataError(f"There is no configuration file at {path}. Check the path given with --config.") from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise DataError(f"The configuration {path} should be TOML, found: {error}. Mend or drop it.") from error
    layers = {}
    for section, table in found.items():
        if not isinstance(table, dict):
            raise UsageError(
                f"The configuration {path} should hold tables such as [model], found {section!r} outside one."
            )
        layers.update({f"{section}.{key}": (value, str(path)) for key, value in table.items()})
    return layers


def parse_assignment(text: str) -> tuple[str, Any]:
    """`section.key=value`; the value is TOML where it can be read so, else the text itself.

    >>> parse_assignment("train.lr=0.01")
    ('train.lr', 0.01)
    >>> parse_assignment("model.trunk=resnet18")
    ('model.trunk', 'resnet18')
    >>> parse_assignment("train.milestones=[20, 40]")
    ('train.milestones', [20, 40])
    """
    key, equals, value = text.partition("=")
    if not equals or "." not in key:
        raise UsageError(f'--set takes section.key=value, such as train.lr=0.01; found "{text}".')
    try:
        found = tomllib.loads(f"value = {value}")
    except (tomllib.TOMLDecodeError, RecursionError):
        found = {}
    if list(found) == ["value"]:
        return key.strip(), found["value"]
    return key.strip(), None if value.strip() == "none" else value.strip()


def overlay(name: str, default: SectionT, layers: Layers) -> SectionT:
    """A section with the layers' values in place of its defaults, each checked against its field's type."""
    hints = get_type_hints(type(default))
    changes = {
        field: _checked(f"{name}.{field}", hints[field], *layers[f"{name}.{field}"])
        for field in settable(default)
        if f"{name}.{field}" in layers
    }
    return cast("SectionT", dataclasses.replace(cast("Any", default), **changes))


def settable(section: Any) -> list[str]:
    """The fields of a section that hold values; functions (samplers, parameter groups) are not configuration."""
    return [f.name for f in dataclasses.fields(section) if not callable(getattr(section, f.name))]


def to_toml(config: RunConfig) -> str:
    """The resolved configuration with the origin of every value that is no default, readable by `resolve` again."""
    lines = []
    for name, section in config.sections.items():
        lines.append(f"[{name}]")
        for field in settable(section):
            value = getattr(section, field)
            origin = config.origins[f"{name}.{field}"]
            remark = "" if origin == "default" else f"  # {_toml(origin)[1:-1]}"
            lines.append(f"{field} = {_toml(value)}{remark}")
        lines.append("")
    return "\n".join(lines)


def _check_keys(defaults: Mapping[str, Any], layers: Layers) -> None:
    for key, (_, origin) in layers.items():
        section, _, field = key.partition(".")
        if section not in defaults:
            raise UsageError(f'{origin}: there is no section "{section}". {did_you_mean(section, defaults)}')
        known = settable(defaults[section])
        if field not in known:
            raise UsageError(
                f'{origin}: the section {section} has no key "{field}". {did_you_mean(field, known, most=40)}'
            )


def _checked(key: str, hint: Any, value: Any, origin: str) -> Any:
    if value in ("none", None):
        value = "none" if _names_none(hint) else None
    try:
        adapter = TypeAdapter(hint, config=ConfigDict(strict=False, allow_inf_nan=False))
        if isinstance(value, bool) and hint in (int, float):
            raise UsageError(f"{origin}: {key} should be a number, found {value}.")
        return adapter.validate_python(value)
    except ValidationError as error:
        reason = error.errors()[0]["msg"]
        raise UsageError(f"{origin}: {key} does not take {value!r}: {reason}.") from error


def _names_none(hint: Any) -> bool:
    """Whether "none" is one of a field's own words, as in Literal["linear", "none"], rather than Python's None."""
    return hint == "none" or any(_names_none(part) for part in get_args(hint))


def _toml(value: Any) -> str:
    if value is None:
        return '"none"'
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    # JSON's escapes are TOML's too; only DEL is plain in the one and forbidden in the other.
    return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")
