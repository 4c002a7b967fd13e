import errno
import json
from dataclasses import replace
from pathlib import Path

import pytest

from vtk_cli import run_dir
from vtk_cli.errors import CheckpointError, DataError, UsageError
from vtk_cli.run_dir import RunDir, RunInfo, all_runs

INFO = RunInfo(
    model="dist:stnet",
    dataset="toy",
    classes=("a", "b c"),
    label_order="own",
    flip=False,
    splits={"train": "train1"},
    stores={"frames-32": {"short_side": 32}},
)


def test_a_run_is_made_found_and_read(tmp_path):
    run = RunDir.create(tmp_path, INFO)
    assert "-dist-stnet-toy-" in run.name
    assert replace(run.info(), created="") == INFO
    assert run.info().created
    for name in (run.path, str(run.path), run.name, run.name[:-2], "latest"):
        assert RunDir.find(tmp_path, name).path == run.path


def test_two_runs_of_one_minute_with_one_id_get_two_folders(tmp_path, monkeypatch):
    ids = iter(["aaaa", "aaaa", "bbbb"])
    monkeypatch.setattr(run_dir.secrets, "token_hex", lambda _: next(ids))
    first, second = RunDir.create(tmp_path, INFO), RunDir.create(tmp_path, INFO)
    assert first.path != second.path
    assert [run.path for run in all_runs(tmp_path)] == [first.path, second.path]


def test_a_workspace_that_cannot_be_written_is_said(tmp_path):
    (tmp_path / "runs").write_text("a file")
    with pytest.raises(DataError, match="cannot be made"):
        RunDir.create(tmp_path / "runs", INFO)


def test_wrong_names(tmp_path):
    with pytest.raises(UsageError, match="There are none"):
        RunDir.find(tmp_path, "latest")
    for name in ("20260101-0000-a-b-1111", "20260101-0000-a-b-2222"):
        RunDir(tmp_path / name).write_info(INFO)
    with pytest.raises(UsageError, match="2 runs begin with"):
        RunDir.find(tmp_path, "20260101")
    with pytest.raises(UsageError, match='Did you mean "20260101-0000-a-b-1111"'):
        RunDir.find(tmp_path, "20260101-0000-a-b-111x")


@pytest.mark.parametrize("content", ["", "{", "[]", '{"model": "x"}', '{"classes": [], "unknown": 1}'])
def test_a_damaged_run_is_said_and_still_listed(tmp_path, content):
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "run.json").write_text(content)
    with pytest.raises(CheckpointError, match="should describe a run"):
        RunDir(folder).info()
    assert [run.name for run in all_runs(tmp_path)] == ["run"]


def test_fields_are_changed_one_by_one(tmp_path):
    run = RunDir.create(tmp_path, INFO)
    run.set(status="finished", best={"epoch": 3, "top1": 0.5})
    assert run.info().status == "finished"
    assert run.info().best == {"epoch": 3, "top1": 0.5}
    assert run.info().classes == INFO.classes


def test_the_log_skips_what_was_cut_off(tmp_path):
    run = RunDir(tmp_path)
    run.log("step", epoch=0, step=0, loss=1.0)
    with (tmp_path / "log.jsonl").open("a") as file:
        file.write('3\n{"kind": "step", "st')
    assert [entry["step"] for entry in run.read_log()] == [0]
    assert list(RunDir(tmp_path / "none").read_log()) == []


def test_a_resumed_run_drops_what_it_will_write_again(tmp_path):
    run = RunDir(tmp_path)
    run.log("event", message="begun")
    for step in range(6):
        run.log("step", epoch=step // 3, step=step)
        if step % 3 == 2:
            run.log("epoch", epoch=step // 3, step=step)
    with (tmp_path / "log.jsonl").open("a") as file:
        file.write('{"kind": "epo')
    run.truncate_log(6, 1)  # all steps of epoch 1 are taken, its validation is not done
    assert [(e["kind"], e.get("step")) for e in run.read_log()][-2:] == [("step", 4), ("step", 5)]
    run.truncate_log(4, 1)
    kept = [(e["kind"], e.get("step")) for e in run.read_log()]
    assert kept == [("event", None), ("step", 0), ("step", 1), ("step", 2), ("epoch", 2), ("step", 3)]
    assert all(json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines())


def test_a_full_disk_is_said(tmp_path, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(DataError, match="No space left"):
        RunDir(tmp_path).log("event", message="x")


def test_a_run_is_held_by_one_process(tmp_path):
    run = RunDir(tmp_path)
    with run.lock(), pytest.raises(UsageError, match="by another process"), run.lock():
        pass
    with run.lock():
        assert run.env() == {}
