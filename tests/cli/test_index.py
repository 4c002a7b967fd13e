"""`vtk index` as it is typed."""

import json

import pytest
from typer.testing import CliRunner

from vtk_cli.commands.index import app
from vtk_cli.errors import DataError, ItemsFailed, UsageError, VtkError


@pytest.fixture
def vtk(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("v/walk/a.mp4", "v/run/b.mp4", "v/run/c d.mp4"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")

    def run(*arguments):
        result = CliRunner().invoke(app, [*arguments, "--root", "ws"])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return run


def test_a_folder_in_words_and_as_json(vtk, tmp_path):
    result = vtk("mine", "v")
    assert result.exit_code == 0
    assert "Dataset mine made: 3 videos (3 train) of 2 classes." in result.stdout
    assert "drawn for val" in result.stderr
    result = vtk("mine", "v", "--json")
    found = json.loads(result.stdout)
    assert found["changed"] is False
    assert found["label_order"] == "names of the class folders sorted as plain text"
    assert (tmp_path / "ws/current").read_text() == "mine\n"


def test_lists_by_split(vtk, tmp_path):
    (tmp_path / "a.csv").write_text("walk/a.mp4 0\n")
    (tmp_path / "b.csv").write_text("run/c d.mp4 1\n")
    result = vtk("mine", "v", "--list", "train=a.csv", "--list", "test=b.csv", "--format", "slowfast", "--json")
    assert json.loads(result.stdout)["splits"] == {"train": 1, "test": 1}


def test_skip_bad_ends_with_3_and_a_list(vtk, tmp_path):
    (tmp_path / "l.txt").write_text("walk/a.mp4 0\nabsent.mp4 1\n")
    with pytest.raises(DataError, match=r"l\.txt:2: there is no clip 'absent\.mp4'"):
        vtk("mine", "l.txt", "--videos", "v")
    with pytest.raises(ItemsFailed, match=r"index-skipped\.txt"):
        vtk("mine", "l.txt", "--videos", "v", "--skip-bad")
    assert "absent.mp4" in (tmp_path / "ws/mine/index-skipped.txt").read_text()


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["Mine", "v"], UsageError),
        (["mine", "absent"], DataError),
        (["mine", "v", "--format", "foldrs"], UsageError),
        (["mine", "v", "--list", "train.csv"], UsageError),
        (["mine", "v", "--list", "train=absent.csv"], DataError),
        (["mine", "v", "--val-fraction", "1.5"], UsageError),
        (["mine", "v", "--bound", "32"], UsageError),
        (["mine", "v", "--workers", "2"], UsageError),
    ],
)
def test_wrong_input_is_one_sentence_and_changes_nothing(vtk, tmp_path, arguments, error):
    with pytest.raises(VtkError) as raised:
        vtk(*arguments)
    assert type(raised.value) is error
    assert not (tmp_path / "ws").exists()
