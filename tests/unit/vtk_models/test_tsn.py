from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from vtk_cli.api import sampling
from vtk_cli.api.inputs import IMAGENET, Norm
from vtk_cli.api.models import trunk
from vtk_cli.errors import CheckpointError, UsageError
from vtk_models.trunks.bninception import BNINCEPTION
from vtk_models.tsn import MODEL, TSN, TSNConfig, norm, param_groups

TINY = MODEL.tiny


def built(**changes):
    torch.manual_seed(0)
    return TSN(replace(TINY, **changes), 4)


def groups_of(model):
    return {group.name: group for group in param_groups(model)}


# What it eats


def test_the_paper_defaults():
    spec = MODEL.inputs(TSNConfig())
    assert (spec.train.segments, spec.train.frames, spec.train.crop, spec.train.short_side) == (3, 1, 224, 256)
    assert (spec.test.segments, spec.test.crops, spec.test.average) == (25, 10, "logits")
    assert spec.norm == IMAGENET
    assert spec.augment.scales == (1.0, 0.875, 0.75, 0.66)


@pytest.mark.parametrize(
    ("modality", "frames", "loaded", "channels"),
    [
        ("rgb", 1, 1, 3),
        ("flow", 5, 5, 2),
        ("warped", 5, 5, 2),
        ("rgbdiff", 5, 6, 3),
    ],
)
def test_snippets_of_each_modality(modality, frames, loaded, channels):
    spec = MODEL.inputs(TSNConfig(modality=modality))
    assert spec.train.frames == spec.test.frames == frames
    assert spec.loaded_frames(spec.train) == loaded
    assert spec.channels == channels
    assert spec.augment.scales == ((1.0, 0.875, 0.75, 0.66) if modality == "rgb" else (1.0, 0.875, 0.75))


def read(norm, bytes_):
    """What the device makes of bytes, given in the norm's own order."""
    return (np.asarray(bytes_) / 255 - norm.mean) / norm.std


def test_resnet_flow_is_centred_on_a_half_over_the_mean_of_std():
    found = norm("flow", IMAGENET)
    assert read(found, [0, 255]) == pytest.approx([-0.5 / 0.226, 0.5 / 0.226])


def test_bninception_flow_is_bytes_less_128():
    found = norm("warped", BNINCEPTION.norm)
    assert found.order == "rgb"
    assert read(found, [0, 255]) == pytest.approx([-128, 127])


@pytest.mark.parametrize(("rgb", "unit"), [(IMAGENET, 255), (BNINCEPTION.norm, 1)])
def test_rgb_difference_subtracts_raw_pictures(rgb, unit):
    """tsn-pytorch trains RGBDiff on unnormalised pictures: 0..1 for ResNets, 0..255 in BGR for BN-Inception."""
    found = norm("rgbdiff", rgb)
    assert found.order == rgb.order
    before, after = [10, 20, 30], [60, 10, 30]
    assert read(found, after) - read(found, before) == pytest.approx(np.array([50, -10, 0]) / unit)


def test_a_plugins_trunk_that_reads_minus_one_to_one_counts_as_unit_range():
    assert norm("rgbdiff", Norm(mean=(0.5,) * 3, std=(0.5,) * 3)).std == (1.0, 1.0, 1.0)


@pytest.mark.parametrize(
    "changes",
    [
        {"modality": "audio"},
        {"consensus": "median"},
        {"dropout": 1.0},
        {"dropout": -0.1},
        {"sampling": "random"},
        {"policy": "layers"},
        {"consensus": "weighted"},
        {"consensus": "identity"},
    ],
)
def test_wrong_settings_are_refused(changes):
    with pytest.raises(UsageError, match=str(next(iter(changes.values())))):
        TSNConfig(**changes)


def test_an_unknown_trunk_is_refused_with_the_nearest():
    with pytest.raises(UsageError, match="resnet50"):
        MODEL.inputs(TSNConfig(trunk="resnet5"))


# What it computes


def test_snippets_are_stacked_frame_by_frame_and_scores_averaged():
    model = built(modality="flow").eval()
    clip_BTNCHW = torch.randn(2, 3, 5, 2, 32, 32)
    with torch.no_grad():
        expected = torch.stack(
            [
                torch.stack(
                    [
                        model.fc(model.trunk(torch.cat([clip_BTNCHW[b, t, n] for n in range(5)])[None]))[0]
                        for t in range(3)
                    ]
                ).mean(0)
                for b in range(2)
            ]
        )
        torch.testing.assert_close(model(clip_BTNCHW), expected, rtol=1e-4, atol=1e-6)


