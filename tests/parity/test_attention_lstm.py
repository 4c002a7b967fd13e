"""Attention LSTM against PaddlePaddle/models: its weights through our layout, its logits from our model."""

import pytest
import torch
from feature_cases import load

from vtk_cli.errors import CheckpointError
from vtk_models.attention_lstm import MODEL, AttentionLSTMConfig
from vtk_models.peephole_lstm import run_side_by_side


@pytest.fixture(scope="module")
def case(shared):
    return load(shared, "attlstm_small_eval")


@pytest.fixture(scope="module")
def config(case):
    return AttentionLSTMConfig(**MODEL.layouts["paddle"].infer(case.weights))


@pytest.fixture(scope="module")
def model(case, config):
    model = MODEL.build(config, 12)
    model.load_state_dict(MODEL.layouts["paddle"](case.weights), strict=True)
    return model.double().eval()


def test_the_configuration_is_seen_from_the_tensors(config):
    assert config == AttentionLSTMConfig(streams=("rgb:16", "audio:8"), embedding=12, lstm=10)


@pytest.mark.parametrize("padding", [0, 7])
def test_logits_equal_the_originals(case, config, model, padding):
    """The reference is float32; what we leave is 3e-7 of the largest logit."""
    with torch.no_grad():
        logits = model(*case.batch(MODEL.inputs(config), padding))
    largest = case.logits.abs().max().item()
    torch.testing.assert_close(logits, case.logits.double(), rtol=0, atol=5e-6 * largest)


def test_without_peepholes_the_logits_are_others(case, config, model):
    state = {name: torch.zeros_like(t) if "peephole" in name else t for name, t in model.state_dict().items()}
    other = MODEL.build(config, 12).double().eval()
    other.load_state_dict(state)
    with torch.no_grad():
        logits = other(*case.batch(MODEL.inputs(config)))
    assert (logits - case.logits).abs().max() > 1e-3 * case.logits.abs().max()


def test_the_states_of_both_directions_equal_the_originals(case, config, model):
    feature, mask = case.batch(MODEL.inputs(config))
    with torch.no_grad():
        stream = model.streams[0]
        (state,) = run_side_by_side([stream.lstm], [stream.embed(feature[..., :16]).tanh()], mask)
    forward, backward = state[mask].float().split(10, dim=1)
    torch.testing.assert_close(forward, torch.from_numpy(case.stored["res/lstm_fw0"]), rtol=0, atol=1e-6)
    torch.testing.assert_close(backward, torch.from_numpy(case.stored["res/lstm_bw0"]), rtol=0, atol=1e-6)


@pytest.mark.parametrize("lost", ["lstm_3.b_0", "fc_10.w_0"])
def test_a_lost_tensor_is_named(case, lost):
    checkpoint = {name: array for name, array in case.weights.items() if name != lost}
    with pytest.raises(CheckpointError, match=f"missing: {lost}"):
        MODEL.layouts["paddle"](checkpoint)


def test_a_layer_too_many_is_named(case):
    with pytest.raises(CheckpointError, match=r"unexpected: fc_11\.w_0"):
        MODEL.layouts["paddle"]({**case.weights, "fc_11.w_0": case.weights["fc_10.w_0"]})


@pytest.mark.parametrize(("peepholes", "parameters"), [(True, 108_749_592), (False, 108_737_304)])
def test_number_of_parameters(peepholes, parameters):
    with torch.device("meta"):
        model = MODEL.build(AttentionLSTMConfig(peepholes=peepholes), 3862)
    assert sum(p.numel() for p in model.parameters()) == parameters
