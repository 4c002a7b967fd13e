import doctest

import pytest
import torch
from torch import nn

from vtk_cli.errors import CheckpointError
from vtk_models.trunks import mobilenetv2
from vtk_models.trunks.mobilenetv2 import MOBILENETV2, InvertedResidual, MobileNetV2


@pytest.fixture(scope="module")
def trunk():
    torch.manual_seed(0)
    return MobileNetV2().eval()


def test_it_has_the_published_size(trunk):
    """3,504,872 parameters with 1000 classes (torchvision), of which 1,281,000 are the classifier's."""
    assert sum(p.numel() for p in trunk.parameters()) == 3_504_872 - 1_281_000


def test_seventeen_blocks_ten_with_an_expanded_shortcut(trunk):
    blocks = [layer for layer in trunk.features if isinstance(layer, InvertedResidual)]
    assert len(blocks) == 17
    assert sum(block.has_shortcut and block.expands for block in blocks) == 10
    assert [block.conv[-2].out_channels for block in blocks][::4] == [16, 32, 64, 96, 320]


@pytest.mark.parametrize("size", [(32, 32), (50, 75), (64, 64)])
def test_any_size_of_picture(trunk, size):
    with torch.no_grad():
        assert trunk(torch.randn(1, 3, *size)).shape == (1, 1280)


def test_what_mixes_is_seen_by_the_branch_and_not_by_the_shortcut(trunk):
    block = trunk.features[3]
    x = torch.randn(1, 24, 8, 8)
    with torch.no_grad():
        torch.testing.assert_close(block(x, torch.zeros_like), x + block.conv(torch.zeros_like(x)))


def torchvision_twin():
    """The nesting of torchvision.models.mobilenet_v2, without its arithmetic."""

    def conv_bn(inside, outside, groups=1, kernel=3):
        conv = nn.Conv2d(inside, outside, kernel, groups=groups, bias=False)
        return nn.Sequential(conv, nn.BatchNorm2d(outside), nn.ReLU6())

    class Block(nn.Module):
        def __init__(self, inside, outside, expansion):
            super().__init__()
            wide = inside * expansion
            narrow = (nn.Conv2d(wide, outside, 1, bias=False), nn.BatchNorm2d(outside))
            first = [conv_bn(inside, wide, kernel=1)] if expansion > 1 else []
            self.conv = nn.Sequential(*first, conv_bn(wide, wide, wide), *narrow)

    layers, channels = [conv_bn(3, 32)], 32
    for expansion, width, count, _ in mobilenetv2.STAGES:
        for _ in range(count):
            layers.append(Block(channels, width, expansion))
            channels = width
    model = nn.Module()
    model.features = nn.Sequential(*layers, conv_bn(320, 1280, kernel=1))
    model.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(1280, 10))
    return model


def test_torchvisions_file_loads_tensor_by_tensor(trunk):
    theirs = torchvision_twin().state_dict()
    read = MOBILENETV2.layouts["torchvision"](theirs)
    assert {name: t.shape for name, t in read.items()} == {name: t.shape for name, t in trunk.state_dict().items()}
    kept = [tensor for name, tensor in theirs.items() if not name.startswith("classifier.")]
    assert all(a is b or torch.equal(a, b) for a, b in zip(read.values(), kept, strict=True))


def test_mits_file_has_our_names(trunk):
    file = {**trunk.state_dict(), "classifier.weight": torch.zeros(1000, 1280), "classifier.bias": torch.zeros(1000)}
    assert MOBILENETV2.layouts["mit"](file).keys() == trunk.state_dict().keys()


@pytest.mark.parametrize("layout", ["mit", "torchvision"])
def test_a_lost_tensor_is_named(trunk, layout):
    file = {name: tensor for name, tensor in trunk.state_dict().items() if name != "features.0.0.weight"}
    with pytest.raises(CheckpointError, match=r"missing: .*features\.0\.0\.weight"):
        MOBILENETV2.layouts[layout](file)


def test_examples():
    assert doctest.testmod(mobilenetv2).failed == 0
