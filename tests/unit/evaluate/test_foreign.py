import argparse
import hashlib
import io
import pickle
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer

import numpy as np
import pytest
import tiny
import torch
from safetensors.torch import save_file

from vtk_cli.api.models import Weights
from vtk_cli.errors import CheckpointError, FetchError, PluginError, UsageError
from vtk_cli.evaluate import foreign, shelf
from vtk_cli.evaluate.foreign import (
    Published,
    fetch_weights,
    for_model,
    for_trunk,
    import_weights,
    label_names,
    published,
    read_foreign,
)
from vtk_cli.evaluate.initial import apply_initial, initial_weights
from vtk_cli.evaluate.weights import WeightsInfo, load_weights, save_weights
from vtk_cli.workspace import Workspace
from vtk_models.trunks.resnet import RESNET18
from vtk_models.tsn import MODEL

CLASSES = 5


@pytest.fixture(scope="module")
def resnet18():
    """An ImageNet file as torchvision publishes it: the trunk and a classifier."""
    torch.manual_seed(0)
    tensors = RESNET18.build(3).state_dict()
    return {**tensors, "fc.weight": torch.zeros(1000, 512), "fc.bias": torch.zeros(1000)}


@pytest.fixture(scope="module")
def tsn_pytorch():
    """A checkpoint as tsn-pytorch saves it, with what it leaves beside the tensors."""
    torch.manual_seed(0)
    own = MODEL.build(tiny.CONFIG, CLASSES).state_dict()
    names = {name: name.replace("trunk.", "module.base_model.").replace("fc.", "module.new_fc.") for name in own}
    return {
        "epoch": 80,
        "arch": "resnet18",
        "args": argparse.Namespace(lr=0.1),
        "best_prec1": np.float64(71.0),
        "state_dict": {names[name]: tensor for name, tensor in own.items()},
    }, own


def saved(path, content):
    torch.save(content, path)
    return path


def test_a_trunk_comes_in_with_its_provenance(tmp_path, resnet18):
    file = saved(tmp_path / "resnet18-f37072fd.pth", resnet18)
    info = import_weights(file, tmp_path / "kept.safetensors", for_trunk("resnet18"), "torchvision")
    tensors, found = load_weights(tmp_path / "kept.safetensors")
    assert found == info
    assert (found.kind, found.model, found.classes) == ("trunk", "resnet18", ())
    assert found.provenance == {
        "file": "resnet18-f37072fd.pth",
        "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
        "layout": "torchvision",
    }
    assert set(tensors) == set(RESNET18.build(3).state_dict())


def test_an_old_checkpoint_with_arguments_and_numbers_comes_in(tmp_path, tsn_pytorch):
    content, own = tsn_pytorch
    file = saved(tmp_path / "old.pth.tar", content)
    info = import_weights(file, tmp_path / "kept.safetensors", for_model("tsn", tiny.CONFIG), "tsn-pytorch")
    tensors, found = load_weights(tmp_path / "kept.safetensors")
    assert info.classes == found.classes == tuple("01234")
    assert found.config["trunk"] == "resnet18"
    assert all(torch.equal(tensors[name], tensor) for name, tensor in own.items())


def test_class_names_must_be_as_many_as_the_files(tmp_path, tsn_pytorch):
    file = saved(tmp_path / "old.pth", tsn_pytorch[0])
    target, model = tmp_path / "kept.safetensors", for_model("tsn", tiny.CONFIG)
    import_weights(file, target, model, "tsn-pytorch", classes=tuple("vwxyz"))
    assert load_weights(target)[1].classes == tuple("vwxyz")
    with pytest.raises(UsageError, match="has 5 classes, found 2 names"):
        import_weights(file, target, model, "tsn-pytorch", classes=("v", "w"))


def test_another_trunk_than_the_files_is_refused_and_nothing_is_written(tmp_path, tsn_pytorch):
    file = saved(tmp_path / "old.pth", tsn_pytorch[0])
    other = for_model("tsn", replace(tiny.CONFIG, trunk="resnet34"))
    with pytest.raises(CheckpointError, match=r"does not fit the model tsn: missing: trunk\."):
        import_weights(file, tmp_path / "kept.safetensors", other, "tsn-pytorch")
    assert not (tmp_path / "kept.safetensors").exists()


def test_a_wrong_layout_is_suggested(tmp_path, resnet18):
    with pytest.raises(UsageError, match=r'knows no layout "torchvison"\. Did you mean "torchvision"'):
        import_weights(tmp_path / "f", tmp_path / "kept", for_trunk("resnet18"), "torchvison")


def test_npz_and_safetensors_are_read_too(tmp_path):
    np.savez(tmp_path / "a.npz", weight=np.ones(3))
    save_file({"weight": torch.ones(3)}, tmp_path / "a.safetensors")
    for name in ("a.npz", "a.safetensors"):
        assert np.asarray(read_foreign(tmp_path / name)["weight"]).tolist() == [1, 1, 1]


