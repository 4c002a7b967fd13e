"""NeXtVLAD against PaddlePaddle/models: its weights through our layout, its logits from our model."""

import numpy as np
import pytest
import torch
from feature_cases import load

from vtk_cli.errors import CheckpointError
from vtk_models.nextvlad import MODEL, NeXtVLADConfig


@pytest.fixture(scope="module")
def case(shared):
    return load(shared, "nextvlad_small_eval")


@pytest.fixture(scope="module")
def config(case):
    return NeXtVLADConfig(**MODEL.layouts["paddle"].infer(case.weights))


@pytest.fixture(scope="module")
def model(case, config):
    model = MODEL.build(config, 12)
    model.load_state_dict(MODEL.layouts["paddle"](case.weights), strict=True)
    return model.double().eval()


def test_the_configuration_is_seen_from_the_tensors(config):
    assert config == NeXtVLADConfig(clusters=4, hidden=32, eigenvalues="weights")


@pytest.mark.parametrize("padding", [0, 7])
def test_logits_of_stored_bytes_equal_the_originals(case, config, model, padding):
    """Dequantised by the streams' numbers; the reference is float32, what we leave is 2e-7 of the largest logit."""
    assert case.streams[0][0].dtype == np.uint8
    with torch.no_grad():
        logits = model(*case.batch(MODEL.inputs(config), padding))
    largest = case.logits.abs().max().item()
    torch.testing.assert_close(logits, case.logits.double(), rtol=0, atol=5e-6 * largest)


def test_the_half_bin_matters(case, model):
    """YouTube-8M's own dequantisation of rgb gives other logits."""
    with torch.no_grad():
        logits = model(*case.batch(MODEL.inputs(NeXtVLADConfig(eigenvalues=None))))
    assert (logits - case.logits).abs().max() > 1e-3 * case.logits.abs().max()


def test_eigen_param_comes_with_the_weights(case, model, shared):
    """The reference's are made up: not those of YouTube-8M, which a new model starts with."""
    stored = np.load(shared / "parity" / "paddle" / "nextvlad_eigenvals.npy")[:1024, 0]
    torch.testing.assert_close(model.eigen_param, torch.from_numpy(np.sqrt(stored) + 1e-4), rtol=0, atol=1e-6)
    assert np.array_equal(case.weights["eigen_param"], model.eigen_param.float())


def test_vlads_equal_the_originals(case, config, model):
    seen = []
    branch = model.branches[0]
    handle = branch.dropout.register_forward_hook(lambda _module, inputs, _output: seen.append(inputs[0]))
    with torch.no_grad():
        model(*case.batch(MODEL.inputs(config)))
    handle.remove()
    expected = torch.from_numpy(case.stored["res/vlad_concat"])
    torch.testing.assert_close(seen[0].float(), expected, rtol=0, atol=1e-5 * expected.abs().max().item())


@pytest.mark.parametrize("lost", ["audio_cluster_weights2", "batch_norm_5.w_1", "eigen_param", "logits_clf_bias"])
def test_a_lost_tensor_is_named(case, lost):
    checkpoint = {name: array for name, array in case.weights.items() if name != lost}
    with pytest.raises(CheckpointError, match=f"missing: {lost}"):
        MODEL.layouts["paddle"](checkpoint)


SUBMISSION = {"dialect": "tensorflow", "clusters": 112, "gating_reduction": 16}


@pytest.mark.parametrize(
    ("changes", "parameters"),
    [
        ({}, 89_088_550),
        ({"dialect": "tensorflow"}, 88_889_378),
        ({**SUBMISSION, "mixture": 3}, 235_935_273),
    ],
    ids=["paddle", "tensorflow", "submission"],
)
def test_number_of_parameters(changes, parameters):
    with torch.device("meta"):
        model = MODEL.build(NeXtVLADConfig(**changes), 3862)
    assert sum(p.numel() for p in model.parameters()) == parameters


def test_number_of_tensors():
    """Facts: 42 trainable variables and batch-norm statistics, 82,432 elements of these, and the eigenvalues."""
    with torch.device("meta"):
        state = MODEL.build(NeXtVLADConfig(eigenvalues="weights"), 3862).state_dict()
    names = [name for name in state if not name.endswith("num_batches_tracked")]
    assert sum(state[name].numel() for name in names if "running_" in name) == 82_432
    assert len(names) == 42
    assert state["eigen_param"].numel() == 1024
