"""Late fusion: the arithmetic by hand, what does not matter to it, and what is refused."""

import doctest
import math
from pathlib import Path

import numpy as np
import pytest
import scored
from hypothesis import given, settings
from hypothesis import strategies as st

from vtk_cli.errors import DataError, UsageError
from vtk_cli.evaluate import fuse
from vtk_cli.evaluate.fuse import align, search, shares, simplex
from vtk_cli.evaluate.predict import Scores, metrics
from vtk_cli.evaluate.scores_file import ScoresFile, probabilities, read_scores_file

RGB = [[3.0, 1.0, 0.0], [1.0, 0.5, 0.0], [2.0, 0.0, 1.5], [0.0, 1.0, 0.5]]
FLOW = [[0.0, 1.0, 0.0], [0.0, 2.0, 0.0], [1.0, 0.0, 1.0], [1.0, 0.0, 3.0]]
LABELS = [0, 1, 0, 2]


def stream(scores, labels=LABELS, **changes):
    """A scores file that was read; `changes` as `scored.write` takes them."""
    values = {"ids": tuple("abcd"), "classes": scored.CLASSES, "kind": "logits", "dataset": "tiny", "split": "test"}
    values.update(changes)
    return ScoresFile(
        path=Path("test.npz"),
        scores=Scores(values["ids"], np.array(scores, np.float64), np.array(labels, np.int64)),
        classes=values["classes"],
        kind=values["kind"],
        metrics={},
        summary={"dataset": values["dataset"], "split": values["split"]},
    )


def aligned(*streams, **options):
    return align(streams, [f"s{number}" for number in range(len(streams))], **options)


def test_examples():
    assert doctest.testmod(fuse).failed == 0


def test_two_streams_at_1_to_1_5_are_the_numbers_of_a_calculation_by_hand():
    fused = aligned(stream(RGB), stream(FLOW)).fused((1, 1.5))
    # 0.4 rgb + 0.6 flow
    by_hand = [[1.2, 1.0, 0.0], [0.4, 1.4, 0.0], [1.4, 0.0, 1.2], [0.6, 0.4, 2.0]]
    np.testing.assert_allclose(fused.scores_BK, by_hand, atol=1e-7)
    assert fused.ids == ("a", "b", "c", "d")
    assert metrics(Scores(fused.ids, np.array(RGB), fused.labels))["top1"] == 0.5
    assert metrics(Scores(fused.ids, np.array(FLOW), fused.labels))["top1"] == 0.75
    assert metrics(fused)["top1"] == 1.0


def test_warped_flow_at_1_to_1_to_half_is_a_calculation_by_hand():
    fused = aligned(stream(RGB), stream(FLOW), stream([[5.0, 0, 0]] * 4)).fused((1, 1, 0.5))
    np.testing.assert_allclose(fused.scores_BK[1], [(1 + 0 + 2.5) / 2.5, 2.5 / 2.5, 0], atol=1e-7)


def test_probabilities_are_averaged_after_the_softmax():
    fused = aligned(stream(RGB), stream(FLOW), kind="probabilities").fused((1, 3))
    one, other = (np.exp(row) / np.exp(row).sum() for row in (np.array(RGB[0]), np.array(FLOW[0])))
    np.testing.assert_allclose(fused.scores_BK[0], 0.25 * one + 0.75 * other, atol=1e-7)
    np.testing.assert_allclose(fused.scores_BK.sum(1), 1, atol=1e-6)


def test_a_stream_of_probabilities_makes_the_fusion_one_of_probabilities():
    soft = probabilities(np.array(FLOW), "logits")
    mixed = aligned(stream(RGB), stream(soft, kind="probabilities"))
    assert mixed.kind == "probabilities"
    both = aligned(stream(RGB), stream(FLOW), kind="probabilities")
    np.testing.assert_allclose(mixed.scores_SBK, both.scores_SBK)
    with pytest.raises(UsageError, match="found probabilities of s1, whose model"):
        aligned(stream(RGB), stream(soft, kind="probabilities"), kind="logits")


def test_several_labels_per_video_go_through_a_sigmoid():
    labels = [[1, 0, 1], [0, 1, 0], [1, 1, 0], [0, 0, 1]]
    found = aligned(stream(RGB, labels), stream(FLOW, labels), kind="probabilities")
    np.testing.assert_allclose(found.scores_SBK[0], 1 / (1 + np.exp(-np.array(RGB))))
    assert set(metrics(found.fused((1, 1)))) >= {"map", "map_samples", "gap"}
    assert search(found).metric == "map"


