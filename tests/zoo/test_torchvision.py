"""Video models against torchvision's: the same weights, the same logits and gradients, in float64."""

import pytest
import torch
from torch import nn

from vtk_cli import registry


def theirs_and_ours(torchvision_models, name, model):
    torch.manual_seed(0)
    theirs = getattr(torchvision_models.video, name)(num_classes=7).double()
    for layer in theirs.modules():
        if isinstance(layer, nn.BatchNorm3d):
            layer.running_mean.normal_(0, 0.1)
            layer.running_var.uniform_(0.5, 2)
            nn.init.uniform_(layer.weight, 0.8, 1.2)
            nn.init.normal_(layer.bias, 0, 0.1)
    spec = registry.load("vtk.models", model)
    layout = spec.layouts["torchvision"]
    ours = spec.build(spec.config(**layout.infer(theirs.state_dict())), 7).double()
    ours.load_state_dict(layout(theirs.state_dict()), strict=True)
    return theirs, ours


@pytest.mark.parametrize(
    ("name", "model"), [("r3d_18", "resnet3d"), ("mc3_18", "resnet3d"), ("r2plus1d_18", "r2plus1d")]
)
def test_logits_and_gradients_equal_torchvisions(torchvision_models, name, model):
    theirs, ours = theirs_and_ours(torchvision_models, name, model)
    clip_BCTHW = torch.randn(2, 3, 8, 40, 40, dtype=torch.double)
    clip_BTNCHW = clip_BCTHW.transpose(1, 2).unsqueeze(1)
    with torch.no_grad():
        torch.testing.assert_close(ours.eval()(clip_BTNCHW), theirs.eval()(clip_BCTHW), rtol=1e-10, atol=1e-10)
    for module, clip in ((theirs.train(), clip_BCTHW), (ours.train(), clip_BTNCHW)):
        torch.autograd.backward(module(clip).square().sum())
    theirs_first, ours_first = next(theirs.parameters()), next(ours.parameters())
    torch.testing.assert_close(ours_first.grad, theirs_first.grad, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize(
    ("name", "model", "enum"),
    [
        ("r3d_18", "resnet3d", "R3D_18_Weights"),
        ("mc3_18", "resnet3d", "MC3_18_Weights"),
        ("r2plus1d_18", "r2plus1d", "R2Plus1D_18_Weights"),
    ],
)
def test_published_weights_and_protocol_are_torchvisions(torchvision_models, name, model, enum):
    published = getattr(torchvision_models.video, enum).KINETICS400_V1
    spec = registry.load("vtk.models", model)
    weights = spec.weights[name]
    metrics = published.meta["_metrics"]["Kinetics-400"]
    assert weights.url == published.url
    assert weights.accuracy == {"top1": metrics["acc@1"], "top5": metrics["acc@5"]}
    inputs = spec.inputs(spec.config(**weights.config))
    transforms = published.transforms()
    assert (inputs.norm.mean, inputs.norm.std) == (tuple(transforms.mean), tuple(transforms.std))
    assert transforms.crop_size == [inputs.test.crop] * 2
    assert transforms.resize_size == [inputs.test.short_side, round(inputs.test.short_side * 4 / 3)]
