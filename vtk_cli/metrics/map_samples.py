"""Mean average precision over the videos: how well each video's own classes are ranked before the others.

Multi-Moments in Time's number (MMAction2 `mmit_mean_average_precision`, X-Temporal `calculate_mAP`). `map` is the mean
over the classes, another number.
"""

import numpy as np
from numpy.typing import NDArray

from vtk_cli.api.metrics import MetricSpec
from vtk_cli.errors import DataError
from vtk_cli.metrics.checks import check
from vtk_cli.metrics.map import average_precision


def mean_average_precision_of_samples(scores_BK: NDArray[np.float64], labels_BK: NDArray[np.int64]) -> float:
    """AP of each video that has a label, averaged; equal scores count as one threshold, as in scikit-learn.

    Raises:
        DataError: no video has a label, or see `checks.check`.

    >>> mean_average_precision_of_samples(np.array([[0.9, 0.8, 0.7]]), np.array([[1, 0, 1]]))
    0.8333333333333333
    """
    check(scores_BK, labels_BK, multi=True)
    videos = np.flatnonzero(labels_BK.any(axis=1))
    if not len(videos):
        raise DataError("Average precision needs a video with a label, found none. Test a split that has labels.")
    return float(np.mean([average_precision(scores_BK[video], labels_BK[video]) for video in videos]))


MAP_SAMPLES = MetricSpec(
    compute=mean_average_precision_of_samples,
    labels="multi",
    summary="mean over the videos of average precision",
)
