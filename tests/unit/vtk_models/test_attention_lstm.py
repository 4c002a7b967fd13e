import dataclasses

import pytest
import sequence_checks as checks
import torch
from torch import nn

from vtk_cli.api.sampling import first
from vtk_cli.errors import CheckpointError, UsageError
from vtk_models.attention_lstm import MODEL, AttentionLSTMConfig
from vtk_models.peephole_lstm import Recurrence, run_side_by_side

WITHOUT_PEEPHOLES = dataclasses.replace(MODEL.tiny, embedding=6, lstm=4, peepholes=False)
ONE_STREAM = dataclasses.replace(MODEL.tiny, streams=("rgb:7",))
CONFIGS = [MODEL.tiny, WITHOUT_PEEPHOLES, ONE_STREAM]


@pytest.mark.parametrize("config", CONFIGS)
def test_padding_does_not_matter(config):
    checks.padding_does_not_matter(MODEL, config)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_gradients_reach_everything(dtype):
    checks.gradients_reach_everything(MODEL, MODEL.tiny, dtype)


def test_it_exports_and_compiles():
    checks.exports(MODEL, MODEL.tiny)
    checks.compiles_whole(MODEL, MODEL.tiny)


def test_the_order_of_the_frames_matters():
    model = checks.build(MODEL, MODEL.tiny).eval()
    feature, mask = checks.batch(MODEL.inputs(MODEL.tiny), [6, 6])
    with torch.no_grad():
        assert (model(feature.flip(1), mask) - model(feature, mask)).abs().max() > 1e-4


def test_without_peepholes_it_is_torchs_lstm():
    """The same parameters under the same names; packed sequences are torch's way not to see the padding."""
    model = checks.build(MODEL, WITHOUT_PEEPHOLES).double().eval()
    spec = MODEL.inputs(WITHOUT_PEEPHOLES)
    feature, mask = checks.batch(spec, [5, 1, 3])
    pooled = []
    for stream, part in zip(model.streams, feature.double().split(model.sizes, 2), strict=True):
        lstm = nn.LSTM(6, 4, batch_first=True, bidirectional=True).double()
        lstm.load_state_dict(stream.lstm.state_dict())
        packed = nn.utils.rnn.pack_padded_sequence(
            stream.embed(part).tanh(), mask.sum(1), batch_first=True, enforce_sorted=False
        )
        state, _ = nn.utils.rnn.pad_packed_sequence(lstm(packed)[0], batch_first=True)
        scores = stream.attention(state)[..., 0]
        weights = [scores[b, : mask[b].sum()].softmax(0) for b in range(3)]
        pooled.append(torch.stack([weight @ state[b, : len(weight)] for b, weight in enumerate(weights)]))
    expected = model.fc(model.fc2(model.fc1(torch.cat(pooled, 1)).relu()).tanh())
    torch.testing.assert_close(model(feature.double(), mask), expected)


def test_a_step_is_what_the_formula_says():
    """Two steps of one unit each way, by hand."""
    config = AttentionLSTMConfig(streams=("rgb:1",), embedding=1, lstm=1, hidden=(2, 2))
    lstm = MODEL.build(config, 2).streams[0].lstm.double()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in lstm.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    x = torch.tensor([0.3, -0.7], dtype=torch.float64)

    def run(way, values):
        w, u, bias = (getattr(lstm, f"{name}{way}").flatten() for name in ("weight_ih", "weight_hh", "bias_ih"))
        bias = bias + getattr(lstm, f"bias_hh{way}")
        p_i, p_f, p_o = getattr(lstm, f"peephole{way}").flatten()
        h, c, states = 0.0, 0.0, []
        for value in values:
            i, f, g, o = w * value + u * h + bias
            c = torch.sigmoid(f + p_f * c) * c + torch.sigmoid(i + p_i * c) * torch.tanh(g)
            h = torch.sigmoid(o + p_o * c) * torch.tanh(c)
            states.append(h)
        return states

    (found,) = run_side_by_side([lstm], [x.view(1, 2, 1)], torch.ones(1, 2, dtype=torch.bool))
    expected = torch.stack([torch.stack(run("_l0", x)), torch.stack(run("_l0_reverse", x.flip(0))[::-1])], dim=1)
    torch.testing.assert_close(found[0], expected)


def test_under_autocast_the_cell_keeps_float32():
    """An LSTM whose forget gate stays open adds 300 times; bfloat16 would stop growing at 256 steps of one unit."""
    config = AttentionLSTMConfig(streams=("rgb:1",), embedding=1, lstm=1, hidden=(2, 2), frames=300)
    lstm = MODEL.build(config, 2).streams[0].lstm
    gates = torch.tensor([40.0, 40.0, 40.0, -5.0]).expand(300, 1, 1, 4).to(torch.bfloat16)
    peephole = torch.tensor([[[0.0], [0.0], [1 / 300]]])
    state = Recurrence.apply(gates, lstm.weight_hh_l0.detach()[None] * 0, peephole)
    assert state[-1].item() == pytest.approx(torch.sigmoid(torch.tensor(-4.0)).item(), rel=0.01)


