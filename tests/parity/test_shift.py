"""The temporal shift and pooling against MIT's: outputs and gradients, in both memory layouts."""

import json

import numpy as np
import pytest
import torch

from vtk_models.shift import temporal_pool, temporal_shift


@pytest.fixture(scope="module")
def units(shared):
    folder = shared / "parity" / "torch" / "units"
    cases = json.loads((folder / "shift.json").read_text())["cases"]
    with np.load(folder / "shift.npz") as stored:
        return cases, {name: torch.from_numpy(array) for name, array in stored.items()}


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_shift_and_its_gradient_equal_mits(units, memory_format):
    cases, arrays = units
    assert len(cases) == 8
    for case in cases:
        x, y, grad, grad_x = (arrays[f"{case['case']}/{name}"] for name in ("x", "y", "g", "gx"))
        x = x.contiguous(memory_format=memory_format).detach().requires_grad_()
        found = temporal_shift(x, case["t"], div=case["shift_div"])
        found.backward(grad.contiguous(memory_format=memory_format))
        assert torch.equal(found, y), case
        torch.testing.assert_close(x.grad, grad_x, rtol=0, atol=1e-6)


def test_temporal_pooling_equals_mits(units):
    _, arrays = units
    assert torch.equal(temporal_pool(arrays["tpool/x"], 8), arrays["tpool/y"])
