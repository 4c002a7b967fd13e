"""RAFT with torchvision's networks. Its weights cannot be fetched here: random ones show that all else is right."""

import importlib

import numpy as np
import pytest
import torch
from torch.nn.functional import pad

from vtk_cli.errors import MismatchError
from vtk_cli.flow.raft import FLOW, RaftConfig
from vtk_cli.flow.raft_weights import PUBLISHED
from vtk_cli.testing.flow import FlowTests, waves

ITERATIONS = 2


@pytest.fixture(scope="module")
def raft(torchvision_models):
    return importlib.import_module("torchvision.models.optical_flow")


@pytest.fixture(scope="module")
def network(raft, request):
    """torchvision's network of this variant with random weights; batch norms are as if they had been trained."""
    torch.manual_seed(0)
    theirs = getattr(raft, f"raft_{request.param}")(weights=None, progress=False)
    for layer in theirs.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.running_mean.normal_(0, 0.1)
            layer.running_var.uniform_(0.5, 2)
    theirs.variant = request.param
    return theirs.eval()


@pytest.fixture
def config(network, tmp_path):
    path = tmp_path / "raft.pth"
    torch.save(network.state_dict(), path)
    return RaftConfig(variant=network.variant, weights=str(path), device="cpu", iterations=ITERATIONS)


def pictures(height, width, count=1):
    return np.random.default_rng(0).integers(0, 256, (2, count, height, width), dtype=np.uint8)


def directly(raft, network, before_HW, after_HW, added):
    """torchvision's transform and network on RGB pictures padded by (left, right, top, bottom)."""
    transform = raft.Raft_Large_Weights.DEFAULT.transforms()
    colour = [torch.from_numpy(grey).repeat(1, 3, 1, 1) for grey in (before_HW, after_HW)]
    padded = [pad(picture, added, mode="replicate") for picture in transform(*colour)]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with torch.inference_mode():
        flow = network(*padded, num_flow_updates=ITERATIONS)[-1][0].numpy()
    torch.set_num_threads(threads)
    left, right, top, bottom = added
    return flow[:, top : flow.shape[1] - bottom, left : flow.shape[2] - right]


@pytest.mark.parametrize("network", ["large", "small"], indirect=True)
@pytest.mark.parametrize(
    ("size", "added"), [((136, 164), (2, 2, 0, 0)), ((131, 129), (3, 4, 2, 3)), ((72, 96), (16, 16, 28, 28))]
)
def test_flow_is_torchvisions_of_the_padded_pictures(raft, network, config, size, added):
    before, after = pictures(*size)[:, 0]
    expected = directly(raft, network, before, after, added)
    flow_2HW = FLOW.build(config)(before, after)
    assert flow_2HW.shape == (2, *size)
    assert np.abs(flow_2HW).max() > 0.1
    assert (flow_2HW == expected).all()


@pytest.mark.parametrize("network", ["large", "small"], indirect=True)
def test_many_pairs_give_what_single_ones_give(network, config):
    method = FLOW.build(config)
    before, after = pictures(64, 160, count=3)
    single = np.stack([method(*pair) for pair in zip(before, after, strict=True)])
    assert np.abs(method.many(before, after) - single).max() < 1e-4


@pytest.mark.parametrize("network", ["large"], indirect=True)
def test_incomplete_weights_are_refused(network, config):
    tensors = network.state_dict()
    del tensors["update_block.flow_head.conv1.weight"]
    torch.save(tensors, config.weights)
    with pytest.raises(MismatchError, match=r"1 missing \(update_block.flow_head.conv1.weight\)"):
        FLOW.build(config)


@pytest.mark.parametrize("network", ["small"], indirect=True)
def test_weights_of_the_other_variant_are_refused(config):
    with pytest.raises(MismatchError, match=r"raft_large, found \d+ missing"):
        FLOW.build(RaftConfig(weights=config.weights, device="cpu"))


def test_published_weights_are_torchvisions_default(raft):
    enums = {"large": raft.Raft_Large_Weights, "small": raft.Raft_Small_Weights}
    assert {variant: enum.DEFAULT.url for variant, enum in enums.items()} == PUBLISHED


@pytest.mark.parametrize("network", ["small"], indirect=True)
class TestRaft(FlowTests):
    """The contract, less what only trained weights can hold to."""

    spec = FLOW
    test_x_points_right = None
    test_y_points_down = None
    test_left_and_up_are_negative = None
    test_still_pictures_have_no_flow = None

    @pytest.fixture(autouse=True)
    def _config(self, config):
        self.config = config

    def method(self):
        return self.spec.build(self.config)

    def test_motion_changes_it(self):
        method = self.method()
        assert np.abs(method(waves(), waves(2)) - method(waves(), waves())).max() > 1e-3
