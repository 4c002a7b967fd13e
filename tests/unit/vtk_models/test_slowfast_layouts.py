from dataclasses import replace
from functools import partial

import pytest
import torch

from vtk_cli.errors import CheckpointError
from vtk_models import slowfast, slowfast_names, slowonly

FAST = slowfast.MODEL.tiny
SLOW = slowonly.MODEL.tiny
PLAIN = {"lateral_norm": False, "non_local": ((), (), (), ())}
MMACTION2 = {"non_local": ((), (0, 2), (1,), ())}

CASES = {
    "pyslowfast": (slowfast.MODEL, {}, slowfast_names.pyslowfast_name),
    "pyslowfast-caffe2": (slowfast.MODEL, {}, slowfast_names.caffe2_name),
    "mmaction2": (
        slowfast.MODEL,
        {**PLAIN, "fast_depth": 50, "depth": 101, **MMACTION2},
        partial(slowfast_names.mmaction2_name, pathways=True),
    ),
    "pytorchvideo": (
        slowfast.MODEL,
        {"non_local": ((), (), (), ()), "res4_temporal": 2, "fusion_kernel": 7},
        partial(slowfast_names.pytorchvideo_name, pathways=True),
    ),
    "x-temporal": (slowfast.MODEL, {**PLAIN, "fc_bias": False}, slowfast_names.xtemporal_name),
    "pyslowfast of slowonly": (slowonly.MODEL, {}, slowfast_names.pyslowfast_name),
    "pyslowfast-caffe2 of slowonly": (slowonly.MODEL, {}, slowfast_names.caffe2_name),
    "mmaction2 of slowonly": (slowonly.MODEL, MMACTION2, partial(slowfast_names.mmaction2_name, pathways=False)),
    "pytorchvideo of slowonly": (
        slowonly.MODEL,
        {"non_local": ((), (), (), ())},
        partial(slowfast_names.pytorchvideo_name, pathways=False),
    ),
}


def written(name):
    """(spec, layout, the configuration, its weights, the other project's file of them)."""
    spec, changes, rename = CASES[name]
    layout = name.partition(" ")[0]
    config = replace(spec.tiny, **changes)
    torch.manual_seed(0)
    state = {
        key: torch.rand_like(t) if t.is_floating_point() else t for key, t in spec.build(config, 4).state_dict().items()
    }
    counted = layout != "pyslowfast-caffe2"
    file = {rename(key): t for key, t in state.items() if counted or not key.endswith("num_batches_tracked")}
    if layout == "mmaction2":
        file = {key: tensor for key, tensor in file.items() if not key.endswith("conv_out.conv.bias")}
    return spec, layout, config, state, file


@pytest.mark.parametrize("name", CASES)
def test_every_tensor_arrives_and_says_what_it_belongs_to(name):
    spec, layout, config, state, file = written(name)
    found = spec.layouts[layout].infer(file)
    shaped = ["depth", "width", "res4_temporal", "non_local"]
    if spec is slowfast.MODEL:
        shaped += [
            "fast_depth",
            "fast_res4_temporal",
            "beta",
            "fusion_kernel",
            "fusion_ratio",
            "lateral_norm",
            "fc_bias",
        ]
    assert {key: found[key] for key in shaped} == {
        **{key: getattr(config, key) for key in shaped},
        **({"fast_depth": None} if found.get("fast_depth", 0) is None else {}),
    }
    converted = spec.layouts[layout](file)
    assert set(converted) == set(state)
    for key, tensor in state.items():
        if layout == "mmaction2" and key.endswith("non_local.out.bias"):
            assert not converted[key].any(), "MMAction2's has none"
        elif layout == "mmaction2" and spec is slowfast.MODEL and key == "head.fc.weight":
            # 64 features of the fast pathway come first in the file, last in ours.
            assert torch.equal(converted[key], torch.cat((tensor[:, 64:], tensor[:, :64]), 1))
        else:
            assert torch.equal(converted[key], tensor), key


@pytest.mark.parametrize("name", CASES)
def test_files_that_lack_or_add_a_tensor_are_refused(name):
    spec, layout, _, _, file = written(name)
    lost = CASES[name][2]("slow.layer2.1.conv3.weight")
    whole = dict(file)
    tensor = whole.pop(lost)
    with pytest.raises(CheckpointError, match=rf"missing: {lost}"):
        spec.layouts[layout](whole)
    with pytest.raises(CheckpointError, match="unexpected: stray"):
        spec.layouts[layout]({**file, "stray": tensor})


def test_wrappers_and_what_solvers_leave_are_seen_through():
    spec, _, _, state, file = written("pytorchvideo")
    wrapped = {"model_state": {f"model.{name}": tensor for name, tensor in file.items()}, "epoch": 196}
    assert set(spec.layouts["pytorchvideo"](wrapped)) == set(state)
    spec, _, _, state, file = written("pyslowfast-caffe2")
    blobs = {name: tensor.numpy() for name, tensor in file.items()}
    blobs["t_res2_2_branch2c_bn_subsample_w"] = blobs.pop("t_res2_branch2c_bn_subsample_w")
    wrapped = {"blobs": {**blobs, "lr": 0.1, "model_iter": 7, "conv1_w_momentum": blobs["conv1_w"]}}
    assert set(spec.layouts["pyslowfast-caffe2"](wrapped)) == set(state)


@pytest.mark.parametrize(
    ("name", "changes", "alpha"),
    [
        ("pyslowfast", {"non_local": ((), (), (), ())}, 8),
        ("pyslowfast", {"fusion_kernel": 7}, 4),
        ("pyslowfast", {}, 4),  # with non-local blocks
        ("mmaction2", {}, 8),
        ("x-temporal", {}, 4),
    ],
)
def test_alpha_is_what_networks_of_that_shape_have(monkeypatch, name, changes, alpha):
    spec, settings, rename = CASES[name]
    monkeypatch.setitem(CASES, name, (spec, {**settings, **changes}, rename))
    spec, layout, _, _, file = written(name)
    assert spec.layouts[layout].infer(file)["alpha"] == alpha


def test_a_configuration_beside_the_tensors_decides():
    spec, _, _, _, file = written("pyslowfast")
    text = "DATA:\n  NUM_FRAMES: 64\n  SAMPLING_RATE: 2\nNONLOCAL:\n  INSTANTIATION: softmax\nSLOWFAST:\n  ALPHA: 16\n"
    found = spec.layouts["pyslowfast"].infer({"model_state": file, "cfg": text})
    assert {key: found[key] for key in ("frames", "stride", "alpha", "non_local_kind")} == {
        "frames": 64,
        "stride": 2,
        "alpha": 16,
        "non_local_kind": "embedded_gaussian",
    }
    plain = slowonly.MODEL.layouts["pyslowfast"].infer(
        {"model_state": written("pyslowfast of slowonly")[4], "cfg": text}
    )
    assert "alpha" not in plain
    assert plain["frames"] == 64


@pytest.mark.parametrize("spec", [slowfast.MODEL, slowonly.MODEL])
def test_published_weights_name_configurations_that_exist(spec):
    for name, weights in spec.weights.items():
        config = spec.config(**weights.config)
        assert weights.layout in spec.layouts, name
        assert "top1" in weights.accuracy, name
        assert config.frames * config.stride in (64, 128), f"{name} sees 64 frames, 16x8 128"
