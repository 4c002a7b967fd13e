import dataclasses

import numpy as np
import pytest
import sequence_checks as checks
import torch
from nextvlad_formulas import Network, sigmoid, softmax
from torch import nn

from vtk_cli.api.sampling import first
from vtk_cli.errors import CheckpointError, UsageError
from vtk_models.nextvlad import HALF_BIN, MODEL, NeXtVLADConfig, extra_loss, param_groups
from vtk_models.nextvlad_blocks import FrameBatchNorm, MixtureOfExperts, eigenvalue_scale, fan_in_normal_

PADDLE = dataclasses.replace(MODEL.tiny, hidden=8, gating_reduction=2, eigenvalues="weights", dropout=0.0)
TENSORFLOW = dataclasses.replace(PADDLE, dialect="tensorflow")
MIXTURE = dataclasses.replace(TENSORFLOW, mixture=3)
EXPERTS = dataclasses.replace(TENSORFLOW, classifier="moe", experts=2)
CONFIGS = {"paddle": PADDLE, "tensorflow": TENSORFLOW, "mixture": MIXTURE, "experts": EXPERTS, "tiny": MODEL.tiny}
LENGTHS = [6, 1, 3, 4]

by_name = pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)


@by_name
def test_padding_does_not_matter(config):
    checks.padding_does_not_matter(MODEL, dataclasses.replace(config, frames=12))


@by_name
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_gradients_reach_everything(config, dtype):
    checks.gradients_reach_everything(MODEL, config, dtype)


@by_name
def test_it_exports(config):
    checks.exports(MODEL, config)


@pytest.mark.parametrize("config", [PADDLE, MIXTURE])
def test_it_compiles_whole(config):
    checks.compiles_whole(MODEL, config)


