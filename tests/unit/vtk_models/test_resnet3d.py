import re
from dataclasses import replace

import pytest
import torch
from torch import nn

from vtk_cli.errors import CheckpointError, UsageError
from vtk_models.resnet3d import MODEL, ResNet3DConfig
from vtk_models.resnet3d_layouts import torchvision_name
from vtk_models.video_resnet import PreActivationBlock

LAYOUTS = MODEL.layouts


def on_meta(num_classes, **fields):
    with torch.device("meta"):
        return MODEL.build(ResNet3DConfig(**fields), num_classes)


def count(model):
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize(
    ("fields", "num_classes", "parameters"),
    [
        ({"depth": 10}, 700, 14_758_524),
        ({"depth": 18}, 700, 33_563_004),
        ({"depth": 34}, 700, 63_872_636),
        ({"depth": 50}, 1039, 48_327_887),
        ({"depth": 101}, 1039, 87_374_031),
        ({"depth": 152}, 1039, 119_532_751),
        ({"depth": 200}, 1039, 128_732_367),
        ({"depth": 18, "shortcut": "A"}, 400, 33_235_280),
        ({"depth": 18, "conv1_t_size": 3, "max_pool": False, "widen": 0.5}, 101, 8_326_981),
        ({"depth": 50, "block": "wide"}, 400, 158_338_832),
        ({"depth": 18, "style": "torchvision"}, 400, 33_371_472),
        ({"depth": 18, "style": "torchvision", "temporal_stages": 1}, 400, 11_695_440),
        ({"depth": 18, "style": "x-temporal"}, 102, 33_256_230),
        ({"depth": 50, "style": "x-temporal"}, 102, 46_407_974),
        ({"depth": 50, "block": "resnext"}, 11, 25_978_763),
        ({"depth": 18, "block": "preactivation"}, 11, 33_208_651),
        ({"depth": 50, "block": "preactivation"}, 11, 46_217_547),
    ],
)
def test_as_many_parameters_as_the_original(fields, num_classes, parameters):
    assert count(on_meta(num_classes, **fields)) == parameters


def shapes(model, frames=16, side=112):
    """(frames, side) behind the stem and each stage."""
    found = []
    x = torch.empty(1, 3, frames, side, side, device="meta")
    x = model.stem(x)
    for stage in (nn.Identity(), model.layer1, model.layer2, model.layer3, model.layer4):
        x = stage(x)
        found.append((x.shape[2], x.shape[3]))
    return found


def test_maps_shrink_as_the_file_draws_them():
    assert shapes(on_meta(2)) == [(8, 28), (8, 28), (4, 14), (2, 7), (1, 4)]
    assert shapes(on_meta(2, style="torchvision")) == [(16, 56), (16, 56), (8, 28), (4, 14), (2, 7)]
    mixed = on_meta(2, style="torchvision", temporal_stages=1)
    assert shapes(mixed) == [(16, 56), (16, 56), (16, 28), (16, 14), (16, 7)]
    assert shapes(on_meta(2, conv1_t_stride=2))[0] == (4, 28)


def test_preactivation_ends_without_relu():
    model = on_meta(2, block="preactivation", depth=10)
    assert isinstance(model.layer1[0], PreActivationBlock)
    assert model.layer2[0].bn1.num_features == 64
    small = MODEL.build(replace(MODEL.tiny, block="preactivation"), 3).eval()
    with torch.no_grad():
        assert (small.layer1(torch.randn(1, 16, 4, 8, 8)) < 0).any()


def test_resnexts_convolutions_are_grouped():
    conv = on_meta(2, depth=50, block="resnext", cardinality=16).layer2[0].conv2
    assert (conv.groups, conv.in_channels, conv.out_channels) == (16, 128, 128)
    assert on_meta(2, depth=50, block="resnext").layer2[0].conv2.in_channels == 256


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"style": "vmz"}, 'found "vmz"'),
        ({"block": "dense"}, 'found "dense"'),
        ({"block": "wide", "depth": 34}, "from depth 50 on, found 34"),
        ({"block": "resnext"}, "from depth 50 on, found 18"),
        ({"temporal_stages": 5}, "found 5"),
        ({"cardinality": 0}, "at least 1, found 0"),
    ],
)
def test_what_is_refused(changes, words):
    with pytest.raises(UsageError, match=words):
        ResNet3DConfig(**changes)


