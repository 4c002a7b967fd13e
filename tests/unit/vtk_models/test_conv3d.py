import pytest
import torch
from torch.nn import functional

from vtk_models.conv3d import Conv3d, TemporalConv


def gradients(conv, x, dtype):
    """What reaches the weights and the clip, in float64."""
    conv.zero_grad()
    x = x.clone().requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype is torch.bfloat16):
        y = conv(x)
    torch.autograd.backward(y.float().square().mean())
    return conv.weight.grad.double(), x.grad.double()


def difference(found, expected):
    return ((found - expected).norm() / expected.norm()).item()


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last_3d])
@pytest.mark.parametrize("frames", [1, 2, 3, 4, 6])
@pytest.mark.parametrize(
    "make",
    [
        lambda: Conv3d(16, 16, (3, 3, 3), 1, (1, 1, 1), bias=False),
        lambda: Conv3d(16, 16, (7, 3, 3), (1, 2, 2), (3, 1, 1), bias=False),
        lambda: TemporalConv(16, 16, 3),
        lambda: TemporalConv(16, 16, 7),
    ],
)
def test_bf16_gradients_are_right_for_any_number_of_frames(make, frames, memory_format):
    """torch's own are off by 0.8 and more, or NaN, for 1 < frames < kernel; bfloat16's rounding makes 0.004."""
    torch.manual_seed(0)
    conv = make().to(memory_format=memory_format)
    x = torch.randn(2, 16, frames, 7, 7).to(memory_format=memory_format)
    for found, expected in zip(gradients(conv, x, torch.bfloat16), gradients(conv, x, torch.float32), strict=True):
        assert difference(found, expected) < 0.02


def test_zeros_are_put_before_and_after_only_where_they_are_needed(monkeypatch):
    """Neither in float32, nor without gradients, nor where a clip has as many frames as the kernel."""
    padded, pad = [], functional.pad
    monkeypatch.setattr(functional, "pad", lambda x, sizes: padded.append(sizes) or pad(x, sizes))
    conv = Conv3d(2, 2, 3, padding=1, bias=False)
    for frames in (1, 2, 3):
        conv(torch.randn(1, 2, frames, 5, 5))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        for frames in (1, 3):
            conv(torch.randn(1, 2, frames, 5, 5))
        with torch.no_grad():
            conv(torch.randn(1, 2, 2, 5, 5))
        assert not padded
        conv(torch.randn(1, 2, 2, 5, 5))
    assert padded == [(0, 0, 0, 0, 1, 1)]


@pytest.mark.parametrize(("kernel", "stride"), [(3, 1), (3, 2), (7, 2), (1, 1)])
def test_a_temporal_convolution_is_torchs_with_its_parameters(kernel, stride):
    torch.manual_seed(0)
    conv = TemporalConv(3, 4, kernel, stride).double()
    assert conv.weight.shape == (4, 3, kernel, 1, 1)
    assert conv.bias is None
    x = torch.randn(2, 3, 5, 4, 6, dtype=torch.double)
    expected = functional.conv3d(x, conv.weight, None, (stride, 1, 1), (kernel // 2, 0, 0))
    torch.testing.assert_close(conv(x), expected, rtol=1e-12, atol=1e-12)
    last = x.to(memory_format=torch.channels_last_3d)
    torch.testing.assert_close(conv(last), expected, rtol=1e-12, atol=1e-12)