@pytest.mark.parametrize("peepholes", [True, False])
def test_the_gradient_written_out_is_the_loops(peepholes):
    """Finite differences in float64, with a frame whose gates are shut, as padding's are."""
    generator = torch.Generator().manual_seed(0)
    shapes = [(4, 2, 2, 12), (2, 12, 3), (2, 3, 3)]
    gates, weight, peephole = (torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes)
    gates[0, 0, 1, :3], gates[0, 0, 1, 3:6] = -torch.inf, torch.inf
    arguments = [weight.requires_grad_(), peephole.requires_grad_() if peepholes else None]
    assert torch.autograd.gradcheck(lambda *found: Recurrence.apply(gates, *found), arguments)
    assert torch.autograd.gradcheck(
        lambda found: Recurrence.apply(found, weight.detach(), None), gates[1:].clone().requires_grad_()
    )


def test_biases_of_fully_connected_layers_do_not_decay_the_lstms_do():
    groups = {group.name: group for group in MODEL.recipe.param_groups(MODEL.build(MODEL.tiny, 3))}
    assert groups["bias"].decay_mult == 0
    assert {"fc.bias", "streams.0.lstm.bias_ih_l0", "streams.1.attention.bias"} <= set(groups["bias"].params)
    kept = set(groups["weight"].params)
    assert {"streams.0.lstm.bias_hh_l0_reverse", "streams.0.lstm.peephole_l0", "fc1.weight"} <= kept
    assert groups["weight"].decay_mult == 1


def test_inputs_are_the_first_300_frames():
    spec = MODEL.inputs(AttentionLSTMConfig())
    assert (spec.frames, spec.size, spec.sampler) == (300, 1152, first)


def test_initial_weights():
    config = AttentionLSTMConfig(streams=("rgb:60",), embedding=50, lstm=40, hidden=(30, 20))
    std = {
        "streams.0.embed.weight": (2 / 110) ** 0.5,
        "streams.0.lstm.weight_ih_l0": (2 / 210) ** 0.5,
        "streams.0.lstm.weight_hh_l0_reverse": (2 / 200) ** 0.5,
        "fc1.weight": (2 / 110) ** 0.5,
    }
    checks.is_drawn_with(MODEL, config, std)
    assert not checks.build(MODEL, config).streams[0].lstm.peephole_l0.any()
    plain = {"streams.0.lstm.weight_hh_l0": (1 / 40 / 3) ** 0.5, "streams.0.lstm.bias_hh_l0": (1 / 40 / 3) ** 0.5}
    checks.is_drawn_with(MODEL, dataclasses.replace(config, peepholes=False), plain)


@pytest.mark.parametrize(("field", "value"), [("embedding", 0), ("lstm", -1), ("hidden", (0, 4)), ("dropout", 1.0)])
def test_impossible_sizes_are_refused(field, value):
    with pytest.raises(UsageError, match=rf"Set model\.{field}"):
        AttentionLSTMConfig(**{field: value})


def dygraph_file(config, num_classes=3):
    """PaddleVideo's checkpoint of a model of ours: [in, out] matrices, and each of the LSTM's tensors twice."""
    names = {"fc1": "fc_out1", "fc2": "fc_out2", "fc": "fc_logit"}
    state = checks.build(MODEL, config, num_classes).state_dict()
    file = {"StructuredToParameterName@@": {}}
    for name, tensor in state.items():
        parts = name.split(".")
        if ".lstm." in name:
            place, kind = parts[1], parts[3]
            cell = "cell_bw" if kind.endswith("_reverse") else "cell_fw"
            file[f"head.bi_lstm{place}.0.{cell}.{kind.partition('_l0')[0]}"] = tensor.numpy()
            file[f"head.bi_lstm{place}.{kind}"] = tensor.numpy()
        else:
            layer = f"fc_feature{parts[1]}" if "embed" in parts else f"att_fc{parts[1]}" if "attention" in parts else ""
            file[f"head.{layer or names[parts[0]]}.{parts[-1]}"] = (
                tensor.t().numpy() if tensor.dim() > 1 else tensor.numpy()
            )
    return file, state


@pytest.mark.parametrize("config", [WITHOUT_PEEPHOLES, dataclasses.replace(WITHOUT_PEEPHOLES, streams=("rgb:9",))])
def test_paddlevideos_files_load(config):
    file, state = dygraph_file(config)
    layout = MODEL.layouts["paddle"]
    converted = layout(file)
    assert converted.keys() == state.keys()
    assert all(torch.equal(converted[name], tensor) for name, tensor in state.items())
    inferred = layout.infer(file)
    assert AttentionLSTMConfig(**inferred) == dataclasses.replace(config, frames=300)


@pytest.mark.parametrize("lost", ["head.att_fc1.bias", "head.fc_logit.weight"])
def test_a_lost_tensor_is_named(lost):
    file, _ = dygraph_file(WITHOUT_PEEPHOLES)
    del file[lost]
    with pytest.raises(CheckpointError, match=f"missing: {lost}"):
        MODEL.layouts["paddle"](file)


def test_an_unknown_tensor_is_named():
    file, _ = dygraph_file(WITHOUT_PEEPHOLES)
    with pytest.raises(CheckpointError, match=r"unexpected: head\.bi_lstm0\.weight_hh_l1"):
        MODEL.layouts["paddle"]({**file, "head.bi_lstm0.weight_hh_l1": torch.zeros(1)})


def test_infer_makes_nothing_of_another_file():
    assert MODEL.layouts["paddle"].infer({"other": torch.zeros(1)}) == {}
