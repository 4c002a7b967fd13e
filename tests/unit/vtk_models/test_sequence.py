import doctest

import pytest
import torch

from vtk_cli.errors import CheckpointError, UsageError
from vtk_models import sequence


def test_the_examples_in_the_docstrings_hold():
    assert doctest.testmod(sequence).failed == 0


@pytest.mark.parametrize("streams", [(), ("rgb",), ("rgb:0",), ("rgb:-3",), ("rgb:12", ":4"), ("rgb:1.5",)])
def test_streams_that_cannot_be_read_are_refused(streams):
    with pytest.raises(UsageError, match=r"written name:size.*found.*Set model\.streams"):
        sequence.parse_streams(streams)


def test_one_name_twice_is_refused():
    with pytest.raises(UsageError, match="names of their own, found rgb:4, rgb:8"):
        sequence.parse_streams(("rgb:4", "rgb:8"))


def test_streams_carry_youtube8ms_quantisation():
    (stream,) = sequence.parse_streams(("rgb:512",))
    assert stream.scale * 0 + stream.offset == pytest.approx(-2 + 4 / 512)
    assert stream.scale * 255 + stream.offset == pytest.approx(2 + 4 / 512)


@pytest.mark.parametrize("dropout", [-0.1, 1.0])
def test_a_dropout_is_a_probability(dropout):
    with pytest.raises(UsageError, match=r"lies in \[0, 1\)"):
        sequence.check_dropout(dropout)


def test_a_size_of_none_is_refused_by_its_name():
    with pytest.raises(UsageError, match=r"embedding is a number.*found 0. Set model\.embedding"):
        sequence.check_sizes(lstm=1, embedding=0)


def test_split_streams_replaces_what_stands_in_the_padding():
    feature_BFD = torch.arange(12.0).view(1, 3, 4)
    feature_BFD[0, 2] = torch.nan
    mask_BF = torch.tensor([[True, True, False]])
    rgb, audio = sequence.split_streams(feature_BFD, mask_BF, [3, 1], [-1.0, 0.0])
    assert rgb.tolist() == [[[0, 1, 2], [4, 5, 6], [-1, -1, -1]]]
    assert audio.tolist() == [[[3], [7], [0]]]


def test_softmax_over_frames_gives_padding_no_weight():
    score_BFC = torch.tensor([[[1.0], [2.0], [50.0]], [[3.0], [3.0], [3.0]]])
    mask_BF = torch.tensor([[True, True, False], [True, True, True]])
    weight = sequence.softmax_over_frames(score_BFC, mask_BF)[..., 0]
    assert weight[0, 2] == 0
    torch.testing.assert_close(weight[0, :2], torch.tensor([1.0, 2.0]).softmax(0))
    torch.testing.assert_close(weight[1], torch.full((3,), 1 / 3))


def test_l2_normalize_has_fluids_and_tensorflows_epsilon():
    x = torch.tensor([[3e-6, 4e-6], [3.0, 4.0]], dtype=torch.float64)
    fluid = sequence.l2_normalize(x, 1)
    tensorflow = sequence.l2_normalize(x, 1, floor=1e-12)
    assert fluid[0].tolist() == pytest.approx([3 / 26**0.5, 4 / 26**0.5], rel=1e-12)
    assert tensorflow[0].tolist() == pytest.approx([0.6, 0.8])
    assert tensorflow[1].tolist() == pytest.approx([0.6, 0.8], rel=1e-15)
    assert sequence.l2_normalize(torch.zeros(1, 2), 1).tolist() == [[0, 0]]


def test_what_the_optimiser_left_is_no_tensor_of_the_model():
    names = ["fc1.weights", "fc1.weights_moment1_0", "fc1.weights_beta2_pow_acc_0", "lstm_0.w_0_mean_square_0"]
    names += ["fc_1.w_0_momentum_0", "fc_1.b_0_mean_grad_0", "learning_rate_0", "fc_0.w_0_velocity_0"]
    checkpoint = dict.fromkeys(names, torch.zeros(1)) | {"StructuredToParameterName@@": {"a": "b"}}
    assert list(sequence.paddle_tensors(checkpoint)) == ["fc1.weights"]


def test_what_is_no_tensor_is_refused():
    with pytest.raises(CheckpointError, match='found str under "note"'):
        sequence.paddle_tensors({"note": "text"})
