from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional

from vtk_cli.api.models import trunk
from vtk_cli.api.sampling import segments_paddle
from vtk_cli.errors import UsageError
from vtk_models.stnet import MODEL, StNet, StNetConfig, TemporalModelling, TemporalXception

TINY = MODEL.tiny


def built(**changes):
    torch.manual_seed(0)
    return StNet(replace(TINY, **changes), 4)


def test_views_of_the_original():
    spec = MODEL.inputs(StNetConfig())
    train, test = spec.train, spec.test
    assert (train.segments, train.frames, train.short_side, train.crop) == (7, 5, 256, 224)
    assert (test.segments, test.frames, test.short_side, test.crop) == (25, 5, 256, 256)
    assert test.views == 1
    assert train.aspect == test.aspect == "4:3"
    assert train.sampler is test.sampler is segments_paddle
    assert spec.augment.crop == "random"


@pytest.mark.parametrize(
    ("settings", "crop"),
    [
        ({"short_side": 64, "crop": 48}, 64),
        ({"short_side": 64, "crop": 48, "test_crop": 48}, 48),
        ({"crop": 112}, 256),
    ],
)
def test_the_test_crop_follows_the_short_side(settings, crop):
    assert MODEL.inputs(StNetConfig(**settings)).test.crop == crop


def test_an_unknown_depth_is_refused():
    with pytest.raises(UsageError, match="depth 18, 34, 50, 101, 152, found 42"):
        StNetConfig(depth=42)


def test_an_unknown_trunk_is_refused():
    with pytest.raises(UsageError, match='resnet or inception_resnet_v2, found "resnet50"'):
        StNetConfig(trunk="resnet50")


def test_inception_resnet_v2_has_its_temporal_blocks_at_the_same_sizes():
    """After an eighth and a sixteenth of the picture, as in ResNets; 25 segments at test."""
    config = StNetConfig(trunk="inception_resnet_v2")
    sides = {}
    with torch.device("meta"):
        model = StNet(config, 7).eval()
        for name in ("temporal1", "temporal2"):
            model.get_submodule(name).register_forward_pre_hook(
                lambda _m, args, name=name: sides.update({name: args[0].shape})
            )
        assert model(torch.empty(2, 25, 5, 3, 299, 299)).shape == (2, 7)
    assert sides == {"temporal1": (50, 320, 35, 35), "temporal2": (50, 1088, 17, 17)}
    assert model.xception.pointwise1.weight.shape == (1024, 1536, 1)
    assert model.trunk.conv2d_1a.conv.in_channels == 15
    assert MODEL.inputs(config).norm.mean == (0.5, 0.5, 0.5)


def test_inception_resnet_v2_sees_a_still_super_image_as_one_grey_picture():
    config = StNetConfig(trunk="inception_resnet_v2", frames=2)
    pretrained = MODEL.pretrained(config)
    assert pretrained.name == "inception_resnet_v2-imagenet"
    with torch.device("meta"):
        image = trunk("inception_resnet_v2").build(3).state_dict()
        model = StNet(config, 4)
    image["conv2d_1a.conv.weight"] = torch.randn(32, 3, 3, 3)
    adapted = pretrained.adapt(image)
    kernel = adapted["trunk.conv2d_1a.conv.weight"]
    assert kernel.shape == (32, 6, 3, 3)
    torch.testing.assert_close(kernel.sum(1), image["conv2d_1a.conv.weight"].sum(1), rtol=1e-4, atol=1e-5)
    assert {f"trunk.{name}" for name in image} == {n for n in model.state_dict() if n.startswith("trunk.")}


def test_super_images_are_stacked_frame_by_frame():
    model = built(frames=3).eval()
    seen = []
    model.trunk.conv1.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    clip_BTNCHW = torch.randn(2, 4, 3, 3, 32, 32)
    with torch.no_grad():
        model(clip_BTNCHW)
    stacked = torch.stack([torch.cat(list(clip_BTNCHW[b, t])) for b in range(2) for t in range(4)])
    assert torch.equal(seen[0], stacked)


