"""TIN against its original: the operator's values and gradients, and a whole model's logits."""

import numpy as np
import pytest
import torch

from vtk_models.interlace import Interlace, mix, move_matrix
from vtk_models.tin import MODEL, TINConfig

NAMES = {
    "offset.conv": "biasnet.net.conv",
    "offset.fc1": "biasnet.net.fc",
    "offset.fc2": "biasnet.net.lastlayer",
    "weight.conv": "weightnet.net.lastlayer",
}
FORMATS = [torch.contiguous_format, torch.channels_last]


@pytest.fixture(scope="module")
def units(shared):
    with np.load(shared / "parity" / "torch" / "units" / "tin.npz") as stored:
        return {key: torch.from_numpy(stored[key]) for key in stored}


def close(ours, reference):
    """1e-6 of the largest value; the references are float32."""
    torch.testing.assert_close(ours, reference, rtol=0, atol=1e-6 * max(1.0, reference.abs().max().item()))


@pytest.mark.parametrize("case", range(4))
def test_whole_shifts(units, case):
    x = units[f"shift{case}/x"].requires_grad_()
    _, num_segments, channels, pixels = x.shape
    matrix = move_matrix(units[f"shift{case}/s"].float(), num_segments)
    y = mix(x.reshape(-1, channels, pixels, 1), matrix, channels).view_as(x)
    y.backward(units[f"shift{case}/g"])
    assert torch.equal(y, units[f"shift{case}/y"])
    assert torch.equal(x.grad, units[f"shift{case}/gx"])


@pytest.mark.parametrize("memory_format", FORMATS)
@pytest.mark.parametrize("case", range(2))
def test_fractional_shifts_and_their_gradients(units, case, memory_format):
    x = units[f"lin{case}/x"].clone().requires_grad_()
    offset = units[f"lin{case}/b"].clone().requires_grad_()
    channels = x.shape[2]
    maps = x.flatten(0, 1).to(memory_format=memory_format)
    y = mix(maps, move_matrix(offset, x.shape[1]), channels).view_as(x)
    y.backward(units[f"lin{case}/g"])
    for ours, name in ((y, "y"), (x.grad, "gx"), (offset.grad, "gb")):
        close(ours, units[f"lin{case}/{name}"])


@pytest.mark.parametrize("memory_format", FORMATS)
@pytest.mark.parametrize(("case", "shift_div"), [(0, 4), (1, 4), (2, 1)])
def test_the_module_with_its_networks(units, case, shift_div, memory_format):
    names = {f"{ours}.{part}": f"{theirs}.{part}" for ours, theirs in NAMES.items() for part in ("weight", "bias")}
    x = units[f"tds{case}/x"].clone().requires_grad_()
    module = Interlace(x.shape[1], units[f"tds{case}/weight"].shape[1], shift_div)
    module.load_state_dict({ours: units[f"tds{case}/sd/{theirs}"] for ours, theirs in names.items()})
    offsets = []
    module.offset.register_forward_hook(lambda _m, _a, out: offsets.append(out))
    y = module(x.to(memory_format=memory_format))
    y.backward(units[f"tds{case}/g"])
    close(y, units[f"tds{case}/y"])
    close(x.grad, units[f"tds{case}/gx"])
    close(torch.cat((offsets[0], -offsets[0]), 1), units[f"tds{case}/offset"])
    for layer, theirs in NAMES.items():
        # Together, as a bias' gradient is a sum that cancels: exact arithmetic is 4e-6 from the float32 reference's.
        grads = torch.cat([module.get_parameter(f"{layer}.{part}").grad.flatten() for part in ("weight", "bias")])
        close(grads, torch.cat([units[f"tds{case}/gp/{theirs}.{part}"].flatten() for part in ("weight", "bias")]))


def test_logits_equal_the_originals(torch_fixture):
    """In float64 both do the same arithmetic."""
    case = torch_fixture("tin_r50")
    layout = MODEL.layouts["tin"]
    config = TINConfig(**layout.infer(case.published()))
    assert config == TINConfig(trunk="resnet50", segments=8, shift_div=4)
    model = MODEL.build(config, 174).eval()
    model.load_state_dict(layout(case.published()), strict=True)
    assert sum(p.numel() for p in model.parameters()) == case.params
    clip_BTNCHW = case.inputs[0][:1].view(1, 8, 1, 3, 112, 112)
    with torch.no_grad():
        logits = model.double()(clip_BTNCHW.double())
    torch.testing.assert_close(logits, case.logits64[:1], rtol=1e-10, atol=1e-10)


def test_the_dialects_hold_the_same_tensors(torch_fixture):
    """X-Temporal's names are the original's without `module.`; MMAction2's are others for the same tensors."""
    from vtk_models.tin_layouts import mmaction2_name

    case = torch_fixture("tin_r50")
    ours = MODEL.layouts["tin"](case.published())
    x_temporal = MODEL.layouts["x-temporal"]({"model": case.state_dict, "epoch": 35})
    mmaction2 = MODEL.layouts["mmaction2"](
        {"meta": {}, "state_dict": {mmaction2_name(n, {}): t for n, t in ours.items()}}
    )
    assert len(ours) == 448
    for other in (x_temporal, mmaction2):
        assert other.keys() == ours.keys()
        assert all(torch.equal(other[name], tensor) for name, tensor in ours.items())


@pytest.mark.parametrize(
    ("changes", "num_classes", "parameters", "tensors"),
    [
        ({}, 174, 23_895_566, 448),
        ({}, 400, 24_358_640, 448),
        ({"segments": 16}, 313, 24_183_833, 448),
        ({"trunk": "resnet101"}, 313, 43_213_254, 890),
    ],
)
def test_number_of_parameters_and_tensors(changes, num_classes, parameters, tensors):
    with torch.device("meta"):
        model = MODEL.build(TINConfig(**changes), num_classes)
    assert sum(p.numel() for p in model.parameters()) == parameters
    assert len(model.state_dict()) == tensors
