import pytest
import sequence_checks as checks
import torch

from vtk_cli.api.sampling import stratified
from vtk_cli.errors import CheckpointError, UsageError
from vtk_models.attention_cluster import MODEL, AttentionClusterConfig, ShiftingAttention

ONE_STREAM = AttentionClusterConfig(streams=("rgb:7",), clusters=(3,), frames=6, hidden=(8, 16))
CONFIGS = [MODEL.tiny, ONE_STREAM]


@pytest.mark.parametrize("config", CONFIGS)
def test_padding_does_not_matter(config):
    checks.padding_does_not_matter(MODEL, config)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_gradients_reach_everything(dtype):
    checks.gradients_reach_everything(MODEL, MODEL.tiny, dtype)


def test_it_exports_and_compiles():
    checks.exports(MODEL, MODEL.tiny)
    checks.compiles_whole(MODEL, MODEL.tiny)


def test_the_order_of_the_frames_does_not_matter():
    model = checks.build(MODEL, MODEL.tiny).double().eval()
    feature, mask = checks.batch(MODEL.inputs(MODEL.tiny), [6, 6])
    with torch.no_grad():
        torch.testing.assert_close(model(feature.double().flip(1), mask), model(feature.double(), mask))


def test_a_unit_is_what_the_formula_says():
    """One frame: its weight is 1, so a unit is w x + b, brought to length 1 / sqrt(C)."""
    attention = ShiftingAttention(4, 2)
    torch.nn.init.constant_(attention.shift_bias, 0.5)
    with torch.no_grad():
        attention.shift_weight.copy_(torch.tensor([2.0, -1.0]))
        x = torch.tensor([[[1.0, 2.0, 3.0, 4.0]]])
        found = attention(x, torch.ones(1, 1, dtype=torch.bool)).view(2, 4)
    for unit, weight in zip(found, (2.0, -1.0), strict=True):
        shifted = weight * x[0, 0] + 0.5
        torch.testing.assert_close(unit, shifted / shifted.norm() / 2**0.5)


def test_inputs_are_100_sampled_frames():
    spec = MODEL.inputs(AttentionClusterConfig())
    assert (spec.frames, spec.size, spec.sampler) == (100, 1152, stratified)


def test_clusters_are_for_all_streams_or_for_each():
    assert AttentionClusterConfig(clusters=(7,)).clusters_of_streams == (7, 7)
    assert AttentionClusterConfig(clusters=(7, 3)).clusters_of_streams == (7, 3)
    for clusters in ((), (1, 2, 3), (0,)):
        with pytest.raises(UsageError, match="one for each of the 2"):
            AttentionClusterConfig(clusters=clusters)


def test_initial_weights_are_fluids():
    config = AttentionClusterConfig(streams=("rgb:64",), clusters=(400,), hidden=(300, 500))
    std = {
        "streams.0.score.weight": (2 / 64) ** 0.5,
        "streams.0.score.bias": (2 / 400) ** 0.5,
        "streams.0.shift_weight": 400**-0.25,
        "fc1.weight": (2 / 25600) ** 0.5,
        "fc1.bias": (2 / 300) ** 0.5,
        "fc2.weight": (2 / 300) ** 0.5,
    }
    checks.is_drawn_with(MODEL, config, std)


def test_nothing_decays():
    assert MODEL.recipe.weight_decay == 0
    assert MODEL.recipe.reduction == "sum_classes"


def test_the_layout_names_what_is_missing_and_what_is_too_much():
    with pytest.raises(CheckpointError) as error:
        MODEL.layouts["paddle"]({"satt0.conv.weight": torch.zeros(2, 3, 1, 1), "satt0.conv.scale": torch.zeros(1)})
    assert "unexpected: satt0.conv.scale" in str(error.value)
    assert "fc1.weights" in str(error.value)


def test_infer_makes_nothing_of_another_file():
    assert MODEL.layouts["paddle"].infer({"other": torch.zeros(1)}) == {}
