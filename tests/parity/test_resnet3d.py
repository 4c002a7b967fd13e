"""3D ResNets against 3D-ResNets-PyTorch and torchvision: their weights through our layouts, their logits from ours."""

import pytest
import torch

from vtk_models.resnet3d import MODEL, ResNet3DConfig


def loaded(case, layout):
    checkpoint = case.published()
    model = MODEL.build(ResNet3DConfig(**MODEL.layouts[layout].infer(checkpoint)), case.logits.shape[1])
    model.load_state_dict(MODEL.layouts[layout](checkpoint), strict=True)
    return model.eval()


@pytest.mark.parametrize("name", ["r3d18_k", "r3d18_k_shortcutA"])
def test_logits_equal_kenshoharas(torch_fixture, name):
    """In float64 both do the same arithmetic, so nothing but the last bits may differ."""
    case = torch_fixture(name)
    model = loaded(case, "3d-resnets").double()
    assert sum(p.numel() for p in model.parameters()) == case.params
    clip_BTNCHW = case.inputs[0][:1].transpose(1, 2).unsqueeze(1)
    with torch.no_grad():
        torch.testing.assert_close(model(clip_BTNCHW.double()), case.logits64[:1], rtol=1e-10, atol=1e-10)


def test_logits_equal_torchvisions(torch_fixture):
    """In float32, for float64 takes 20 seconds; there `tests/zoo` compares."""
    case = torch_fixture("tv_r3d_18")
    model = loaded(case, "torchvision")
    assert sum(p.numel() for p in model.parameters()) == case.params
    with torch.no_grad():
        logits = model(case.inputs[0][:1].transpose(1, 2).unsqueeze(1)).double()
    torch.testing.assert_close(logits, case.logits64[:1], rtol=0, atol=5e-6 * case.logits.abs().max().item())
