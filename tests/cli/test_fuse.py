"""`vtk fuse` as it is typed."""

import json
import resource
import shlex
import shutil

import numpy as np
import pytest
import scored

from vtk_cli import files, run_dir
from vtk_cli.evaluate import scores_file
from vtk_cli.evaluate.scores_file import read_scores_file
from vtk_cli.run_dir import RunDir

RGB = [[3.0, 1.0, 0.0], [1.0, 0.5, 0.0], [2.0, 0.0, 1.5], [0.0, 1.0, 0.5]]
FLOW = [[0.0, 1.0, 0.0], [0.0, 2.0, 0.0], [1.0, 0.0, 1.0], [1.0, 0.0, 3.0]]
LABELS = [0, 1, 0, 2]
VAL = tuple(f"val-{number}" for number in range(4))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A workspace with the runs rgb and flow, tested on test and val."""
    root = tmp_path_factory.mktemp("made")
    for name, scores in (("rgb", RGB), ("flow", FLOW)):
        run = scored.make_run(root / "runs", name)
        scored.write(run.scores / "test.npz", scores, LABELS, left_out=1)
        scored.write(run.scores / "val.npz", scores, LABELS, ids=VAL)
    return root


@pytest.fixture
def root(made, tmp_path, monkeypatch):
    """A copy of it, which is the workspace in use, beside the working folder's files."""
    root = tmp_path / "root"
    shutil.copytree(made, root)
    monkeypatch.setenv("VTK_HOME", str(root))
    monkeypatch.chdir(tmp_path)
    return root


def fused_run(root):
    (path,) = (root / "runs").glob("fused-*")
    return RunDir(path)


