"""What `vtk test` left of one split: scores of every clip, and the numbers computed from them."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from vtk_cli.errors import CheckpointError
from vtk_cli.run_dir import RunDir, RunInfo

_PROTOCOL = {
    "segments": "{} segments",
    "frames": "{} frames each",
    "stride": "stride {}",
    "clips": "clips per video: {}",
    "crops": "crops per clip: {}",
    "crop": "{} px",
    "short_side": "short side {} px",
    "average": "averaged {}",
    "pictures": "from {}",
    "vectors": "at most {} vectors per video",
    "streams": "streams {}",
    "features": "from {}",
}
"""How a test's JSON file says it -> how the report says it."""


_FIRST = ("top1", "top5", "map", "mean_class")
"""Metrics in the order of interest; others follow."""


@dataclass(frozen=True, slots=True)
class TestScores:
    """One tested split."""

    split: str
    ids: Sequence[str]
    probability_BK: NDArray[np.float64]
    """Softmax of the view-averaged logits, or the view-averaged probabilities themselves."""
    labels: NDArray[np.int64]
    """labels_B; a 0/1 matrix labels_BK where a video has several labels."""
    summary: Mapping[str, Any]
    """The split's JSON file: `metrics`, `protocol` and what else stands there."""
    metrics: Mapping[str, float]
    """Shares in [0, 1] by name."""

    @property
    def dataset(self) -> str | None:
        """Where the clips are from; None if the file does not say."""
        return self.summary.get("dataset")

    @property
    def protocol(self) -> str:
        """How the clips were seen, in words."""
        stated = self.summary.get("protocol") or {}
        words = [_PROTOCOL[name].format(value) for name, value in stated.items() if name in _PROTOCOL]
        if self.summary.get("left_out"):
            words.append(f"{self.summary['left_out']} clips could not be read and are left out")
        return ", ".join(words)

    @property
    def predicted_B(self) -> NDArray[np.int64]:
        best: NDArray[np.int64] = self.probability_BK.argmax(axis=1)
        return best

    @property
    def confidence_B(self) -> NDArray[np.float64]:
        """Probability of the predicted class."""
        most: NDArray[np.float64] = self.probability_BK.max(axis=1)
        return most


def read_scores(run: RunDir, info: RunInfo) -> list[TestScores]:
    """Every tested split of a run, the dataset's test split first, then the newest.

    Raises:
        CheckpointError: a scores file is damaged.
    """
    paths = sorted(run.scores.glob("*.npz"), key=lambda path: -path.stat().st_mtime)
    test = info.splits.get("test")
    return [_read(path, info) for path in sorted(paths, key=lambda path: path.stem != test)]


def _read(path: Path, info: RunInfo) -> TestScores:
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            ids, scores_BK, labels = arrays["ids"], arrays["scores_BK"], arrays["labels"]
        summary = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        metrics = {name: float(value) for name, value in summary["metrics"].items()}
        _check(scores_BK, labels, len(ids), len(info.classes))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, EOFError, BadZipFile) as error:
        raise CheckpointError(
            f"{path} and its .json should hold the scores of a test, found: {error}. Run `vtk test` again."
        ) from error
    return TestScores(
        split=path.stem,
        ids=[str(video_id) for video_id in ids],
        probability_BK=probabilities(scores_BK.astype(np.float64), summary.get("scores", "logits")),
        labels=labels.astype(np.int64),
        summary=summary,
        metrics=dict(sorted(metrics.items(), key=lambda metric: _FIRST.index(metric[0]) if metric[0] in _FIRST else 9)),
    )


def _check(scores_BK: NDArray[Any], labels: NDArray[Any], num_ids: int, num_classes: int) -> None:
    if scores_BK.shape != (num_ids, num_classes):
        raise ValueError(f"scores of shape {scores_BK.shape} for {num_ids} clips and {num_classes} classes")
    if labels.shape not in ((num_ids,), scores_BK.shape):
        raise ValueError(f"labels of shape {labels.shape} for {num_ids} clips")
    if labels.ndim == 1 and num_ids and not 0 <= labels.min() <= labels.max() < num_classes:
        raise ValueError(f"labels from {labels.min()} to {labels.max()} for {num_classes} classes")


def probabilities(scores_BK: NDArray[np.float64], kind: str) -> NDArray[np.float64]:
    """Scores as probabilities over the classes: through a softmax if they are logits."""
    if kind == "probabilities":
        return scores_BK
    raised = np.exp(scores_BK - scores_BK.max(axis=1, keepdims=True))
    result: NDArray[np.float64] = raised / raised.sum(axis=1, keepdims=True)
    return result
