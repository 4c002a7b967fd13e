from dataclasses import replace

import pytest
import torch
from torch import nn

from vtk_cli.api.sampling import nonlocal_starts, pyslowfast
from vtk_cli.errors import UsageError
from vtk_models.nonlocal_block import KINDS, NonLocalBlock
from vtk_models.nonlocal_model import MODEL, epochs, pretrained
from vtk_models.nonlocal_net import Nonlocal, NonlocalConfig, build_trunk
from vtk_models.slowfast_parts import PYSLOWFAST

TINY = MODEL.tiny


def built(num_classes=4, **changes):
    torch.manual_seed(0)
    return Nonlocal(replace(TINY, **changes), num_classes)


def blocks(model):
    return {name for name, module in model.named_modules() if isinstance(module, NonLocalBlock)}


def stirred(model):
    """Non-local blocks and residual branches begin at zero; here they count."""
    for module in model.modules():
        if isinstance(module, NonLocalBlock):
            module.initialise(0.3)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm3d):
            nn.init.uniform_(module.weight, 0.5, 1.0)
    return model.eval()


def clip(model, crop=32, frames=4):
    """The clip of one video that `model` reads."""
    return torch.randn(1, 1, frames, 3, crop, crop, dtype=next(model.parameters()).dtype)


# What it eats


def test_the_default_is_paddles_c2d():
    spec = MODEL.inputs(NonlocalConfig())
    assert (spec.train.segments, spec.train.frames, spec.train.stride, spec.train.crop) == (1, 8, 8, 224)
    assert (spec.test.short_side, spec.test.crop, spec.test.clips, spec.test.crops) == (256, 256, 10, 3)
    assert (spec.test.crop_grid, spec.test.average, spec.test.sampler) == ("steps", "probabilities", nonlocal_starts)
    assert spec.norm == PYSLOWFAST
    assert (spec.augment.crop, spec.augment.short_sides, spec.augment.flip) == ("random", (256, 319), 0.5)


def test_pyslowfast_samples_and_crops_its_own_way():
    spec = MODEL.inputs(NonlocalConfig(style="pyslowfast"))
    assert (spec.test.crop_grid, spec.test.sampler) == ("edges", pyslowfast)
    assert spec.train.sampler == pyslowfast
    assert spec.augment.short_sides == (256, 320)


def test_other_sides_follow_the_short_side():
    spec = MODEL.inputs(NonlocalConfig(short_side=48, crop=40))
    assert (spec.train.short_side, spec.test.short_side, spec.test.crop) == (48, 48, 48)
    assert spec.augment.short_sides == (48, 59)
    spec = MODEL.inputs(NonlocalConfig(short_side=48, crop=40, test_crop=32, jitter=(40, 50)))
    assert (spec.test.crop, spec.augment.short_sides) == (32, (40, 50))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"backbone": "r3d"}, 'backbone is one of c2d, i3d, found "r3d"'),
        ({"depth": 18}, 'depth is one of 50, 101, found "18"'),
        ({"style": "mmaction2"}, 'style is one of caffe2, pyslowfast, found "mmaction2"'),
        ({"kind": "cosine"}, 'concatenation, none, found "cosine"'),
        ({"temporal_stride": 1}, 'temporal_stride of the style caffe2 is one of 2, 8, found "1"'),
        ({"style": "pyslowfast", "temporal_stride": 8}, "style pyslowfast is one of 1, 2"),
        ({"frames": 3}, "frames is a multiple of temporal_stride=2, found 3"),
        ({"group": 3}, "group divides the 2 frames of res3, found 3"),
        ({"dropout": 1.0}, "dropout=1.0"),
        ({"crop": 28}, "at least 32"),
        ({"test_crop": 28}, "at least 32"),
        ({"jitter": (30, 40)}, "at least the crop of 32, found (30, 40)"),
        ({"crop": 48}, "at least the crop of 48, found (40, 49)"),
    ],
)
def test_what_it_cannot_be_is_refused(changes, said):
    with pytest.raises(UsageError) as error:
        replace(TINY, **changes)
    assert said in str(error.value)


# The network


@pytest.mark.parametrize(
    ("style", "depth", "res4"),
    [("caffe2", 50, (1, 3, 5)), ("caffe2", 101, (6, 13, 20)), ("pyslowfast", 101, (1, 3, 5))],
)
def test_places_of_the_blocks(style, depth, res4):
    with torch.device("meta"):
        model = Nonlocal(NonlocalConfig(style=style, depth=depth), 4)
    expected = {*(f"trunk.layer2.{block}" for block in (1, 3)), *(f"trunk.layer3.{block}" for block in res4)}
    assert blocks(model) == {f"{block}.non_local" for block in expected}


@pytest.mark.parametrize(
    ("changes", "side", "frames"),
    [
        ({"style": "caffe2"}, 55, 8),
        ({"style": "pyslowfast"}, 56, 8),
        ({"style": "caffe2", "temporal_stride": 8, "frames": 32}, 55, 8),
    ],
)
def test_the_stem_of_each_style(changes, side, frames):
    config = NonlocalConfig(backbone="i3d", **changes)
    with torch.device("meta"):
        trunk = build_trunk(config)
        x_BCTHW = trunk.stem(torch.empty(1, 3, config.frames, 224, 224))
        last = trunk(torch.empty(1, 3, config.frames, 224, 224))
    assert x_BCTHW.shape == (1, 64, frames, side, side)
    assert last.shape == (1, 2048, 4, 7, 7)


