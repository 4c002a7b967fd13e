"""Scores files and tested runs, made in milliseconds: for tests of what fuses and reads them."""

from pathlib import Path

import numpy as np

from vtk_cli.evaluate.predict import Scores, metrics
from vtk_cli.evaluate.scores_file import write_scores
from vtk_cli.run_dir import RunDir, RunInfo

CLASSES = ("bend", "climb", "dive")


def write(
    path: Path,
    scores: list,
    labels: list,
    *,
    ids: tuple[str, ...] | None = None,
    classes: tuple[str, ...] = CLASSES,
    kind: str = "logits",
    dataset: str = "tiny",
    split: str | None = None,
    left_out: int = 0,
) -> Path:
    """A scores file as `vtk test` leaves it."""
    found = Scores(
        ids or tuple(f"clip-{number}" for number in range(len(scores))),
        np.array(scores, np.float64).reshape(-1, len(classes)),
        np.array(labels, np.int64),
    )
    summary = {
        "dataset": dataset, "split": split or path.stem, "left_out": left_out, "metrics": metrics(found),
        "protocol": {"segments": 3}, "scores": kind,
    }  # fmt: skip
    write_scores(path, classes, found, summary)
    return path


def make_run(runs: Path, name: str, *, model: str = "tsn", classes: tuple[str, ...] = CLASSES) -> RunDir:
    """A run of this name without weights; its scores are the test's to write."""
    run = RunDir(runs / name)
    run.write_info(
        RunInfo(
            model=model, dataset="tiny", classes=classes, label_order="tiny", stores={}, status="finished",
            splits={"train": "train", "val": "val", "test": "test"}, created="2026-01-01T00:00:00+00:00",
        )
    )  # fmt: skip
    return run
