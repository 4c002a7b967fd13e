"""Flow as colour against torchvision's, which has the same wheel."""

import importlib

import numpy as np
import pytest
import torch

from vtk_cli.flow.colour import to_rgb, wheel


@pytest.fixture
def utils(torchvision_models):
    return importlib.import_module("torchvision.utils")


def test_the_wheel_is_torchvisions(utils):
    assert (torch.from_numpy(wheel()) == utils._make_colorwheel()).all()


@pytest.mark.parametrize("size", [0.1, 1, 40])
def test_pictures_are_torchvisions(utils, size):
    """Within one of 255 levels: we round where they cut off."""
    flow_2HW = np.random.default_rng(0).normal(0, size, (2, 60, 80)).astype(np.float32)
    expected = utils.flow_to_image(torch.from_numpy(flow_2HW)).permute(1, 2, 0).numpy()
    apart = to_rgb(flow_2HW).astype(int) - expected
    assert (apart.min(), apart.max()) == (0, 1)
