"""YouTube-8M's metrics against its definitions, entry by entry."""

import doctest

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from vtk_cli.errors import DataError
from vtk_cli.metrics import map_samples, youtube8m
from vtk_cli.metrics.map_samples import MAP_SAMPLES, mean_average_precision_of_samples
from vtk_cli.metrics.youtube8m import GAP, HIT1, MAP_TOP20, PERR, gap, hit_at_1, map_top20, perr

ALL = [GAP, HIT1, PERR, MAP_TOP20, MAP_SAMPLES]


@pytest.fixture(params=range(8))
def drawn(request):
    """Probabilities without ties; some videos without labels, some classes without videos, some with few classes."""
    rng = np.random.default_rng(request.param)
    videos, classes = int(rng.integers(2, 60)), int(rng.integers(2, 70))
    labels = (rng.random((videos, classes)) < rng.uniform(0.02, 0.3)).astype(np.int64)
    labels[0, 0] = 1
    scores = rng.permutation(videos * classes).reshape(videos, classes) + 1 + (0.5 + videos * classes // 3) * labels
    return scores / scores.max(), labels


def best(scores_K):
    return sorted(range(len(scores_K)), key=lambda k: -scores_K[k])[:20]


def ap(entries, positives):
    """(score, label) pairs, the best first; every label found adds precision / positives."""
    total, found = 0.0, 0
    for place, (_, label) in enumerate(sorted(entries, key=lambda entry: -entry[0])):
        found += label
        total += label * found / (place + 1) / positives
    return total


def test_gap_is_one_list_of_the_best_20_of_every_video(drawn):
    scores, labels = drawn
    entries = [(s[k], y[k]) for s, y in zip(scores, labels, strict=True) for k in best(s)]
    assert gap(scores, labels) == pytest.approx(ap(entries, labels.sum()))


def test_labels_outside_the_best_20_count_as_missed():
    scores = np.linspace(1, 0, 25)[None]
    labels = np.zeros((1, 25), np.int64)
    labels[0, [0, 24]] = 1
    assert gap(scores, labels) == pytest.approx(0.5)
    assert map_top20(scores, labels) == pytest.approx(0.5)


def test_gap_over_fewer_than_21_classes_is_scikit_learns(drawn):
    scores, labels = drawn[0][:, :20], drawn[1][:, :20]
    assert gap(scores, labels) == pytest.approx(average_precision_score(labels.ravel(), scores.ravel()))


def test_ties_count_as_the_mean_over_their_orders():
    """Two equal scores, one of them right: 1 or 1/2. Three, two right: (1 + 1), (1 + 2/3), (1/2 + 2/3), over 2."""
    two, three = np.array([[0.5], [0.5]]), np.full((3, 1), 0.5)
    assert gap(two, np.array([[1], [0]])) == pytest.approx(0.75)
    assert gap(three, np.array([[1], [0], [1]])) == pytest.approx((2 + 5 / 3 + 7 / 6) / 2 / 3)


def test_ties_between_videos_are_near_the_originals_shuffle():
    """The original draws an order among equal scores; ours is the mean of such draws."""
    rng = np.random.default_rng(0)
    labels = (rng.random((300, 30)) < 0.1).astype(np.int64)
    scores = np.round(rng.random((300, 30)) + 0.3 * labels, 2)
    drawn = []
    for _ in range(20):
        entries = [(s[k], y[k]) for s, y in zip(scores, labels, strict=True) for k in best(s)]
        rng.shuffle(entries)
        drawn.append(ap(entries, labels.sum()))
    assert gap(scores, labels) == pytest.approx(np.mean(drawn), abs=2 * np.std(drawn) / 20**0.5)


def test_map_top20_is_ap_of_each_class_over_the_videos_that_list_it(drawn):
    scores, labels = drawn
    found = []
    for k in np.flatnonzero(labels.any(0)):
        entries = [(s[k], y[k]) for s, y in zip(scores, labels, strict=True) if k in best(s)]
        found.append(ap(entries, labels[:, k].sum()))
    assert map_top20(scores, labels) == pytest.approx(np.mean(found))


def test_hit_at_1_and_perr_count_the_best_classes(drawn):
    scores, labels = drawn
    hits, precisions = [], []
    for s, y in zip(scores, labels, strict=True):
        order = np.argsort(-s)
        hits.append(y[order[0]])
        precisions.append(y[order[: y.sum()]].mean() if y.any() else 0)
    assert hit_at_1(scores, labels) == pytest.approx(np.mean(hits))
    assert perr(scores, labels) == pytest.approx(np.mean(precisions))


def test_a_probability_of_zero_names_no_class():
    labels = np.array([[1, 1, 0]])
    assert perr(np.array([[0.5, 0.0, 0.0]]), labels) == 0.5
    assert perr(np.array([[0.5, 0.1, 0.0]]), labels) == 1
    assert perr(np.array([[3.0, 0.0, -2.0]]), labels) == 1, "logits: 0 is as good as any number"


def test_the_mean_over_videos_is_scikit_learns(drawn):
    scores, labels = drawn
    scores = np.round(scores, 1)  # with ties
    there = labels.any(1)
    expected = np.mean([average_precision_score(y, s) for y, s in zip(labels[there], scores[there], strict=True)])
    assert mean_average_precision_of_samples(scores, labels) == pytest.approx(expected)


@pytest.mark.parametrize("metric", [GAP, MAP_TOP20, MAP_SAMPLES])
def test_no_label_at_all_is_refused(metric):
    with pytest.raises(DataError, match="found none"):
        metric.compute(np.ones((2, 3)), np.zeros((2, 3), np.int64))


@pytest.mark.parametrize("metric", ALL)
def test_labels_of_another_shape_are_refused(metric):
    with pytest.raises(DataError, match="labels_BK"):
        metric.compute(np.ones((2, 3)), np.zeros(2, np.int64))


def test_the_examples_in_the_docstrings_hold():
    assert doctest.testmod(youtube8m, extraglobs={"np": np}).failed == 0
    assert doctest.testmod(map_samples, extraglobs={"np": np}).failed == 0
