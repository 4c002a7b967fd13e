"""YouTube-8M's metrics: GAP, Hit@1, PERR, and its mAP, for datasets with several labels per video.

All but PERR need only the order of the scores, so logits and probabilities give the same. Between equal scores of one
video the class with the lower number stands first. Equal scores of different videos have no order: the original draws
one with a fixed seed, here it is the mean over all. Source: google/youtube-8m eval_util.py and
average_precision_calculator.py.
"""

import numpy as np
from numpy.typing import NDArray

from vtk_cli.api.metrics import MetricSpec
from vtk_cli.errors import DataError
from vtk_cli.metrics.checks import check

TOP = 20
"""Classes per video that GAP and mAP look at."""


def gap(scores_BK: NDArray[np.float64], labels_BK: NDArray[np.int64]) -> float:
    """Global average precision: AP of the best 20 of every video in one list, out of all labels there are.

    Raises:
        DataError: no video has a label, or see `checks.check`.

    >>> gap(np.array([[0.9, 0.1], [0.8, 0.7]]), np.array([[1, 0], [0, 1]]))
    0.8333333333333333
    """
    check(scores_BK, labels_BK, multi=True)
    best_BT = _best(scores_BK)
    scores_N = np.take_along_axis(scores_BK, best_BT, axis=1).ravel()
    positive_N = np.take_along_axis(labels_BK, best_BT, axis=1).ravel()
    return average_precision(scores_N, positive_N, _count(labels_BK))


def hit_at_1(scores_BK: NDArray[np.float64], labels_BK: NDArray[np.int64]) -> float:
    """The part of videos whose best class is one of theirs. Raises DataError, see `checks.check`.

    >>> hit_at_1(np.array([[0.9, 0.1], [0.8, 0.7]]), np.array([[1, 0], [0, 1]]))
    0.5
    """
    check(scores_BK, labels_BK, multi=True)
    return float(np.take_along_axis(labels_BK, scores_BK.argmax(axis=1)[:, None], axis=1).mean())


def perr(scores_BK: NDArray[np.float64], labels_BK: NDArray[np.int64]) -> float:
    """Precision at equal recall rate: of a video with n labels, the part of its n best classes that are theirs.

    A video without labels counts as 0. Where the scores are probabilities, one of 0 names no class, as in the original.
    Raises DataError, see `checks.check`.

    >>> perr(np.array([[0.9, 0.3, 0.1]]), np.array([[1, 0, 1]]))
    0.5
    """
    check(scores_BK, labels_BK, multi=True)
    order_BK = np.argsort(-scores_BK, axis=1, kind="stable")
    count_B1 = labels_BK.sum(axis=1, keepdims=True)
    named_BK = (scores_BK > 0) | (scores_BK.min() < 0)
    right_BK = np.take_along_axis(labels_BK * named_BK, order_BK, axis=1)
    right_B = (right_BK * (np.arange(scores_BK.shape[1]) < count_B1)).sum(axis=1)
    return float((right_B / np.maximum(count_B1[:, 0], 1)).mean())


def map_top20(scores_BK: NDArray[np.float64], labels_BK: NDArray[np.int64]) -> float:
    """AP of each class that has videos, over those videos that have it among their best 20, averaged.

    A class's other videos count as never found.

    Raises:
        DataError: no video has a label, or see `checks.check`.
    """
    check(scores_BK, labels_BK, multi=True)
    _count(labels_BK)
    listed_BK = np.zeros(scores_BK.shape, dtype=bool)
    np.put_along_axis(listed_BK, _best(scores_BK), values=True, axis=1)
    found = []
    for k in np.flatnonzero(labels_BK.any(axis=0)):
        listed_B = listed_BK[:, k]
        positives = int(labels_BK[:, k].sum())
        found.append(average_precision(scores_BK[listed_B, k], labels_BK[listed_B, k], positives))
    return float(np.mean(found))


def average_precision(scores_N: NDArray[np.float64], positive_N: NDArray[np.int64], positives: int) -> float:
    """Sum of the precisions where a positive stands, over `positives`; listed ones only, the mean over orders of ties.

    Of n equal scores with m positives each stands at place j with probability m / n, behind (j - 1)(m - 1)/(n - 1) of
    the others on average.
    """
    if not len(scores_N):
        return 0.0
    order_N = np.argsort(-scores_N, kind="stable")
    first_N = np.append([True], np.diff(scores_N[order_N]) != 0)
    tie_N = np.cumsum(first_N) - 1
    start_N = np.flatnonzero(first_N)[tie_N]
    size_N = np.bincount(tie_N)[tie_N]
    hits_N = np.bincount(tie_N, weights=positive_N[order_N])[tie_N]
    before_N = np.append([0], np.cumsum(positive_N[order_N]))[start_N]
    place_N = np.arange(len(order_N)) - start_N
    among_N = before_N + 1 + place_N * (hits_N - 1) / np.maximum(size_N - 1, 1)
    return float((hits_N / size_N * among_N / (start_N + place_N + 1)).sum() / positives)


def _best(scores_BK: NDArray[np.float64]) -> NDArray[np.int64]:
    return np.argsort(-scores_BK, axis=1, kind="stable")[:, :TOP]


def _count(labels_BK: NDArray[np.int64]) -> int:
    count = int(labels_BK.sum())
    if not count:
        raise DataError("Average precision needs a video with a label, found none. Test a split that has labels.")
    return count


GAP = MetricSpec(compute=gap, labels="multi", summary="YouTube-8M's global average precision of 20 classes per video")
HIT1 = MetricSpec(compute=hit_at_1, labels="multi", summary="part of videos whose best class is one of theirs")
PERR = MetricSpec(compute=perr, labels="multi", summary="YouTube-8M's precision at equal recall rate")
MAP_TOP20 = MetricSpec(
    compute=map_top20, labels="multi", summary="YouTube-8M's mean average precision, of 20 classes per video"
)
