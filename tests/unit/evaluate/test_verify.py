"""The check that is stored with imported weights: it passes on what was imported, and on nothing else."""

import doctest
import json
from dataclasses import replace

import pytest
import torch
import toy_models
from safetensors.torch import save_file
from toy_models import SEQUENCE, TOY

from vtk_cli.errors import CheckpointError, UsageError
from vtk_cli.evaluate import shelf
from vtk_cli.evaluate import verify as module
from vtk_cli.evaluate.foreign import for_trunk, import_weights
from vtk_cli.evaluate.verify import digest_of, drawn, make_check, run_check
from vtk_cli.evaluate.weights import WeightsInfo, load_weights, read_metadata, save_weights
from vtk_cli.workspace import Workspace


@pytest.fixture
def workspace(tmp_path, monkeypatch):
    toy_models.install(monkeypatch, toy=TOY, sequence=SEQUENCE)
    workspace = Workspace(tmp_path)
    torch.save(toy_models.tensors(), tmp_path / "toy.pth")
    shelf.bring_in(workspace, tmp_path / "toy.pth", layout="toy")
    return workspace


def change(path, edit=lambda tensors: tensors, **metadata):
    """Write a file anew with other tensors or metadata."""
    tensors, known = load_weights(path)[0], read_metadata(path)
    save_file(edit(tensors), path, {**known, **metadata})


def test_what_was_imported_passes(workspace):
    found = shelf.verify("toy", workspace)
    assert (found.passed, found.unchanged) == (True, True)
    assert found.difference < 1e-12
    assert shelf.verify(str(workspace.weights / "toy.safetensors"), workspace).passed


def test_the_check_is_small_and_in_float64(workspace):
    check = load_weights(workspace.weights / "toy.safetensors")[1].check
    assert (check["shape"], check["dtype"], check["tolerance"]) == ([1, 2, 1, 3, 32, 32], "float64", 1e-8)
    assert len(json.dumps(check)) < 400


@pytest.mark.parametrize("bit", [0, 22, 31])
def test_a_flipped_bit_is_found_whichever_it_is(workspace, bit):
    path = workspace.weights / "toy.safetensors"

    def flip(tensors):
        tensors["fc.bias"].view(torch.int32)[1] ^= -(1 << 31) if bit == 31 else 1 << bit
        return tensors

    change(path, flip)
    found = shelf.verify("toy", workspace)
    assert not found.unchanged
    with pytest.raises(CheckpointError, match="should hold the tensors that were imported, found others"):
        found.check("toy")


def test_a_file_made_to_look_whole_is_found_by_its_logits(workspace):
    """Somebody who changes tensors and digest alike still has to change the logits."""
    path = workspace.weights / "toy.safetensors"
    tensors, info = load_weights(path)
    tensors["conv.weight"][0, 0, 0, 0] += 1e-3
    save_weights(path, tensors, replace(info, check={**info.check, "digest": digest_of(tensors)}))
    found = shelf.verify("toy", workspace)
    assert (found.unchanged, found.passed) == (True, False)


def test_other_code_of_the_model_is_found(workspace, monkeypatch):
    class Other(toy_models.Toy):
        def forward(self, clip_BTNCHW):
            return super().forward(clip_BTNCHW) * (1 + 1e-6)

    toy_models.install(monkeypatch, toy=replace(TOY, build=Other))
    found = shelf.verify("toy", workspace)
    assert (found.unchanged, found.passed) == (True, False)
    with pytest.raises(CheckpointError, match=r"difference of 1\.0e-06 although its tensors are unchanged"):
        found.check("toy")


def test_a_model_that_no_longer_runs_is_found(workspace, monkeypatch):
    class Other(toy_models.Toy):
        def forward(self, clip_BTNCHW):
            raise RuntimeError("sizes do not match")

    toy_models.install(monkeypatch, toy=replace(TOY, build=Other))
    with pytest.raises(CheckpointError, match=r"should run on the input of shape \[1, 2, 1, 3, 32, 32\].*sizes do not"):
        shelf.verify("toy", workspace)


