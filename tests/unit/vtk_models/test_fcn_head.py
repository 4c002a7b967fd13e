import pytest
import torch

from vtk_models.fcn_head import mean_over_positions, window_averages, window_side


@pytest.mark.parametrize(("crop", "side"), [(224, 7), (197, 7), (112, 4), (64, 2), (32, 1)])
def test_the_training_crop_is_one_window(crop, side):
    assert window_side(crop) == side


def test_every_window_is_averaged_row_by_row():
    x_BCTHW = torch.randn(2, 3, 4, 3, 4)
    feature_BPC = window_averages(x_BCTHW, 2)
    expected = [x_BCTHW[..., top : top + 2, left : left + 2].mean((2, 3, 4)) for top in range(2) for left in range(3)]
    torch.testing.assert_close(feature_BPC, torch.stack(expected, 1))


def test_a_smaller_map_is_one_window():
    x_BCTHW = torch.randn(2, 3, 4, 2, 3)
    torch.testing.assert_close(window_averages(x_BCTHW, 7), x_BCTHW.mean((2, 3, 4))[:, None])


def test_the_mean_is_of_probabilities():
    logits_BPK = 5 * torch.randn(2, 4, 3, dtype=torch.float64)
    found = mean_over_positions(logits_BPK)
    torch.testing.assert_close(found.exp(), logits_BPK.softmax(2).mean(1), rtol=1e-12, atol=0)
    torch.testing.assert_close(found.softmax(1), found.exp(), rtol=1e-12, atol=0)


def test_one_position_keeps_its_logits():
    logits_BPK = torch.randn(2, 1, 3)
    assert torch.equal(mean_over_positions(logits_BPK), logits_BPK[:, 0])


def test_hopeless_classes_stay_finite():
    assert mean_over_positions(torch.tensor([[[1000.0, -1000.0], [900.0, 0.0]]])).isfinite().all()