def test_without_the_pool_c2d_looks_at_frames_one_by_one():
    model = stirred(built(style="pyslowfast", temporal_stride=1, kind="none").double())
    shown = clip(model)
    with torch.no_grad():
        torch.testing.assert_close(model(shown.flip(2)), model(shown), rtol=1e-10, atol=1e-10)
    assert blocks(model) == set()


@pytest.mark.parametrize("kind", KINDS)
def test_blocks_of_every_kind_begin_as_if_absent_and_count_later(kind):
    model, plain = built(kind=kind).eval(), built(kind="none").eval()
    shown = clip(model)
    for same in (True, False):
        plain.load_state_dict({name: t for name, t in model.state_dict().items() if "non_local" not in name})
        with torch.no_grad():
            assert torch.allclose(model(shown), plain(shown), atol=1e-6) is same
        stirred(model)


def test_groups_do_not_see_each_other():
    """In groups of 4 frames res3's blocks are those of 4-frame clips; res4's always see the whole clip."""
    block = NonLocalBlock(8, group=4, std=0.5).double().eval()
    nn.init.ones_(block.bn.weight)
    x = torch.randn(2, 8, 8, 4, 4, dtype=torch.float64)
    with torch.no_grad():
        together = block(x)
        block.group = None
        torch.testing.assert_close(together, torch.cat([block(part) for part in x.split(4, 2)], 2))
        assert (block(x) - together).abs().max() > 1e-3
    model = built(frames=8, group=4)
    assert [module.group for module in model.modules() if isinstance(module, NonLocalBlock)] == [4, 4, None, None, None]


def test_larger_crops_are_classified_place_by_place():
    """A map of 2x2 under a window of 1x1: four places."""
    model = stirred(built().double())
    shown = clip(model, crop=64)
    with torch.no_grad():
        x_BCTHW = model.trunk(shown[:, 0].transpose(1, 2))
        places = [x_BCTHW[..., i, j].mean(2) for i in range(2) for j in range(2)]
        expected = torch.stack([model.fc(place).softmax(1) for place in places]).mean(0)
        torch.testing.assert_close(model(shown).softmax(1), expected, rtol=1e-10, atol=1e-12)


def test_other_lengths_and_crops():
    model = built(backbone="i3d")
    for crop, frames in ((32, 8), (48, 4), (57, 2)):
        assert model(clip(model, crop, frames)).shape == (1, 4)


# Training


@pytest.mark.parametrize(("style", "std"), [("caffe2", 0.01), ("pyslowfast", (2 / 256) ** 0.5)])
def test_initial_weights(style, std):
    torch.manual_seed(0)
    trunk = build_trunk(NonlocalConfig(style=style))
    block = trunk.layer2[1].non_local
    assert block.theta.weight.std().item() == pytest.approx(std, rel=0.02)
    assert not block.bn.weight.any()
    assert not trunk.layer2[1].bn3.weight.any()
    assert trunk.layer2[1].conv2.weight.std().item() == pytest.approx((2 / (128 * 9)) ** 0.5, rel=0.02)


def test_blocks_without_norm_begin_at_zero():
    for style in ("caffe2", "pyslowfast"):
        out = build_trunk(replace(TINY, style=style, block_norm=False)).layer2[1].non_local.out
        assert not out.weight.any()
        assert not out.bias.any()


def test_batch_norms_do_not_decay():
    groups = {group.name: group for group in MODEL.recipe.param_groups(built())}
    assert groups["norm"].decay_mult == 0.0
    assert "trunk.layer2.1.non_local.bn.weight" in groups["norm"].params
    assert {"trunk.layer2.1.non_local.theta.bias", "fc.bias"} <= set(groups["weight"].params)
    named = [name for group in groups.values() for name in group.params]
    assert sorted(named) == sorted(name for name, _ in built().named_parameters())


def test_the_schedule_is_paddles_in_epochs():
    """150,000, 300,000 and 400,000 iterations of 64 out of 234,619 videos."""
    assert [round(milestone, 2) for milestone in MODEL.recipe.milestones] == [40.92, 81.83, 109.11]
    assert epochs(440_000) == pytest.approx(120, abs=0.1)
    assert (MODEL.recipe.lr, MODEL.recipe.momentum, MODEL.recipe.nesterov) == (0.01, 0.9, True)


def test_imagenet_weights_are_inflated():
    config = NonlocalConfig(backbone="i3d")
    with torch.device("meta"):
        shapes = {name: tensor.shape for name, tensor in Nonlocal(config, 4).state_dict().items()}
    image = {"conv1.weight": torch.randn(64, 3, 7, 7), "layer4.0.conv3.weight": torch.randn(2048, 512, 1, 1)}
    found = pretrained(config).adapt(image)
    assert {name: tensor.shape for name, tensor in found.items()} == {name: shapes[name] for name in found}
    torch.testing.assert_close(found["trunk.conv1.weight"].sum(2), image["conv1.weight"])
    torch.testing.assert_close(found["trunk.conv1.weight"][:, :, 0], image["conv1.weight"] / 5)


def test_only_the_papers_training_begins_from_images():
    assert pretrained(NonlocalConfig(depth=101)).name == "resnet101-imagenet"
    assert pretrained(NonlocalConfig(style="pyslowfast")) is None
    assert pretrained(TINY) is None
