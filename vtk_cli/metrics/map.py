"""Mean average precision over the classes, for datasets with several labels per video.

Not the mean over videos, which MMAction2 calls mmit_mean_average_precision: that is another number.
"""

import numpy as np
from numpy.typing import NDArray

from vtk_cli.api.metrics import MetricSpec
from vtk_cli.errors import DataError
from vtk_cli.metrics.checks import check


def mean_average_precision(scores_BK: NDArray[np.float64], labels_BK: NDArray[np.int64]) -> float:
    """AP of each class that has videos, averaged; equal scores count as one threshold, as in scikit-learn.

    Raises:
        DataError: no video has a label, or see `checks.check`.

    >>> mean_average_precision(np.array([[0.9], [0.8], [0.7]]), np.array([[1], [0], [1]]))
    0.8333333333333333
    """
    check(scores_BK, labels_BK, multi=True)
    classes = np.flatnonzero(labels_BK.any(axis=0))
    if not len(classes):
        raise DataError("Average precision needs a video with a label, found none. Test a split that has labels.")
    return float(np.mean([average_precision(scores_BK[:, k], labels_BK[:, k]) for k in classes]))


def average_precision(scores_B: NDArray[np.float64], positive_B: NDArray[np.int64]) -> float:
    """Sum over the thresholds of precision times gained recall."""
    order = np.argsort(-scores_B, kind="stable")
    last_of_its_score = np.append(np.diff(scores_B[order]) != 0, [True])
    hits = np.cumsum(positive_B[order])[last_of_its_score]
    seen = np.flatnonzero(last_of_its_score) + 1
    return float(np.sum(np.diff(hits, prepend=0) / hits[-1] * hits / seen))


MAP = MetricSpec(compute=mean_average_precision, labels="multi", summary="mean over the classes of average precision")
