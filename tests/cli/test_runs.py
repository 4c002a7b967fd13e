import json

import pytest
from made_runs import make_run


@pytest.fixture
def two(tmp_path):
    """Two runs that differ in the learning rate and the model, the second not tested."""
    first = make_run(tmp_path, stores=False)
    second = make_run(tmp_path, stores=False, tested=False, lr=0.1, model="tsn", epochs=3)
    return first.run, second.run


@pytest.mark.parametrize("command", [("runs",), ("runs", "list")])
def test_list(vtk, tmp_path, two, command):
    code, out, _ = vtk(*command, "--root", tmp_path)
    assert code == 0
    lines = out.splitlines()
    assert lines[0].split()[:5] == ["name", "model", "dataset", "status", "epochs"]
    row = next(line for line in lines if two[0].name in line)
    assert "finished" in row
    assert "6/6" in row
    assert "93.0 %" in row
    assert "82.5 %" in row
    assert len(lines) == 3


def test_list_as_json(vtk, tmp_path, two):
    found = {run["name"]: run for run in json.loads(vtk("runs", "--json", "--root", tmp_path)[1])}
    assert found[two[0].name]["test_top1"] == pytest.approx(0.825)
    assert found[two[1].name]["test_top1"] is None
    assert found[two[1].name]["model"] == "tsn"
    assert found[two[1].name]["epochs_done"] == 3


def test_no_runs(vtk, tmp_path):
    code, out, err = vtk("runs", "--root", tmp_path)
    assert (code, out) == (0, "")
    assert "vtk train MODEL" in err
    assert json.loads(vtk("runs", "--json", "--root", tmp_path)[1]) == []


def test_a_damaged_run_is_a_line(vtk, tmp_path, two):
    (two[0].path / "run.json").write_text("not json")
    code, out, _ = vtk("runs", "--root", tmp_path)
    assert code == 0
    assert "damaged" in next(line for line in out.splitlines() if two[0].name in line)
    assert vtk("runs", "show", two[0].name, "--root", tmp_path)[0] == 5


def test_show(vtk, tmp_path, two):
    code, out, _ = vtk("runs", "show", two[0].name, "--root", tmp_path)
    assert code == 0
    for words in ("stnet on demo (4 classes)", "test.top1", "0.825", "train.lr", str(two[0].checkpoints)):
        assert words in out
    assert "report" not in out  # there is none yet


def test_show_as_json(vtk, tmp_path, two):
    found = json.loads(vtk("runs", "show", two[0].name, "--root", tmp_path, "--json")[1])
    assert found["config"]["model.trunk"] == "resnet18"
    assert found["metrics"]["parameters"] == 40
    assert found["classes"][0] == made_classes()[0]
    assert found["paths"]["run"] == str(two[0].path)


def made_classes():
    from vtk_cli.datasets.demo import CLASSES

    return CLASSES


def test_diff_shows_only_what_differs(vtk, tmp_path, two):
    code, out, _ = vtk("runs", "diff", two[0].name, two[1].name, "--root", tmp_path)
    assert code == 0
    keys = [line.split()[0] for line in out.splitlines() if line]
    assert {"run.model", "train.lr", "train.epochs", "test.top1"} <= set(keys)
    assert not {"model.trunk", "run.dataset", "train.milestones", "parameters"} & set(keys)


def test_diff_as_json(vtk, tmp_path, two):
    found = json.loads(vtk("runs", "diff", two[0].name, two[1].name, "--root", tmp_path, "--json")[1])
    assert {"key": "train.lr", "a": 0.01, "b": 0.1} in found["config"]
    assert {"key": "test.top1", "a": pytest.approx(0.825), "b": None} in found["metrics"]


def test_a_run_does_not_differ_from_itself(vtk, tmp_path, two):
    out = vtk("runs", "diff", two[0].name, two[0].name, "--root", tmp_path)[1]
    assert out.split("\n\n")[:2] == ["No setting differs.", "No result differs."]


def test_an_unknown_run_is_a_usage_error(vtk, tmp_path, two):
    assert vtk("runs", "diff", two[0].name, "zzz", "--root", tmp_path)[0] == 2
    assert vtk("runs", "show", "zzz", "--root", tmp_path)[0] == 2