def test_rgb_difference_is_the_next_frame_less_this_one():
    model = built(modality="rgbdiff").eval()
    clip_BTNCHW = torch.randn(1, 2, 6, 3, 32, 32)
    stacked_TCHW = torch.stack(
        [torch.cat([clip_BTNCHW[0, t, n + 1] - clip_BTNCHW[0, t, n] for n in range(5)]) for t in range(2)]
    )
    with torch.no_grad():
        expected = model.fc(model.trunk(stacked_TCHW)).mean(0, keepdim=True)
        torch.testing.assert_close(model(clip_BTNCHW), expected, rtol=1e-4, atol=1e-6)
        still = clip_BTNCHW + 3.0
        torch.testing.assert_close(model(still), expected, rtol=1e-3, atol=1e-5)


def test_max_consensus_follows_the_best_segment_of_each_class():
    model = built(consensus="max").eval()
    clip_BTNCHW = torch.randn(1, 4, 1, 3, 32, 32)
    with torch.no_grad():
        each_TK = torch.stack([model(clip_BTNCHW[:, t : t + 1])[0] for t in range(4)])
        torch.testing.assert_close(model(clip_BTNCHW)[0], each_TK.amax(0), rtol=1e-4, atol=1e-6)


def test_weighted_consensus_begins_as_the_average_and_learns_a_weight_per_segment():
    model, plain = built(consensus="weighted", segments=3, test_segments=3).eval(), built().eval()
    plain.load_state_dict({name: t for name, t in model.state_dict().items() if name != "weight_T"})
    clip_BTNCHW = torch.randn(2, 3, 1, 3, 32, 32)
    torch.testing.assert_close(model(clip_BTNCHW), plain(clip_BTNCHW), rtol=1e-4, atol=1e-6)
    model.weight_T.data = torch.tensor([0.0, 2.0, 0.0])
    torch.testing.assert_close(model(clip_BTNCHW), 2 * plain(clip_BTNCHW[:, 1:2]), rtol=1e-4, atol=1e-6)
    model(clip_BTNCHW).sum().backward()
    torch.testing.assert_close(model.weight_T.grad, model.segment_logits(clip_BTNCHW).sum((0, 2)))


def test_segment_logits_are_what_each_segment_scores_alone():
    model = built().eval()
    clip_BTNCHW = torch.randn(2, 3, 1, 3, 32, 32)
    with torch.no_grad():
        logits_BTK = model.segment_logits(clip_BTNCHW)
        assert logits_BTK.shape == (2, 3, 4)
        for t in range(3):
            torch.testing.assert_close(model(clip_BTNCHW[:, t : t + 1]), logits_BTK[:, t], rtol=1e-4, atol=1e-6)


def test_gradient_of_the_classifier_by_hand():
    """d loss / d logit = softmax - onehot; averaged over T segments, its bias sees exactly that."""
    model = built(dropout=0.0).eval()
    logits_BK = model(torch.randn(1, 2, 1, 3, 32, 32))
    torch.nn.functional.cross_entropy(logits_BK, torch.tensor([1])).backward()
    expected = logits_BK.detach().softmax(1)[0] - torch.tensor([0.0, 1.0, 0.0, 0.0])
    torch.testing.assert_close(model.fc.bias.grad, expected)


@pytest.mark.parametrize(
    ("changes", "rate"),
    [
        ({}, 0.8),
        ({"modality": "flow"}, 0.7),
        ({"modality": "warped"}, 0.7),
        ({"modality": "rgbdiff"}, 0.8),
        ({"dropout": 0.5}, 0.5),
        ({"dropout": 0.0}, 0.0),
    ],
)
def test_dropout(changes, rate):
    with torch.device("meta"):
        assert TSN(replace(TINY, **changes), 4).dropout.p == rate


def test_the_classifier_starts_small():
    torch.manual_seed(0)
    fc = TSN(TINY, 400).fc
    assert fc.weight.std().item() == pytest.approx(0.001, rel=0.02)
    assert fc.bias.abs().max() == 0


# Partial batch normalisation and parameter groups, counted by hand


def test_partial_bn_leaves_only_the_first_batch_norm_training():
    model = built(partial_bn=True).train()
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    assert len(norms) == 20
    assert [m.training for m in norms] == [True] + [False] * 19
    assert [m.weight.requires_grad for m in norms] == [m.bias.requires_grad for m in norms] == [True] + [False] * 19

    before = [m.running_mean.clone() for m in norms]
    model(torch.randn(2, 2, 1, 3, 32, 32))
    changed = [not torch.equal(m.running_mean, b) for m, b in zip(norms, before, strict=True)]
    assert changed == [True] + [False] * 19

    assert not any(m.training for m in model.eval().modules())
    assert [m.training for m in norms] == [False] * 20


def test_partial_bn_holds_before_train_is_called():
    assert sum(not p.requires_grad for p in built(partial_bn=True).parameters()) == 38


