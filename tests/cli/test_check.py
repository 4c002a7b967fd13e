"""`vtk check` as it is typed."""

import json
import shutil

import pytest
from typer.testing import CliRunner

from vtk_cli.api.datasets import VideoRow
from vtk_cli.catalog import Catalog
from vtk_cli.commands.check import app
from vtk_cli.errors import ItemsFailed, UsageError
from vtk_cli.workspace import Workspace

CLIP = "hmdb51_TrumanShow_wave_f_nm_np1_fr_med_26.avi"


@pytest.fixture
def root(tmp_path, shared):
    workspace = Workspace(tmp_path / "ws")
    dataset = workspace.new_dataset("mine")
    dataset.videos.mkdir(parents=True)
    shutil.copy(shared / "data/videos" / CLIP, dataset.videos / "wave.avi")
    rows = [VideoRow(id="wave", path="wave.avi", labels=(0,), splits=("train",))]
    Catalog.create(dataset.catalog, ("wave", "walk"), rows, {"dataset": "mine"}).close()
    workspace.set_current("mine")
    return workspace.root


def test_a_clean_dataset_ends_with_0(root):
    result = CliRunner().invoke(app, ["--root", str(root), "--workers", "1"])
    assert result.exit_code == 0, result.exception
    assert "mine: 1 videos (1 ready), 1 looked at." in result.stdout
    assert "without clips: walk" in result.stdout
    result = CliRunner().invoke(app, ["mine", "--root", str(root), "--json"])
    assert json.loads(result.stdout)["statuses"] == {"ready": 1}


def test_problems_end_with_3_a_table_and_a_list(root):
    clip = root / "mine/videos/wave.avi"
    clip.write_bytes(clip.read_bytes()[:100_000])
    result = CliRunner().invoke(app, ["--root", str(root), "--workers", "1"])
    assert isinstance(result.exception, ItemsFailed)
    assert "check.json" in str(result.exception)
    assert "broken" in result.stdout
    assert "cut off" in result.stdout
    assert json.loads((root / "mine/check.json").read_text())["findings"][0]["id"] == "wave"


@pytest.mark.parametrize("arguments", [["other"], ["--split", "val"], ["--decoder", "x"]])
def test_wrong_names(root, arguments):
    result = CliRunner().invoke(app, [*arguments, "--root", str(root)])
    assert isinstance(result.exception, UsageError)
    assert not (root / "mine/check.json").exists()
