"""Importing checkpoints of other projects: converted, checked, tried; see readers/ for the files themselves."""

import argparse
import hashlib
from dataclasses import replace

import numpy as np
import pytest
import tiny
import torch
import toy_models
from toy_models import TOY

from vtk_cli.errors import CheckpointError, MismatchError, UsageError
from vtk_cli.evaluate.foreign import for_model, for_trunk, import_weights, label_names, setting
from vtk_cli.evaluate.weights import load_weights
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


def test_label_names_come_from_recipes_and_files(tmp_path):
    (tmp_path / "names.txt").write_text("one\n\ntwo words\n")
    assert label_names(str(tmp_path / "names.txt")) == ("one", "two words")
    assert len(label_names("kinetics400")) == 400
    with pytest.raises(UsageError, match='Did you mean "kinetics400"'):
        label_names("kinetics40")


class TestConfiguration:
    """Model defaults, then what the tensors say, then what the user sets."""

    @pytest.fixture(autouse=True)
    def models(self, monkeypatch):
        toy_models.install(monkeypatch, toy=TOY)

    def run(self, tmp_path, *assignments, layout="toy", width=7, model="toy"):
        file, target = saved(tmp_path / "w.pth", toy_models.tensors(width)), tmp_path / "kept.safetensors"
        destination = for_model(model, finish=setting(assignments)) if model else None
        return import_weights(file, target, destination, layout, finish=setting(assignments))

    def test_inferred_fields_take_the_place_of_defaults(self, tmp_path):
        assert self.run(tmp_path).config == {"width": 7, "segments": 2, "direction": "next"}
        assert self.run(tmp_path, layout="backwards").config["direction"] == "previous"

    def test_settings_come_on_top_and_may_repeat_what_was_inferred(self, tmp_path):
        config = self.run(tmp_path, "model.segments=5", "model.width=7").config
        assert config == {"width": 7, "segments": 5, "direction": "next"}

    def test_a_setting_with_which_the_tensors_do_not_fit_is_refused(self, tmp_path):
        said = r"model\.width is set to 4 where .*w\.pth \(layout toy\) says 7: .* of another shape: conv\.weight"
        with pytest.raises(UsageError, match=said):
            self.run(tmp_path, "model.width=4")
        assert not (tmp_path / "kept.safetensors").exists()

    def test_a_setting_that_only_the_dialect_contradicts_is_taken_and_told(self, tmp_path, capsys):
        assert self.run(tmp_path, "model.direction=next", layout="backwards").config["direction"] == "next"
        assert "model.direction is set to next where" in capsys.readouterr().err
        self.run(tmp_path, "model.direction=previous", layout="backwards")
        assert capsys.readouterr().err == ""

    def test_a_file_without_a_model_is_for_the_one_that_it_fits(self, tmp_path, monkeypatch):
        toy_models.install(monkeypatch, other=replace(TOY, layouts={"other": toy_models.LAYOUT}))
        info = self.run(tmp_path, model=None)
        assert (info.model, info.config["width"]) == ("toy", 7)

    def test_a_file_that_several_models_take_needs_the_model_named(self, tmp_path, monkeypatch):
        toy_models.install(monkeypatch, twin=TOY)
        with pytest.raises(UsageError, match=r"2 would take it: toy, twin. Say which with --model toy"):
            self.run(tmp_path, model=None)

    def test_a_file_that_no_model_takes_is_refused_with_the_reason_of_each(self, tmp_path, monkeypatch):
        exact = replace(TOY, layouts={"toy": toy_models.convert})
        toy_models.install(monkeypatch, exact=exact)
        with pytest.raises(CheckpointError) as error:
            self.run(tmp_path, "model.width=5", model=None)
        assert "\n  toy: model.width is set to 5 where" in str(error.value)
        assert "\n  exact: " in str(error.value)
        assert "of another shape: conv.weight" in str(error.value)

    def test_a_layout_that_no_model_knows_is_suggested(self, tmp_path):
        with pytest.raises(UsageError, match=r'No installed model knows the layout "tooy". Did you mean "toy"'):
            self.run(tmp_path, layout="tooy", model=None)


class TestTensors:
    @pytest.fixture(autouse=True)
    def models(self, monkeypatch):
        toy_models.install(monkeypatch, toy=TOY, sequence=toy_models.SEQUENCE)

    def refusal(self, tmp_path, content, model="toy"):
        with pytest.raises(CheckpointError) as error:
            import_weights(saved(tmp_path / "w.pth", content), tmp_path / "k.safetensors", for_model(model), model)
        assert not (tmp_path / "k.safetensors").exists()
        return error.value

    def test_every_tensor_that_is_missing_or_left_over_is_named(self, tmp_path):
        content = {**toy_models.tensors(), **{f"extra{number}": torch.zeros(1) for number in range(40)}}
        del content["fc.bias"]
        error = self.refusal(tmp_path, content)
        assert isinstance(error, MismatchError)
        assert error.names["missing"] == ["fc.bias"]
        assert error.names["unexpected"] == [f"extra{number}" for number in range(40)]

    def test_shapes_are_named(self, tmp_path):
        error = self.refusal(tmp_path, {"fc.weight": torch.zeros(3, 9), "fc.bias": torch.zeros(4)}, "sequence")
        assert error.names["of another shape"] == ["fc.weight (3x9 instead of 3x6)", "fc.bias (4 instead of 3)"]

    def test_a_layout_that_is_confused_is_no_traceback(self, tmp_path):
        content = {**toy_models.tensors(), "conv.weight": torch.tensor(1.0)}
        assert "cannot make sense of (TypeError" in str(self.refusal(tmp_path, content))

    def test_tensors_larger_than_their_memory_are_refused(self, tmp_path):
        content = {**toy_models.tensors(), "fc.weight": torch.zeros(1, 4).expand(1 << 40, 4)}
        assert "dense tensors of their own memory, found fc.weight" in str(self.refusal(tmp_path, content))

    def test_sparse_tensors_are_refused(self, tmp_path):
        content = {"fc.weight": torch.eye(6).to_sparse(), "fc.bias": torch.zeros(6)}
        assert "dense tensors" in str(self.refusal(tmp_path, content, "sequence"))

    def test_numbers_are_kept_in_the_models_own_type(self, tmp_path):
        content = {name: tensor.double().numpy() for name, tensor in toy_models.tensors().items()}
        np.savez(tmp_path / "w.npz", **content)
        import_weights(tmp_path / "w.npz", tmp_path / "k.safetensors", for_model("toy"), "toy")
        tensors, _ = load_weights(tmp_path / "k.safetensors")
        assert all(torch.equal(tensors[name], own) for name, own in toy_models.tensors().items())

    def test_a_model_with_a_sigmoid_says_so(self, tmp_path):
        content = {"fc.weight": torch.zeros(3, 6), "fc.bias": torch.zeros(3)}
        file = saved(tmp_path / "w.pth", content)
        info = import_weights(file, tmp_path / "k.safetensors", for_model("sequence"), "sequence")
        assert (info.multi_label, info.classes) == (True, ("0", "1", "2"))
