"""The numbers and drawings that the report is made of."""

import base64
import doctest
import io
import json
import re

import numpy as np
import pytest
import simplejpeg
from hypothesis import given
from hypothesis import strategies as st
from made_runs import FLOW, make_run

from vtk_cli.report import charts, confusion, details, markup, parts, pictures, scores, summary
from vtk_cli.report.charts import Series, line_chart, ticks
from vtk_cli.report.clips import choose
from vtk_cli.workspace import DatasetDir


@pytest.mark.parametrize("module", [charts, details, markup, parts, pictures, summary])
def test_examples(module):
    assert doctest.testmod(module).failed == 0


@given(low=st.floats(-1e9, 1e9), width=st.floats(0, 1e9), most=st.integers(2, 10))
def test_ticks_enclose_and_are_few(low, width, most):
    high = low + width
    found = ticks(low, high, most)
    slack = 1e-6 * (found[1] - found[0]) + 1e-8 * max(abs(low), abs(high))
    assert found[0] <= low + slack
    assert found[-1] >= high - slack
    assert 2 <= len(found) <= 2 * most + 3
    assert found == sorted(set(found))


def test_a_chart_leaves_out_what_is_no_number_and_stays_small():
    points = [(float(i), float("nan") if i % 7 == 0 else np.sin(i / 500)) for i in range(20_000)]
    drawn = line_chart([Series(name="x", points=points)], x_label="steps", title="t")
    assert drawn is not None
    assert "nan" not in drawn
    assert len(drawn) < 60_000
    assert line_chart([Series(name="x", points=[(0, float("inf"))])], x_label="steps", title="t") is None


def test_a_chart_of_one_point_is_drawn():
    drawn = line_chart([Series(name="x", points=[(1.0, 0.0)])], x_label="epochs", title="t", y_from=0)
    assert drawn is not None
    assert "<circle" in drawn


def test_confusions():
    labels, predicted = np.array([0, 0, 0, 1, 1, 3]), np.array([0, 1, 1, 1, 0, 3])
    counts = confusion.confusion(labels, predicted, 4)
    assert counts.tolist() == [[1, 2, 0, 0], [1, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 1]]
    assert confusion.confused_pairs(counts, 5) == [(0, 1, 2), (1, 0, 1)]
    first, _, empty, last = confusion.per_class(counts)
    assert (first.count, first.right, first.confused_with, first.confused) == (3, 1, 1, 2)
    assert empty.accuracy is None
    assert last.accuracy == 1
    assert last.confused_with is None


@pytest.mark.parametrize("num", [2, 30, 60])
def test_every_class_of_a_drawn_matrix_has_its_name(num):
    classes = tuple(f"c{k:03d}" for k in range(num))
    drawn = confusion.matrix(np.eye(num, dtype=np.int64), classes)
    assert all(drawn.count(f">{name}<") == 4 for name in classes)  # a row and a column, each with a hover text
    assert drawn.count('class="right"') == num


def test_a_large_matrix_is_a_picture_of_its_cells():
    from PIL import Image

    counts = np.zeros((400, 400), dtype=np.int64)
    counts[3, 5], counts[7, 7] = 2, 9
    drawn = confusion.matrix(counts, tuple(map(str, range(400))))
    data = re.search(r'src="data:image/png;base64,([^"]+)"', drawn)[1]
    picture = np.array(Image.open(io.BytesIO(base64.b64decode(data))))
    assert picture.shape == (400, 400, 4)
    assert [tuple(place) for place in np.argwhere(picture[..., 3])] == [(3, 5), (7, 7)]
    assert json.loads(re.search(r'data-counts="([^"]+)"', drawn)[1]) == [[3, 5, 2], [7, 7, 9]]


def test_samples_are_the_surest_wrong_clips_and_right_ones_of_different_classes(tmp_path):
    made = make_run(tmp_path, classes=tuple("abcdefgh"), clips=80, stores=False, wrong_every=4)
    test = scores.read_scores(made.run, made.run.info())[0]
    samples = choose(test)
    right = [s for s in samples if s.right]
    wrong = [s for s in samples if not s.right]
    assert len({test.labels[s.number] for s in right}) == len(right) == 4
    assert all(test.predicted_B[s.number] == test.labels[s.number] for s in right)
    confidences = [test.confidence_B[s.number] for s in wrong]
    assert confidences == sorted(confidences, reverse=True)
    others = set(np.flatnonzero(test.predicted_B != test.labels)) - {s.number for s in wrong}
    assert max(test.confidence_B[b] for b in others) <= min(confidences)


def test_right_samples_are_preferred_ones_where_a_class_has_any(tmp_path):
    made = make_run(tmp_path, classes=tuple("abcd"), clips=40, stores=False, wrong_every=4)
    test = scores.read_scores(made.run, made.run.info())[0]
    plain = [s for s in choose(test) if s.right]
    numbers = {s.number for s in plain}
    right = np.flatnonzero(test.predicted_B == test.labels)
    wanted = next(test.ids[b] for b in right if b not in numbers)
    chosen = [s for s in choose(test, prefer=lambda video_id: video_id == wanted) if s.right]
    assert wanted in {s.id for s in chosen}
    assert len({s.id for s in chosen} & {s.id for s in plain}) == len(plain) - 1


def test_flow_colours_follow_direction_and_strength():
    right, left, rest = np.array([1.0, 0]), np.array([-1.0, 0]), np.array([0.0, 0])
    flow = np.stack([right, left, rest], axis=1).reshape(2, 1, 3).astype(np.float32)
    picture = pictures.colour_flow(flow, 1.0)[0]
    assert picture[0].argmax() == 0
    assert picture[0][1] < 50
    assert picture[1].argmin() == 0
    assert picture[2].tolist() == [255, 255, 255]


def test_strips_come_from_stores_and_reasons_from_what_is_not_there(tmp_path):
    made = make_run(tmp_path, clips=4)
    with pictures.ClipPictures(DatasetDir(made.workspace.root / "demo")) as found:
        frames, flow = found.frames(made.ids[0]), found.flow(made.ids[0])
        missing = found.frames("nobody")
    assert 5 <= len(frames.images) <= pictures.FRAMES
    assert len(flow.images) == 7
    data = base64.b64decode(frames.images[0].partition(",")[2])
    assert simplejpeg.decode_jpeg(data).shape == (FLOW.short_side, 96, 3)
    assert missing.images == []
    assert "vtk extract" in missing.reason


def test_long_videos_are_thinned_while_they_are_read():
    frames = (np.full((2, 2, 3), number % 256, np.uint8) for number in range(1000))
    kept = pictures._spread_over(frames, 8)
    assert len(kept) == 8
    assert kept[0][0, 0, 0] == 0


def test_parameters_are_counted_without_statistics(tmp_path):
    made = make_run(tmp_path, stores=False)
    assert summary.parameters(made.run) == 40
    (made.run.checkpoints / "best.safetensors").write_bytes(b"\xff" * 20)
    assert summary.parameters(made.run) is None
