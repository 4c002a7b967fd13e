import pytest
import torch
from torch.nn import functional

from vtk_cli.errors import CheckpointError
from vtk_models.inflate import inflate


def test_a_still_gets_the_answer_of_the_image_network():
    image = torch.randn(4, 3, 5, 5)
    video = inflate({"conv.weight": image}, {"conv.weight": torch.Size((4, 3, 3, 5, 5))})["conv.weight"]
    still = torch.randn(1, 3, 9, 9)
    clip = still.unsqueeze(2).repeat(1, 1, 3, 1, 1)
    torch.testing.assert_close(functional.conv3d(clip, video).squeeze(2), functional.conv2d(still, image))


def test_channels_of_a_lateral_connection_begin_at_zero():
    video = inflate({"conv.weight": torch.ones(4, 3, 1, 1)}, {"conv.weight": torch.Size((4, 5, 2, 1, 1))})[
        "conv.weight"
    ]
    assert (video[:, :3] == 0.5).all()
    assert not video[:, 3:].any()


def test_other_tensors_stay_and_the_classifier_goes():
    bias = torch.randn(4)
    assert inflate({"bn.bias": bias, "fc.weight": torch.ones(2, 2)}, {"bn.bias": bias.shape}) == {"bn.bias": bias}


@pytest.mark.parametrize("shape", [(4, 2, 3, 5, 5), (8, 3, 3, 5, 5), (4, 3, 3, 7, 7), (4, 3)])
def test_another_network_is_refused(shape):
    with pytest.raises(CheckpointError, match="Inflating conv"):
        inflate({"conv.weight": torch.ones(4, 3, 5, 5)}, {"conv.weight": torch.Size(shape)})