def test_classes_in_another_order_are_mapped_by_name():
    order = [2, 0, 1]
    turned = stream(
        np.array(FLOW)[:, order],
        [order.index(label) for label in LABELS],
        classes=tuple(scored.CLASSES[k] for k in order),
    )
    found = aligned(stream(RGB), turned)
    assert found.reordered == ("s1",)
    np.testing.assert_array_equal(found.scores_SBK, aligned(stream(RGB), stream(FLOW)).scores_SBK)
    several = np.eye(3, dtype=int)[LABELS]
    found = aligned(stream(RGB, several), stream(np.array(FLOW)[:, order], several[:, order], classes=turned.classes))
    np.testing.assert_array_equal(found.labels, several)


@pytest.mark.parametrize(
    ("changes", "error", "said"),
    [
        ({"classes": ("bend", "climb", "swim")}, UsageError, r"lacks 1 \(dive\) of them and has 1 \(swim\) besides"),
        ({"dataset": "other"}, UsageError, "dataset tiny of s0 and other of s1"),
        ({"split": "val"}, UsageError, "split test of s0 and val of s1.*--split"),
        ({"ids": tuple("abce")}, UsageError, r"of 5 videos s0 lacks 1 \(e\); s1 lacks 1 \(d\). .*--common"),
        ({"ids": tuple("wxyz")}, UsageError, r"s0 lacks 4 \(w, x, y ...\).*none that all have"),
        ({"labels": [0, 2, 0, 2]}, DataError, r"differ for 1 \(b\) of 4"),
        ({"labels": np.eye(3, dtype=int)[LABELS]}, DataError, "several in the other"),
        ({"scores": [[np.nan, 0, 0], *FLOW[1:]]}, DataError, "found others for 1 of 4 videos of s1"),
        ({"scores": [[np.inf, 0, 0], *FLOW[1:]]}, DataError, "finite"),
        ({"scores": [[1e300, 0, 0], *FLOW[1:]]}, DataError, "finite"),
    ],
)
def test_streams_that_do_not_go_together_are_refused(changes, error, said):
    with pytest.raises(error, match=said):
        aligned(stream(RGB), stream(**{"scores": FLOW, **changes}))


def test_common_fuses_the_videos_that_all_have_and_counts_the_rest():
    other = stream(FLOW, [0, 2, 1, 0], ids=tuple("adbe"))
    found = aligned(stream(RGB), other, common=True)
    assert (found.ids, found.left_out) == (("a", "b", "d"), (1, 1))
    np.testing.assert_array_equal(found.scores_SBK[0], np.array(RGB)[[0, 1, 3]])
    np.testing.assert_array_equal(found.scores_SBK[1], np.array(FLOW)[[0, 2, 1]])
    with pytest.raises(UsageError, match="none that all have"):
        aligned(stream(RGB), stream(FLOW, ids=tuple("wxyz")), common=True)


@pytest.mark.parametrize(
    ("weights", "said"),
    [
        ((1,), "one weight per stream, found 1 for 2"),
        ((1, 2, 3), "found 3 for 2"),
        ((1, -0.5), "found 1, -0.5"),
        ((0, 0), "not all of them 0"),
        ((float("nan"), 1), "found nan, 1"),
        ((1, float("inf")), "found 1, inf"),
        ((1e308, 1e308), "found 1e"),
    ],
)
def test_wrong_weights_are_refused(weights, said):
    with pytest.raises(UsageError, match=said):
        shares(weights, 2)


def test_tiny_weights_are_weights():
    assert shares((5e-324, 0), 2).tolist() == [1, 0]


weight = st.floats(0.01, 100)
kinds = st.sampled_from(["logits", "probabilities"])
few = settings(deadline=None, max_examples=40)


@st.composite
def tables(draw, least=2):
    """S streams of the same videos: scores_SBK and labels_B."""
    streams, rows, columns = draw(st.integers(least, 4)), draw(st.integers(1, 6)), draw(st.integers(2, 5))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    scores_SBK = rng.normal(scale=10, size=(streams, rows, columns)).round(draw(st.integers(0, 3)))
    return scores_SBK, rng.integers(0, columns, rows).tolist()


def of(scores_SBK, labels, kind, order=None, videos_of_last=None):
    """Aligned streams of a table."""
    rows, columns = scores_SBK.shape[1:]
    ids = tuple(f"v{number}" for number in range(rows))
    names = tuple(f"k{number}" for number in range(columns))
    made = [stream(scores_BK, labels, ids=ids, classes=names) for scores_BK in scores_SBK]
    if videos_of_last is not None:
        place = list(videos_of_last)
        shuffled = tuple(ids[row] for row in place)
        made[-1] = stream(scores_SBK[-1][place], np.array(labels)[place], ids=shuffled, classes=names)
    return aligned(*(made if order is None else [made[number] for number in order]), kind=kind)


