import pytest
import torch
from torch.nn import functional

from vtk_models.interlace import Interlace, InterlacedConv, _mix_plainly, mix, move_matrix

FORMATS = [torch.contiguous_format, torch.channels_last]


def moved(x_BTC, offset_BG):
    """Frame by frame, as the paper draws it: the two neighbours of the place a frame's content comes from."""
    num_segments, channels = x_BTC.shape[1:]
    out = torch.zeros_like(x_BTC)
    for b, offsets in enumerate(offset_BG):
        for c in range(channels):
            offset = offsets[c * len(offsets) // channels].item()
            whole = int(offset // 1)
            for t in range(num_segments):
                for frame, share in ((t - whole, 1 - (offset - whole)), (t - whole - 1, offset - whole)):
                    if 0 <= frame < num_segments:
                        out[b, t, c] += share * x_BTC[b, frame, c]
    return out


@pytest.mark.parametrize("num_segments", [1, 2, 5, 8])
def test_a_move_takes_both_neighbours_and_zeros_beyond_the_clip(num_segments):
    torch.manual_seed(0)
    offset_BG = torch.tensor([[0.5, -1.75, 0.0, 1.0], [-0.25, 2.0, -7.5, 9.0]])
    x_BTC = torch.randn(2, num_segments, 8)
    out = mix(x_BTC.reshape(-1, 8, 1, 1), move_matrix(offset_BG, num_segments), 8).view_as(x_BTC)
    torch.testing.assert_close(out, moved(x_BTC, offset_BG))


@pytest.mark.parametrize("memory_format", FORMATS)
@pytest.mark.parametrize(("channels", "side"), [(16, (3, 5)), (8, (1, 1)), (4, (2, 2))])
def test_values_and_gradients_are_the_plain_formulas(memory_format, channels, side):
    torch.manual_seed(0)
    offset_BG = torch.randn(3, 4, dtype=torch.double)
    grad = torch.randn(12, 16, *side, dtype=torch.double)
    results = []
    for function in (mix, _mix_plainly):
        x = torch.randn(12, 16, *side, dtype=torch.double, generator=torch.Generator().manual_seed(1))
        x = x.to(memory_format=memory_format).requires_grad_()
        offset = offset_BG.clone().requires_grad_()
        out = function(x, move_matrix(offset, 4), channels)
        out.backward(grad)
        results.append((out, x.grad, offset.grad))
    for ours, plain in zip(*results, strict=True):
        torch.testing.assert_close(ours, plain, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("memory_format", FORMATS)
def test_the_memory_format_is_kept(memory_format):
    x = torch.randn(8, 16, 4, 4).to(memory_format=memory_format).requires_grad_()
    out = Interlace(16, 4, 4)(x)
    out.sum().backward()
    for tensor in (out, x.grad):
        assert tensor.is_contiguous(memory_format=memory_format)


@pytest.mark.parametrize("memory_format", FORMATS)
def test_the_mean_over_pixels_passes_its_gradient_on(memory_format):
    """Against autograd's own: what the networks see of a map adds to the gradient of its first channels."""
    torch.manual_seed(0)
    module = Interlace(16, 4, 2).double()
    x = torch.randn(8, 16, 3, 2, dtype=torch.double).to(memory_format=memory_format).requires_grad_()
    module(x).square().sum().backward()
    plain = x.detach().clone().requires_grad_()
    mean_BFT = plain[:, :8].mean((2, 3)).view(2, 4, 8).mT
    offset_BP, weight_BPT = module.offset(mean_BFT), module.weight(mean_BFT)
    matrix = move_matrix(torch.cat((offset_BP, -offset_BP), 1), 4) * weight_BPT.repeat(1, 2, 1)[..., None]
    _mix_plainly(plain, matrix, 8).square().sum().backward()
    torch.testing.assert_close(x.grad, plain.grad, rtol=1e-10, atol=1e-10)


def test_the_input_stays_as_it_is():
    x = torch.randn(8, 16, 4, 4)
    before = x.clone()
    Interlace(16, 4, 4)(x).sum().backward()
    assert torch.equal(x, before)


@pytest.mark.parametrize("memory_format", FORMATS)
@pytest.mark.parametrize(("kernel", "stride", "side"), [(1, 1, (3, 5)), (1, 1, (1, 1)), (3, 1, (4, 4)), (3, 2, (5, 5))])
def test_an_interlaced_convolution_is_one_of_the_interlaced_map(memory_format, kernel, stride, side):
    torch.manual_seed(0)
    module = Interlace(16, 4, 2).double()
    conv = InterlacedConv.of(torch.nn.Conv2d(16, 6, kernel, stride, kernel // 2, bias=False)).double()
    maps = torch.randn(8, 16, *side, dtype=torch.double)
    results = []
    for function in (lambda x: conv(module.moves(x)), lambda x: conv(module(x))):
        x = maps.to(memory_format=memory_format).requires_grad_()
        out = function(x)
        assert out.is_contiguous(memory_format=memory_format)
        leaves = (x, conv.weight, *module.parameters())
        results.append((out, *torch.autograd.grad(out.sin().sum(), leaves)))
    for ours, plain in zip(*results, strict=True):
        torch.testing.assert_close(ours, plain, rtol=1e-10, atol=1e-10)


def test_an_interlaced_convolution_keeps_its_weight_and_takes_plain_maps():
    conv = torch.nn.Conv2d(8, 4, 1, bias=False)
    interlaced = InterlacedConv.of(conv)
    assert interlaced.weight is conv.weight
    x = torch.randn(2, 8, 3, 3)
    assert torch.equal(interlaced(x), conv(x))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_an_interlaced_convolution_under_autocast(dtype):
    module, conv = Interlace(16, 4, 4), InterlacedConv.of(torch.nn.Conv2d(16, 6, 1, bias=False))
    x = torch.randn(8, 16, 4, 4, dtype=dtype, requires_grad=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out, plain = conv(module.moves(x)), conv(module(x))
    assert out.dtype == torch.bfloat16
    torch.testing.assert_close(out, plain, rtol=0.05, atol=0.05)
    out.float().square().sum().backward()
    assert all(p.grad.isfinite().all() for p in (x, conv.weight, *module.parameters()))


def test_a_whole_offset_has_the_gradient_of_its_fraction():
    x = torch.randn(4, 4, 1, 1, dtype=torch.double)
    offset = torch.zeros(1, 1, dtype=torch.double, requires_grad=True)
    mix(x, move_matrix(offset, 4), 4).sum().backward()
    # y = (1 - b) x[t] + b x[t - 1], summed: all but the last frame come again, all go.
    assert offset.grad.item() == pytest.approx(-x[3].sum().item())


def test_it_starts_with_half_a_frame_at_full_weight():
    module = Interlace(16, 4, 4)
    with torch.no_grad():
        for layer in (module.offset.fc2, module.weight.conv):
            layer.weight.zero_()
    ones = torch.ones(4, 16, 1, 1)
    first = module(ones)[0, :, 0, 0]
    torch.testing.assert_close(first[:4], torch.tensor([0.5, 0.5, 1.0, 1.0]), atol=3e-5, rtol=0)
    assert torch.equal(first[4:], torch.ones(12))


def test_each_group_has_its_offset_and_its_weight():
    module = Interlace(8, 3, 2)
    with torch.no_grad():
        module.offset.fc2.weight.zero_()
        module.offset.fc2.bias.copy_(torch.logit(torch.tensor([0.75, 0.625])))  # b = (1, 0.5)
        module.weight.conv.weight.zero_()
        module.weight.conv.bias.copy_(torch.logit(torch.tensor([0.25, 0.75])))  # w = (0.5, 1.5)
        x = torch.arange(1.0, 4).view(3, 1, 1, 1).expand(3, 8, 1, 1).contiguous()
        out = module(x)[:, :, 0, 0].T
    expected = [[0, 0.5, 1], [0.75, 2.25, 3.75], [1, 1.5, 0], [2.25, 3.75, 2.25], *[[1, 2, 3]] * 4]
    torch.testing.assert_close(out, torch.tensor(expected))


def test_bf16_autocast_leaves_offsets_their_precision():
    module = Interlace(16, 4, 4)
    seen = []
    module.offset.register_forward_hook(lambda _m, _a, out: seen.append(out))
    x = torch.randn(8, 16, 4, 4, requires_grad=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = module(x.bfloat16())
    out.float().sum().backward()
    assert seen[0].dtype == torch.float32
    assert out.dtype == torch.bfloat16
    assert all(p.grad.isfinite().all() for p in module.parameters())


def test_frozen_parts_need_no_gradient():
    module = Interlace(16, 4, 4).requires_grad_(requires_grad=False)
    x = torch.randn(8, 16, 2, 2, requires_grad=True)
    module(x).sum().backward()
    assert x.grad.isfinite().all()
    x = torch.randn(8, 16, 2, 2)
    module.requires_grad_()
    module(x).sum().backward()
    assert all(p.grad is not None for p in module.parameters())


def test_clips_of_a_batch_do_not_see_each_other():
    module = Interlace(8, 2, 1)
    x = torch.randn(6, 8, 2, 2)
    with torch.no_grad():
        torch.testing.assert_close(module(x)[2:4], module(x[2:4]))


def test_its_mix_is_linear():
    """y = M x per channel: two moves by one frame are a move by two, but for what the border takes."""
    one, two = (move_matrix(torch.tensor([[offset]]), 5) for offset in (1.0, 2.0))
    assert torch.equal(one @ one, two)
    x = torch.randn(5, 1, 2, 2)
    torch.testing.assert_close(mix(mix(x, one, 1), one, 1), mix(x, two, 1))
    assert functional.mse_loss(mix(x, two, 1)[2:], x[:-2]).item() == 0


def test_the_exported_graph_takes_any_number_of_clips():
    """It holds the plain formula."""
    torch.manual_seed(0)
    module = Interlace(8, 4, 1).eval()
    clips = torch.export.Dim("clips", min=1, max=8)
    x = torch.randn(8, 8, 2, 2)
    program = torch.export.export(module, (x,), dynamic_shapes=({0: 4 * clips},))
    x = torch.randn(12, 8, 2, 2)
    with torch.no_grad():
        torch.testing.assert_close(program.module()(x), module(x))


def test_it_compiles_as_one_graph():
    explained = torch._dynamo.explain(Interlace(8, 4, 1))(torch.randn(8, 8, 2, 2, requires_grad=True))
    assert explained.graph_break_count == 0, explained.break_reasons
