"""StNet against PaddlePaddle/models: its weights through our layout, its logits from our model."""

import pytest
import torch

from vtk_cli.errors import CheckpointError
from vtk_models import stnet_layouts
from vtk_models.stnet import MODEL, StNetConfig

CASE = "stnet50_t4n2_64_c10_eval"


@pytest.fixture(scope="module")
def case(fluid_case):
    return fluid_case(CASE)


@pytest.fixture(scope="module")
def model(case):
    model = MODEL.build(StNetConfig(frames=2), 10)
    model.load_state_dict(MODEL.layouts["paddle"](case.weights), strict=True)
    return model.eval()


def test_logits_equal_the_originals(case, model):
    """The reference is computed in float32, ours in float64; it leaves 6e-7 of the largest logit."""
    clip_BTNCHW = case.image.unflatten(2, (2, 3)).double()
    with torch.no_grad():
        logits = model.double()(clip_BTNCHW)
        single = model.float()(clip_BTNCHW.float())
    largest = case.logits.abs().max().item()
    torch.testing.assert_close(logits, case.logits.double(), rtol=0, atol=5e-6 * largest)
    torch.testing.assert_close(single, case.logits, rtol=0, atol=2e-5 * largest)


def test_the_order_of_super_images_and_of_frames_matters(case, model):
    clip_BTNCHW = case.image.unflatten(2, (2, 3))
    with torch.no_grad():
        logits = model(clip_BTNCHW)
        for dim in (1, 2):
            assert (model(clip_BTNCHW.flip(dim)) - logits).abs().max() > 1e-3 * logits.abs().max()


@pytest.mark.parametrize("leftover", ["conv1_weights_velocity_0", "learning_rate_0", "@LR_DECAY_COUNTER@"])
def test_the_optimizers_variables_are_dropped(case, leftover):
    plain = MODEL.layouts["paddle"](case.weights)
    assert MODEL.layouts["paddle"]({**case.weights, leftover: case.weights["fc_0.b_0"]}).keys() == plain.keys()


@pytest.mark.parametrize(
    "lost", ["conv3d_1.b_0", "batch_norm_24.w_2", "xception_att1_2.w_0", "fc_0.w_0", "bn4c_branch2b_mean"]
)
def test_a_lost_tensor_is_named(case, lost):
    checkpoint = {name: array for name, array in case.weights.items() if name != lost}
    with pytest.raises(CheckpointError) as error:
        MODEL.layouts["paddle"](checkpoint)
    assert f"missing: {lost}." in str(error.value)


def test_a_lost_temporal_block_is_named(case):
    checkpoint = {name: array for name, array in case.weights.items() if not name.startswith("conv3d_")}
    with pytest.raises(CheckpointError, match=r"missing: conv3d_\*\.w_0, conv3d_\*\.b_0"):
        MODEL.layouts["paddle"](checkpoint)


def test_the_configuration_is_read_off_the_tensors(case):
    assert MODEL.layouts["paddle"].infer(case.weights) == {"depth": 50, "frames": 2}


@pytest.mark.parametrize(("depth", "frames"), [(101, 5), (152, 3)])
def test_deeper_files_are_read_by_their_own_names(depth, frames):
    """ResNet-101 and 152 number the blocks of res4; automatic numbers differ with the depth."""
    config = StNetConfig(depth=depth, frames=frames)
    with torch.device("meta"):
        ours = MODEL.build(config, 3).state_dict()
    layers = stnet_layouts._layers(["conv3d_0.w_0", "conv3d_1.w_0", "batch_norm_30.w_0", "batch_norm_99.w_0"])
    names = {
        name: stnet_layouts._foreign_name(name, layers, {"depth": depth}) for name in ours if "num_batches" not in name
    }
    assert "res4b7_branch2b_weights" in names.values()
    one_more = {name for name, t in ours.items() if name.startswith(("temporal", "xception")) and t.dim() >= 3}
    file = {theirs: ours[name].unsqueeze(-1) if name in one_more else ours[name] for name, theirs in names.items()}
    file["fc_0.w_0"] = file["fc_0.w_0"].t()
    assert MODEL.layouts["paddle"].infer(file) == {"depth": depth, "frames": frames}
    read = MODEL.layouts["paddle"](file)
    assert {name: tensor.shape for name, tensor in read.items()} == {n: t.shape for n, t in ours.items()}


@pytest.mark.parametrize(("depth", "parameters"), [(50, 33_158_864), (101, 52_150_992), (152, 67_794_640)])
def test_number_of_parameters(depth, parameters):
    with torch.device("meta"):
        model = MODEL.build(StNetConfig(depth=depth), 400)
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == parameters


def test_number_of_tensors():
    """Facts: 301 variables and 64,384 elements of batch-norm statistics; torch adds a counter per batch norm."""
    with torch.device("meta"):
        state = MODEL.build(StNetConfig(), 400).state_dict()
    assert sum(not name.endswith("num_batches_tracked") for name in state) == 301
    assert sum(tensor.numel() for name, tensor in state.items() if "running_" in name) == 64_384
