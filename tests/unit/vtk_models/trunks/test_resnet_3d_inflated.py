import pytest
import torch
from torch import nn

from vtk_cli.errors import UsageError
from vtk_models.trunks.resnet_3d_inflated import C2D, FAST, I3D, SLOW, FrameConv, InflatedResNet, initialise

SPANS = {
    # stem, then the first convolution of each block of layer1 to layer4
    "c2d": (C2D, [1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1]),
    "i3d": (I3D, [5, 3, 3, 3, 3, 1, 3, 1, 3, 1, 3, 1, 3, 1, 1, 3, 1]),
    "slow": (SLOW, [1, 1, 1, 1, 1, 1, 1, 1, 3, 3, 3, 3, 3, 3, 3, 3, 3]),
    "fast": (FAST, [5, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3]),
}


def small(kernels, **options):
    return InflatedResNet(kernels, width=8, **options)


@pytest.mark.parametrize("name", SPANS)
def test_temporal_kernels_are_the_papers(name):
    kernels, spans = SPANS[name]
    with torch.device("meta"):
        net = InflatedResNet(kernels)
    convs = [net.conv1, *(block.conv1 for layer in net.layers for block in layer)]
    assert [conv.kernel_size[0] for conv in convs] == spans


@pytest.mark.parametrize(("kernels", "parameters"), [(C2D, 24_327_632), (I3D, 28_043_472), (SLOW, 32_454_096)])
def test_number_of_parameters_with_a_classifier_of_400(kernels, parameters):
    with torch.device("meta"):
        net = InflatedResNet(kernels)
    assert sum(p.numel() for p in net.parameters()) + 400 * (net.num_features + 1) == parameters


@pytest.mark.parametrize(("kernels", "frames"), [(C2D, 4), (I3D, 4), (SLOW, 8), (FAST, 8)])
def test_only_the_pool_after_layer1_reduces_frames(kernels, frames):
    net = small(kernels).eval()
    with torch.no_grad():
        assert net(torch.randn(1, 3, 8, 32, 64)).shape == (1, 256, frames, 1, 2)


def test_only_the_first_blocks_span_time():
    net = small(SLOW, depth=101, temporal_blocks=(None, None, 6, None))
    assert [block.conv1.kernel_size[0] for block in net.layer3] == [3] * 6 + [1] * 17


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last_3d])
@pytest.mark.parametrize(("side", "stride"), [(1, 2), (3, 1), (3, 2), (7, 2)])
def test_frames_apart_are_a_convolution_of_one_frame(side, stride, layout):
    by_frame = FrameConv(3, 4, side, stride)
    whole = nn.Conv3d(3, 4, (1, side, side), (1, stride, stride), (0, side // 2, side // 2), bias=False)
    whole.load_state_dict(by_frame.state_dict())
    x_BCTHW = torch.randn(2, 3, 3, 9, 10).contiguous(memory_format=layout)
    torch.testing.assert_close(by_frame(x_BCTHW), whole(x_BCTHW))


def test_non_local_blocks_stand_where_they_are_asked_for():
    net = small(
        SLOW, non_local=lambda channels: nn.Conv3d(channels, channels, 1), non_local_after=((), (1, 3), (), (0,))
    )
    found = [name for name, module in net.named_modules() if name.endswith("non_local")]
    assert found == ["layer2.1.non_local", "layer2.3.non_local", "layer4.0.non_local"]
    assert net.layer2[3].non_local.in_channels == 64


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"depth": 34}, "50, 101 or 152"),
        ({"non_local_after": ((), (4,), (), ())}, "blocks 0 to 3"),
        ({"non_local_after": ((), ())}, "4 layers"),
    ],
)
def test_what_there_is_not_is_refused(options, message):
    with torch.device("meta"), pytest.raises(UsageError, match=message):
        small(SLOW, **options)


def test_every_residual_branch_begins_at_zero():
    torch.manual_seed(0)
    net, linear = small(SLOW), nn.Linear(500, 400)
    initialise(linear)
    assert all(not block.bn3.weight.any() and block.bn1.weight.all() for layer in net.layers for block in layer)
    # He's normal over the outputs: 8 channels of 7x7.
    assert net.conv1.weight.std().item() == pytest.approx((2 / (8 * 49)) ** 0.5, rel=0.1)
    assert linear.weight.std().item() == pytest.approx(0.01, rel=0.01)
    assert not linear.bias.any()
