"""The settings of a run: resolved from model, recipe, file and command line, or taken up again from its config.toml."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from vtk_cli.api.models import ModelSpec
from vtk_cli.config import RunConfig, resolve, settable
from vtk_cli.errors import UsageError
from vtk_cli.loader.options import DataOptions
from vtk_cli.train.options import RESUMABLE, RunOptions


def default_sections(spec: ModelSpec[Any], *, multi_label: bool) -> dict[str, Any]:
    """The sections that a run has; the loss is the one that goes with the dataset's labels."""
    if multi_label:
        recipe = replace(spec.recipe, loss="binary_cross_entropy", label_smoothing=0.0)
    else:
        recipe = replace(spec.recipe, loss="cross_entropy", reduction="mean")
    return {"model": spec.config(), "train": recipe, "data": DataOptions(), "run": RunOptions()}


def resumed_settings(defaults: dict[str, Any], file: Path, assignments: Iterable[str]) -> tuple[RunConfig, list[str]]:
    """The settings in a run's config.toml with what `--resume` may change, and which keys that changed.

    Raises:
        UsageError: a setting is changed on which the steps already taken depend.
    """
    before = resolve(defaults, file=file)
    after = resolve(defaults, file=file, assignments=assignments)
    values, wanted = _values(before), _values(after)
    changed = [key for key, value in wanted.items() if value != values[key]]
    for key in changed:
        if key not in RESUMABLE:
            raise UsageError(
                f"A resumed run keeps its settings so that it ends as if it had not been interrupted; found "
                f"{key}={wanted[key]} instead of {values[key]}. It may change {', '.join(sorted(RESUMABLE))}; for "
                "anything else train anew, with --init FILE to start from weights of this run."
            )
    if "train.epochs" in changed and after["train"].schedule == "cosine":
        raise UsageError(
            f"The cosine schedule depends on the number of epochs, so a resumed run keeps {values['train.epochs']}; "
            f"found train.epochs={wanted['train.epochs']}. Train anew, with --init FILE for this run's weights."
        )
    origins = {**before.origins, **_written_origins(file), **dict.fromkeys(changed, "--resume --set")}
    return RunConfig(after.sections, origins), changed


def _values(config: RunConfig) -> dict[str, Any]:
    return {
        f"{name}.{field}": getattr(section, field)
        for name, section in config.sections.items()
        for field in settable(section)
    }


def _written_origins(file: Path) -> dict[str, str]:
    """Where each value of a config.toml says, in the remark behind it, that it came from."""
    origins, section = {}, ""
    for line in file.read_text(encoding="utf-8").splitlines():
        if line.startswith("["):
            section = line.strip("[]")
        elif " = " in line:
            setting, remark, origin = line.rpartition("  # ")
            origins[f"{section}.{(setting or line).split(' = ')[0]}"] = origin if remark else "default"
    return origins
