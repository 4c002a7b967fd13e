from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from vtk_cli.errors import CheckpointError
from vtk_models.nonlocal_layouts import caffe2_name, paddle_name, pyslowfast_name
from vtk_models.nonlocal_model import MODEL
from vtk_models.nonlocal_net import Nonlocal, NonlocalConfig

TINY = MODEL.tiny

NAMES = {
    "paddle": partial(paddle_name, 50),
    "caffe2-nonlocal": caffe2_name,
    "pyslowfast": pyslowfast_name,
    "pyslowfast-caffe2": caffe2_name,
}


def state_of(**changes):
    torch.manual_seed(0)
    state = Nonlocal(replace(TINY, **changes), 4).state_dict()
    return {name: torch.randn_like(t) if t.is_floating_point() else t for name, t in state.items()}


def written(state, layout):
    """The file of another project, from the tensors of ours."""
    name = NAMES[layout]
    if layout == "pyslowfast":
        return {"epoch": 3, "model_state": {name(ours): tensor for ours, tensor in state.items()}}
    arrays = {name(ours): t.numpy() for ours, t in state.items() if not ours.endswith("num_batches_tracked")}
    if layout == "paddle":
        return {**arrays, "pred_w": 2 * arrays["pred_w"].T}
    return {"blobs": {**arrays, "lr": np.float32(0.1), "model_iter": 7, "conv1_w_momentum": arrays["conv1_w"]}}


def frozen(state):
    """Caffe2's file with scales and biases for batch norms, and the state dict that means the same."""
    statistics = {name for name in state if name.endswith(("running_mean", "running_var"))}
    same = {name: torch.zeros_like(state[name]) + (name.endswith("var") * (1 - 1e-5)) for name in statistics}
    kept = {name: tensor for name, tensor in state.items() if name not in statistics}
    return written(kept, "caffe2-nonlocal"), {**state, **same}


@pytest.mark.parametrize("changes", [{}, {"backbone": "i3d", "kind": "none"}, {"kind": "gaussian"}])
@pytest.mark.parametrize("layout", NAMES)
def test_every_tensor_finds_its_place(layout, changes):
    state = state_of(style="pyslowfast" if layout.startswith("pyslowfast") else "caffe2", **changes)
    converted = MODEL.layouts[layout](written(state, layout))
    assert converted.keys() == state.keys()
    assert all(torch.equal(converted[name], tensor) for name, tensor in state.items())


@pytest.mark.parametrize("layout", NAMES)
def test_the_configuration_is_read_off_the_tensors(layout):
    style = "pyslowfast" if layout.startswith("pyslowfast") else "caffe2"
    infer = MODEL.layouts[layout].infer
    common = {"style": style, "depth": 50, "width": 8}
    assert infer(written(state_of(style=style), layout)) == {**common, "backbone": "c2d", "block_norm": True}
    plain = infer(written(state_of(style=style, backbone="i3d", kind="none"), layout))
    assert plain == {**common, "backbone": "i3d", "kind": "none"}
    assert infer(written(state_of(style=style, kind="gaussian"), layout))["kind"] == "gaussian"


@pytest.mark.parametrize("layout", NAMES)
def test_depth_101(layout, monkeypatch):
    monkeypatch.setitem(NAMES, "paddle", partial(paddle_name, 101))
    state = state_of(style="pyslowfast" if layout.startswith("pyslowfast") else "caffe2", depth=101)
    checkpoint = written(state, layout)
    assert MODEL.layouts[layout].infer(checkpoint)["depth"] == 101
    assert MODEL.layouts[layout](checkpoint).keys() == state.keys()


def test_frozen_batch_norms_become_batch_norms_that_do_the_same():
    state = state_of(block_norm=False)
    checkpoint, same = frozen(state)
    layout = MODEL.layouts["caffe2-nonlocal"]
    fields = layout.infer(checkpoint)
    assert (fields["block_norm"], fields["group"]) == (False, 4)
    converted = layout(checkpoint)
    assert converted.keys() == same.keys()
    assert all(torch.equal(converted[name], tensor) for name, tensor in same.items())
    NonlocalConfig(**fields)


def test_paddles_dropout_is_folded_into_the_classifier():
    """Of training files, whose matrix is [in, out], and of testing ones, whose classifier is a convolution."""
    state = state_of()
    checkpoint = written(state, "paddle")
    convolution = {**checkpoint, "pred_w": checkpoint["pred_w"].T[:, :, None, None, None]}
    for found in (MODEL.layouts["paddle"](checkpoint), MODEL.layouts["paddle"](convolution)):
        torch.testing.assert_close(found["fc.weight"], torch.from_numpy(checkpoint["pred_w"].T.copy()) / 2)
        torch.testing.assert_close(found["fc.bias"], state["fc.bias"])


def test_paddles_optimizer_is_left_out():
    checkpoint = written(state_of(), "paddle")
    leftovers = {"conv1_weights_velocity_0": checkpoint["conv1_weights"], "learning_rate_0": np.ones(1)}
    assert MODEL.layouts["paddle"]({**checkpoint, **leftovers}).keys() == state_of().keys()


def test_pyslowfasts_configuration_tells_the_kind():
    infer = MODEL.layouts["pyslowfast"].infer
    cfg = "NONLOCAL:\n  INSTANTIATION: dot_product\n  LOCATION: []\n"
    assert infer({**written(state_of(style="pyslowfast"), "pyslowfast"), "cfg": cfg})["kind"] == "dot_product"
    plain = written(state_of(style="pyslowfast", kind="none"), "pyslowfast")
    assert infer({**plain, "cfg": cfg})["kind"] == "none"


@pytest.mark.parametrize(
    ("layout", "lost"),
    [
        ("paddle", "nonlocal_conv4_3_bn_variance"),
        ("paddle", "conv1_weights"),
        ("caffe2-nonlocal", "res3_0_branch1_bn_riv"),
        ("caffe2-nonlocal", "pred_b"),
    ],
)
def test_a_lost_tensor_is_named(layout, lost):
    checkpoint = written(state_of(), layout)
    checkpoint.get("blobs", checkpoint).pop(lost)
    with pytest.raises(CheckpointError) as error:
        MODEL.layouts[layout](checkpoint)
    assert lost in str(error.value).partition("missing:")[2]


def test_another_networks_tensor_is_named():
    checkpoint = written(state_of(style="pyslowfast"), "pyslowfast")
    checkpoint["model_state"]["s4_fuse.bn.weight"] = torch.ones(3)
    with pytest.raises(CheckpointError, match=r"unexpected: s4_fuse\.bn\.weight"):
        MODEL.layouts["pyslowfast"](checkpoint)


def test_another_networks_shape_is_named():
    """Slow's kernels in res4 span three frames; neither C2D's nor I3D's first two do."""
    state = state_of(style="pyslowfast", kind="none")
    name = "trunk.layer3.1.conv1.weight"
    state[name] = state[name].repeat(1, 1, 3, 1, 1)
    with pytest.raises(CheckpointError, match=r"s4\.pathway0_res1\.branch2\.a\.weight in the shape"):
        MODEL.layouts["pyslowfast"](written(state, "pyslowfast"))


def test_published_weights_fit_their_layouts():
    for name, weights in MODEL.weights.items():
        assert weights.layout in MODEL.layouts, name
        config = NonlocalConfig(**weights.config)
        assert name.split("-")[1] == config.backbone
        assert ("-nl-" in name) == (config.kind != "none")
        assert f"{config.frames} frames" in weights.protocol
