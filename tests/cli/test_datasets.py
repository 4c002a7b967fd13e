import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from vtk_cli import registry
from vtk_cli.api.datasets import VideoRow
from vtk_cli.catalog import Catalog
from vtk_cli.cli import main
from vtk_cli.errors import PluginError
from vtk_cli.workspace import Workspace

Vtk = Callable[..., tuple[int, str, str]]


@pytest.fixture
def vtk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Vtk:
    """Run vtk in this process: exit code, stdout, stderr."""
    monkeypatch.setenv("VTK_HOME", str(tmp_path))

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["vtk", "datasets", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out, err

    return run


@pytest.fixture
def mine(tmp_path: Path) -> None:
    row = VideoRow(id="a", path="a.mp4", labels=(1,), splits=("train",))
    for name in ("mine", "kinetics400"):
        with Catalog.create(tmp_path / name / "catalog.sqlite", ["no", "yes"], [row], {"dataset": name}) as catalog:
            catalog.set_status([("a", "ready", "")])
    Workspace.locate(tmp_path).set_current("mine")


def test_every_dataset_is_listed(vtk: Vtk) -> None:
    code, out, _ = vtk("list", "--json")
    rows = {row["name"]: row for row in json.loads(out)}
    assert code == 0
    assert set(rows) == set(registry.names("vtk.datasets"))
    assert rows["kinetics400"] == {
        "name": "kinetics400",
        "title": "Kinetics-400",
        "classes": 400,
        "videos": 306245,
        "size_gb": 456.0,
        "gated": "no",
        "here": "",
    }
    code, out, _ = vtk("list")
    assert "UCF101" in out
    assert "13320" in out


@pytest.mark.usefixtures("mine")
def test_what_is_here(vtk: Vtk) -> None:
    _, out, _ = vtk("list", "--json")
    rows = {row["name"]: row for row in json.loads(out)}
    assert rows["kinetics400"]["here"] == "1 clips"
    assert rows["mine"] == {
        "name": "mine",
        "title": "(your own)",
        "classes": 2,
        "videos": 1,
        "here": "1 clips (current)",
    }
    _, out, _ = vtk("show", "mine", "--json")
    shown = json.loads(out)
    assert shown["classes"] == ["no", "yes"]
    assert shown["here"]["splits"]["train"]["ready"] == 1
    assert shown["here"]["disk_bytes"] > 0
    _, out, _ = vtk("show", "kinetics400", "--json")
    assert json.loads(out)["here"]["splits"]["train"]["ready"] == 1


@pytest.mark.parametrize("name", registry.names("vtk.datasets"))
def test_everything_of_a_dataset_is_shown(vtk: Vtk, name: str) -> None:
    recipe = registry.load("vtk.datasets", name)
    code, out, _ = vtk("show", name)
    assert code == 0
    for text in (recipe.title, recipe.licence, recipe.label_order, *recipe.splits, *recipe.classes(), *recipe.notes):
        assert text in out
    code, out, _ = vtk("show", name, "--json")
    facts = json.loads(out)
    assert facts["classes"] == list(recipe.classes())
    assert facts["tests_on"] == recipe.test_split


def test_a_broken_plugin_is_one_line(vtk: Vtk, monkeypatch: pytest.MonkeyPatch) -> None:
    original = registry.load

    def load(group: str, name: str) -> object:
        if name == "ucf101":
            raise PluginError("The dataset vtk-cli:ucf101 does not load: boom.")
        return original(group, name)

    monkeypatch.setattr(registry, "load", load)
    code, out, _ = vtk("list")
    assert code == 0
    assert "boom" in out
    assert "Kinetics-400" in out


def test_a_wrong_name(vtk: Vtk) -> None:
    code, _, err = vtk("show", "ucf11")
    assert code == 2
    assert 'Did you mean "ucf101"' in err