def test_without_partial_bn_all_batch_norms_train():
    model = built().eval().train()
    assert all(module.training and all(p.requires_grad for p in module.parameters()) for module in model.modules())


@pytest.mark.parametrize(
    ("modality", "weight", "bias"),
    [
        ("rgb", 1, 2),
        ("rgbdiff", 1, 2),
        ("flow", 5, 10),
        ("warped", 5, 10),
    ],
)
def test_groups_of_bninception(modality, weight, bias):
    """69 convolutions with bias and batch norm, and the classifier."""
    with torch.device("meta"):
        model = TSN(replace(TINY, trunk="bninception", modality=modality), 4)
    found = {name: (len(g.params), g.lr_mult, g.decay_mult) for name, g in groups_of(model).items()}
    assert found == {
        "first_conv_weight": (1, weight, 1),
        "first_conv_bias": (1, bias, 0),
        "weight": (69, 1, 1),
        "bias": (69, 2, 0),
        "norm": (138, 1, 0),
    }
    assert groups_of(model)["first_conv_weight"].params == ("trunk.conv1_7x7_s2.weight",)


def test_groups_of_a_resnet_with_partial_bn():
    """ResNet-18: 20 convolutions without bias; the first batch norm alone is trained."""
    with torch.device("meta"):
        found = groups_of(TSN(replace(TINY, partial_bn=True), 4))
    assert {name: len(group.params) for name, group in found.items()} == {
        "first_conv_weight": 1,
        "weight": 20,
        "bias": 1,
        "norm": 2,
    }
    assert found["norm"].params == ("trunk.bn1.weight", "trunk.bn1.bias")
    assert found["bias"].params == ("fc.bias",)
    assert "fc.weight" in found["weight"].params


def test_groups_are_for_a_tsn():
    with pytest.raises(UsageError, match="found Linear"):
        param_groups(nn.Linear(1, 1))


def test_the_recipe_is_kinetics():
    recipe = MODEL.recipe
    assert (recipe.lr, recipe.epochs, recipe.milestones, recipe.batch_size) == (0.02, 50, (20, 40), 128)
    assert (recipe.weight_decay, recipe.clip_norm, recipe.momentum) == (1e-4, 20.0, 0.9)


# Weights from elsewhere


@pytest.mark.parametrize(("name", "stem"), [("resnet18", "conv1"), ("bninception", "conv1_7x7_s2")])
@pytest.mark.parametrize(("modality", "channels"), [("rgb", 3), ("flow", 10), ("warped", 10), ("rgbdiff", 15)])
def test_pretrained_trunk_is_spread_over_the_modality(name, stem, modality, channels):
    config = replace(TINY, trunk=name, modality=modality)
    pretrained = MODEL.pretrained(config)
    assert pretrained.name == f"{name}-imagenet"
    image = trunk(name).build(3).state_dict()
    adapted = pretrained.adapt(pretrained.layouts[pretrained.weights.layout](image))
    missing, unexpected = TSN(config, 4).load_state_dict(adapted, strict=False)
    assert (set(missing), unexpected) == ({"fc.weight", "fc.bias"}, [])
    kernel = adapted[f"trunk.{stem}.weight"]
    assert kernel.shape[1] == channels
    if modality == "rgb":
        assert torch.equal(kernel, image[f"{stem}.weight"])
    else:
        red, green, blue = image[f"{stem}.weight"].unbind(1)
        for channel in range(channels):
            torch.testing.assert_close(kernel[:, channel], (red + green + blue) / 3)


def test_a_trunk_without_imagenet_weights_starts_from_scratch(monkeypatch):
    bare = replace(trunk("resnet18"), weights={})
    monkeypatch.setattr("vtk_models.tsn.trunk", lambda _name: bare)
    assert MODEL.pretrained(TINY) is None


def wrapped_as(layout, state):
    """The checkpoint that another project would have written of these weights."""
    if layout == "mmaction2":
        table = {
            "trunk.": "backbone.",
            "fc.": "cls_head.fc_cls.",
            ".downsample.0.": ".downsample.conv.",
            ".downsample.1.": ".downsample.bn.",
        }
        names = {}
        for name in state:
            theirs = name
            for ours, other in table.items():
                theirs = (
                    theirs.replace(ours, other)
                    if not ours.startswith(("trunk", "fc")) or name.startswith(ours)
                    else theirs
                )
            for number in "123":
                theirs = theirs.replace(f".conv{number}.", f".conv{number}.conv.").replace(
                    f".bn{number}.", f".conv{number}.bn."
                )
            names[theirs] = state[name]
        return {"meta": {"epoch": 1}, "state_dict": names}
    head = "new_fc." if layout == "dropout" else "base_model.fc."
    return {
        "state_dict": {
            "module."
            + (head + n.removeprefix("fc.") if n.startswith("fc.") else "base_model." + n.removeprefix("trunk.")): t
            for n, t in state.items()
        }
    }


