import doctest
from dataclasses import replace

import pytest
import torch
from torch import nn

from vtk_cli.api import sampling
from vtk_cli.errors import CheckpointError, UsageError
from vtk_models import segment_layouts
from vtk_models.segment_layouts import paddle_name
from vtk_models.tsm import MODEL, TSM, TSMConfig
from vtk_models.tsm_layouts import mit_name, mmaction2_name
from vtk_models.tsn import param_groups

TINY = MODEL.tiny


def built(**changes):
    torch.manual_seed(0)
    return TSM(replace(TINY, **changes), 4).eval()


def meta(**changes):
    with torch.device("meta"):
        return TSM(TSMConfig(**changes), 4)


def clip(videos=2, frames=4, size=32):
    return torch.randn(videos, frames, 1, 3, size, size, generator=torch.Generator().manual_seed(1))


# What it eats


def test_the_defaults_are_kinetics_with_eight_frames():
    spec, recipe = MODEL.inputs(TSMConfig()), MODEL.recipe
    assert (spec.train.segments, spec.test.segments, spec.test.crop, spec.test.views) == (8, 8, 224, 1)
    assert spec.train.sampler is spec.test.sampler is sampling.segments
    assert (recipe.epochs, recipe.lr, recipe.milestones, recipe.weight_decay) == (50, 0.02, (20, 40), 1e-4)
    assert meta().dropout.p == 0.5


def test_dense_testing_at_full_resolution():
    config = TSMConfig(sampling="dense", test_clips=10, test_crops=3, test_crop=256)
    view = MODEL.inputs(config).test
    assert (view.sampler, view.views, view.crop, view.short_side) == (sampling.dense_tsm, 30, 256, 256)
    assert MODEL.inputs(config).train.clips == 1


def test_paddles_pictures():
    spec = MODEL.inputs(TSMConfig(sampling="paddle"))
    assert (spec.train.aspect, spec.train.sampler) == ("4:3", sampling.segments_paddle)
    assert (spec.augment.crop, spec.augment.then_random, spec.augment.scales[-1]) == ("multiscale", 256, 0.66)


@pytest.mark.parametrize(
    "changes",
    [
        {"shift": "both"},
        {"place": "front"},
        {"non_local": "softmax"},
        {"shift_div": 1},
        {"shift_every": 0},
        {"modality": "audio"},
        {"non_local": "gaussian", "trunk": "resnet101"},
        {"consensus": "weighted", "temporal_pool": True},
    ],
)
def test_wrong_settings_are_refused(changes):
    with pytest.raises(UsageError, match=str(list(changes.values())[-1])):
        TSMConfig(**changes)


@pytest.mark.parametrize(
    "changes", [{"trunk": "bninception", "place": "block"}, {"trunk": "mobilenetv2", "temporal_pool": True}]
)
def test_what_only_resnets_have_is_refused_elsewhere(changes):
    with pytest.raises(UsageError, match=changes["trunk"]):
        meta(**changes)


# Where it shifts


def places(model, frames=4):
    """Which 1x1 or 3x3 convolutions get an input that was shifted: name -> bool, found by moving one frame."""
    seen = {}
    names = {module: name for name, module in model.trunk.named_modules()}

    def look(module, inputs):
        x = inputs[0].view(1, -1, *inputs[0].shape[1:])
        first = x.shape[2] // model.config.shift_div
        seen[names[module]] = bool(first) and bool(x[:, -1, :first].eq(0).all() and not x[:, -1].eq(0).all())

    hooks = [m.register_forward_pre_hook(look) for m in model.trunk.modules() if isinstance(m, nn.Conv2d)]
    with torch.no_grad():
        model(clip(1, frames))
    for hook in hooks:
        hook.remove()
    return sorted(name for name, shifted in seen.items() if shifted)


