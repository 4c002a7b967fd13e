import pytest
import torch
from torch import nn

from vtk_models.shift import DIRECTIONS, temporal_pool, temporal_shift

LAYOUTS = [torch.contiguous_format, torch.channels_last]


def numbered(frames=3, channels=4, videos=1):
    """Frame t of channel c holds 10 t + c."""
    t = torch.arange(videos * frames).view(-1, 1, 1, 1) * 10
    return (t + torch.arange(channels).view(1, -1, 1, 1)).float() + 1


@pytest.mark.parametrize(
    ("direction", "first", "second"),
    [
        ("next_first", [11, 21, 0], [0, 2, 12]),
        ("prev_first", [0, 1, 11], [12, 22, 0]),
        ("online", [0, 1, 11], [2, 12, 22]),
    ],
)
def test_drawn_directions(direction, first, second):
    shifted = temporal_shift(numbered(), 3, div=4, direction=direction)[:, :, 0, 0]
    assert shifted[:, 0].tolist() == first
    assert shifted[:, 1].tolist() == second
    assert shifted[:, 2:].tolist() == numbered()[:, 2:, 0, 0].tolist()


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_videos_do_not_mix(direction):
    two = temporal_shift(numbered(videos=2), 3, div=4, direction=direction)
    for video in (0, 1):
        alone = temporal_shift(numbered(videos=2)[3 * video : 3 * video + 3], 3, div=4, direction=direction)
        assert torch.equal(two[3 * video : 3 * video + 3], alone)


def test_a_single_frame_loses_what_would_come_from_elsewhere():
    assert temporal_shift(numbered(frames=1), 1, div=4)[0, :, 0, 0].tolist() == [0, 0, 3, 4]


def test_fewer_channels_than_div_stay():
    x = numbered()
    assert temporal_shift(x, 3, div=8) is x


@pytest.mark.parametrize("memory_format", LAYOUTS)
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_gradients_of_first_and_second_order(memory_format, direction):
    x = torch.randn(4, 8, 2, 3, dtype=torch.float64).contiguous(memory_format=memory_format).requires_grad_()

    def shifted(x):
        return temporal_shift(x, 2, div=4, direction=direction)

    assert torch.autograd.gradcheck(shifted, x)
    assert torch.autograd.gradgradcheck(lambda x: shifted(x) ** 2, x)


@pytest.mark.parametrize("memory_format", LAYOUTS)
def test_the_memory_layout_stays(memory_format):
    x = torch.randn(8, 16, 3, 3).contiguous(memory_format=memory_format)
    assert temporal_shift(x, 4).stride() == x.stride()


def test_a_gradient_that_is_one_number_spread_out():
    x = torch.randn(4, 8, 2, 2, requires_grad=True)
    temporal_shift(x, 2, div=4).sum().backward()
    assert x.grad[:, 4:].eq(1).all()
    assert (x.grad[0::2, :2].eq(0).all(), x.grad[1::2, :2].eq(1).all()) == (True, True)


class Shifted(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(8, 4, 1)

    def forward(self, x):
        return self.conv(temporal_shift(x, 2))


def test_it_compiles_as_one_graph_and_exports():
    torch.manual_seed(0)
    model, x = Shifted(), torch.randn(4, 8, 2, 2, requires_grad=True)
    expected = model(x)
    (gradient,) = torch.autograd.grad(expected.square().sum(), x)
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")(x)
    torch.testing.assert_close(compiled, expected)
    torch.testing.assert_close(torch.autograd.grad(compiled.square().sum(), x)[0], gradient)
    torch.testing.assert_close(torch.export.export(model.eval(), (x.detach(),)).module()(x.detach()), expected)


def test_temporal_pooling_takes_the_maximum_of_three_and_every_other_frame():
    x = torch.tensor([1.0, 5.0, 2.0, 0.0, 3.0]).view(5, 1, 1, 1)
    assert temporal_pool(x, 5).flatten().tolist() == [5.0, 5.0, 3.0]
    assert temporal_pool(torch.cat((x, x - 1)), 5).flatten().tolist() == [5.0, 5.0, 3.0, 4.0, 4.0, 2.0]
