"""Where things live, and which dataset is current."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vtk_cli.catalog import Catalog
from vtk_cli.errors import DataError, UsageError
from vtk_cli.workspace import RESERVED, Workspace


def make(workspace, name):
    Catalog.create(workspace.new_dataset(name).catalog, ("a",), [], {}).close()


def test_locate_option_then_variable_then_here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("VTK_HOME", raising=False)
    assert Workspace.locate().root == tmp_path / "vtk-data"
    monkeypatch.setenv("VTK_HOME", str(tmp_path / "home"))
    assert Workspace.locate().root == tmp_path / "home"
    assert Workspace.locate(tmp_path / "opt").root == tmp_path / "opt"
    monkeypatch.setenv("VTK_HOME", "")
    assert Workspace.locate().root == tmp_path / "vtk-data"
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_no_workspace(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="Choose another with --root"):
        Workspace.locate(tmp_path / "file")


@given(st.text(min_size=0, max_size=80))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_name_is_a_folder_of_the_workspace_or_refused(tmp_path, name):
    workspace = Workspace(tmp_path)
    try:
        dataset = workspace.new_dataset(name)
    except UsageError:
        return
    assert dataset.path.parent == tmp_path
    assert dataset.path.resolve().parent == tmp_path.resolve()
    assert dataset.name not in RESERVED
    assert not name.startswith((".", "-"))


@pytest.mark.parametrize(
    "name", ["", "Kinetics", "../x", "a/b", ".hidden", "-x", "runs", "weights", "current", "a" * 65, "a\n"]
)
def test_names_that_are_refused(tmp_path, name):
    with pytest.raises(UsageError, match="Choose another"):
        Workspace(tmp_path).new_dataset(name)


def test_current_dataset(tmp_path):
    workspace = Workspace(tmp_path)
    assert workspace.current() is None
    with pytest.raises(DataError, match="vtk index NAME PATH"):
        workspace.dataset()
    make(workspace, "kinetics400")
    make(workspace, "mine")
    workspace.set_current("mine")
    assert workspace.dataset().name == "mine"
    assert workspace.dataset("kinetics400").name == "kinetics400"
    assert workspace.datasets() == ["kinetics400", "mine"]
    with pytest.raises(UsageError, match='Did you mean "kinetics400"'):
        workspace.dataset("kinetics40")


def test_a_current_dataset_that_is_gone(tmp_path):
    workspace = Workspace(tmp_path)
    workspace.set_current("gone")
    with pytest.raises(UsageError, match='no dataset "gone"'):
        workspace.dataset()


def test_stores_and_videos(tmp_path):
    dataset = Workspace(tmp_path).new_dataset("mine")
    dataset.store("frames-256").mkdir(parents=True)
    (dataset.store("frames-256") / "meta.json").write_text("{}")
    (dataset.path / "raw").mkdir()
    assert dataset.stores() == ["frames-256"]
    assert dataset.video("a/b.mp4") == dataset.videos / "a/b.mp4"
    assert dataset.video("/abs/b.mp4").as_posix() == "/abs/b.mp4"
