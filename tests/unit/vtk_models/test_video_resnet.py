from dataclasses import replace

import pytest
import torch
from torch import nn

from vtk_cli import registry
from vtk_cli.api.inputs import IMAGENET
from vtk_cli.api.recipes import one_group
from vtk_cli.api.sampling import dense, dense_tin, even_windows, sliding_windows
from vtk_cli.errors import UsageError
from vtk_models.video_resnet import Subsample, max_pool, shortcut

MODELS = ("resnet3d", "r2plus1d")


@pytest.fixture(params=MODELS)
def spec(request):
    return registry.load("vtk.models", request.param)


def built(spec, **changes):
    torch.manual_seed(0)
    return spec.build(replace(spec.tiny, **changes), 4)


def clip(frames=8, side=32, channels=3):
    return torch.randn(2, 1, frames, channels, side, side, generator=torch.Generator().manual_seed(0))


# Parts


def test_shortcut_a_takes_every_other_place_and_appends_zeros_without_gradient():
    x = torch.arange(2 * 3 * 5 * 5 * 4, dtype=torch.float32).view(2, 3, 5, 5, 4).requires_grad_()
    found = Subsample(3, 5, (2, 2, 2))(x)
    assert found.shape == (2, 5, 3, 3, 2)
    assert torch.equal(found[:, :3], x[:, :, ::2, ::2, ::2])
    assert not found[:, 3:].any()
    assert not found.requires_grad


def test_a_shortcut_is_there_only_where_the_shape_changes():
    assert shortcut("A", 8, 8, (1, 1, 1)) is None
    assert isinstance(shortcut("A", 8, 8, (1, 2, 2)), Subsample)
    assert isinstance(shortcut("B", 8, 16, (1, 1, 1)), nn.Sequential)


def test_pools_halve_space_and_the_longer_one_time():
    x = torch.zeros(1, 1, 8, 12, 12)
    assert max_pool(3)(x).shape == (1, 1, 4, 6, 6)
    assert max_pool(1)(x).shape == (1, 1, 8, 6, 6)


# The network


def test_segments_and_their_frames_are_one_row_of_frames(spec):
    model = built(spec).eval()
    x = clip()
    with torch.no_grad():
        assert torch.equal(model(x), model(x.transpose(1, 2)))


@pytest.mark.parametrize(("frames", "side"), [(1, 32), (2, 40), (5, 33), (16, 64)])
def test_clips_of_other_lengths_and_sizes(spec, frames, side):
    with torch.no_grad():
        assert built(spec).eval()(clip(frames, side)).isfinite().all()


def test_flow_has_two_channels_and_the_first_two_numbers_of_the_norm(spec):
    model = built(spec, modality="flow").eval()
    with torch.no_grad():
        assert model(clip(channels=2)).shape == (2, 4)
    found = spec.inputs(spec.config(modality="flow"))
    assert found.channels == 2
    assert found.norm.mean == (0.4345, 0.4051)


def test_what_comes_before_the_first_stage_to_learn_is_fixed_but_for_its_statistics(spec):
    model = built(spec, train_from="layer3").train()
    groups = spec.recipe.param_groups(model)
    stages = {name.partition(".")[0] for group in groups for name in group.params}
    assert stages == {"layer3", "layer4", "fc"}
    norm = next(module for module in model.modules() if isinstance(module, nn.BatchNorm3d))
    before = norm.running_mean.clone()
    torch.autograd.backward(model(clip()).sum())
    assert not torch.equal(norm.running_mean, before)
    assert all(p.grad is None for name, p in model.named_parameters() if name.startswith(("conv1", "bn1", "layer1")))


def test_all_learn_unless_said_otherwise(spec):
    model = built(spec)
    assert len(one_group(model)[0].params) == len(list(model.parameters()))
    assert {g.name for g in spec.recipe.param_groups(built(spec, train_from="fc"))} == {"all"}
    assert spec.recipe.param_groups(built(spec, train_from="fc"))[0].params == ("fc.weight", "fc.bias")


def test_dropout_stands_before_the_classifier(spec):
    model = built(spec, dropout=0.5).train()
    assert model.dropout.p == 0.5
    model.dropout.register_forward_hook(lambda _layer, _given, found: torch.zeros_like(found))
    assert torch.equal(model(clip()), model.fc.bias.expand(2, -1))


