from dataclasses import replace

import pytest
import torch

from vtk_cli.api.sampling import dense_tin, segments
from vtk_cli.errors import CheckpointError, UsageError
from vtk_models.tin import MODEL, TIN, TINConfig, param_groups

TINY = MODEL.tiny


def on_meta(num_classes=7, **changes):
    with torch.device("meta"):
        return TIN(TINConfig(**changes), num_classes)


def test_views_of_the_original():
    spec = MODEL.inputs(TINConfig())
    assert (spec.train.segments, spec.train.frames, spec.train.short_side, spec.train.crop) == (8, 1, 256, 224)
    assert (spec.test.segments, spec.test.crops, spec.test.average) == (8, 3, "probabilities")
    assert spec.train.sampler is spec.test.sampler is segments
    dense = MODEL.inputs(TINConfig(sampling="dense", test_clips=10))
    assert dense.train.sampler is dense.test.sampler is dense_tin
    assert (dense.test.views, dense.test.stride) == (30, 2)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"trunk": "bninception"}, 'found "bninception"'),
        ({"shift_div": 3}, "found shift_div=3"),
        ({"shift_div": 32}, "found shift_div=32"),
        ({"segments": 0}, "found 0"),
        ({"dropout": 1.0}, r"found 1\.0"),
        ({"sampling": "random"}, 'found "random"'),
    ],
)
def test_settings_that_make_no_tin_are_refused(changes, message):
    with pytest.raises(UsageError, match=message):
        TINConfig(**changes)


@pytest.mark.parametrize("shift_div", [1, 2, 4, 8, 16])
def test_every_shift_div_that_is_taken_makes_a_model(shift_div):
    model = TIN(replace(TINY, shift_div=shift_div), 3).eval()
    with torch.no_grad():
        assert model(torch.randn(2, 4, 1, 3, 32, 40)).shape == (2, 3)


@pytest.mark.parametrize("depth", [18, 34, 50, 101, 152])
def test_every_block_of_every_stage_is_interlaced(depth):
    model = on_meta(trunk=f"resnet{depth}")
    for stage, interlaces in zip(model.trunk.stages, model.interlace, strict=True):
        for block, interlace in zip(stage, interlaces, strict=True):
            assert interlace.channels == block.conv1.in_channels // 4


def test_the_shortcut_sees_its_input_unmoved():
    model = TIN(TINY, 3).eval()
    block, interlace = model.trunk.layer1[1], model.interlace[0][1]
    torch.nn.init.zeros_(block.bn2.weight)
    x = torch.rand(4, 64, 8, 8)
    with torch.no_grad():
        assert torch.equal(block(x, interlace), x)


def test_scores_are_averaged_over_segments():
    model = TIN(TINY, 3).eval()
    features = []
    model.fc.register_forward_pre_hook(lambda _m, args: features.append(args[0]))
    with torch.no_grad():
        logits = model(torch.randn(2, 4, 1, 3, 32, 32))
        torch.testing.assert_close(logits, model.fc(features[0]).view(2, 4, 3).mean(1))


def test_a_clip_of_other_length_is_refused():
    with pytest.raises(UsageError, match="made for 4 segments, found a clip of 8"):
        TIN(TINY, 3)(torch.randn(1, 8, 1, 3, 32, 32))


def test_weights_for_other_segments_are_refused():
    state = TIN(TINY, 3).state_dict()
    with pytest.raises(CheckpointError, match="made for 8 segments, found weights for 4"):
        TIN(replace(TINY, segments=8), 3).load_state_dict(state)


@pytest.mark.parametrize(("trunk", "fast", "custom"), [("resnet18", 0, 17), ("resnet50", 1, 32), ("resnet101", 35, 32)])
def test_the_first_32_linear_layers_learn_at_the_common_rate(trunk, fast, custom):
    """Facts: in ResNet-101 34 layers of offset networks learn five times as fast, as the classifier does."""
    groups = {group.name: group for group in param_groups(on_meta(trunk=trunk))}
    assert len(groups["cs_weight"].params) == len(groups["cs_bias"].params) == custom
    assert (groups["cs_weight"].lr_mult, groups["cs_bias"].lr_mult, groups["cs_bias"].decay_mult) == (1, 2, 0)
    assert ("lr5_weight" in groups) == bool(fast)
    if fast:
        assert len(groups["lr5_weight"].params) == len(groups["lr10_bias"].params) == fast
        assert "fc.weight" in groups["lr5_weight"].params
        assert (groups["lr5_weight"].lr_mult, groups["lr10_bias"].lr_mult) == (5, 10)