def randomised(module):
    """Batch norms with statistics and scales that a mistake would show in."""
    for part in module.modules():
        if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d):
            for tensor in (part.weight.data, part.running_var):
                tensor.uniform_(0.5, 1.5)
            for tensor in (part.bias.data, part.running_mean):
                tensor.normal_()
    return module.eval()


def test_temporal_modelling_is_the_originals_conv3d():
    torch.manual_seed(0)
    block = randomised(TemporalModelling(6))
    nn.init.normal_(block.conv.bias)
    x_BTCHW = torch.randn(2, 5, 6, 4, 3)
    x_BCTHW = x_BTCHW.transpose(1, 2)
    with torch.no_grad():
        out = functional.conv3d(x_BCTHW, block.conv.weight[..., None], block.conv.bias, padding=(1, 0, 0)).relu()
        bn = block.bn
        out = functional.batch_norm(out, bn.running_mean, bn.running_var, bn.weight, bn.bias)
        expected = (x_BCTHW + out).transpose(1, 2).flatten(0, 1)
        torch.testing.assert_close(block(x_BTCHW.flatten(0, 1), 5), expected)


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_temporal_modelling_in_both_memory_formats(memory_format):
    torch.manual_seed(0)
    block = randomised(TemporalModelling(8))
    x = torch.randn(6, 8, 4, 4)
    with torch.no_grad():
        torch.testing.assert_close(block(x.to(memory_format=memory_format), 3), block(x, 3))


def test_temporal_blocks_keep_videos_apart():
    torch.manual_seed(0)
    block = randomised(TemporalModelling(4))
    x_NCHW = torch.randn(6, 4, 2, 2)
    other = x_NCHW.clone()
    other[3:] += 1
    with torch.no_grad():
        assert torch.equal(block(x_NCHW, 3)[:3], block(other, 3)[:3])
        assert not torch.equal(block(x_NCHW, 6)[:3], block(other, 6)[:3])


def test_temporal_xception_of_one_step_is_pointwise():
    """With one segment the depthwise convolutions see their middle tap only."""
    torch.manual_seed(0)
    block = randomised(TemporalXception(5, 3))
    x_BD = torch.randn(2, 5)

    def dense(layer, x):
        return functional.linear(x, layer.weight[..., 0], layer.bias)

    def middle(layer, x):
        return x * layer.weight[:, 0, 1] + layer.bias

    with torch.no_grad():
        x = block.bn_in(x_BD)
        out = block.bn(dense(block.pointwise1, middle(block.depthwise1, x))).relu()
        out = dense(block.pointwise2, middle(block.depthwise2, out)) + dense(block.shortcut, x)
        torch.testing.assert_close(block(x_BD[..., None])[..., 0], block.bn_out(out).relu())


@pytest.mark.parametrize(
    ("depth", "widths"), [(18, (128, 256, 512)), (50, (512, 1024, 2048)), (152, (512, 1024, 2048))]
)
def test_widths_of_the_temporal_blocks(depth, widths):
    with torch.device("meta"):
        model = StNet(StNetConfig(depth=depth), 7)
    first, second, third = widths
    assert model.temporal1.conv.weight.shape == (first, first, 3, 1)
    assert model.temporal2.conv.weight.shape == (second, second, 3, 1)
    assert model.xception.pointwise1.weight.shape == (1024, third, 1)
    assert model.fc.weight.shape == (7, 1024)


@pytest.mark.parametrize(("segments", "size"), [(1, (32, 32)), (4, (48, 48)), (9, (33, 47)), (25, (64, 40))])
def test_any_number_of_segments_and_any_size(segments, size):
    model = built().eval()
    with torch.no_grad():
        logits_BK = model(torch.randn(2, segments, 2, 3, *size))
    assert logits_BK.shape == (2, 4)
    assert logits_BK.isfinite().all()


