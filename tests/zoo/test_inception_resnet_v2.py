"""Inception-ResNet-v2 against timm's."""

import torch

from vtk_models.trunks.inception_resnet_v2 import INCEPTION_RESNET_V2


def test_features_equal_timms(timm):
    torch.manual_seed(0)
    theirs = timm.create_model("inception_resnet_v2").double().eval()
    for module in theirs.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2)
            torch.nn.init.uniform_(module.weight, 0.8, 1.2)
            torch.nn.init.normal_(module.bias, 0, 0.1)
    ours = INCEPTION_RESNET_V2.build(3).double().eval()
    ours.load_state_dict(INCEPTION_RESNET_V2.layouts["timm"](theirs.state_dict()), strict=True)
    for size in ((75, 75), (131, 160)):
        x = torch.randn(2, 3, *size, dtype=torch.double)
        with torch.no_grad():
            expected = theirs.forward_head(theirs.forward_features(x), pre_logits=True)
            torch.testing.assert_close(ours(x), expected, rtol=1e-10, atol=1e-10)
    assert [(info["num_chs"], info["reduction"]) for info in theirs.feature_info[2:]] == [
        (channels, reduction) for channels, reduction in zip(ours.stage_channels, (8, 16, 32), strict=True)
    ]


def test_the_picture_is_read_as_timm_reads_it(timm):
    expected = timm.get_pretrained_cfg("inception_resnet_v2.tf_in1k")
    norm = INCEPTION_RESNET_V2.norm
    assert (norm.mean, norm.std, norm.order) == (expected.mean, expected.std, "rgb")
    assert expected.license == INCEPTION_RESNET_V2.weights["imagenet"].licence.lower()
