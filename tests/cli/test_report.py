import json

from made_runs import make_run


def test_writes_the_newest_run_and_prints_the_path(vtk, tmp_path):
    made = make_run(tmp_path, stores=False)
    code, out, _ = vtk("report", "--root", tmp_path)
    assert (code, out.strip()) == (0, str(made.run.report))
    assert made.run.report.read_text().startswith("<!doctype html>")
    assert [path.name for path in made.run.path.glob("*.tmp")] == []


def test_a_run_can_be_named_by_its_beginning_and_answers_in_json(vtk, tmp_path):
    made = make_run(tmp_path, stores=False)
    code, out, _ = vtk("report", made.run.name[:-2], "--root", tmp_path, "--json")
    assert code == 0
    assert json.loads(out) == {
        "run": made.run.name,
        "report": str(made.run.report),
        "bytes": made.run.report.stat().st_size,
    }


def test_writing_again_replaces_the_file_whole(vtk, tmp_path):
    made = make_run(tmp_path, stores=False)
    made.run.report.write_text("old")
    assert vtk("report", "--root", tmp_path)[0] == 0
    assert made.run.report.stat().st_size > 10_000


def test_unknown_run(vtk, tmp_path):
    made = make_run(tmp_path, stores=False, tested=False)
    code, out, err = vtk("report", "nothing", "--root", tmp_path)
    assert (code, out) == (2, "")
    assert 'There is no run "nothing"' in err
    assert not made.run.report.exists()


def test_no_run_at_all(vtk, tmp_path):
    code, _, err = vtk("report", "--root", tmp_path)
    assert code == 2
    assert "There are none" in err


def test_damaged_run(vtk, tmp_path):
    made = make_run(tmp_path, stores=False, tested=False)
    (made.run.path / "run.json").write_text("{")
    code, _, err = vtk("report", made.run.name, "--root", tmp_path)
    assert code == 5
    assert "run.json should describe a run" in err
    assert not made.run.report.exists()
