"""What `--init` names, and how a model takes it."""

import io
from dataclasses import replace

import pytest
import tiny
import torch
import toy_models
from host import Host

from vtk_cli.api.models import Weights
from vtk_cli.errors import CheckpointError, FetchError, UsageError
from vtk_cli.evaluate import published
from vtk_cli.evaluate.foreign import for_trunk, import_weights
from vtk_cli.evaluate.initial import apply_initial, initial_weights
from vtk_cli.evaluate.weights import WeightsInfo, save_weights
from vtk_cli.workspace import Workspace
from vtk_models.trunks.resnet import RESNET18
from vtk_models.tsn import MODEL


@pytest.fixture(scope="module")
def resnet18():
    """An ImageNet file as torchvision publishes it: the trunk and a classifier."""
    torch.manual_seed(0)
    tensors = RESNET18.build(3).state_dict()
    return {**tensors, "fc.weight": torch.zeros(1000, 512), "fc.bias": torch.zeros(1000)}


def saved(path, content):
    torch.save(content, path)
    return path


@pytest.fixture
def workspace(tmp_path, resnet18):
    workspace = Workspace(tmp_path / "root")
    file = saved(tmp_path / "resnet18.pth", resnet18)
    target = workspace.weights / "resnet18-imagenet.safetensors"
    import_weights(file, target, for_trunk("resnet18"), "torchvision")
    return workspace


def make(classes=3):
    torch.manual_seed(1)
    return MODEL.build(tiny.CONFIG, classes)


def test_none_is_nothing(workspace):
    initial = initial_weights(MODEL, tiny.CONFIG, workspace, "none")
    assert (initial.tensors, initial.origin) == ({}, "none")
    module = make()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    assert apply_initial(module, initial, 3) == []
    assert all(torch.equal(tensor, before[name]) for name, tensor in module.state_dict().items())


@pytest.mark.parametrize("init", ["auto", "resnet18-imagenet"])
def test_the_trunk_of_the_workspace_is_taken(workspace, resnet18, init):
    module = make()
    initial = initial_weights(MODEL, tiny.CONFIG, workspace, init)
    assert apply_initial(module, initial, 3) == []
    assert torch.equal(module.trunk.conv1.weight, resnet18["conv1.weight"])
    assert "resnet18-imagenet" in initial.origin


def test_flow_gets_the_mean_over_the_colours(workspace, resnet18):
    config = replace(tiny.CONFIG, modality="flow")
    module = MODEL.build(config, 3)
    apply_initial(module, initial_weights(MODEL, config, workspace, "auto"), 3)
    mean = resnet18["conv1.weight"].mean(1, keepdim=True)
    assert torch.equal(module.trunk.conv1.weight, mean.expand(-1, 10, -1, -1))


def test_a_whole_model_with_other_classes_keeps_the_new_classifier(tmp_path, workspace):
    torch.manual_seed(7)
    old = MODEL.build(tiny.CONFIG, 5).state_dict()
    file = tmp_path / "old.safetensors"
    save_weights(file, old, WeightsInfo(model="tsn", classes=tuple("abcde")))
    module = make(3)
    fc = module.fc.weight.clone()
    left_out = apply_initial(module, initial_weights(MODEL, tiny.CONFIG, workspace, str(file)), 3)
    assert sorted(left_out) == ["fc.bias", "fc.weight"]
    assert torch.equal(module.fc.weight, fc)
    assert torch.equal(module.trunk.conv1.weight, old["trunk.conv1.weight"])


def test_the_same_classes_take_everything(tmp_path, workspace):
    torch.manual_seed(7)
    old = MODEL.build(tiny.CONFIG, 3).state_dict()
    save_weights(tmp_path / "old.safetensors", old, WeightsInfo(model="tsn", classes=tuple("abc")))
    module = make(3)
    initial = initial_weights(MODEL, tiny.CONFIG, workspace, str(tmp_path / "old.safetensors"))
    assert apply_initial(module, initial, 3) == []
    assert torch.equal(module.fc.weight, old["fc.weight"])


def test_another_trunk_does_not_fit(workspace):
    config = replace(tiny.CONFIG, trunk="resnet50")
    initial = initial_weights(MODEL, config, workspace, "resnet18-imagenet")
    with pytest.raises(CheckpointError, match="do not fit the model"):
        apply_initial(MODEL.build(config, 3), initial, 3)


def test_offline_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setattr(published, "Fetcher", lambda **_: Refusing())
    said = r"cannot be fetched.*weights import FILE --layout torchvision --trunk resnet18 --name resnet18-imagenet"
    with pytest.raises(FetchError, match=said + r".*--init none"):
        initial_weights(MODEL, tiny.CONFIG, Workspace(tmp_path), "auto")


class Refusing:
    def fetch(self, url, target):
        raise FetchError(f"{url} cannot be reached.")


def test_a_published_model_is_fetched_and_begins_training(tmp_path, monkeypatch):
    buffer = io.BytesIO()
    torch.save(toy_models.tensors(width=6), buffer)
    with Host({"/toy.pth": buffer.getvalue()}) as host:
        weights = Weights(url=f"{host.url}/toy.pth", layout="toy", licence="MIT")
        spec = replace(toy_models.TOY, weights={"own": weights})
        toy_models.install(monkeypatch, toy=spec)
        config = toy_models.ToyConfig(width=6)
        initial = initial_weights(spec, config, Workspace(tmp_path), "toy-own")
    module = spec.build(config, 9)
    assert sorted(apply_initial(module, initial, 9)) == ["fc.bias", "fc.weight"]
    assert torch.equal(module.conv.weight, toy_models.tensors(width=6)["conv.weight"])


def test_a_wrong_name_is_suggested(workspace):
    with pytest.raises(UsageError, match='Did you mean "resnet18-imagenet"'):
        initial_weights(MODEL, tiny.CONFIG, workspace, "resnet18-imagnet")


def test_a_foreign_file_names_the_import(tmp_path, workspace, resnet18):
    file = saved(tmp_path / "foreign.pth", resnet18)
    with pytest.raises(CheckpointError, match="vtk weights import"):
        initial_weights(MODEL, tiny.CONFIG, workspace, str(file))
