from dataclasses import replace

import pytest
import torch

from vtk_cli.api.inputs import IMAGENET
from vtk_cli.errors import UsageError
from vtk_models import slowfast, slowonly
from vtk_models.slowfast import SlowFastConfig, slow_indices
from vtk_models.slowfast_parts import PYSLOWFAST, Head, param_groups
from vtk_models.slowonly import SlowOnlyConfig

TINY = slowfast.MODEL.tiny


@pytest.mark.parametrize("alpha", [2, 4, 8, 16])
def test_slow_frames_are_pyslowfasts(alpha):
    for frames in range(alpha, 129, alpha):
        assert slow_indices(frames, alpha) == torch.linspace(0, frames - 1, frames // alpha).long().tolist()


@pytest.mark.parametrize(("rule", "expected"), [("linspace", [0, 15]), ("every", [0, 8])])
def test_the_slow_pathway_sees_these_frames(rule, expected):
    model = slowfast.MODEL.build(replace(TINY, alpha=8, frames=16, slow_frames=rule), 3).eval()
    seen = []
    model.slow.conv1.register_forward_pre_hook(lambda _module, x: seen.append(x[0][0, 0, :, 0, 0].tolist()))
    clip = torch.arange(16.0).view(1, 1, 16, 1, 1, 1).expand(1, 1, 16, 3, 32, 32)
    with torch.no_grad():
        model(clip)
        model(clip.transpose(1, 2))  # frames may come as segments
    assert seen == [expected, expected]


def test_frames_that_alpha_does_not_divide_are_refused():
    model = slowfast.MODEL.build(TINY, 3).eval()
    with pytest.raises(UsageError, match="found 10 frames and alpha=4"), torch.no_grad():
        model(torch.zeros(1, 1, 10, 3, 32, 32))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"frames": 30}, "alpha divides"),
        ({"beta": 7}, "beta divides"),
        ({"fusion_kernel": 4}, "odd"),
        ({"slow_frames": "first"}, "linspace or every"),
        ({"head": "global"}, "probabilities, logits, features"),
        ({"scores": "tanh"}, "softmax, sigmoid"),
        ({"pretrained": "jft"}, "none, imagenet"),
        ({"protocol": "paddle"}, "mmaction2"),
        ({"dropout": 1.0}, "dropout"),
        ({"jitter": (320, 256)}, "smaller first"),
        ({"crop": 300}, "at least the crop"),
    ],
)
def test_settings_that_mean_nothing_are_refused(config, message):
    with pytest.raises(UsageError, match=message):
        SlowFastConfig(**config)


def head_and_map(**changes):
    torch.manual_seed(0)
    head = Head(replace(SlowOnlyConfig(crop=64), **changes), 6, 4).eval()
    torch.nn.init.normal_(head.fc.weight)
    return head, torch.randn(2, 6, 3, 3, 4)


def places(head, x_BDTHW):
    """logits_BPK of the 2x3 places that a training crop of 2x2 has in a map of 3x4."""
    windows = [x_BDTHW[:, :, :, i : i + 2, j : j + 2].mean((2, 3, 4)) for i in range(2) for j in range(3)]
    return torch.stack([head.fc(window) for window in windows], 1)


def test_probabilities_of_the_places_are_averaged():
    head, x = head_and_map()
    torch.testing.assert_close(head(x).softmax(1), places(head, x).softmax(2).mean(1))
    head, x = head_and_map(scores="sigmoid")
    torch.testing.assert_close(head(x).sigmoid(), places(head, x).sigmoid().mean(1))


def test_logits_or_features_may_be_averaged_instead():
    head, x = head_and_map(head="logits")
    torch.testing.assert_close(head(x), places(head, x).mean(1))
    head, x = head_and_map(head="features")
    torch.testing.assert_close(head(x), head.fc(x.mean((2, 3, 4))))


@pytest.mark.parametrize("average", ["probabilities", "logits", "features"])
def test_one_place_gives_plain_logits_in_training_and_testing(average):
    head, x = head_and_map(head=average, dropout=0.0)
    x = x[..., :2, :2]
    torch.testing.assert_close(head(x), head.fc(x.mean((2, 3, 4))))
    torch.testing.assert_close(head.train()(x), head.eval()(x))


def test_batch_norms_alone_do_not_decay():
    model = slowfast.MODEL.build(TINY, 3)
    weight, norm = param_groups(model)
    assert (weight.decay_mult, norm.decay_mult) == (1.0, 0.0)
    assert {"head.fc.bias", "slow.layer2.0.non_local.g.bias", "laterals.0.conv.weight"} <= set(weight.params)
    assert {"slow.bn1.weight", "slow.layer2.0.non_local.bn.bias", "laterals.3.bn.weight"} <= set(norm.params)
    assert len(weight.params) + len(norm.params) == len(list(model.parameters()))


@pytest.mark.parametrize(
    ("protocol", "norm", "grid", "average", "segments"),
    [
        ("pyslowfast", PYSLOWFAST, "edges", "probabilities", 1),
        ("pyslowfast-ssv2", PYSLOWFAST, "edges", "probabilities", 1),
        ("mmaction2", IMAGENET, "steps", "probabilities", 1),
        ("x-temporal", IMAGENET, "quarters", "logits", 32),
    ],
)
def test_protocols(protocol, norm, grid, average, segments):
    spec = slowfast.MODEL.inputs(SlowFastConfig(protocol=protocol))
    assert (spec.norm, spec.test.crop_grid, spec.test.average) == (norm, grid, average)
    assert (spec.train.segments, spec.train.segments * spec.train.frames, spec.test.views) == (segments, 32, 30)
    assert spec.augment.inverse == (protocol == "pyslowfast-ssv2")


def test_views_are_the_papers():
    spec = slowonly.MODEL.inputs(SlowOnlyConfig())
    assert (spec.train.frames, spec.train.stride, spec.train.crop, spec.augment.short_sides) == (4, 16, 224, (256, 320))
    assert (spec.test.short_side, spec.test.crop, spec.test.clips, spec.test.crops) == (256, 256, 10, 3)


@pytest.mark.parametrize("spec", [slowfast.MODEL, slowonly.MODEL])
def test_training_from_imagenet_fills_the_slow_pathway(spec):
    assert spec.pretrained(spec.config()) is None
    pretrained = spec.pretrained(spec.config(pretrained="imagenet"))
    with torch.device("meta"):
        model = spec.build(spec.config(), 400)
    image = pretrained.layouts["torchvision"](imagenet())
    adapted = pretrained.adapt(image)
    assert set(adapted) == {name for name in model.state_dict() if name.startswith("slow.")}
    assert all(adapted[name].shape == tensor.shape for name, tensor in model.state_dict().items() if name in adapted)


def imagenet():
    """A file of torchvision's shapes, filled with zeros."""
    from vtk_models.trunks.resnet import ResNet

    with torch.device("meta"):
        state = ResNet(50).state_dict()
    return {name: torch.zeros(tensor.shape, dtype=tensor.dtype) for name, tensor in state.items()}
