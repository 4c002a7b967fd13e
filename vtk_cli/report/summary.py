"""A run in numbers: what `vtk runs` lists and compares and the head of the report. Reads small files only."""

import json
import struct
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from vtk_cli.errors import CheckpointError
from vtk_cli.run_dir import RunDir, RunInfo, all_runs

NOT_TRAINED = ("running_mean", "running_var", "num_batches_tracked")
"""Ends of the names of batch norm's statistics, which are saved with the parameters and are none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSummary:
    """One line of `vtk runs`. Metrics are shares in [0, 1]."""

    name: str
    model: str
    dataset: str
    status: str
    epochs_done: int
    epochs: int | None
    """Planned, by the configuration."""
    best_val_top1: float | None
    test_top1: float | None
    created: str


def list_runs(runs: Path) -> list[RunSummary]:
    """Every run of a workspace, oldest first; a damaged one says so in its status."""
    return [summarise(run) for run in all_runs(runs)]


def summarise(run: RunDir) -> RunSummary:
    try:
        info = run.info()
    except CheckpointError:
        return RunSummary(
            name=run.name, model="", dataset="", status="damaged", epochs_done=0, epochs=None, best_val_top1=None,
            test_top1=None, created="",
        )  # fmt: skip
    planned = configuration(run).get("train.epochs")
    return RunSummary(
        name=run.name,
        model=info.model,
        dataset=info.dataset,
        status=info.status,
        epochs_done=len({entry.get("epoch") for entry in run.read_log("epoch")}),
        epochs=planned if isinstance(planned, int) else None,
        best_val_top1=best_val_top1(run, info),
        test_top1=test_metrics(run).get(str(info.splits.get("test", "test")), {}).get("top1"),
        created=info.created,
    )


def best_val_top1(run: RunDir, info: RunInfo) -> float | None:
    """Validation top-1 of the best checkpoint; of the best epoch in the log where run.json does not state it."""
    stated = info.best.get("val_top1", info.best.get("top1"))
    logged = [float(entry["val_top1"]) for entry in run.read_log("epoch") if entry.get("val_top1") is not None]
    return stated if stated is not None else max(logged, default=None)


def test_metrics(run: RunDir) -> dict[str, dict[str, float]]:
    """Split -> metric -> share in [0, 1], of every tested split whose JSON file is whole."""
    found = {}
    for path in sorted(run.scores.glob("*.json")):
        try:
            metrics = json.loads(path.read_text(encoding="utf-8"))["metrics"]
            found[path.stem] = {str(name): float(value) for name, value in metrics.items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            continue  # no scores of a split (a result file lies beside them), or a damaged one; `vtk test` renews it
    return found


def configuration(run: RunDir) -> dict[str, Any]:
    """Dotted key -> value of config.toml; empty when it is absent or damaged."""
    try:
        tables = tomllib.loads(run.config.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return {
        f"{section}.{key}": value
        for section, table in tables.items()
        if isinstance(table, dict)
        for key, value in table.items()
    }


def trained_seconds(run: RunDir) -> float:
    """Time spent in epochs, as logged."""
    return sum(float(entry.get("seconds") or 0) for entry in run.read_log("epoch"))


def parameters(run: RunDir) -> int | None:
    """Trained numbers in the newest checkpoint, from the file's header alone; None where there is none.

    A safetensors file begins with the header's length (u64) and the header (JSON): https://github.com/huggingface/
    safetensors#format
    """
    for name in ("best", "last"):
        try:
            with (run.checkpoints / f"{name}.safetensors").open("rb") as file:
                (length,) = struct.unpack("<Q", file.read(8))
                header = json.loads(file.read(min(length, 1 << 26)))
            tensors = {key: value for key, value in header.items() if key != "__metadata__"}
            return sum(int(prod(value["shape"])) for key, value in tensors.items() if not key.endswith(NOT_TRAINED))
        except (OSError, ValueError, KeyError, TypeError, AttributeError, struct.error):
            continue  # absent or damaged: the report says that the number is not known
    return None


def measured(run: RunDir) -> dict[str, Any]:
    """The numbers that `vtk runs show` and `vtk runs diff` print, by name."""
    info = run.info()
    summary = summarise(run)
    numbers: dict[str, Any] = {
        "status": info.status,
        "epochs_done": summary.epochs_done,
        "best_val_top1": summary.best_val_top1,
        "parameters": parameters(run),
        "train_seconds": round(trained_seconds(run), 1),
    }
    for split, metrics in test_metrics(run).items():
        numbers.update({f"{split}.{name}": value for name, value in metrics.items()})
    return numbers


@dataclass(frozen=True, slots=True)
class Difference:
    """A key on which two runs disagree; None where a run lacks it."""

    key: str
    a: Any
    b: Any


def diff(a: RunDir, b: RunDir) -> tuple[list[Difference], list[Difference]]:
    """(configuration, metrics) that differ between two runs.

    Raises:
        CheckpointError: a run is damaged.
    """
    described = [{**_stated(run.info()), **configuration(run)} for run in (a, b)]
    return _differences(*described), _differences(measured(a), measured(b))


def _stated(info: RunInfo) -> dict[str, Any]:
    return {"run.model": info.model, "run.dataset": info.dataset, "run.classes": len(info.classes)}


def _differences(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[Difference]:
    keys = list(dict.fromkeys([*a, *b]))
    return [Difference(key, a.get(key), b.get(key)) for key in keys if a.get(key) != b.get(key)]
