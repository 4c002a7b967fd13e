import pytest
import torch

from vtk_cli.errors import CheckpointError
from vtk_models.trunks.inception_resnet_v2 import INCEPTION_RESNET_V2, InceptionResNetV2, Mixed5b, Residual


@pytest.fixture(scope="module")
def trunk():
    torch.manual_seed(0)
    return InceptionResNetV2().eval()


def test_number_of_parameters(trunk):
    """timm's total for 1000 classes, less the classifier's 1536 x 1000 + 1000."""
    assert sum(p.numel() for p in trunk.parameters()) == 55_843_464 - 1_537_000


@pytest.mark.parametrize(("size", "sides"), [(299, (35, 17, 8)), (224, (25, 12, 5)), (75, (7, 3, 1))])
def test_maps_are_an_eighth_a_sixteenth_and_a_thirty_second_of_the_picture(size, sides):
    with torch.device("meta"):
        trunk = InceptionResNetV2().eval()
        x = trunk.stem(torch.empty(1, 3, size, size))
        for stage, channels, side in zip(trunk.stages, trunk.stage_channels, sides, strict=True):
            x = stage(x)
            assert x.shape == (1, channels, side, side)


def test_blocks_scale_what_they_add(trunk):
    scales = {block.scale for stage in (trunk.repeat, trunk.repeat_1, trunk.repeat_2) for block in stage}
    assert scales == {0.17, 0.10, 0.20}
    assert (len(trunk.repeat), len(trunk.repeat_1), len(trunk.repeat_2)) == (10, 20, 9)
    assert (trunk.block8.scale, trunk.block8.relu) == (1.0, False)


def test_a_residual_block_adds_and_rectifies():
    torch.manual_seed(0)
    x = torch.randn(2, 8, 5, 5)
    for relu in (True, False):
        block = Residual(8, (((4, 1),), ((4, 1), (6, (1, 7)))), 0.1, relu=relu).eval()
        with torch.no_grad():
            out = x + 0.1 * block.conv2d(torch.cat((block.branch0(x), block.branch1(x)), 1))
            torch.testing.assert_close(block(x), out.relu() if relu else out)


def test_the_average_leaves_the_padding_out():
    seen = []
    block = Mixed5b().eval()
    block.branch3[1].register_forward_pre_hook(lambda _m, args: seen.append(args[0]))
    with torch.no_grad():
        block(torch.ones(1, 192, 4, 4))
    assert torch.equal(seen[0], torch.ones(1, 192, 4, 4))


def test_pictures_are_read_between_minus_one_and_one():
    norm = INCEPTION_RESNET_V2.norm
    assert [(value - norm.mean[0]) / norm.std[0] for value in (0, 1)] == [-1, 1]


def test_timms_file_loses_its_classifier_only(trunk):
    state = trunk.state_dict()
    file = {**state, "classif.weight": torch.zeros(1000, 1536), "classif.bias": torch.zeros(1000)}
    read = INCEPTION_RESNET_V2.layouts["timm"](file)
    assert read.keys() == state.keys()
    del file["repeat_1.7.branch1.1.bn.running_var"]
    with pytest.raises(CheckpointError, match=r"missing: repeat_1\.7\.branch1\.1\.bn\.running_var"):
        INCEPTION_RESNET_V2.layouts["timm"](file)