class Evil:
    def __reduce__(self):
        return (print, ("executed",))


@pytest.mark.parametrize("kind", ["evil", "plain pickle", "text", "empty", "cut", "list", "evil npz", "missing"])
def test_nothing_is_executed_and_everything_else_is_explained(tmp_path, capfd, kind):
    path = tmp_path / ("w.npz" if "npz" in kind else "w.pth")
    whole = io.BytesIO()
    torch.save({"a": torch.zeros(999)}, whole)
    content = {
        "plain pickle": pickle.dumps({"a": Evil()}),
        "text": b"<html>",
        "empty": b"",
        "cut": whole.getvalue()[:900],
    }
    if kind == "evil":
        torch.save({"state_dict": Evil()}, path)
    elif kind == "evil npz":
        np.savez(path, a=np.array([Evil()], dtype=object))
    elif kind == "list":
        torch.save([torch.zeros(1)], path)
    elif kind != "missing":
        path.write_bytes(content[kind])
    with pytest.raises(CheckpointError, match=r"w\."):
        read_foreign(path)
    assert "executed" not in capfd.readouterr().out


@pytest.fixture
def host(resnet18):
    """A server of one weight file; `asked` holds the paths that were asked for."""
    buffer = io.BytesIO()
    torch.save(resnet18, buffer)
    content = buffer.getvalue()
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            found = self.path == "/models/resnet18-f37072fd.pth"
            self.send_response(200 if found else 404)
            self.send_header("Content-Length", str(len(content) if found else 0))
            self.end_headers()
            if found:
                self.wfile.write(content)

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", hashlib.sha256(content).hexdigest(), asked
    server.shutdown()
    thread.join()
    server.server_close()


def offered(digest, url="https://download.pytorch.org/models/resnet18-f37072fd.pth"):
    weights = Weights(url=url, sha256=digest, layout="torchvision", licence="BSD-3-Clause")
    return Published(name="resnet18-imagenet", weights=weights, destination=for_trunk("resnet18"))


def test_published_weights_are_fetched_once_verified_by_a_prefix(tmp_path, host, capsys):
    mirror, digest, asked = host
    workspace = Workspace(tmp_path)
    path = fetch_weights(offered(digest[:8]), workspace, mirror=mirror)
    assert fetch_weights(offered(digest[:8]), workspace, mirror=mirror) == path
    assert asked == ["/models/resnet18-f37072fd.pth"]
    _, info = load_weights(path)
    assert info.provenance["url"] == "https://download.pytorch.org/models/resnet18-f37072fd.pth"
    assert info.provenance["sha256"] == digest
    assert sorted(p.name for p in workspace.weights.iterdir()) == ["resnet18-imagenet.safetensors"]


def test_another_file_than_the_published_one_is_refused(tmp_path, host, capsys):
    mirror, _, _ = host
    with pytest.raises(CheckpointError, match=r"should have sha256 00000000\.\.\., found"):
        fetch_weights(offered("00000000"), Workspace(tmp_path), mirror=mirror)
    assert list(Workspace(tmp_path).weights.iterdir()) == []


def test_trunks_name_their_imagenet_weights():
    found = {item.name: item for item in published()}
    assert found["resnet50-imagenet"].destination.kind == "trunk"


def test_a_broken_plugin_does_not_hide_the_others(monkeypatch):
    load = foreign.registry.load

    def broken(group, name):
        if name == "resnet18":
            raise PluginError("broken")
        return load(group, name)

    monkeypatch.setattr(foreign.registry, "load", broken)
    names = [item.name for item in published()]
    assert "resnet50-imagenet" in names
    assert "resnet18-imagenet" not in names


def test_label_names_come_from_recipes_and_files(tmp_path):
    (tmp_path / "names.txt").write_text("one\n\ntwo words\n")
    assert label_names(str(tmp_path / "names.txt")) == ("one", "two words")
    assert len(label_names("kinetics400")) == 400
    with pytest.raises(UsageError, match='Did you mean "kinetics400"'):
        label_names("kinetics40")


