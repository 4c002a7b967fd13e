"""The picture operations beside OpenCV's, and the median's network over all it can be given."""

import itertools

import cv2
import numpy as np
import pytest
import torch

from vtk_cli.flow.tvl1_median import NETWORKS, median
from vtk_cli.flow.tvl1_ops import gradients, pyramid_sizes, remap_cubic, resize


def _picture(height, width, seed=0):
    return (np.random.default_rng(seed).random((height, width)) * 255).astype(np.float32)


def _batch(*planes):
    return torch.from_numpy(np.stack(planes))


@pytest.mark.parametrize("step", [0.8, 0.5, 0.7])
@pytest.mark.parametrize("size", [(120, 170), (97, 41), (240, 320)])
def test_pyramids_are_opencvs(size, step):
    expected = _picture(*size)
    found = _batch(expected)
    for level in pyramid_sizes(*size, 9, step)[1:]:
        expected = cv2.resize(expected, None, fx=step, fy=step, interpolation=cv2.INTER_LINEAR)
        found = resize(found, level, (1 / step, 1 / step))
        assert found[0].shape == expected.shape
        assert np.abs(found[0].numpy() - expected).max() < 1e-4
    assert min(expected.shape) >= 16
    assert min(round(side * step) for side in expected.shape) < 16 or len(pyramid_sizes(*size, 9, step)) == 9


@pytest.mark.parametrize(("old", "new"), [((24, 31), (30, 39)), ((98, 131), (123, 164)), ((1, 3), (2, 6))])
def test_growing_is_opencvs(old, new):
    picture = _picture(*old)
    expected = cv2.resize(picture, new[::-1], interpolation=cv2.INTER_LINEAR)
    found = resize(_batch(picture), new, (old[0] / new[0], old[1] / new[1]))
    assert np.abs(found[0].numpy() - expected).max() < 1e-4


@pytest.mark.parametrize("size", [(40, 57), (1, 1), (2, 9)])
def test_remap_is_opencvs_inside_across_the_border_and_far_outside(size):
    rng = np.random.default_rng(1)
    picture, u, v = _picture(*size), *(rng.normal(0, 6, (2, *size)).astype(np.float32))
    u[0, 0], v[-1, -1] = 1e6, -400
    x, y = np.meshgrid(*(np.arange(side, dtype=np.float32) for side in size[::-1]))
    expected = cv2.remap(picture, x + u, y + v, cv2.INTER_CUBIC)
    # Twice in one batch, with another picture between, and a second plane.
    planes = _batch(picture, picture + 1, picture)
    found = remap_cubic([planes, 2 * planes], _batch(u, v, u), _batch(v, u, v))
    for result, scale in zip(found, (1, 2), strict=True):
        assert np.abs(result[0].numpy() - scale * expected).max() < 1e-3
        assert torch.equal(result[0], result[2])


def test_gradients_are_central_and_zero_slope_continues_the_border():
    plane = torch.arange(5.0).square().expand(1, 4, 5)
    along_x, along_y = gradients(plane)
    assert along_x[0, 0].tolist() == [0.5, 2, 4, 6, 3.5]
    assert not along_y.any()
    transposed = gradients(plane.transpose(1, 2).contiguous())
    assert torch.equal(transposed[1], along_x.transpose(1, 2))


@pytest.mark.parametrize("side", [3, 5])
@pytest.mark.parametrize("shape", [(1, 64, 64), (3, 20, 31), (2, 1, 1), (1, 1, 7), (1, 9, 2)])
def test_medians_are_opencvs_bit_for_bit(side, shape):
    rng = np.random.default_rng(2)
    for planes in (rng.normal(0, 3, shape).astype(np.float32), rng.integers(0, 4, shape).astype(np.float32)):
        expected = np.stack([cv2.medianBlur(plane, side).reshape(plane.shape) for plane in planes])
        assert np.array_equal(median(torch.from_numpy(planes), side).numpy(), expected)


def test_medians_of_double_precision_are_torchs():
    planes = torch.from_numpy(np.random.default_rng(3).normal(0, 1, (2, 12, 13)))
    wide = torch.nn.functional.pad(planes[:, None], (2, 2, 2, 2), mode="replicate")[:, 0]
    windows = wide.unfold(1, 5, 1).unfold(2, 5, 1).flatten(-2)
    assert torch.equal(median(planes, 5), windows.median(-1).values)


@pytest.mark.parametrize("side", [3, 5])
def test_the_network_is_right_for_all_inputs(side):
    """A network of minima and maxima that is right for all zeros and ones is right for all numbers (Knuth 5.3.4).

    The first part sorts columns; the rest is then given sorted columns only, which are side + 1 of zeros and ones each.
    """
    column = NETWORKS[side][0]
    bits = torch.tensor(list(itertools.product((0, 1), repeat=side)))
    assert torch.equal(torch.stack(column.run(list(bits.T)), 1), bits.sort(1).values)
    ones = torch.tensor(list(itertools.product(range(side + 1), repeat=side)))
    pictures = (torch.arange(side)[None, :, None] >= side - ones[:, None, :]).int()
    middle = median(pictures.float(), side)[:, side // 2, side // 2]
    assert torch.equal(middle, (ones.sum(1) > side * side // 2).float())


def test_the_network_is_as_small_as_its_description_says():
    assert [len(network.steps) for network in NETWORKS[5]] == [18, 26, 36 + 10]