# Layouts

DIALECTS = [
    ("3d-resnets", {"depth": 10, "widen": 0.25}),
    ("3d-resnets", {"depth": 18, "widen": 0.125, "shortcut": "A", "conv1_t_size": 3, "modality": "flow"}),
    ("3d-resnets", {"depth": 10, "widen": 0.3}),
    ("3d-resnets", {"depth": 10, "widen": 0.25, "block": "preactivation"}),
    ("3d-resnets", {"depth": 50, "widen": 0.125}),
    ("3d-resnets", {"depth": 50, "widen": 0.125, "block": "preactivation", "shortcut": "A"}),
    ("3d-resnets", {"depth": 50, "widen": 0.25, "block": "wide"}),
    ("3d-resnets", {"depth": 50, "widen": 0.25, "block": "resnext", "cardinality": 8}),
    ("torchvision", {"depth": 18, "widen": 0.125}),
    ("torchvision", {"depth": 18, "widen": 0.125, "temporal_stages": 1}),
    ("torchvision", {"depth": 50, "widen": 0.125, "temporal_stages": 2}),
    ("x-temporal", {"depth": 34, "widen": 0.125}),
]


def foreign(state, layout):
    """A checkpoint as its authors write it."""
    rename = torchvision_name if layout == "torchvision" else str
    tensors = {rename(name): tensor for name, tensor in state.items()}
    if layout == "3d-resnets":
        return {"epoch": 200, "arch": "resnet-18", "state_dict": {f"module.{n}": t for n, t in tensors.items()}}
    return {"model": tensors} if layout == "x-temporal" else tensors


@pytest.mark.parametrize(("layout", "fields"), DIALECTS)
def test_a_layout_sees_the_configuration_and_takes_every_tensor(layout, fields):
    model = on_meta(7, style=layout, **fields)
    checkpoint = foreign(model.state_dict(), layout)
    config = ResNet3DConfig(**LAYOUTS[layout].infer(checkpoint))
    for field, value in {"style": layout, **fields}.items():
        if field != "widen":
            assert getattr(config, field) == value
    assert config.widths == ResNet3DConfig(style=layout, **fields).widths
    converted = LAYOUTS[layout](checkpoint)
    assert {name: t.shape for name, t in converted.items()} == {n: t.shape for n, t in model.state_dict().items()}


@pytest.mark.parametrize(
    "name",
    [
        "fc.weight",
        "conv1.weight",
        "bn1.bias",
        "layer3.0.conv2.weight",
        "layer2.0.bn1.weight",
        "layer4.0.bn2.running_var",
    ],
)
@pytest.mark.parametrize("layout", ["3d-resnets", "torchvision"])
def test_what_is_missing_or_left_over_is_named(layout, name):
    state = on_meta(7, style=layout, depth=18).state_dict()
    rename = torchvision_name if layout == "torchvision" else str
    tensor = state.pop(name)
    with pytest.raises(CheckpointError, match=rf"missing: .*{re.escape(rename(name))}"):
        LAYOUTS[layout](foreign(state, layout))
    state = {**state, name: tensor, "head.weight": tensor}
    with pytest.raises(CheckpointError, match=r"unexpected: head\.weight"):
        LAYOUTS[layout](foreign(state, layout))


def test_files_of_old_torch_get_their_counters():
    state = {n: t for n, t in on_meta(7).state_dict().items() if not n.endswith("num_batches_tracked")}
    converted = LAYOUTS["3d-resnets"](state)
    assert converted["bn1.num_batches_tracked"] == 0


# Weights


def test_published_weights_name_layouts_and_configurations_that_there_are():
    for name, weights in MODEL.weights.items():
        config = ResNet3DConfig(**weights.config)
        assert weights.layout == config.style, name
        assert weights.licence
        assert weights.by_hand == ("drive.google" in weights.url)
    assert len(MODEL.weights) == 19
    assert MODEL.weights["r3d50_KMS_200ep"].config == {"depth": 50}
    assert MODEL.weights["mc3_18"].sha256 == "a90a0ba3"
    assert MODEL.weights["mc3_18"].accuracy == {"top1": 63.96, "top5": 84.13}