@few
@given(table=tables(), share=weight, kind=kinds)
def test_weight_on_one_stream_alone_gives_that_stream(table, share, kind):
    found = of(*table, kind)
    fused = found.fused((share, *[0] * (len(table[0]) - 1)))
    np.testing.assert_array_equal(fused.scores_BK, found.scores_SBK[0].astype(np.float32))


@few
@given(table=tables(), data=st.data(), scale=st.floats(1e-3, 1e3), kind=kinds)
def test_the_scale_of_the_weights_does_not_matter(table, data, scale, kind):
    found = of(*table, kind)
    weights = data.draw(st.lists(weight, min_size=len(table[0]), max_size=len(table[0])))
    one, other = found.fused(weights), found.fused([scale * share for share in weights])
    np.testing.assert_allclose(one.scores_BK, other.scores_BK, rtol=1e-6, atol=1e-6)


@few
@given(table=tables(), data=st.data(), kind=kinds)
def test_the_order_of_the_streams_does_not_matter(table, data, kind):
    streams = len(table[0])
    weights = data.draw(st.lists(weight, min_size=streams, max_size=streams))
    order = data.draw(st.permutations(range(streams)))
    one = of(*table, kind).fused(weights)
    other = of(*table, kind, order=order).fused([weights[number] for number in order])
    np.testing.assert_allclose(one.scores_BK, other.scores_BK, rtol=1e-6, atol=1e-6)


@few
@given(table=tables(), data=st.data(), kind=kinds)
def test_the_order_of_the_videos_of_a_stream_does_not_matter(table, data, kind):
    place = data.draw(st.permutations(range(table[0].shape[1])))
    one, other = of(*table, kind), of(*table, kind, videos_of_last=place)
    assert one.ids == other.ids
    np.testing.assert_array_equal(one.scores_SBK, other.scores_SBK)
    np.testing.assert_array_equal(one.labels, other.labels)


@few
@given(table=tables(least=3), data=st.data())
def test_fusing_a_fusion_is_fusing_all_at_once(table, data):
    streams = len(table[0])
    weights = np.array(data.draw(st.lists(weight, min_size=streams, max_size=streams)))
    first = of(table[0][:-1], table[1], "logits").fused(weights[:-1])
    both = np.stack([first.scores_BK, table[0][-1]])
    nested = of(both, table[1], "logits").fused((weights[:-1].sum(), weights[-1]))
    np.testing.assert_allclose(nested.scores_BK, of(*table, "logits").fused(weights).scores_BK, rtol=1e-4, atol=1e-4)


def test_a_search_tries_the_whole_grid_and_takes_the_best():
    found = search(aligned(stream(RGB), stream(FLOW)))
    assert [weights for weights, _ in found.curve] == [(first / 20, (20 - first) / 20) for first in range(20, -1, -1)]
    values = dict(found.curve)
    assert (values[1.0, 0.0], values[0.0, 1.0]) == (0.5, 0.75)
    # By hand, with w on RGB: a is right where 3 w > 1, b where w < 0.8, c always, d where w < 6 / 7.
    assert [weights[0] for weights, value in found.curve if value == 1] == [part / 20 for part in range(15, 6, -1)]
    assert (found.best, found.best_value) == ((0.5, 0.5), 1.0)
    assert all(fused_right(weights) == value for weights, value in found.curve)


def fused_right(weights):
    fused = weights[0] * np.array(RGB) + weights[1] * np.array(FLOW)
    return float((fused.argmax(1) == LABELS).mean())


def test_a_search_of_equals_stays_in_the_middle():
    assert search(aligned(stream(RGB), stream(RGB))).best == (0.5, 0.5)
    assert search(aligned(*[stream(RGB)] * 4)).best in {
        (0.3, 0.3, 0.2, 0.2),
        (0.3, 0.2, 0.3, 0.2),
        (0.2, 0.2, 0.3, 0.3),
    }


def test_too_many_streams_are_not_searched():
    with pytest.raises(UsageError, match="up to 6 streams, found 7"):
        search(aligned(*[stream(RGB)] * 7))


@given(streams=st.integers(1, 4), parts=st.integers(1, 8))
def test_the_simplex_has_every_point_once(streams, parts):
    points = list(simplex(streams, parts))
    assert {sum(point) for point in points} == {parts}
    assert len(set(points)) == len(points)
    assert len(points) == math.comb(parts + streams - 1, streams - 1)


def test_files_that_were_written_and_read_fuse_the_same(tmp_path):
    files = [
        read_scores_file(scored.write(tmp_path / name / "test.npz", scores, LABELS))
        for name, scores in (("rgb", RGB), ("flow", FLOW))
    ]
    fused = align(files, ("rgb", "flow")).fused((1, 1.5))
    np.testing.assert_allclose(fused.scores_BK[0], [1.2, 1.0, 0.0], atol=1e-7)
