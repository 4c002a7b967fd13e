"""R(2+1)D against 3D-ResNets-PyTorch and VMZ: their weights through our layouts, their logits from our model."""

import torch

from vtk_models.r2plus1d import MODEL, R2Plus1DConfig


def loaded(case, layout):
    checkpoint = case.published()
    model = MODEL.build(R2Plus1DConfig(**MODEL.layouts[layout].infer(checkpoint)), case.logits.shape[1])
    model.load_state_dict(MODEL.layouts[layout](checkpoint), strict=True)
    assert sum(p.numel() for p in model.parameters()) == case.params
    return model.eval()


def test_logits_equal_kenshoharas(torch_fixture):
    """In float64 both do the same arithmetic, so nothing but the last bits may differ."""
    case = torch_fixture("r2p1d18_k")
    model = loaded(case, "3d-resnets").double()
    with torch.no_grad():
        logits = model(case.inputs[0][:1].transpose(1, 2).unsqueeze(1).double())
    torch.testing.assert_close(logits, case.logits64[:1], rtol=1e-10, atol=1e-10)


def test_logits_equal_vmzs(torch_fixture):
    """In float32, for float64 takes 15 seconds; the batch norm's eps of 1e-3 alone changes the fourth digit."""
    case = torch_fixture("vmz_r2plus1d_34")
    model = loaded(case, "vmz")
    with torch.no_grad():
        logits = model(case.inputs[0][:1].transpose(1, 2).unsqueeze(1)).double()
    torch.testing.assert_close(logits, case.logits64[:1], rtol=0, atol=5e-6 * case.logits.abs().max().item())
