import json
import subprocess
import sys

import pytest
import tiny
import torch
from safetensors.torch import save_file

from vtk_cli.errors import CheckpointError
from vtk_cli.evaluate.weights import (
    WeightsInfo,
    compare,
    config_from,
    config_values,
    load_into,
    load_weights,
    read_metadata,
    save_weights,
)
from vtk_models.tsn import MODEL, TSNConfig

INFO = WeightsInfo(
    model="tsn",
    config=config_values(tiny.CONFIG),
    classes=("a, b", 'quoted "c"', "ä"),
    label_order="mine",
    dataset="tiny",
    flip=False,
    multi_label=True,
    stores={"flow-tvl1-256": {"bound": 20.0, "parameters": {"tau": 0.25}}},
    provenance={"file": "x.pth", "sha256": "ab"},
)


def test_what_is_saved_comes_back(tmp_path):
    shared = torch.arange(6.0).reshape(2, 3)
    tensors = {"a": shared, "same": shared, "transposed": shared.T, "count": torch.tensor(3)}
    save_weights(tmp_path / "w.safetensors", tensors, INFO)
    found, info = load_weights(tmp_path / "w.safetensors")
    assert info == INFO
    assert set(found) == set(tensors)
    assert all(torch.equal(found[name], tensor) for name, tensor in tensors.items())


def test_metadata_are_text_that_other_tools_read(tmp_path):
    save_weights(tmp_path / "w.safetensors", {"a": torch.zeros(1)}, INFO)
    found = read_metadata(tmp_path / "w.safetensors")
    assert found["vtk.format"] == "1"
    assert found["vtk.model"] == "tsn"
    assert json.loads(found["vtk.classes"]) == list(INFO.classes)
    assert json.loads(found["vtk.config"])["trunk"] == "resnet18"


def test_the_configuration_comes_back_with_its_types(tmp_path):
    info = WeightsInfo(model="tsn", config=config_values(TSNConfig(segments=5, dropout=0.3, partial_bn=True)))
    save_weights(tmp_path / "w.safetensors", {"a": torch.zeros(1)}, info)
    _, found = load_weights(tmp_path / "w.safetensors")
    assert config_from(MODEL, found, tmp_path) == TSNConfig(segments=5, dropout=0.3, partial_bn=True)


@pytest.mark.parametrize(
    ("config", "said"), [({"colour": 1}, "no such setting"), ({"segments": "many"}, "does not take 'many'")]
)
def test_a_configuration_of_another_version_is_refused(tmp_path, config, said):
    with pytest.raises(CheckpointError, match=said):
        config_from(MODEL, WeightsInfo(model="tsn", config=config), tmp_path)


def test_wrong_names_and_shapes_are_named():
    module = torch.nn.Linear(3, 2)
    with pytest.raises(CheckpointError, match=r"missing: bias; unexpected: offset; of another shape: weight \(2x4 in"):
        load_into(module, {"weight": torch.zeros(2, 4), "offset": torch.zeros(2)}, "w.safetensors")
    load_into(module, {"weight": torch.ones(2, 3), "bias": torch.ones(2)}, "w.safetensors")
    assert module.weight.sum() == 6
    assert compare(module.state_dict(), module.state_dict()) == ""


def test_many_wrong_names_are_counted():
    expected = {f"layer{number}": torch.zeros(1) for number in range(20)}
    assert "and 14 more" in compare(expected, {})


@pytest.mark.parametrize("damage", ["missing", "empty", "cut", "text", "foreign", "folder"])
def test_damaged_files_are_explained(tmp_path, damage):
    path = tmp_path / "w.safetensors"
    save_weights(path, {"a": torch.zeros(1000)}, INFO)
    content = path.read_bytes()
    path.unlink()
    if damage == "folder":
        path.mkdir()
    elif damage == "foreign":
        save_file({"a": torch.zeros(1)}, path)
    elif damage != "missing":
        path.write_bytes({"empty": b"", "cut": content[:-100], "text": b"<html>not found</html>"}[damage])
    with pytest.raises(CheckpointError, match=r"w\.safetensors"):
        load_weights(path)


def test_damaged_metadata_are_explained(tmp_path):
    path = tmp_path / "w.safetensors"
    save_file({"a": torch.zeros(1)}, path, {**INFO.to_metadata(), "vtk.classes": "[1,"})
    with pytest.raises(CheckpointError, match="damaged metadata"):
        load_weights(path)


def test_a_kill_while_writing_leaves_the_old_file(tmp_path):
    path = tmp_path / "w.safetensors"
    save_weights(path, {"a": torch.ones(1)}, INFO)
    script = (
        "import os, signal, pathlib, torch, vtk_cli.files as f\n"
        "from vtk_cli.evaluate.weights import WeightsInfo, save_weights\n"
        "f.os.fsync = lambda _: os.kill(os.getpid(), signal.SIGKILL)\n"
        f"save_weights(pathlib.Path({str(path)!r}), {{'a': torch.zeros(1)}}, WeightsInfo(model='x'))\n"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == -9
    assert load_weights(path)[0]["a"].item() == 1


def test_importing_the_package_imports_nothing_heavy():
    script = (
        "import sys, vtk_cli; assert vtk_cli.__version__; assert callable(vtk_cli.load)\n"
        "print([m for m in ('torch', 'numpy', 'av', 'lmdb', 'pydantic') if m in sys.modules])"
    )
    assert subprocess.check_output([sys.executable, "-c", script], text=True).strip() == "[]"