def test_convolutions_along_time_are_with_the_other_convolutions():
    groups = {group.name: group.params for group in param_groups(on_meta())}
    assert groups["first_conv_weight"] == ("trunk.conv1.weight",)
    assert "interlace.0.0.offset.conv.weight" in groups["weight"]
    assert "interlace.3.2.weight.conv.bias" in groups["bias"]


def test_partial_bn_freezes_all_batch_norms_but_the_first():
    model = TIN(replace(TINY, partial_bn=True), 3).train()
    norms = [module for module in model.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    assert [norm.training for norm in norms] == [True] + [False] * (len(norms) - 1)
    assert [norm.weight.requires_grad for norm in norms] == [True] + [False] * (len(norms) - 1)


def test_imagenet_gives_the_trunk():
    model = TIN(TINY, 3)
    pretrained = MODEL.pretrained(TINY)
    image = {name.removeprefix("trunk."): t for name, t in model.state_dict().items() if name.startswith("trunk.")}
    missing, unexpected = model.load_state_dict(pretrained.adapt(image), strict=False)
    assert (pretrained.name, unexpected) == ("resnet18-imagenet", [])
    assert all(name.startswith(("interlace.", "fc.")) for name in missing)


def test_the_recipe_is_the_originals():
    recipe = MODEL.recipe
    assert (recipe.lr, recipe.schedule, recipe.warmup_epochs, recipe.warmup_start) == (0.02, "cosine", 1, 0.1)
    assert (recipe.epochs, recipe.batch_size, recipe.weight_decay, recipe.clip_norm) == (40, 48, 5e-4, 20)


@pytest.mark.parametrize("layout", ["tin", "x-temporal", "mmaction2"])
def test_layouts_find_the_configuration(layout):
    """A file with our tensors under the dialect's names, of another depth, length and division."""
    ours = on_meta(trunk="resnet34", segments=16, shift_div=8).state_dict()
    name_of = _foreign_names(layout)
    found = MODEL.layouts[layout].infer({name_of(name): tensor for name, tensor in ours.items()})
    assert {k: found[k] for k in ("trunk", "segments", "shift_div")} == {
        "trunk": "resnet34",
        "segments": 16,
        "shift_div": 8,
    }
    assert MODEL.layouts[layout]({name_of(name): tensor for name, tensor in ours.items()}).keys() == ours.keys()


def _foreign_names(layout):
    from vtk_models.tin_layouts import mmaction2_name, tin_name

    function = mmaction2_name if layout == "mmaction2" else tin_name
    return lambda name: function(name, {"trunk": "resnet34"})


def test_without_dropout_the_trunks_own_last_layer_is_the_classifier():
    from vtk_models.tin_layouts import tin_name

    ours = on_meta().state_dict()
    file = {tin_name(name, {"dropout": 0.0}): tensor for name, tensor in ours.items()}
    assert "base_model.fc.weight" in file
    assert MODEL.layouts["tin"].infer(file)["dropout"] == 0
    assert MODEL.layouts["tin"](file).keys() == ours.keys()


@pytest.mark.parametrize(
    ("layout", "lost"),
    [
        ("tin", "base_model.layer4.2.conv1.net1.biasnet.net.fc.bias"),
        ("mmaction2", "backbone.layer4.2.conv1.conv.net2.weight"),
    ],
)
def test_a_lost_tensor_is_named(layout, lost):
    from vtk_models.tin_layouts import mmaction2_name, tin_name

    function = {"tin": tin_name, "mmaction2": mmaction2_name}[layout]
    file = {function(name, {}): tensor for name, tensor in on_meta().state_dict().items()}
    del file[lost]
    with pytest.raises(CheckpointError, match=lost.replace(".", r"\.")):
        MODEL.layouts[layout](file)


def test_published_weights_say_what_they_are():
    for name, weights in MODEL.weights.items():
        TINConfig(**weights.config)
        assert weights.layout in MODEL.layouts
        assert weights.by_hand == ("drive.google.com" in weights.url), name
        assert bool(weights.sha256) == (weights.layout == "mmaction2")