def positive(model):
    """Batch norms that keep every channel alive, so that zeros can only come from the shift."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.ones_(module.bias)
    return model


def test_blockres_shifts_the_first_convolution_of_every_block():
    expected = [f"layer{stage}.{block}.conv1" for stage in (1, 2, 3, 4) for block in (0, 1)]
    assert places(positive(built())) == expected


def test_block_shifts_the_shortcut_as_well():
    found = places(positive(built(place="block")))
    assert set(found) == {f"layer{stage}.{block}.conv1" for stage in (1, 2, 3, 4) for block in (0, 1)} | {
        f"layer{stage}.0.downsample.0" for stage in (2, 3, 4)
    }


def test_every_second_block():
    assert places(positive(built(shift_every=2))) == [f"layer{stage}.0.conv1" for stage in (1, 2, 3, 4)]


@pytest.mark.parametrize(("trunk", "every"), [("resnet34", 1), ("resnet50", 1), ("resnet101", 2), ("resnet152", 2)])
def test_long_resnets_shift_every_second_block_unless_told(trunk, every):
    assert meta(trunk=trunk).shift_every == every
    assert meta(trunk=trunk, shift_every=1).shift_every == 1


def test_mobilenetv2_shifts_blocks_with_a_shortcut():
    found = places(positive(built(trunk="mobilenetv2")))
    assert found == sorted(f"features.{block}.conv.0" for block in (3, 5, 6, 8, 9, 10, 12, 13, 15, 16))


def test_bninception_shifts_all_but_the_first_block():
    model = built(trunk="bninception")
    found = places(positive(model))
    assert "conv1_7x7_s2" not in found
    assert {name for name in found if name.endswith("1x1")} == {
        f"inception_{block}_1x1" for block in ("3a", "3b", "4a", "4b", "4c", "4d", "5a", "5b")
    }
    assert "conv2_3x3_reduce" in found
    assert {m.momentum for m in model.modules() if isinstance(m, nn.BatchNorm2d)} == {0.9}


def test_the_order_of_frames_matters_and_their_number_is_free():
    model = built()
    with torch.no_grad():
        logits = model(clip())
        assert (model(clip().flip(1)) - logits).abs().max() > 1e-6
        for frames in (1, 3, 8):
            assert model(clip(2, frames)).shape == (2, 4)


def test_directions_differ():
    with torch.no_grad():
        logits = [built(shift=shift)(clip()) for shift in ("next_first", "prev_first", "online")]
        # Backwards in time, MIT's direction is Paddle's.
        torch.testing.assert_close(built(shift="prev_first")(clip().flip(1)), logits[0], rtol=1e-4, atol=1e-6)
    assert all((a - b).abs().max() > 1e-6 for a, b in ((logits[0], logits[1]), (logits[0], logits[2])))


@pytest.mark.parametrize(("frames", "left"), [(4, 2), (5, 3), (1, 1)])
def test_temporal_pooling_halves_the_frames(frames, left):
    with torch.no_grad():
        assert built(temporal_pool=True).segment_logits(clip(2, frames)).shape == (2, left, 4)


def test_non_local_blocks_stand_where_mits_do():
    model = meta(non_local="embedded_gaussian")
    assert list(model.nonlocals) == ["layer2_0", "layer2_2", "layer3_0", "layer3_2", "layer3_4"]
    assert model.nonlocals["layer3_0"].out.bias.shape == (1024,)
    assert meta(non_local="gaussian", non_local_bias=False).nonlocals["layer2_0"].out.bias is None


def test_non_local_blocks_begin_as_nothing():
    model = built(trunk="resnet50", non_local="dot_product")
    with torch.no_grad():
        before = model(clip(1, 2))
        blocks, model.nonlocals = model.nonlocals, nn.ModuleDict()
        torch.testing.assert_close(before, model(clip(1, 2)), rtol=1e-4, atol=1e-6)
        model.nonlocals = blocks
        for block in model.nonlocals.values():
            nn.init.ones_(block.bn.weight)
        assert (model(clip(1, 2)) - before).abs().max() > 1e-6


# Streams


@pytest.mark.parametrize("changes", [{}, {"place": "block"}, {"trunk": "mobilenetv2"}, {"trunk": "bninception"}])
def test_a_stream_gives_the_offline_scores(changes):
    model, frames = built(shift="online", **changes), clip(1, 3)
    memory, scores = None, []
    with torch.no_grad():
        for t in range(frames.shape[1]):
            logits_BK, memory = model.stream(frames[:, t], memory)
            scores.append(logits_BK)
        torch.testing.assert_close(torch.stack(scores, 1), model.segment_logits(frames), rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(torch.stack(scores, 1).mean(1), model(frames), rtol=1e-4, atol=1e-6)


def test_a_stream_of_rgb_difference_and_its_memory():
    model = built(shift="online", modality="rgbdiff", trunk="mobilenetv2")
    with torch.no_grad():
        logits, memory = model.stream(torch.randn(1, 6, 3, 64, 64))
    assert logits.shape == (1, 4)
    assert [tuple(m.shape[1:]) for m in memory[:3]] == [(3, 16, 16), (4, 8, 8), (4, 8, 8)]
    assert len(memory) == 10


@pytest.mark.parametrize("changes", [{}, {"shift": "online", "temporal_pool": True}])
def test_a_model_that_looks_ahead_has_no_stream(changes):
    with pytest.raises(UsageError, match='needs shift="online"'):
        built(**changes).stream(torch.randn(1, 1, 3, 32, 32))


# Training


def test_groups_make_the_classifier_fast():
    found = {group.name: group for group in param_groups(meta())}
    assert found["lr5_weight"].params == ("fc.weight",)
    assert (found["lr5_weight"].lr_mult, found["lr10_bias"].lr_mult, found["lr10_bias"].decay_mult) == (5, 10, 0)
    assert found["first_conv_weight"].params == ("trunk.conv1.weight",)
    assert (len(found["weight"].params), len(found["norm"].params)) == (52, 106)


def test_paddles_groups_set_the_bias_apart():
    found = {group.name: group for group in param_groups(meta(policy="paddle"))}
    assert found["eager"].params == ("fc.bias",)
    assert (found["eager"].lr_mult, found["eager"].decay_mult) == (2, 0)
    assert len(found["all"].params) == 160


def test_partial_bn_freezes_the_non_local_blocks_norms_too():
    model = meta(partial_bn=True, non_local="embedded_gaussian").train()
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d | nn.BatchNorm3d)]
    assert len(norms) == 53 + 5
    assert [m.training for m in norms] == [m.weight.requires_grad for m in norms] == [True] + [False] * 57


@pytest.mark.parametrize("trunk", ["resnet18", "bninception", "mobilenetv2"])
def test_imagenet_weights_fill_all_but_the_classifier(trunk):
    config = TSMConfig(trunk=trunk)
    pretrained = MODEL.pretrained(config)
    with torch.device("meta"):
        model = TSM(config, 4)
    inside = {name.removeprefix("trunk."): t for name, t in model.state_dict().items() if name.startswith("trunk.")}
    assert set(pretrained.adapt(inside)) == set(model.state_dict()) - {"fc.weight", "fc.bias"}


# Weights from elsewhere: names written down from the originals, not from our table


def checkpoint_of(config, rename):
    with torch.device("meta"):
        state = TSM(config, 4).state_dict()
    return {"state_dict": {rename(name): tensor for name, tensor in state.items()}}


MIT = {
    "blockres": ({}, ["layer1.0.conv1.net.weight", "layer3.5.conv1.net.weight", "layer1.0.bn1.weight"]),
    "block": ({"place": "block"}, ["layer1.0.net.conv1.weight", "layer2.0.net.downsample.0.weight"]),
    "pool": ({"temporal_pool": True}, ["layer2.net.0.conv1.net.weight", "layer3.0.conv1.net.weight"]),
    "nonlocal": (
        {"non_local": "embedded_gaussian"},
        [
            "layer2.0.block.conv1.net.weight",
            "layer2.1.conv1.net.weight",
            "layer3.4.block.bn3.running_var",
            "layer2.2.nl.g.0.weight",
            "layer2.2.nl.phi.0.bias",
            "layer2.2.nl.theta.weight",
            "layer2.2.nl.W.0.bias",
            "layer2.2.nl.W.1.running_mean",
        ],
    ),
    "r101": ({"trunk": "resnet101", "shift_every": 2}, ["layer3.22.conv1.net.weight", "layer3.21.conv1.weight"]),
    "r101 of X-Temporal": ({"trunk": "resnet101", "shift_every": 1}, ["layer3.21.conv1.net.weight"]),
    "mobilenetv2": (
        {"trunk": "mobilenetv2"},
        ["features.3.conv.0.net.weight", "features.2.conv.0.weight", "features.3.conv.1.weight"],
    ),
    "bninception": ({"trunk": "bninception"}, ["inception_3a_1x1.weight", "conv1_7x7_s2_bn.running_mean"]),
    "flow": ({"modality": "flow"}, ["conv1.weight"]),
}


def round_trip(layout, changes, rename):
    """Foreign names of a model of that configuration, and what the layout finds in them."""
    checkpoint = checkpoint_of(TSMConfig(**changes), rename)
    found = MODEL.layouts[layout].infer(checkpoint)
    with torch.device("meta"):
        ours = TSM(TSMConfig(**found), 4).state_dict()
    read = MODEL.layouts[layout](checkpoint)
    assert {name: t.shape for name, t in read.items()} == {name: t.shape for name, t in ours.items()}
    assert {name: found.get(name) for name in changes} == changes
    return set(checkpoint["state_dict"])


@pytest.mark.parametrize("case", MIT)
@pytest.mark.parametrize("classifier", ["new_fc.", "own"])
def test_mits_structures_are_found_by_their_names(case, classifier):
    changes, expected = MIT[case]
    changes = {**changes, **({"dropout": 0.0} if classifier == "own" else {})}
    names = round_trip("mit-tsm", changes, lambda name: "module." + mit_name(name, changes))
    assert {f"module.base_model.{name}" for name in expected} <= names
    own = "module.base_model.classifier.weight" if case == "mobilenetv2" else "module.base_model.fc.weight"
    assert (own if classifier == "own" else "module.new_fc.weight") in names


def test_the_online_demos_file_has_no_prefix():
    changes = {"trunk": "mobilenetv2", "shift": "online"}
    names = round_trip("mit-tsm", changes, lambda name: mit_name(name, changes))
    assert {"features.3.conv.0.weight", "classifier.weight"} <= names


MMACTION2 = {
    "blockres": ({}, ["layer1.0.conv1.conv.net.weight", "layer1.0.conv2.conv.weight", "layer2.0.downsample.bn.bias"]),
    "r101": ({"trunk": "resnet101", "shift_every": 2}, ["layer3.21.conv1.conv.weight"]),
    "block": ({"place": "block"}, ["layer1.0.net.conv1.conv.weight", "layer1.0.net.conv1.bn.weight"]),
    "pool": ({"temporal_pool": True}, ["layer2.net.0.conv1.conv.net.weight"]),
    "nonlocal": (
        {"non_local": "embedded_gaussian", "non_local_bias": False},
        [
            "layer2.0.block.conv1.conv.net.weight",
            "layer2.0.non_local_block.g.0.conv.weight",
            "layer2.0.non_local_block.phi.0.conv.bias",
            "layer2.0.non_local_block.theta.conv.weight",
            "layer2.0.non_local_block.conv_out.conv.weight",
            "layer2.0.non_local_block.conv_out.bn.running_var",
        ],
    ),
    "gaussian": ({"non_local": "gaussian", "non_local_bias": False}, ["layer3.4.non_local_block.g.0.conv.bias"]),
    "mobilenetv2": (
        {"trunk": "mobilenetv2"},
        [
            "conv1.conv.weight",
            "layer1.0.conv.0.conv.weight",
            "layer2.1.conv.0.net.conv.weight",
            "layer2.1.conv.0.net.bn.weight",
            "layer2.1.conv.1.conv.weight",
            "layer7.0.conv.2.bn.running_mean",
            "conv2.bn.weight",
        ],
    ),
}


@pytest.mark.parametrize("case", MMACTION2)
def test_mmaction2s_structures_are_found_by_their_names(case):
    changes, expected = MMACTION2[case]
    names = round_trip("mmaction2", changes, lambda name: mmaction2_name(name, changes))
    assert {f"backbone.{name}" for name in expected} | {"cls_head.fc_cls.bias"} <= names


@pytest.mark.parametrize("depth", [50, 101, 152])
def test_paddles_depths(depth):
    trunk = f"resnet{depth}"
    with torch.device("meta"):
        state = TSM(TSMConfig(trunk=trunk), 4).state_dict()
    file = {paddle_name(name, {"trunk": trunk}): t for name, t in state.items() if "num_batches" not in name}
    file["fc_0.w_0"] = torch.ones(2048, 4)
    assert MODEL.layouts["paddle"].infer(file)["trunk"] == trunk
    read = MODEL.layouts["paddle"](file)
    assert read.keys() == state.keys()
    assert torch.equal(read["fc.weight"], torch.full((4, 2048), 0.5)), "half of it for the dropout of its evaluation"


def test_what_is_left_over_and_what_is_missing_have_the_files_names():
    file = checkpoint_of(TSMConfig(), lambda name: mit_name(name, {}))["state_dict"]
    del file["base_model.layer3.2.conv1.net.weight"]
    file["base_model.layer5.0.conv1.weight"] = torch.zeros(1)
    with pytest.raises(CheckpointError) as error:
        MODEL.layouts["mit-tsm"](file)
    assert "unexpected: base_model.layer5.0.conv1.weight; missing: base_model.layer3.2.conv1.net.weight." in str(
        error.value
    )


def test_a_network_without_shifts_is_no_tsm():
    file = checkpoint_of(TSMConfig(), lambda name: name.replace("trunk.", "base_model.").replace("fc.", "new_fc."))
    with pytest.raises(CheckpointError, match=r"missing: base_model\.layer1\.0\.conv1\.net\.weight"):
        MODEL.layouts["mit-tsm"](file)


def test_every_published_file_has_a_configuration_that_can_be_built():
    for name, weights in MODEL.weights.items():
        config = TSMConfig(**weights.config)
        with torch.device("meta"):
            assert TSM(config, 4).fc.out_features == 4, name
        assert MODEL.inputs(config).test.views >= 1
        assert weights.layout in MODEL.layouts
        assert weights.licence
        assert weights.source


def test_examples_of_the_layouts():
    assert doctest.testmod(segment_layouts).failed == 0