def formulas(config, *, training):
    """The logits of ours and of the formulas; tensorflow's statistics are over more frames than the batch has."""
    config = dataclasses.replace(config, frames=8)
    model = checks.build(MODEL, config).double().train(training)
    model.eigen_param.copy_(torch.linspace(3, 0.1, len(model.eigen_param)))  # as if loaded weights had brought them
    network = Network(model.state_dict(), dialect=config.dialect, training=training)
    feature, mask = checks.batch(MODEL.inputs(config), LENGTHS)
    feature = feature.double()
    scale = model.eigen_param.numpy().astype(np.float64)
    rgb, audio = [], []
    for video, length in zip(feature.numpy(), LENGTHS, strict=True):
        first_BF, second = video[:length, : model.sizes[0]], video[:length, model.sizes[0] :]
        if (
            config.dialect == "tensorflow"
        ):  # the reader pads with zeros, then half a bin is taken off, then it is scaled
            pad = config.frames - length
            first_BF = np.concatenate((first_BF, np.full((pad, model.sizes[0]), -HALF_BIN)))
            second = np.concatenate((second, np.zeros((pad, model.sizes[1]))))
        rgb.append(first_BF * scale)
        audio.append(second)
    groups = [shape[1] for shape in config.shapes]
    features = [network.branch(f"branches.{n}", (rgb, audio), groups, LENGTHS) for n in range(config.mixture)]
    mean_BD = np.stack([np.concatenate((x.mean(0), y.mean(0))) for x, y in zip(rgb, audio, strict=True)])
    return model, model(feature, mask), network, np.stack(features, 1), mean_BD


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("config", [PADDLE, TENSORFLOW], ids=["paddle", "tensorflow"])
def test_logits_are_what_the_formulas_give(config, training):
    _, logits, network, features, _ = formulas(config, training=training)
    expected = torch.from_numpy(network.logistic(features[:, 0]))
    torch.testing.assert_close(logits, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("training", [False, True])
def test_a_mixtures_logits_and_loss_are_what_the_formulas_give(training):
    model, logits, network, features, mean = formulas(MIXTURE, training=training)
    mixed, own = network.mixture(features, mean)
    torch.testing.assert_close(logits, torch.from_numpy(mixed), rtol=1e-10, atol=1e-10)
    label_BK = torch.eye(5)[:4] + torch.eye(5)[1:]
    found = extra_loss(model, logits, label_BK)
    if not training:
        assert found == 0
        return
    p, q = sigmoid(own), label_BK.double().numpy()[:, None]
    entropy = -(q * np.log(p) + (1 - q) * np.log(1 - p)).sum((1, 2)).mean()
    whole, part = softmax(mixed / 3)[:, None], softmax(own / 3)
    divergence = (whole * (np.log(whole) - np.log(part))).sum((1, 2)).mean()
    assert found.item() == pytest.approx(entropy + 9 * divergence, rel=1e-5)
    assert extra_loss(model, logits, label_BK) == 0, "it belongs to one forward pass"


def test_a_mixtures_loss_takes_class_numbers_too():
    model, logits, network, features, mean = formulas(dataclasses.replace(MIXTURE, distillation=0.0), training=True)
    _, own = network.mixture(features, mean)
    expected = -np.log(softmax(own)[np.arange(4), :, [0, 1, 4, 2]]).sum(1).mean()
    assert extra_loss(model, logits, torch.tensor([0, 1, 4, 2])).item() == pytest.approx(expected, rel=1e-5)


def test_a_single_network_has_no_extra_loss():
    model, logits, *_ = formulas(PADDLE, training=True)
    assert extra_loss(model, logits, torch.zeros(4, dtype=torch.long)) == 0


def test_experts_give_the_logits_of_their_probability():
    _, logits, network, features, _ = formulas(EXPERTS, training=False)
    probability = torch.from_numpy(network.experts(features[:, 0], 2))
    torch.testing.assert_close(logits.sigmoid(), probability, rtol=1e-10, atol=1e-12)


def test_experts_are_sure_without_overflow():
    experts = MixtureOfExperts(1, 1, 1)
    nn.init.zeros_(experts.gates.weight)
    with torch.no_grad():
        for size in (1e4, -1e4):
            experts.experts.weight.fill_(size)
            assert experts(torch.ones(1, 1)).isfinite().all()


def test_statistics_over_frames_leave_the_padding_out():
    """The same as torch's batch norm on the real frames alone, running statistics included."""
    ours, torchs = FrameBatchNorm(5, "paddle").double(), nn.BatchNorm1d(5).double()
    x = torch.randn(3, 4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    mask = torch.arange(4) < torch.tensor([[4], [1], [2]])
    found, expected = ours(x, mask)[mask], torchs(x[mask])
    torch.testing.assert_close(found, expected)
    for name, buffer in torchs.named_buffers():
        torch.testing.assert_close(ours.get_buffer(name), buffer)
    torch.testing.assert_close(ours.eval()(x, mask)[mask], torchs.eval()(x[mask]))


def test_one_frame_in_all_is_enough_for_statistics():
    norm = FrameBatchNorm(2, "tensorflow")
    assert norm(torch.ones(1, 1, 2), torch.ones(1, 1, dtype=torch.bool)).tolist() == [[[0, 0]]]
    assert norm.running_var.isfinite().all()


def test_rgb_loses_its_half_bin_only_where_whitening_is_undone():
    whitened, plain = (MODEL.inputs(NeXtVLADConfig(eigenvalues=value)) for value in ("weights", None))
    assert [stream.offset for stream in whitened.streams] == [-2, pytest.approx(-2 + 4 / 512)]
    assert [stream.offset for stream in plain.streams] == [pytest.approx(-2 + 4 / 512)] * 2
    assert (plain.frames, plain.size, plain.sampler) == (300, 1152, first)
    assert MODEL.build(dataclasses.replace(PADDLE, eigenvalues=None), 2).eigen_param is None


@pytest.mark.parametrize("name", ["eigenvals.npy", "eigenvals.txt"])
def test_eigenvalues_come_from_a_file(tmp_path, name):
    path = tmp_path / name
    values = np.linspace(14, 0, 20, dtype=np.float32)[:, None]  # a column, as YouTube-8M's file has it
    np.save(path, values) if name.endswith(".npy") else np.savetxt(path, values)
    scale = eigenvalue_scale(str(path), 12)
    assert scale.tolist() == pytest.approx((np.sqrt(values[:12, 0]) + 1e-4).tolist())
    with pytest.raises(UsageError, match="needs 21 numbers of 0 and above, found 20"):
        eigenvalue_scale(str(path), 21)
    with pytest.raises(UsageError, match=r'found ".*absent.npy"'):
        eigenvalue_scale(str(tmp_path / "absent.npy"), 2)


def test_only_the_classifier_decays():
    groups = {group.name: group for group in param_groups(MODEL.build(EXPERTS, 3))}
    assert set(groups["classifier"].params) == {"fc.gates.weight", "fc.experts.weight", "fc.experts.bias"}
    assert (groups["classifier"].decay_mult, groups["rest"].decay_mult) == (1, 0)


def test_initial_weights():
    config = NeXtVLADConfig(streams=("rgb:64",), clusters=32, groups=2, hidden=80, gating_reduction=2, eigenvalues=None)
    std = {
        "branches.0.streams.0.expand.weight": (2 / 64) ** 0.5,
        "branches.0.streams.0.assign.weight": (2 / 128) ** 0.5,
        "branches.0.streams.0.centres_KE": (2 / 32) ** 0.5,
        "branches.0.hidden.weight": (2 / 2048) ** 0.5,
        "fc.weight": (2 / 80) ** 0.5,
    }
    checks.is_drawn_with(MODEL, config, std)
    tensorflow = dataclasses.replace(config, dialect="tensorflow")
    checks.is_drawn_with(MODEL, tensorflow, {**std, "branches.0.streams.0.centres_KE": (2 / 64) ** 0.5})


def test_slims_initialisation_is_cut_at_two_standard_deviations():
    weight = torch.empty(200, 200)
    fan_in_normal_(weight, 200, "tensorflow")
    assert weight.abs().max() <= 2 * (1.3 * 2 / 200) ** 0.5


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"mixture": 3}, "Set model.dialect=tensorflow"),
        ({"mixture": 3, "dialect": "tensorflow", "classifier": "moe"}, "classifier=logistic"),
        ({"groups": 7}, "found rgb:1024, audio:128 times 2 in 7 groups"),
        ({"dialect": "tensorflow", "clusters": 1}, "Set them higher"),
        ({"hidden": 4}, "Set them higher"),
        ({"temperature": 0.0}, "temperature lies above 0"),
        ({"clusters": 0}, r"Set model\.clusters"),
        ({"dropout": 1.5}, r"Set model\.dropout"),
    ],
)
def test_impossible_configurations_are_refused(changes, said):
    with pytest.raises(UsageError, match=said):
        NeXtVLADConfig(**changes)


def test_the_layout_names_what_is_missing_and_what_is_too_much():
    with pytest.raises(CheckpointError) as error:
        MODEL.layouts["paddle"]({"flow_cluster_weights": torch.zeros(2, 3)})
    assert "unexpected: flow_cluster_weights" in str(error.value)
    assert "hidden1_fc_weights" in str(error.value)


def test_infer_makes_nothing_of_another_file():
    assert MODEL.layouts["paddle"].infer({"other": torch.zeros(1)}) == {}
