"""The contract of a metric as tests: subclass `MetricTests`, give `spec`, inherit them all."""

from typing import ClassVar

import numpy as np
import pytest
from numpy.typing import NDArray

from vtk_cli.api.metrics import MetricSpec
from vtk_cli.errors import DataError

VIDEOS, CLASSES = 30, 6


class MetricTests:
    """What `vtk test` and reports rely on."""

    spec: ClassVar[MetricSpec]

    def labels(self) -> NDArray[np.int64]:
        """Of 30 videos and 6 classes, in the form that the metric takes."""
        labels_B = np.random.default_rng(0).integers(0, CLASSES, VIDEOS)
        return np.eye(CLASSES, dtype=np.int64)[labels_B] if self.spec.labels == "multi" else labels_B

    def scores(self) -> NDArray[np.float64]:
        """Without ties and without a relation to the labels."""
        return np.random.default_rng(1).permutation(VIDEOS * CLASSES).reshape(VIDEOS, CLASSES) / 100.0

    def right(self) -> NDArray[np.float64]:
        """Scores that are right about every video."""
        labels = self.labels()
        return (labels if labels.ndim == 2 else np.eye(CLASSES)[labels]).astype(np.float64)

    def test_a_perfect_model_gets_one(self) -> None:
        assert self.spec.compute(self.right(), self.labels()) == pytest.approx(1)

    def test_the_value_is_a_number_from_zero_to_one(self) -> None:
        value = self.spec.compute(self.scores(), self.labels())
        assert isinstance(value, float)
        assert 0 <= value < 1

    def test_the_order_of_the_videos_does_not_matter(self) -> None:
        order = np.random.default_rng(2).permutation(VIDEOS)
        shuffled = self.spec.compute(self.scores()[order], self.labels()[order])
        assert shuffled == pytest.approx(self.spec.compute(self.scores(), self.labels()))

    def test_only_the_order_of_the_scores_matters(self) -> None:
        stretched = self.spec.compute(self.scores() * 3 - 1, self.labels())
        assert stretched == pytest.approx(self.spec.compute(self.scores(), self.labels()))

    def test_it_changes_nothing(self) -> None:
        scores, labels = self.scores(), self.labels()
        self.spec.compute(scores, labels)
        assert np.array_equal(scores, self.scores())
        assert np.array_equal(labels, self.labels())

    def test_nan_is_refused(self) -> None:
        scores = self.scores()
        scores[3, 2] = np.nan
        with pytest.raises(DataError):
            self.spec.compute(scores, self.labels())

    def test_no_videos_are_refused(self) -> None:
        with pytest.raises(DataError):
            self.spec.compute(self.scores()[:0], self.labels()[:0])

    def test_it_says_what_it_is(self) -> None:
        assert self.spec.summary
