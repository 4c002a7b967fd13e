"""Training curves from a run's log."""

from collections.abc import Mapping, Sequence
from typing import Any

from vtk_cli.report.charts import Point, Series, line_chart
from vtk_cli.report.markup import Html, tag
from vtk_cli.report.parts import missing, section
from vtk_cli.run_dir import RunDir

Entries = Sequence[Mapping[str, Any]]


def curves_section(run: RunDir) -> Html:
    """Loss, top-1, learning rate, throughput and waiting over epochs; in words what was not logged."""
    steps, epochs = list(run.read_log("step")), list(run.read_log("epoch"))
    if not steps and not epochs:
        return section("curves", "Training", missing("Nothing was logged yet: the run ended before its first step."))
    charts = [chart for chart in _charts(steps, epochs) if chart is not None]
    return section("curves", "Training", tag("div", *charts, class_="charts"), _remark(epochs))


def _remark(epochs: Entries) -> Html | None:
    if any(entry.get("val_top1") is not None for entry in epochs):
        return None
    return missing("There was no validation in this run, so only training values are shown.")


def _charts(steps: Entries, epochs: Entries) -> list[Html | None]:
    per_epoch = _steps_per_epoch(epochs)
    unit = "steps" if per_epoch is None else "epochs"
    at_step = [(int(entry["step"]) + 1) / (per_epoch or 1) for entry in steps]
    at_epoch = [float(entry["epoch"]) + 1 for entry in epochs]

    def trained(key: str, name: str = "training", colour: int = 1, scale: float = 1) -> Series:
        return Series(name=name, points=_points(steps, at_step, key, scale), colour=colour)

    def validated(key: str, scale: float = 1) -> Series:
        return Series(name="validation", points=_points(epochs, at_epoch, key, scale), colour=2, dots=True)

    panels = {
        "Loss": [trained("loss"), validated("val_loss")],
        "Top-1 accuracy, %": [trained("top1", scale=100), validated("val_top1", scale=100)],
        "Learning rate": [trained("lr", "learning rate", 4)],
        "Speed, clips per second": [trained("clips_per_second", "clips per second", 3)],
        "Time spent waiting for data, %": [trained("wait_share", "waiting", 2, scale=100)],
    }
    return [line_chart(lines, x_label=unit, title=title, y_from=0) for title, lines in panels.items()]


def _points(entries: Entries, at: Sequence[float], key: str, scale: float) -> list[Point]:
    pairs = zip(at, entries, strict=True)
    return [(x, float(entry[key]) * scale) for x, entry in pairs if isinstance(entry.get(key), int | float)]


def _steps_per_epoch(epochs: Entries) -> float | None:
    """An epoch's line carries the number of its last step; None before the first epoch has ended."""
    ended = [(int(entry["epoch"]) + 1, int(entry["step"]) + 1) for entry in epochs if "step" in entry]
    if not ended:
        return None
    number, steps = max(ended)
    return steps / number