def test_torchvisions_classifier_starts_small(spec):
    changes = {"style": "torchvision", "widen": None}
    assert built(spec, **changes).fc.weight.std().item() == pytest.approx(0.01, rel=0.1)
    assert not built(spec, **changes).fc.bias.any()
    assert built(spec).fc.bias.any()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"depth": 20}, "depth 10, 18, 34, 50, 101, 152, 200, found 20"),
        ({"modality": "rgbdiff"}, 'modality is one of rgb, flow, warped, found "rgbdiff"'),
        ({"shortcut": "C"}, 'shortcut is one of A, B, found "C"'),
        ({"train_from": "layer5"}, 'found "layer5"'),
        ({"conv1_t_size": 0}, "conv1_t_size is above 0, found 0"),
        ({"widen": -1.0}, "widen is above 0"),
        ({"frames": 0}, "frames is above 0"),
        ({"dropout": 1.0}, "A dropout lies in"),
        ({"style": "caffe"}, 'found "caffe"'),
    ],
)
def test_what_is_refused(spec, changes, words):
    with pytest.raises(UsageError, match=words):
        spec.config(**changes)


# What it eats


def test_kenshoharas_protocol(spec):
    found = spec.inputs(spec.config())
    assert (found.train.frames, found.train.stride, found.train.crop, found.train.short_side) == (16, 1, 112, 256)
    assert found.train.sampler is even_windows
    assert (found.augment.crop, found.augment.area, found.augment.ratio) == ("resized", (0.25, 1.0), (0.75, 1 / 0.75))
    assert (found.test.short_side, found.test.crop, found.test.clips) == (112, 112, 0)
    assert found.test.sampler is sliding_windows
    assert found.test.average == "probabilities"
    assert found.norm.mean == (0.4345, 0.4051, 0.3775)
    assert found.norm.std == (0.2768, 0.2713, 0.2737)


def test_kenshoharas_validation_spreads_windows(spec):
    assert spec.inputs(spec.config(test_clips=3)).test.sampler is even_windows


def test_kenshoharas_corner_crops_shrink_by_quarter_octaves(spec):
    augment = spec.inputs(spec.config(train_crop="corners")).augment
    assert augment.crop == "corners"
    assert augment.scales == pytest.approx([1.0, 0.8409, 0.7071, 0.5946, 0.5], abs=1e-4)


def test_torchvisions_protocol(spec):
    found = spec.inputs(spec.config(style="torchvision"))
    for view in (found.train, found.test):
        assert (view.frames, view.stride, view.short_side, view.aspect, view.crop) == (16, 2, 128, "4:3-rounded", 112)
        assert view.sampler is dense
    assert (found.test.clips, found.test.average) == (5, "probabilities")
    assert found.augment.crop == "random"
    assert found.norm.std == (0.22803, 0.22145, 0.216989)


def test_x_temporals_protocol():
    for name, stride in zip(MODELS, (1, 2), strict=True):
        spec = registry.load("vtk.models", name)
        found = spec.inputs(spec.config(style="x-temporal"))
        assert (found.train.segments, found.train.frames, found.train.stride) == (16, 1, stride)
        assert found.test.sampler is dense_tin
        assert (found.test.short_side, found.test.crop, found.test.average) == (128, 112, "logits")
        assert found.norm == IMAGENET
        assert found.augment.crop == "multiscale"


def test_what_the_configuration_says_goes_before_the_style(spec):
    found = spec.inputs(
        spec.config(
            style="torchvision", stride=4, short_side=140, test_short_side=120, test_clips=3, train_crop="centre"
        )
    )
    assert (found.train.stride, found.train.short_side, found.test.short_side) == (4, 140, 120)
    assert (found.test.clips, found.augment.crop) == (3, "centre")


def test_only_kenshohara_tests_on_all_windows(spec):
    with pytest.raises(UsageError, match="test_clips=0"):
        spec.inputs(spec.config(style="torchvision", test_clips=0))


def test_the_recipe_is_kenshoharas(spec):
    recipe = spec.recipe
    assert (recipe.lr, recipe.milestones, recipe.gamma, recipe.epochs) == (0.1, (50, 100, 150), 0.1, 200)
    assert (recipe.batch_size, recipe.weight_decay, recipe.momentum, recipe.nesterov) == (128, 1e-3, 0.9, False)