def test_models_of_features_are_checked_with_videos_of_two_lengths(workspace, tmp_path):
    torch.save({"fc.weight": torch.randn(3, 6), "fc.bias": torch.zeros(3)}, tmp_path / "s.pth")
    path = shelf.bring_in(workspace, tmp_path / "s.pth", layout="sequence")
    check = load_weights(path)[1].check
    assert (check["shape"], check["lengths"]) == ([2, 16, 6], [16, 10])
    assert shelf.verify("s", workspace).passed


def test_trunks_are_checked_too(workspace, tmp_path):
    trunk = for_trunk("resnet18")
    torch.manual_seed(0)
    torch.save(trunk.build(0).state_dict(), tmp_path / "r.pth")
    import_weights(tmp_path / "r.pth", workspace.weights / "r.safetensors", trunk, "torchvision")
    assert load_weights(workspace.weights / "r.safetensors")[1].check["shape"] == [1, 3, 64, 64]
    assert shelf.verify("r", workspace).passed


def test_a_model_that_takes_neither_small_pictures_nor_float64_gets_what_it_takes():
    class Particular(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = torch.nn.Linear(3 * 96 * 96, 2)

        def forward(self, clip_BTNCHW):
            return self.fc(clip_BTNCHW.float().flatten(1))

    inputs = TOY.inputs(toy_models.ToyConfig(segments=1))
    inputs = replace(inputs, train=replace(inputs.train, crop=96, short_side=96))
    net = Particular()
    check = make_check(net, net.state_dict(), inputs)
    assert (check["shape"], check["dtype"], check["tolerance"]) == ([1, 1, 1, 3, 96, 96], "float32", 1e-4)
    assert run_check(net, net.state_dict(), check, "w").passed
    assert next(net.parameters()).dtype == torch.float32


def test_a_model_that_fails_at_every_size_keeps_its_own_error():
    class Broken(torch.nn.Module):
        def forward(self, clip_BTNCHW):
            raise RuntimeError("a bug")

    with pytest.raises(RuntimeError, match="a bug"):
        make_check(Broken(), {}, TOY.inputs(toy_models.ToyConfig()))


@pytest.mark.parametrize(
    "changes",
    [
        {"logits": "xyz"},
        {"logits": "00"},
        {"logits": ""},
        {"shape": [1 << 40, 1 << 20]},
        {"shape": "large"},
        {"dtype": "float16"},
        {"tolerance": "much"},
        {"seed": None},
        {"lengths": [1, "x"]},
    ],
)
def test_a_damaged_check_is_explained(workspace, changes):
    path = workspace.weights / "toy.safetensors"
    check = {**load_weights(path)[1].check, **changes}
    change(path, **{"vtk.check": json.dumps(check)})
    with pytest.raises(CheckpointError, match="has a damaged check"):
        shelf.verify("toy", workspace)


def test_logits_of_another_number_of_classes_are_another_model(workspace):
    path = workspace.weights / "toy.safetensors"
    check = load_weights(path)[1].check
    change(path, **{"vtk.check": json.dumps({**check, "logits": check["logits"][:32]})})
    found = shelf.verify("toy", workspace)
    assert not found.passed
    assert found.to_json()["difference"] is None


def test_trained_weights_have_no_check_and_say_why(workspace):
    save_weights(
        workspace.weights / "own.safetensors", toy_models.tensors(), WeightsInfo(model="toy", classes=tuple("abc"))
    )
    with pytest.raises(CheckpointError, match="`vtk weights fetch` store one, training does not"):
        shelf.verify("own", workspace)


def test_a_wrong_name_is_suggested(workspace):
    with pytest.raises(UsageError, match=r'no weights "toi" in .* Did you mean "toy"'):
        shelf.verify("toi", workspace)


def test_inputs_are_the_same_everywhere():
    assert drawn((1, 3), 20190604).flatten().tolist() == [
        float(number) / 2**22 - 2 for number in (splitmix(20190604, place) >> 40 for place in (1, 2, 3))
    ]
    assert drawn((1000,), 1).float().double().equal(drawn((1000,), 1))
    assert abs(float(drawn((10_000,), 1).mean())) < 0.05


def splitmix(seed, place):
    """Vigna's splitmix64 in whole numbers."""
    mask = (1 << 64) - 1
    z = (seed + place * 0x9E3779B97F4A7C15) & mask
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
    return z ^ (z >> 31)


def test_examples_in_docstrings():
    assert doctest.testmod(module).failed == 0
