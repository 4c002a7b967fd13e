"""C2D and I3D with non-local blocks against Paddle's library and PySlowFast, with their weights and their names."""

import json

import numpy as np
import pytest
import torch

from vtk_models.nonlocal_model import MODEL
from vtk_models.nonlocal_net import Nonlocal, NonlocalConfig

PADDLE = "nonlocal_c2d50_4x197_c10_infer"


def loaded(layout, checkpoint, num_classes, **fields):
    config = NonlocalConfig(**{**MODEL.layouts[layout].infer(checkpoint), **fields})
    model = Nonlocal(config, num_classes)
    model.load_state_dict(MODEL.layouts[layout](checkpoint), strict=True)
    return model.double().eval()


@pytest.fixture(scope="module")
def i3d(torch_fixture):
    fixture = torch_fixture("i3d_nln_8x8_r50")
    return fixture, loaded("pyslowfast", fixture.published(), 400, crop=fixture.meta["train_crop"])


def clip_of(x_BCTHW):
    return x_BCTHW.double().transpose(1, 2)[:, None]


def test_i3d_logits_equal_pyslowfasts(i3d):
    fixture, model = i3d
    with torch.no_grad():
        logits = model(clip_of(fixture.inputs[0]))
    torch.testing.assert_close(logits, fixture.logits64, rtol=0, atol=1e-10 * fixture.logits64.abs().max().item())
    assert sum(p.numel() for p in model.parameters()) == fixture.params


def test_i3d_classifies_larger_crops_as_pyslowfast_does(i3d):
    """Twice the training crop: nine places. The reference is float32."""
    fixture, model = i3d
    inputs, probabilities = fixture.fcn
    with torch.no_grad():
        found = model(clip_of(inputs[0])).softmax(1)
    torch.testing.assert_close(found, probabilities.double(), rtol=0, atol=2e-6)


def test_c2d_probabilities_equal_paddles(shared, monkeypatch):
    """`prob_corrected`: what Paddle's softmax and mean should have given, see the facts' note on its CPU kernels."""
    folder = shared / "parity" / "paddle"
    monkeypatch.syspath_prepend(folder)
    import common

    with np.load(folder / f"{PADDLE}.npz") as stored:
        meta = json.loads(str(stored["meta"]))
        x_BCTHW = torch.from_numpy(common.gen_input(meta["salt"], "data", tuple(stored["in/data_shape"])))
        logits = torch.from_numpy(stored["res/logits"]).flatten(1).double()
        probabilities = torch.from_numpy(stored["res/prob_corrected"]).double()
    weights = {name: common.gen(meta["salt"], name, shape, kind) for name, shape, kind in meta["params"]}
    model = loaded("paddle", weights, 10, frames=4)
    with torch.no_grad():
        found = model(clip_of(x_BCTHW))
    torch.testing.assert_close(found, logits, rtol=0, atol=5e-6 * logits.abs().max().item())
    torch.testing.assert_close(found.softmax(1), probabilities, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("fields", "parameters", "tensors", "statistics"),
    [
        ({"backbone": "c2d"}, 31_686_096, 327, 61_312),
        ({"backbone": "i3d"}, 35_401_936, 327, 61_312),
        ({"backbone": "c2d", "depth": 101}, 50_678_224, 582, 113_536),
        ({"backbone": "i3d", "depth": 101}, 59_112_656, 582, 113_536),
        ({"backbone": "c2d", "kind": "none", "style": "pyslowfast"}, 24_327_632, 267, 53_120),
        ({"backbone": "i3d", "kind": "none", "style": "pyslowfast"}, 28_043_472, 267, 53_120),
        ({"backbone": "i3d", "style": "pyslowfast"}, 35_401_936, 327, 61_312),
    ],
)
def test_sizes(fields, parameters, tensors, statistics):
    """Facts: parameters, variables and elements of batch-norm statistics; torch adds a counter per batch norm."""
    with torch.device("meta"):
        model = Nonlocal(NonlocalConfig(**fields), 400)
    state = model.state_dict()
    assert sum(p.numel() for p in model.parameters()) == parameters
    assert sum(not name.endswith("num_batches_tracked") for name in state) == tensors
    assert sum(tensor.numel() for name, tensor in state.items() if "running_" in name) == statistics
