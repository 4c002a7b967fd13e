"""Scores files: what is written is read, what is damaged is refused, nothing is executed."""

import doctest
import json
import pickle
import shutil

import numpy as np
import pytest
import scored
from hypothesis import given, settings
from hypothesis import strategies as st

from vtk_cli.errors import CheckpointError, DataError
from vtk_cli.evaluate import scores_file
from vtk_cli.evaluate.scores_file import probabilities, read_scores_file

SCORES = [[2.0, 1.0, 0.0], [0.5, 3.0, -1.0], [0.0, 0.1, 0.2]]
LABELS = [0, 1, 1]


@pytest.fixture
def path(tmp_path):
    return scored.write(tmp_path / "test.npz", SCORES, LABELS, left_out=2)


def arrays_of(path):
    with np.load(path) as arrays:
        return dict(arrays)


def test_examples():
    assert doctest.testmod(scores_file).failed == 0


def test_what_is_written_is_read(path):
    found = read_scores_file(path)
    assert found.scores.ids == ("clip-0", "clip-1", "clip-2")
    assert np.array_equal(found.scores.scores_BK, np.float32(SCORES))
    assert found.scores.labels.tolist() == LABELS
    assert (found.classes, found.kind, found.dataset, found.split) == (scored.CLASSES, "logits", "tiny", "test")
    assert (found.left_out, found.run) == (2, None)
    assert found.metrics["top1"] == pytest.approx(2 / 3)


def test_the_activitynet_result_has_probabilities_the_best_first(path):
    result = json.loads(path.with_suffix(".activitynet.json").read_text())
    assert set(result) == {"version", "results", "external_data"}
    first = result["results"]["clip-1"]
    assert [entry["label"] for entry in first] == ["climb", "bend", "dive"]
    exp = np.exp([3.0, 0.5, -1.0])
    assert [entry["score"] for entry in first] == pytest.approx((exp / exp.sum()).tolist(), abs=1e-6)


def test_logits_become_probabilities_and_probabilities_stay():
    logits = np.array([[1000.0, 999.0], [-5.0, 5.0]])
    found = probabilities(logits, "logits")
    np.testing.assert_allclose(found[0], [1 / (1 + np.exp(-1)), 1 / (1 + np.exp(1))])
    assert probabilities(found, "probabilities") is found


def test_logits_of_several_labels_go_through_a_sigmoid_without_overflow():
    logits = np.array([[-1e4, -1.0, 0.0, 2.0, 1e4]])
    found = probabilities(logits, "logits", multi_label=True)
    np.testing.assert_allclose(found[0], [0, 1 / (1 + np.e), 0.5, 1 / (1 + np.exp(-2)), 1], atol=1e-12)


def test_a_file_of_before_the_class_names_has_those_of_its_run(tmp_path):
    run = scored.make_run(tmp_path, "old")
    path = scored.write(run.scores / "test.npz", SCORES, LABELS)
    arrays = arrays_of(path)
    del arrays["classes"]
    np.savez(path, **arrays)
    found = read_scores_file(path)
    assert found.classes == scored.CLASSES
    assert found.run == run
    for name in ("test.npz", "test.json"):
        shutil.copyfile(path.with_name(name), tmp_path / name)
    with pytest.raises(CheckpointError, match="no class names"):
        read_scores_file(tmp_path / "test.npz")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"ids": np.array(["a", "b"])}, r"scores of shape \(3, 3\) for 2 clips"),
        ({"ids": np.array(["a", "b", "a"])}, "some come twice"),
        ({"ids": np.array([1, 2, 3])}, "ids of shape"),
        ({"classes": np.array(["a", "b"])}, "2 classes"),
        ({"classes": np.array([["a", "b", "c"]])}, "classes of shape"),
        ({"scores_BK": np.zeros((3, 3), np.complex64)}, "complex64"),
        ({"scores_BK": np.zeros((3, 3), int)}, "numbers of type"),
        ({"labels": np.array([0, 1, 3])}, "labels from 0 to 3"),
        ({"labels": np.array([-1, 1, 2])}, "labels from -1"),
        ({"labels": np.array([0.0, 1.0, 2.0])}, "numbers of type"),
        ({"labels": np.full((3, 3), 2)}, "labels from 2"),
        ({"labels": np.zeros((3, 2), int)}, "labels of shape"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(path, change, said):
    np.savez(path, **{**arrays_of(path), **change})
    with pytest.raises(CheckpointError, match=said):
        read_scores_file(path)


@pytest.mark.parametrize("missing", ["ids", "scores_BK", "labels"])
def test_a_missing_array_is_named(path, missing):
    arrays = arrays_of(path)
    del arrays[missing]
    np.savez(path, **arrays)
    with pytest.raises(CheckpointError, match=missing):
        read_scores_file(path)


class Bomb:
    def __reduce__(self):
        return print, ("executed",)


def test_nothing_in_a_file_is_executed(path, capsys):
    np.savez(path, **{**arrays_of(path), "ids": np.array([Bomb(), Bomb(), Bomb()], object)})
    with pytest.raises(CheckpointError, match="allow_pickle=False"):
        read_scores_file(path)
    path.write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(CheckpointError, match="should hold the scores"):
        read_scores_file(path)
    assert "executed" not in capsys.readouterr().out


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"metrics": []}', '{"metrics": {"top1": "much"}}', '{"metrics": {}, "scores": "guesses"}'],
)
def test_a_damaged_json_is_refused(path, text):
    path.with_suffix(".json").write_text(text)
    with pytest.raises(CheckpointError, match="Run `vtk test` again"):
        read_scores_file(path)


@pytest.mark.parametrize("gone", [".npz", ".json"])
def test_an_absent_half_is_named(path, gone):
    path.with_suffix(gone).unlink()
    with pytest.raises(CheckpointError, match=rf"No such file .*test\{gone}"):
        read_scores_file(path)


def test_an_array_alone_is_no_scores_file(path):
    with path.open("wb") as file:
        np.save(file, np.zeros((3, 3)))
    with pytest.raises(CheckpointError, match="should hold the scores"):
        read_scores_file(path)


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """A scores file of each kind, compressed and not, as bytes, and a place for damaged ones."""
    path = scored.write(tmp_path_factory.mktemp("scores") / "test.npz", SCORES, LABELS)
    contents = [path.read_bytes()]
    np.savez(path, **arrays_of(path))
    return path, [*contents, path.read_bytes()]


@settings(max_examples=120, deadline=None)
@given(data=st.data())
@pytest.mark.filterwarnings("ignore::UserWarning")  # numpy's of headers that Python 2 might have written
def test_damage_is_always_said_and_never_a_traceback(good, data):
    path, contents = good
    content = bytearray(data.draw(st.sampled_from(contents)))
    for place in data.draw(st.lists(st.integers(0, len(content) - 1), max_size=6), label="flipped"):
        content[place] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content[: data.draw(st.one_of(st.none(), st.integers(0, len(content))), label="cut off at")])
    try:
        found = read_scores_file(path)
    except CheckpointError as error:
        refused = str(error)
    else:
        refused = ""
        assert found.scores.scores_BK.shape == (len(found.scores.ids), len(found.classes))
    assert "should hold the scores of a test" in refused or not refused


def test_a_folder_that_cannot_be_written_is_said(tmp_path):
    (tmp_path / "scores").write_text("a file")
    with pytest.raises(DataError, match="cannot be written"):
        scored.write(tmp_path / "scores" / "test.npz", SCORES, LABELS)
