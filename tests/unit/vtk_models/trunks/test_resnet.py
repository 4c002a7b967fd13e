import pytest
import torch

from vtk_cli.errors import CheckpointError
from vtk_models.trunks import resnet
from vtk_models.trunks.resnet import RESNET18, RESNET34, RESNET50, RESNET101, RESNET152, ResNet

SPECS = {18: RESNET18, 34: RESNET34, 50: RESNET50, 101: RESNET101, 152: RESNET152}


@pytest.mark.parametrize("depth", SPECS)
def test_every_depth_has_its_layers_and_its_file(depth):
    with torch.device("meta"):
        trunk = SPECS[depth].build(3)
    weighted = [m for name, m in trunk.named_modules() if isinstance(m, torch.nn.Conv2d) and "downsample" not in name]
    assert len(weighted) == depth - 1, "the classifier is the last of the layers that the name counts"
    imagenet = SPECS[depth].weights["imagenet"]
    assert imagenet.url == f"https://download.pytorch.org/models/resnet{depth}-{imagenet.sha256}.pth"


def test_a_bottleneck_strides_in_its_3x3():
    with torch.device("meta"):
        block = RESNET50.build(3).layer2[0]
    assert [conv.stride for conv in (block.conv1, block.conv2, block.conv3)] == [(1, 1), (2, 2), (1, 1)]


@pytest.mark.parametrize("depth", [18, 50])
def test_stages_halve_the_map(depth):
    with torch.device("meta"):
        trunk = ResNet(depth)
        x = trunk.stem(torch.empty(1, 3, 224, 224))
        shapes = [x.shape[1:]]
        for layer in (trunk.layer1, trunk.layer2, trunk.layer3, trunk.layer4):
            x = layer(x)
            shapes.append(x.shape[1:])
    sides = [56, 56, 28, 14, 7]
    assert shapes == [(channels, side, side) for channels, side in zip((64, *trunk.stage_channels), sides, strict=True)]


@pytest.mark.parametrize("size", [(32, 32), (33, 47), (64, 96)])
def test_any_size_of_picture(size):
    torch.manual_seed(0)
    assert ResNet(18).eval()(torch.randn(2, 3, *size)).shape == (2, 512)


def test_initialisation_is_kaiming_over_fan_out():
    torch.manual_seed(0)
    trunk = ResNet(18)
    conv = trunk.layer4[1].conv2  # 512 x 512 x 3 x 3
    assert conv.weight.std().item() == pytest.approx((2 / (512 * 9)) ** 0.5, rel=0.01)
    assert trunk.bn1.weight.unique().item() == 1


def test_torchvision_files_load_without_their_classifier():
    state = ResNet(18).state_dict()
    file = {**state, "fc.weight": torch.zeros(1000, 512), "fc.bias": torch.zeros(1000)}
    old = {name: tensor for name, tensor in file.items() if not name.endswith("num_batches_tracked")}
    for checkpoint in (file, old):
        assert resnet.torchvision_layout(checkpoint).keys() == state.keys()


def test_another_networks_file_is_refused():
    with pytest.raises(CheckpointError, match=r"unexpected: features\.0\.weight; missing: conv1\.weight"):
        RESNET18.layouts["torchvision"]({"features.0.weight": torch.zeros(1)})