def snapshot(root):
    return {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_two_streams_at_the_weights_of_the_paper(vtk, root):
    code, out, err = vtk("fuse", "rgb", "flow", "--weights", "1,1.5")
    assert code == 0, err
    rows = [line.split() for line in out.splitlines()]
    assert rows[0] == ["stream", "weight", "mean_class", "top1", "top5"]
    assert rows[1] == ["rgb", "1", "0.3333", "0.5", "1"]
    assert [row[0] for row in rows[1:]] == ["rgb", "flow", "fused"]
    assert rows[3][1:] == ["1", "1", "1"]
    run = fused_run(root)
    assert f"4 videos, logits averaged; scores in {run.scores / 'test.npz'}" in err
    found = read_scores_file(run.scores / "test.npz")
    np.testing.assert_allclose(found.scores.scores_BK, 0.4 * np.array(RGB) + 0.6 * np.array(FLOW), atol=1e-6)
    assert (found.classes, found.kind, found.dataset, found.split) == (scored.CLASSES, "logits", "tiny", "test")
    assert found.left_out == 1


def test_json_is_what_was_written_and_says_where_it_comes_from(vtk, root):
    code, out, _ = vtk("fuse", "rgb", "flow", "--weights", "1,1.5", "--of", "probabilities", "--json")
    assert code == 0
    told = json.loads(out)
    path = fused_run(root).scores / "test.npz"
    assert told.pop("path") == str(path)
    assert told == json.loads(path.with_suffix(".json").read_text())
    assert [one["weight"] for one in told["fusion"]["streams"]] == [1, 1.5]
    assert [one["file"] for one in told["fusion"]["streams"]] == [
        "runs/rgb/scores/test.npz",
        "runs/flow/scores/test.npz",
    ]
    assert all(len(one["sha256"]) == 64 for one in told["fusion"]["streams"])
    assert told["scores"] == "probabilities"
    exp = [np.exp(scores) / np.exp(scores).sum(1, keepdims=True) for scores in (np.array(RGB), np.array(FLOW))]
    np.testing.assert_allclose(read_scores_file(path).scores.scores_BK, 0.4 * exp[0] + 0.6 * exp[1], atol=1e-6)


def test_the_same_command_gives_the_same_run_and_other_weights_another(vtk, root):
    for words in (["--weights", "1,1.5"], ["--weights", "2,3"], ["--weights", "1,1.5", "--split", "val"]):
        assert vtk("fuse", "rgb", "flow", *words)[0] == 0
    run = fused_run(root)
    assert sorted(path.name for path in run.scores.glob("*.npz")) == ["test.npz", "val.npz"]
    assert vtk("fuse", "rgb", "flow")[0] == 0
    assert len(list((root / "runs").glob("fused-*"))) == 2


def test_the_command_that_was_written_makes_the_same_scores(vtk, root):
    vtk("fuse", "rgb", "flow", "--weights", "1,1.5")
    run = fused_run(root)
    before = (run.scores / "test.npz").read_bytes()
    command = json.loads((run.scores / "test.json").read_text())["fusion"]["command"]
    code, _, err = vtk(*shlex.split(command)[1:])
    assert code == 0, err
    assert (run.scores / "test.npz").read_bytes() == before


def test_a_fusion_is_listed_reported_and_fused_again(vtk, root):
    assert vtk("fuse", "rgb", "flow", "--weights", "1,1")[0] == 0
    run = fused_run(root)
    code, out, _ = vtk("runs", "--json")
    listed = {one["name"]: one for one in json.loads(out)}
    assert (code, listed[run.name]["model"], listed[run.name]["test_top1"]) == (0, "tsn+tsn", 1.0)
    code, out, err = vtk("report", run.name)
    assert (code, err) == (0, "")
    page = run.report.read_text()
    assert "Fusion report" in page
    assert "weighted mean of logits: rgb x 1, flow x 1" in page
    assert "vtk fuse rgb flow --weights 1,1" in page
    assert "vtk train" not in page
    code, out, err = vtk("fuse", run.name, "rgb", "--weights", "2,1", "--json")
    assert code == 0, err
    found = read_scores_file(root / json.loads(out)["path"])
    np.testing.assert_allclose(found.scores.scores_BK, (2 * np.array(RGB) + np.array(FLOW)) / 3, atol=1e-6)


def test_a_fusion_has_no_model_to_test(vtk, root):
    vtk("fuse", "rgb", "flow", "--weights", "1,1")
    code, _, err = vtk("test", fused_run(root).name)
    assert (code, "found only scores: `vtk fuse` made it of other runs" in err) == (5, True), err


def test_weights_are_searched_on_another_split_and_the_curve_is_shown(vtk, root):
    code, out, err = vtk("fuse", "rgb", "flow", "--search", "val")
    assert code == 0, err
    curve, table = out.split("\n\n")
    assert curve.splitlines()[0].split() == ["weights", "val", "top1"]
    assert curve.splitlines()[1].split() == ["1:0", "0.5"]
    assert len(curve.splitlines()) == 22
    assert table.splitlines()[-1].split() == ["fused", "1", "1", "1"]
    assert "Best of 21 weights on 4 videos of val: 0.5:0.5 with top1 1." in err
    found = json.loads((fused_run(root).scores / "test.json").read_text())["fusion"]["search"]
    assert (found["split"], found["weights"], found["optimistic"], len(found["curve"])) == (
        "val",
        [0.5, 0.5],
        False,
        21,
    )


def test_a_search_on_what_is_reported_has_to_be_asked_for_and_is_labelled(vtk, root):
    before = snapshot(root)
    code, out, err = vtk("fuse", "rgb", "flow", "--search", "test")
    assert (code, out) == (2, "")
    assert "found 4 (clip-0, clip-1, clip-2 ...) of 4 in both" in err
    assert snapshot(root) == before
    code, out, err = vtk("fuse", "rgb", "flow", "--search", "test", "--optimistic")
    assert code == 0
    assert "warning: optimistic" in err
    summary = json.loads((fused_run(root).scores / "test.json").read_text())
    assert summary["fusion"]["search"]["optimistic"] is True
    assert "optimistic" in summary["protocol"]["fusion"]
    assert vtk("report", fused_run(root).name)[0] == 0
    assert "these numbers are optimistic" in fused_run(root).report.read_text()


def test_a_search_on_a_split_of_another_name_with_videos_that_are_reported_is_refused(vtk, root):
    for name, scores in (("rgb", RGB), ("flow", FLOW)):
        scored.write(root / "runs" / name / "scores" / "val.npz", scores, LABELS, ids=("clip-0", *VAL[1:]))
    code, _, err = vtk("fuse", "rgb", "flow", "--search", "val")
    assert code == 2
    assert "found 1 (clip-0) of 4 in both" in err


def test_three_streams_show_the_best_of_the_grid(vtk, root):
    run = scored.make_run(root / "runs", "warped", model="tsm")
    for split, ids in (("test", None), ("val", VAL)):
        scored.write(run.scores / f"{split}.npz", FLOW[::-1], LABELS, ids=ids)
    code, out, err = vtk("fuse", "rgb", "flow", "warped", "--search", "val")
    assert code == 0, err
    curve = [line.split() for line in out.split("\n\n")[0].splitlines()[1:]]
    assert len(curve) == 25
    assert [float(value) for _, value in curve] == sorted((float(value) for _, value in curve), reverse=True)
    assert "Best of 231 weights" in err


def test_files_of_scores_are_fused_into_a_file(vtk, root, tmp_path):
    for name in ("rgb", "flow"):
        for suffix in (".npz", ".json"):
            file = root / "runs" / name / "scores" / "test"
            (tmp_path / f"{name}{suffix}").write_bytes(file.with_suffix(suffix).read_bytes())
    before = snapshot(root)
    code, out, err = vtk("fuse", "rgb.npz", "flow.npz", "--weights", "1,1.5", "--out", "both.npz")
    assert code == 0, err
    assert [line.split()[0] for line in out.splitlines()[1:]] == ["rgb.npz", "flow.npz", "fused"]
    np.testing.assert_allclose(read_scores_file(tmp_path / "both.npz").scores.scores_BK[0], [1.2, 1.0, 0.0], atol=1e-6)
    assert (tmp_path / "both.activitynet.json").is_file()
    assert snapshot(root) == before
    code, _, err = vtk("fuse", "rgb.npz", "flow.npz", "--out", "flow.npz")
    assert (code, "one of the streams" in err) == (2, True)


def test_videos_that_a_stream_lacks(vtk, root):
    scored.write(root / "runs" / "flow" / "scores" / "test.npz", FLOW[:3], LABELS[:3], left_out=2)
    code, out, err = vtk("fuse", "rgb", "flow")
    assert (code, out) == (2, "")
    assert "of 4 videos flow lacks 1 (clip-3). Fuse those that all have with --common" in err
    code, out, err = vtk("fuse", "rgb", "flow", "--common", "--json")
    assert code == 0
    assert "warning: 3 videos are common to all streams; left out: 1 of rgb, 0 of flow." in err
    assert (json.loads(out)["videos"], json.loads(out)["left_out"]) == (3, 2)


def test_classes_in_another_order_are_told(vtk, root):
    turned = scored.make_run(root / "runs", "turned", classes=scored.CLASSES[::-1])
    scored.write(
        turned.scores / "test.npz",
        [row[::-1] for row in FLOW],
        [2 - label for label in LABELS],
        classes=scored.CLASSES[::-1],
    )
    code, out, err = vtk("fuse", "rgb", "turned", "--weights", "1,1.5")
    assert code == 0
    assert "turned: its classes stand in another order than those of rgb and were mapped by name." in err
    assert out.splitlines()[-1].split() == ["fused", "1", "1", "1"]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("rgb",), 2, "two streams or more, found 1"),
        (("rgb", "rgb"), 2, "twice"),
        (("rgb", "flwo"), 2, 'Did you mean "flow"'),
        (("rgb", "absent.npz"), 2, "There is no scores file at absent.npz"),
        (("rgb", "flow", "--weights", "1"), 2, "found 1 for 2"),
        (("rgb", "flow", "--weights", "1,-1.5"), 2, "found 1, -1.5"),
        (("rgb", "flow", "--weights", "-1,2"), 2, "found -1, 2"),
        (("rgb", "flow", "--weights", "1:1.5"), 2, 'found "1:1.5"'),
        (("rgb", "flow", "--weights", "nan,1"), 2, "found nan, 1"),
        (("rgb", "flow", "--weights", ""), 2, 'found ""'),
        (("rgb", "flow", "--of", "softmax"), 2, "--of takes logits or probabilities"),
        (("rgb", "flow", "--split", "train"), 5, "Make them: `vtk test rgb --split train`"),
        (("rgb", "flow", "--search", "train"), 5, "Make them: `vtk test rgb --split train`"),
        (("rgb", "flow", "--search", "val", "--weights", "1,1"), 2, "Leave one out"),
        (("rgb", "flow", "--optimistic"), 2, "found no --search"),
        (("rgb", "flow", "--out", "both.txt"), 2, "a .npz file"),
    ],
)
def test_wrong_words_are_one_sentence_and_change_nothing(vtk, root, words, code, said):
    before = snapshot(root)
    found, out, err = vtk("fuse", *words)
    assert (found, out) == (code, "")
    assert said in err
    assert len(err.splitlines()) == 1
    assert snapshot(root) == before


