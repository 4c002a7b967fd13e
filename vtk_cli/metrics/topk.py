"""Top-k accuracy: the part of videos whose true class is among the k best.

Between equal scores the class with the lower number is the better one, so that ties are settled the same everywhere and
a network that says the same of every class is right for class 0 alone.
"""

from functools import partial

import numpy as np
from numpy.typing import NDArray

from vtk_cli.api.metrics import MetricSpec
from vtk_cli.metrics.checks import check


def top_k(scores_BK: NDArray[np.float64], labels_B: NDArray[np.int64], *, k: int) -> float:
    """Top-k accuracy in [0, 1]; 1 where there are no more than k classes.

    Raises:
        DataError: see `checks.check`.

    >>> top_k(np.array([[0.1, 0.9], [0.5, 0.5]]), np.array([1, 1]), k=1)
    0.5
    """
    check(scores_BK, labels_B)
    return float((rank(scores_BK, labels_B) < k).mean())


def rank(scores_BK: NDArray[np.float64], labels_B: NDArray[np.int64]) -> NDArray[np.int64]:
    """How many classes stand before each video's true one; 0 is first."""
    true_B1 = np.take_along_axis(scores_BK, labels_B[:, None], axis=1)
    lower_BK = np.arange(scores_BK.shape[1]) < labels_B[:, None]
    before_BK = (scores_BK > true_B1) | ((scores_BK == true_B1) & lower_BK)
    ranks: NDArray[np.int64] = before_BK.sum(axis=1)
    return ranks


TOP1 = MetricSpec(compute=partial(top_k, k=1), summary="part of videos whose true class scores best")
TOP5 = MetricSpec(compute=partial(top_k, k=5), summary="part of videos whose true class is among the best five")