class TestInitial:
    @pytest.fixture
    def workspace(self, tmp_path, resnet18):
        workspace = Workspace(tmp_path / "root")
        file = saved(tmp_path / "resnet18.pth", resnet18)
        target = workspace.weights / "resnet18-imagenet.safetensors"
        import_weights(file, target, for_trunk("resnet18"), "torchvision")
        return workspace

    def module(self, classes=3):
        torch.manual_seed(1)
        return MODEL.build(tiny.CONFIG, classes)

    def test_none_is_nothing(self, workspace):
        initial = initial_weights(MODEL, tiny.CONFIG, workspace, "none")
        assert (initial.tensors, initial.origin) == ({}, "none")
        module = self.module()
        before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
        assert apply_initial(module, initial, 3) == []
        assert all(torch.equal(tensor, before[name]) for name, tensor in module.state_dict().items())

    @pytest.mark.parametrize("init", ["auto", "resnet18-imagenet"])
    def test_the_trunk_of_the_workspace_is_taken(self, workspace, resnet18, init):
        module = self.module()
        initial = initial_weights(MODEL, tiny.CONFIG, workspace, init)
        assert apply_initial(module, initial, 3) == []
        assert torch.equal(module.trunk.conv1.weight, resnet18["conv1.weight"])
        assert "resnet18-imagenet" in initial.origin

    def test_flow_gets_the_mean_over_the_colours(self, workspace, resnet18):
        config = replace(tiny.CONFIG, modality="flow")
        module = MODEL.build(config, 3)
        apply_initial(module, initial_weights(MODEL, config, workspace, "auto"), 3)
        mean = resnet18["conv1.weight"].mean(1, keepdim=True)
        assert torch.equal(module.trunk.conv1.weight, mean.expand(-1, 10, -1, -1))

    def test_a_whole_model_with_other_classes_keeps_the_new_classifier(self, tmp_path, workspace):
        torch.manual_seed(7)
        old = MODEL.build(tiny.CONFIG, 5).state_dict()
        file = tmp_path / "old.safetensors"
        save_weights(file, old, WeightsInfo(model="tsn", classes=tuple("abcde")))
        module = self.module(3)
        fc = module.fc.weight.clone()
        left_out = apply_initial(module, initial_weights(MODEL, tiny.CONFIG, workspace, str(file)), 3)
        assert sorted(left_out) == ["fc.bias", "fc.weight"]
        assert torch.equal(module.fc.weight, fc)
        assert torch.equal(module.trunk.conv1.weight, old["trunk.conv1.weight"])

    def test_the_same_classes_take_everything(self, tmp_path, workspace):
        torch.manual_seed(7)
        old = MODEL.build(tiny.CONFIG, 3).state_dict()
        save_weights(tmp_path / "old.safetensors", old, WeightsInfo(model="tsn", classes=tuple("abc")))
        module = self.module(3)
        initial = initial_weights(MODEL, tiny.CONFIG, workspace, str(tmp_path / "old.safetensors"))
        assert apply_initial(module, initial, 3) == []
        assert torch.equal(module.fc.weight, old["fc.weight"])

    def test_another_trunk_does_not_fit(self, workspace):
        config = replace(tiny.CONFIG, trunk="resnet50")
        initial = initial_weights(MODEL, config, workspace, "resnet18-imagenet")
        with pytest.raises(CheckpointError, match="do not fit the model"):
            apply_initial(MODEL.build(config, 3), initial, 3)

    def test_offline_says_what_to_do(self, tmp_path, monkeypatch, host):
        monkeypatch.setenv("VTK_MIRROR", host[0] + "/nowhere")
        monkeypatch.setattr(foreign, "Fetcher", lambda **_: Refusing())
        said = r"cannot be fetched.*weights import FILE --layout torchvision --trunk resnet18 --name resnet18-imagenet"
        with pytest.raises(FetchError, match=said + r".*--init none"):
            initial_weights(MODEL, tiny.CONFIG, Workspace(tmp_path), "auto")

    def test_a_wrong_name_is_suggested(self, workspace):
        with pytest.raises(UsageError, match='Did you mean "resnet18-imagenet"'):
            initial_weights(MODEL, tiny.CONFIG, workspace, "resnet18-imagnet")

    def test_a_foreign_file_names_the_import(self, tmp_path, workspace, resnet18):
        file = saved(tmp_path / "foreign.pth", resnet18)
        with pytest.raises(CheckpointError, match="vtk weights import"):
            initial_weights(MODEL, tiny.CONFIG, workspace, str(file))


class Refusing:
    def fetch(self, url, target):
        raise FetchError(f"{url} cannot be reached.")


def test_the_shelf_shows_what_is_here_and_what_can_be_fetched(tmp_path, resnet18):
    workspace = Workspace(tmp_path)
    file = saved(tmp_path / "r.pth", resnet18)
    path = shelf.bring_in(
        workspace, file, layout="torchvision", model=None, trunk="resnet18", name="mine", classes=None, assignments=()
    )
    (workspace.weights / "broken.safetensors").write_bytes(b"x")
    rows = {row["name"]: row for row in shelf.rows(workspace)}
    assert rows["mine"]["here"] == "yes"
    assert rows["broken"]["here"] == "damaged"
    assert rows["resnet50-imagenet"]["here"] == "no"
    assert shelf.describe("mine", workspace)["provenance"]["file"] == "r.pth"
    assert shelf.describe(str(path), workspace)["model"] == "resnet18"
    assert shelf.describe("resnet50-imagenet", workspace)["licence"] == "BSD-3-Clause"