def test_two_segments_train_in_bf16():
    """Where the Conv3d of torch 2.13 gives NaN on a CPU."""
    model = built().train()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits_BK = model(torch.randn(2, 2, 2, 3, 32, 32))
    logits_BK.float().square().sum().backward()
    for block in (model.temporal1, model.temporal2):
        assert block.conv.weight.grad.isfinite().all()


def test_it_learns_the_order_of_frames_in_a_few_steps():
    """Growing against fading brightness: single frames, and their average, say nothing."""
    torch.manual_seed(0)
    model = built(segments=4).train()
    ramp = torch.linspace(-1, 1, 8).view(4, 2, 1, 1, 1)
    clip = torch.stack([ramp, -ramp]).repeat(4, 1, 1, 3, 32, 32) + 0.1 * torch.randn(8, 4, 2, 3, 32, 32)
    label_B = torch.tensor([0, 1] * 4)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    losses = []
    for _ in range(12):
        loss = functional.cross_entropy(model(clip), label_B)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[0] > 0.5
    assert losses[-1] < 0.1


def test_initialisation_is_fluids():
    model = built(depth=50, segments=2)
    conv = model.trunk.layer4[1].conv1  # 512 x 2048 x 1 x 1
    assert conv.weight.std().item() == pytest.approx((2 / 2048) ** 0.5, rel=0.01)
    for layer, fan_in in (
        (model.temporal2.conv, 1024 * 3),
        (model.xception.depthwise1, 3),
        (model.xception.shortcut, 2048),
    ):
        bound = (6 / fan_in) ** 0.5
        assert bound * 0.97 < layer.weight.abs().max().item() <= bound * (1 + 1e-6)
        assert layer.bias.abs().max() == 0
    bound = 2048**-0.5
    assert bound * 0.97 < model.fc.weight.abs().max().item() <= bound
    assert model.fc.bias.abs().max() == 0


def test_imagenet_conv1_sees_a_still_super_image_as_one_grey_picture():
    config = replace(TINY, frames=5)
    pretrained = MODEL.pretrained(config)
    assert pretrained.name == "resnet18-imagenet"
    torch.manual_seed(0)
    image = trunk("resnet18").build(3)
    adapted = pretrained.adapt(pretrained.layouts[pretrained.weights.layout](image.state_dict()))
    model = StNet(config, 4)
    missing, unexpected = model.load_state_dict(adapted, strict=False)
    assert unexpected == []
    assert all(not name.startswith("trunk.") for name in missing)
    grey = torch.randn(1, 1, 16, 16)
    with torch.no_grad():
        torch.testing.assert_close(
            model.trunk.conv1(grey.repeat(1, 15, 1, 1)), image.conv1(grey.repeat(1, 3, 1, 1)), rtol=1e-4, atol=1e-5
        )
    kernel = adapted["trunk.conv1.weight"]
    torch.testing.assert_close(kernel[:, 7], image.conv1.weight.detach().mean(1) / 5)


def test_what_imagenet_does_not_give():
    """Facts: 36 variables are not loaded; torch counts the batches of the five batch norms beside them."""
    with torch.device("meta"):
        model = StNet(StNetConfig(), 400)
    rest = [name for name in model.state_dict() if not name.startswith("trunk.")]
    assert sum(not name.endswith("num_batches_tracked") for name in rest) == 36


def test_every_parameter_decays_alike():
    (group,) = MODEL.recipe.param_groups(built())
    assert len(group.params) == len(list(built().parameters()))
    assert (group.lr_mult, group.decay_mult) == (1.0, 1.0)


def test_the_recipe_is_the_originals():
    recipe = MODEL.recipe
    assert (recipe.epochs, recipe.batch_size, recipe.micro_batch, recipe.lr) == (60, 128, 16, 0.01)
    assert (recipe.milestones, recipe.gamma, recipe.momentum, recipe.weight_decay) == ((20, 40), 0.1, 0.9, 1e-4)
    assert recipe.clip_norm is None
    assert recipe.label_smoothing == recipe.warmup_epochs == 0
