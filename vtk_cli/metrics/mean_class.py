"""Mean class accuracy: top-1 accuracy of each class, averaged over the classes; what TSN's papers report."""

import numpy as np
from numpy.typing import NDArray

from vtk_cli.api.metrics import MetricSpec
from vtk_cli.metrics.checks import check


def mean_class(scores_BK: NDArray[np.float64], labels_B: NDArray[np.int64]) -> float:
    """The average over the classes that have videos of the part of their videos that is named right.

    Between equal scores the class with the lower number wins. Raises DataError, see `checks.check`.

    >>> mean_class(np.array([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]), np.array([0, 0, 1, 1]))
    0.75
    """
    check(scores_BK, labels_B)
    right_B = scores_BK.argmax(axis=1) == labels_B
    videos_K = np.bincount(labels_B, minlength=scores_BK.shape[1])
    right_K = np.bincount(labels_B[right_B], minlength=scores_BK.shape[1])
    there_K = videos_K > 0
    return float((right_K[there_K] / videos_K[there_K]).mean())


MEAN_CLASS = MetricSpec(compute=mean_class, summary="top-1 accuracy averaged over the classes")