@pytest.mark.parametrize(
    ("written", "layout"),
    [
        ("dropout", "tsn-pytorch"),
        ("no dropout", "tsn-pytorch"),
        ("dropout", "x-temporal"),
        ("mmaction2", "mmaction2"),
    ],
)
def test_foreign_checkpoints_load(written, layout):
    state = built().state_dict()
    read_back = MODEL.layouts[layout](wrapped_as(written, state))
    assert read_back.keys() == state.keys()
    assert all(torch.equal(read_back[name], tensor) for name, tensor in state.items())


@pytest.mark.parametrize(
    ("layout", "missing"),
    [
        ("tsn-pytorch", "new_fc.weight, new_fc.bias, base_model.conv1.weight"),
        ("mmaction2", "cls_head.fc_cls.weight, cls_head.fc_cls.bias, backbone.conv1.conv.weight"),
        ("paddle", "fc_0.w_0, fc_0.b_0, conv1_weights"),
    ],
)
def test_a_wrong_layout_names_both_sides(layout, missing):
    with pytest.raises(CheckpointError) as error:
        MODEL.layouts[layout]({"state_dict": {"s1.pathway0_stem.conv.weight": torch.zeros(1)}})
    assert f"unexpected: s1.pathway0_stem.conv.weight; missing: {missing}" in str(error.value)


@pytest.mark.parametrize(
    ("layout", "trunk"),
    [
        *(("tsn-pytorch", f"resnet{depth}") for depth in (18, 34, 50, 101, 152)),
        *(("mmaction2", f"resnet{depth}") for depth in (18, 50, 101)),
        ("tsn-pytorch", "bninception"),
        ("tsn-pytorch", "mobilenetv2"),
    ],
)
@pytest.mark.parametrize("modality", ["rgb", "flow", "rgbdiff"])
def test_trunk_and_modality_are_seen_from_the_tensors(layout, trunk, modality):
    with torch.device("meta"):
        state = TSN(replace(TINY, trunk=trunk, modality=modality), 4).state_dict()
    checkpoint = wrapped_as("mmaction2" if layout == "mmaction2" else "dropout", state)
    found = MODEL.layouts[layout].infer(checkpoint)
    assert (found["trunk"], found["modality"]) == (trunk, modality)
    assert "dropout" not in found
    assert MODEL.layouts[layout](checkpoint).keys() == state.keys()


def test_no_dropout_is_seen_from_the_classifiers_name():
    checkpoint = wrapped_as("no dropout", built().state_dict())
    assert MODEL.layouts["tsn-pytorch"].infer(checkpoint)["dropout"] == 0


def test_rows_of_old_batch_norms_become_vectors():
    with torch.device("meta"):
        state = TSN(replace(TINY, trunk="bninception"), 4).state_dict()
    old = {name: t.unsqueeze(0) if "_bn." in name and t.dim() == 1 else t for name, t in state.items()}
    read = MODEL.layouts["tsn-pytorch"](wrapped_as("dropout", old))
    assert {name: t.shape for name, t in read.items()} == {name: t.shape for name, t in state.items()}


def test_other_protocols_than_the_papers():
    mit = MODEL.inputs(TSNConfig(sampling="dense", test_segments=8, test_clips=10, test_crops=3, test_crop=256)).test
    assert (mit.sampler, mit.views, mit.crop) == (sampling.dense_tsm, 30, 256)
    paddle = MODEL.inputs(TSNConfig(sampling="paddle"))
    assert (paddle.test.aspect, paddle.augment.crop) == ("4:3", "random")
    same = MODEL.inputs(TSNConfig(segments=5, test_segments=None, average="probabilities")).test
    assert (same.segments, same.average) == (5, "probabilities")


def test_policies():
    with torch.device("meta"):
        fast, paddle = (TSN(replace(TINY, policy=policy), 4) for policy in ("fc_lr5", "paddle"))
    assert groups_of(fast)["lr5_weight"].params == ("fc.weight",)
    assert groups_of(fast)["lr10_bias"].params == ("fc.bias",)
    assert list(groups_of(paddle)) == ["all"]


def test_every_published_file_has_a_configuration_that_can_be_built():
    for name, weights in MODEL.weights.items():
        config = TSNConfig(**weights.config)
        with torch.device("meta"):
            assert TSN(config, 4).fc.out_features == 4, name
        assert MODEL.inputs(config).test.views >= 1
        assert weights.layout in MODEL.layouts
        assert weights.licence
        assert weights.source
