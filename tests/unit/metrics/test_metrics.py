import numpy as np
import pytest
from sklearn.metrics import average_precision_score, balanced_accuracy_score, top_k_accuracy_score

from vtk_cli.errors import DataError
from vtk_cli.metrics.map import MAP, mean_average_precision
from vtk_cli.metrics.mean_class import MEAN_CLASS, mean_class
from vtk_cli.metrics.topk import TOP1, TOP5, rank, top_k


@pytest.fixture(params=range(6))
def drawn(request):
    rng = np.random.default_rng(request.param)
    videos, classes = int(rng.integers(2, 200)), int(rng.integers(7, 40))
    labels = rng.integers(0, classes, videos)
    return rng.normal(size=(videos, classes)) + 2 * np.eye(classes)[labels], labels


@pytest.mark.parametrize("k", [1, 2, 5])
def test_top_k_is_scikit_learns(drawn, k):
    scores, labels = drawn
    expected = top_k_accuracy_score(labels, scores, k=k, labels=np.arange(scores.shape[1]))
    assert top_k(scores, labels, k=k) == pytest.approx(expected)


def test_mean_class_is_scikit_learns_balanced_accuracy(drawn):
    scores, labels = drawn
    known = np.isin(scores.argmax(1), labels)  # scikit-learn warns of predicted classes without videos
    scores, labels = scores[known], labels[known]
    known = np.isin(scores.argmax(1), labels)
    assert known.all()
    assert mean_class(scores, labels) == pytest.approx(balanced_accuracy_score(labels, scores.argmax(1)))


def test_mean_average_precision_is_scikit_learns(drawn):
    scores, _ = drawn
    rng = np.random.default_rng(0)
    labels = (rng.random(scores.shape) < 0.2).astype(np.int64)
    scores = np.round(scores, 1)  # with ties
    there = labels.any(0)
    expected = average_precision_score(labels[:, there], scores[:, there], average="macro")
    assert mean_average_precision(scores, labels) == pytest.approx(expected)


def test_between_equal_scores_the_lower_class_wins():
    scores = np.zeros((4, 4))
    labels = np.arange(4)
    assert rank(scores, labels).tolist() == [0, 1, 2, 3]
    assert TOP1.compute(scores, labels) == 0.25
    assert MEAN_CLASS.compute(scores, labels) == 0.25
    assert top_k(scores, labels, k=2) == 0.5


def test_top_5_of_4_classes_is_always_right():
    assert TOP5.compute(np.random.default_rng(0).random((9, 4)), np.zeros(9, np.int64)) == 1


def test_mean_class_counts_each_class_the_same():
    scores = np.eye(3)[[0, 0, 0, 0, 0, 0, 0, 1, 2]]
    labels = np.array([0] * 8 + [2])
    assert TOP1.compute(scores, labels) == pytest.approx(8 / 9)
    assert mean_class(scores, labels) == pytest.approx((7 / 8 + 1) / 2)


@pytest.mark.parametrize("metric", [TOP1, TOP5, MEAN_CLASS])
@pytest.mark.parametrize(
    ("scores", "labels", "said"),
    [
        (np.array([[0.1, np.nan], [0.2, 0.3]]), np.array([0, 1]), "NaN for 1 of 2"),
        (np.zeros((0, 3)), np.zeros(0, np.int64), "at least one video"),
        (np.zeros((2, 3)), np.zeros(3, np.int64), r"\(2, 3\) and \(3,\)"),
        (np.zeros((2, 3)), np.array([0, 3]), "from 0 to 2, found 0 to 3"),
        (np.zeros((2, 3)), np.array([-1, 1]), "found -1 to 1"),
    ],
)
def test_nothing_is_computed_from_what_cannot_be(metric, scores, labels, said):
    with pytest.raises(DataError, match=said):
        metric.compute(scores, labels)


def test_average_precision_wants_a_label():
    with pytest.raises(DataError, match="a video with a label"):
        MAP.compute(np.ones((2, 2)), np.zeros((2, 2), np.int64))
