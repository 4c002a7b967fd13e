"""What `vtk test` or `vtk fuse` left of one split: scores of every clip, and the numbers computed from them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vtk_cli.errors import CheckpointError
from vtk_cli.evaluate.scores_file import read_scores_file
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
    "fusion": "{}",
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
    found = read_scores_file(path)
    if found.classes != info.classes:
        raise CheckpointError(
            f"{path} should hold scores of the {len(info.classes)} classes of run.json, found others. Run `vtk test` "
            "again."
        )
    order = sorted(found.metrics.items(), key=lambda metric: _FIRST.index(metric[0]) if metric[0] in _FIRST else 9)
    return TestScores(
        split=path.stem,
        ids=found.scores.ids,
        probability_BK=found.probability_BK,
        labels=found.scores.labels,
        summary=found.summary,
        metrics=dict(order),
    )
