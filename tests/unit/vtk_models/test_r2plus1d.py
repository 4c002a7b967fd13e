import re

import pytest
import torch
from torch import nn

from vtk_cli.errors import CheckpointError, UsageError
from vtk_models.r2plus1d import MODEL, R2Plus1DConfig
from vtk_models.r2plus1d_layouts import torchvision_name, x_temporal_name

LAYOUTS = MODEL.layouts
RENAME = {"3d-resnets": str, "torchvision": torchvision_name, "vmz": torchvision_name, "x-temporal": x_temporal_name}


def on_meta(num_classes, **fields):
    with torch.device("meta"):
        return MODEL.build(R2Plus1DConfig(**fields), num_classes)


def count(model):
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize(
    ("style", "depth", "num_classes", "parameters"),
    [
        ("3d-resnets", 10, 700, 14_761_944),
        ("3d-resnets", 18, 700, 33_575_064),
        ("3d-resnets", 34, 700, 63_901_400),
        ("3d-resnets", 50, 700, 47_650_082),
        ("torchvision", 18, 400, 31_505_325),
        ("torchvision", 34, 11, 61_632_104),
        ("torchvision", 50, 11, 53_152_630),
        ("vmz", 34, 359, 63_676_142),
        ("vmz", 152, 11, 117_429_724),
        ("x-temporal", 18, 102, 33_230_923),
        ("x-temporal", 50, 102, 46_387_413),
    ],
)
def test_as_many_parameters_as_the_original(style, depth, num_classes, parameters):
    assert count(on_meta(num_classes, style=style, depth=depth)) == parameters


@pytest.mark.parametrize(
    ("style", "depth", "frames", "middle", "second", "pool", "eps", "momentum"),
    [
        ("3d-resnets", 18, 7, 110, 288, (3, 3, 3), 1e-5, 0.1),
        ("torchvision", 18, 3, 45, 230, None, 1e-5, 0.1),
        ("vmz", 34, 3, 45, 288, None, 1e-3, 0.9),
        ("vmz", 152, 3, 45, None, (1, 3, 3), 1e-3, 0.9),
        ("x-temporal", 18, 3, 83, 288, (1, 3, 3), 1e-5, 0.1),
    ],
)
def test_the_dialects_differ_as_the_table_says(style, depth, frames, middle, second, pool, eps, momentum):
    model = on_meta(5, style=style, depth=depth)
    assert model.conv1_s.weight.shape == (middle, 3, 1, 7, 7)
    assert model.conv1_t.weight.shape == (64, middle, frames, 1, 1)
    assert getattr(model.maxpool, "kernel_size", None) == pool
    assert {(n.eps, n.momentum) for n in model.modules() if isinstance(n, nn.BatchNorm3d)} == {(eps, momentum)}
    if second:
        assert model.layer2[0].conv2_s.out_channels == second


def test_the_pool_may_be_set_and_the_stem_longer():
    assert isinstance(on_meta(5, max_pool=False).maxpool, nn.Identity)
    assert on_meta(5, style="vmz", depth=34, max_pool=True).maxpool.kernel_size == (1, 3, 3)
    assert on_meta(5, conv1_t_size=5, conv1_t_stride=2).conv1_t.stride == (2, 1, 1)


def test_flow_does_not_change_the_middle_of_the_stem():
    assert on_meta(5, modality="flow").conv1_s.weight.shape == (110, 2, 1, 7, 7)


@pytest.mark.parametrize("changes", [{"shortcut": "A"}, {"widen": 0.5}])
@pytest.mark.parametrize("style", ["torchvision", "vmz", "x-temporal"])
def test_only_kenshoharas_networks_are_widened_and_have_shortcut_a(style, changes):
    with pytest.raises(UsageError, match="belong to the style 3d-resnets"):
        R2Plus1DConfig(style=style, **changes)


# Layouts


def foreign(state, layout):
    """A checkpoint as its authors write it."""
    tensors = {RENAME[layout](name): tensor for name, tensor in state.items()}
    wrapper = {"3d-resnets": "state_dict", "x-temporal": "model"}.get(layout)
    return {wrapper: {f"module.{n}": t for n, t in tensors.items()}} if wrapper else tensors


@pytest.mark.parametrize(
    ("layout", "fields"),
    [
        ("3d-resnets", {"depth": 10, "widen": 0.3}),
        ("3d-resnets", {"depth": 50, "widen": 0.25, "shortcut": "A", "conv1_t_size": 3}),
        ("3d-resnets", {"depth": 18, "widen": 0.25, "modality": "flow"}),
        ("torchvision", {"depth": 18}),
        ("torchvision", {"depth": 50}),
        ("vmz", {"depth": 34}),
        ("vmz", {"depth": 152}),
        ("x-temporal", {"depth": 18}),
        ("x-temporal", {"depth": 50}),
    ],
)
def test_a_layout_sees_the_configuration_and_takes_every_tensor(layout, fields):
    model = on_meta(7, style=layout, **fields)
    checkpoint = foreign(model.state_dict(), layout)
    config = R2Plus1DConfig(**LAYOUTS[layout].infer(checkpoint))
    for field, value in {"style": layout, **fields}.items():
        if field != "widen":
            assert getattr(config, field) == value
    assert config.widths == R2Plus1DConfig(style=layout, **fields).widths
    converted = LAYOUTS[layout](checkpoint)
    assert {name: t.shape for name, t in converted.items()} == {n: t.shape for n, t in model.state_dict().items()}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(
    "name", ["fc.weight", "conv1_s.weight", "layer3.0.conv2_t.weight", "layer1.1.bn2_s.running_var"]
)
def test_what_is_missing_or_left_over_is_named(layout, name):
    state = on_meta(7, style=layout).state_dict()
    tensor = state.pop(name)
    with pytest.raises(CheckpointError, match=rf"missing: .*{re.escape(RENAME[layout](name))}"):
        LAYOUTS[layout](foreign(state, layout))
    checkpoint = foreign({**state, name: tensor}, layout)
    next((v for v in checkpoint.values() if isinstance(v, dict)), checkpoint)["head.weight"] = tensor
    with pytest.raises(CheckpointError, match=r"unexpected: head\.weight"):
        LAYOUTS[layout](checkpoint)


# Weights


def test_published_weights_name_layouts_and_configurations_that_there_are():
    for name, weights in MODEL.weights.items():
        config = R2Plus1DConfig(**weights.config)
        assert weights.layout == config.style, name
        assert weights.licence in ("Apache-2.0", "BSD-3-Clause")
    assert MODEL.weights["r2plus1d_34-8-ig65m"].accuracy == {}
    assert MODEL.weights["r2plus1d_34-32-kinetics400"].accuracy == {"top1": 80.0, "top5": 94.2}
    assert MODEL.weights["r2plus1d_18"].sha256 == "91a641e6"