def test_a_run_that_was_tested_on_one_other_split_is_taken_with_it(vtk, root):
    for name in ("rgb", "flow"):
        for file in (root / "runs" / name / "scores").glob("test.*"):
            file.unlink()
    code, out, err = vtk("fuse", "rgb", "flow", "--json")
    assert (code, json.loads(out)["split"]) == (0, "val"), err
    for name in ("rgb", "flow"):
        for file in (root / "runs" / name / "scores").iterdir():
            file.unlink()
    code, _, err = vtk("fuse", "rgb", "flow")
    assert code == 5
    assert "should have scores of the split test, found none. Make them: `vtk test rgb --split test`." in err


@pytest.mark.parametrize("content", [b"", b"PK cut off", b"\x80\x04."])
def test_damaged_scores_are_said(vtk, root, content):
    (root / "runs" / "flow" / "scores" / "test.npz").write_bytes(content)
    before = snapshot(root)
    code, out, err = vtk("fuse", "rgb", "flow")
    assert (code, out) == (5, "")
    assert "should hold the scores of a test" in err
    assert snapshot(root) == before


@pytest.mark.parametrize("number", [0, 1, 3])
def test_a_fusion_that_was_cut_off_anywhere_is_finished_by_the_next(vtk, root, monkeypatch, number):
    vtk("fuse", "rgb", "flow", "--weights", "1,1.5")
    run = fused_run(root)
    whole = {path.name: path.read_bytes() for path in run.scores.glob("test*") if path.name != "test.json"}
    shutil.rmtree(run.path)
    written = []

    def cut_off(path, content):
        if len(written) == number:
            raise KeyboardInterrupt
        written.append(path)
        files.write_atomic(path, content)

    with monkeypatch.context() as patch:
        for module in (run_dir, scores_file):
            patch.setattr(module, "write_atomic", cut_off)
        assert vtk("fuse", "rgb", "flow", "--weights", "1,1.5")[0] == 130
    assert vtk("runs")[0] == 0
    assert vtk("fuse", "rgb", "flow", "--weights", "1,1.5")[0] == 0
    assert {path.name: path.read_bytes() for path in run.scores.glob("test*") if path.name != "test.json"} == whole


def test_a_full_disk_is_said_and_leaves_nothing(vtk, root):
    before = snapshot(root)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (64, hard))
    try:
        code, out, err = vtk("fuse", "rgb", "flow")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (code, out) == (5, "")
    assert "cannot be written" in err
    assert snapshot(root) == before
