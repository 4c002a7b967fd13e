"""Attention Cluster against PaddlePaddle/models: its weights through our layout, its logits from our model."""

import pytest
import torch
from feature_cases import load

from vtk_cli.errors import CheckpointError
from vtk_models.attention_cluster import MODEL, AttentionClusterConfig


@pytest.fixture(scope="module")
def case(shared):
    return load(shared, "attcluster_small_eval")


@pytest.fixture(scope="module")
def config(case):
    return AttentionClusterConfig(**MODEL.layouts["paddle"].infer(case.weights))


def test_the_configuration_is_seen_from_the_tensors(config):
    assert config == AttentionClusterConfig(streams=("rgb:32", "audio:16"), clusters=(4, 3))


@pytest.mark.parametrize("padding", [0, 7])
def test_logits_equal_the_originals(case, config, padding):
    """The reference is float32; what we leave is 5e-7 of the largest logit."""
    model = MODEL.build(config, 12)
    model.load_state_dict(MODEL.layouts["paddle"](case.weights), strict=True)
    feature, mask = case.batch(MODEL.inputs(config), padding)
    with torch.no_grad():
        single = model.eval()(feature.float(), mask)
        double = model.double()(feature, mask)
    largest = case.logits.abs().max().item()
    torch.testing.assert_close(double, case.logits.double(), rtol=0, atol=5e-6 * largest)
    torch.testing.assert_close(single, case.logits, rtol=0, atol=1e-5 * largest)


def test_what_the_units_gathered_equals_the_originals(case, config):
    model = MODEL.build(config, 12).eval()
    model.load_state_dict(MODEL.layouts["paddle"](case.weights), strict=True)
    seen = []
    model.dropout.register_forward_hook(lambda _module, inputs, _output: seen.append(inputs[0]))
    with torch.no_grad():
        feature, mask = case.batch(MODEL.inputs(config))
        model(feature.float(), mask)
    # fluid's tap lies before its dropout.
    torch.testing.assert_close(seen[0], torch.from_numpy(case.stored["res/concat_att"]), rtol=0, atol=1e-6)


@pytest.mark.parametrize("lost", ["satt1.shift_b", "fc2.bias", "logistic.weights"])
def test_a_lost_tensor_is_named(case, lost):
    checkpoint = {name: array for name, array in case.weights.items() if name != lost}
    with pytest.raises(CheckpointError, match=f"missing: {lost}"):
        MODEL.layouts["paddle"](checkpoint)


def test_number_of_parameters():
    with torch.device("meta"):
        model = MODEL.build(AttentionClusterConfig(), 3862)
    assert sum(p.numel() for p in model.parameters()) == 57_807_830
    assert len(model.state_dict()) == 14
