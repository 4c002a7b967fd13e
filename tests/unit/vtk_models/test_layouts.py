import doctest

import numpy as np
import pytest
import torch

from vtk_cli.errors import CheckpointError, MismatchError
from vtk_models import fluid
from vtk_models.layouts import convert, unwrap
from vtk_models.trunks.resnet import BLOCKS, ResNet


def rename(name):
    return {"a": "ours.a", "noise": ""}.get(name) or ("" if name == "noise" else None)


def test_unwrap_takes_tensors_out_of_what_they_are_saved_in():
    tensors = {"module.a": torch.ones(2), "module.b": np.zeros(3, np.float32)}
    for checkpoint in (
        tensors,
        {"state_dict": tensors, "epoch": 3, "arch": "x"},
        {"model": tensors, "optimizer": {"state": {}}, "best_prec1": 1.5},
        {"model_state": tensors, "cfg": "text"},
        {"blobs": tensors, "cfg": "text"},
    ):
        found = unwrap(checkpoint, layout="some")
        assert list(found) == ["a", "b"]
        assert torch.equal(found["a"], torch.ones(2))
        assert found["b"].dtype == torch.float32


def test_unwrap_names_what_is_no_tensor():
    with pytest.raises(CheckpointError, match=r'"some" holds tensors by name, found str under "arch"'):
        unwrap({"weight": torch.ones(1), "arch": "resnet"}, layout="some")


def test_convert_renames_and_drops():
    state = convert(
        {"a": torch.ones(1), "noise": torch.ones(1)}, layout="some", rename=rename, required={"ours.a": "a"}
    )
    assert list(state) == ["ours.a"]


def test_convert_names_what_is_unexpected_and_what_is_missing():
    checkpoint = {f"strange{number}": torch.ones(1) for number in range(10)}
    with pytest.raises(MismatchError) as error:
        convert(checkpoint, layout="some", rename=rename, required={"ours.a": "a"})
    assert "unexpected: strange0, strange1" in str(error.value)
    assert "strange7 and 2 more; missing: a." in str(error.value)
    assert 'layout "some"' in str(error.value)
    assert error.value.names["unexpected"] == list(checkpoint)
    assert error.value.names["missing"] == ["a"]


def test_convert_gives_batch_norms_of_old_files_their_counter():
    old = {"bn.running_var": torch.ones(4)}
    new = {**old, "bn.num_batches_tracked": torch.tensor(7)}
    for checkpoint, counter in ((old, 0), (new, 7)):
        state = convert(checkpoint, layout="some", rename=lambda name: name, required={})
        assert state["bn.num_batches_tracked"].item() == counter
        assert state["bn.num_batches_tracked"].dtype == torch.int64


def fluid_name(name, depth):
    """Paddle's name of one of torchvision's, as its ResNets are written."""
    batch_norm = {ours: theirs for theirs, ours in fluid.BATCH_NORM.items()}
    if name == "conv1.weight":
        return "conv1_weights"
    if name.startswith("bn1."):
        return f"bn_conv1_{batch_norm[name.removeprefix('bn1.')]}"
    stage, block, layer, *_, part = name.split(".")
    stage, block = int(stage.removeprefix("layer")) + 1, int(block)
    letters = f"b{block}" if depth > 50 and stage == 4 and block else chr(ord("a") + block)
    is_conv = layer.startswith("conv") or ".downsample.0." in name
    branch = "1" if layer == "downsample" else "2" + "abc"[int(layer[-1]) - 1]
    return f"{'res' if is_conv else 'bn'}{stage}{letters}_branch{branch}_{'weights' if is_conv else batch_norm[part]}"


@pytest.mark.parametrize("depth", [50, 101, 152])
def test_every_variable_of_paddles_resnets_has_its_name(depth):
    with torch.device("meta"):
        names = [name for name in ResNet(depth).state_dict() if not name.endswith("num_batches_tracked")]
    assert len(names) == 5 * (3 * sum(BLOCKS[depth]) + 5)
    assert [fluid.resnet_name(fluid_name(name, depth)) for name in names] == names


@pytest.mark.parametrize(
    "name",
    ["res2a_branch2a_scale", "bn2a_branch2a_weights", "res6a_branch1_weights", "res2a", "res4c1_branch1_weights"],
)
def test_mixed_up_names_are_refused(name):
    assert fluid.resnet_name(name) is None


def test_examples_in_docstrings():
    assert doctest.testmod(fluid).failed == 0
