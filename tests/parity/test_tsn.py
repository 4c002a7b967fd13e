"""TSN against tsn-pytorch, X-Temporal and Paddle: their weights through our layouts, their logits from our model."""

import pytest
import torch

from vtk_cli import registry
from vtk_models.tsn import MODEL, TSNConfig


def loaded(layout, checkpoint, num_classes):
    """The model that the layout finds in the checkpoint."""
    layout = MODEL.layouts[layout]
    with torch.device("meta"):
        model = MODEL.build(MODEL.config(**layout.infer(checkpoint)), num_classes)
    model.load_state_dict(layout(checkpoint), strict=True, assign=True)
    return model.eval()


@pytest.mark.parametrize(
    ("name", "layout"),
    [("tsn_r50_rgb", "tsn-pytorch"), ("tsn_bninception_rgb", "tsn-pytorch"), ("xt_tsn_r50", "x-temporal")],
)
def test_logits_equal_the_originals(torch_fixture, name, layout):
    """In float64 both do the same arithmetic, so nothing but the last bits may differ."""
    case = torch_fixture(name)
    model = loaded(layout, case.published(), case.logits.shape[1])
    assert sum(p.numel() for p in model.parameters()) == case.params
    frames = case.inputs[0][:1]
    clip_BTNCHW = frames.view(1, -1, 1, 3, *frames.shape[2:])
    with torch.no_grad():
        double = model.double()(clip_BTNCHW.double())
    torch.testing.assert_close(double, case.logits64[:1], rtol=1e-10, atol=1e-10)


def test_logits_equal_paddles(fluid_case):
    """Paddle averages features, we average logits: the same for a linear classifier. The reference is float32: 1e-5."""
    case = fluid_case("tsn50_t3_64_c10_eval")
    model = loaded("paddle", case.weights, 10).double()
    with torch.no_grad():
        logits = model(case.image.double().unsqueeze(2))
    torch.testing.assert_close(logits, case.logits.double(), rtol=0, atol=1e-5 * case.logits.abs().max().item())


@pytest.mark.parametrize(
    ("trunk", "modality", "num_classes", "parameters"),
    [
        ("bninception", "rgb", 101, 10_373_765),
        ("bninception", "flow", 101, 10_395_717),
        ("bninception", "warped", 101, 10_395_717),
        ("bninception", "rgbdiff", 101, 10_411_397),
        ("resnet50", "rgb", 101, 23_714_981),
        ("resnet50", "flow", 101, 23_736_933),
        ("resnet50", "rgbdiff", 101, 23_752_613),
        ("resnet50", "rgb", 400, 24_327_632),
        ("resnet101", "rgb", 313, 43_141_497),
        # torchvision's published totals for 1000 classes.
        ("resnet18", "rgb", 1000, 11_689_512),
        ("resnet34", "rgb", 1000, 21_797_672),
        ("resnet152", "rgb", 1000, 60_192_808),
    ],
)
def test_number_of_parameters(trunk, modality, num_classes, parameters):
    with torch.device("meta"):
        model = MODEL.build(TSNConfig(trunk=trunk, modality=modality), num_classes)
    assert sum(p.numel() for p in model.parameters()) == parameters


def test_a_trunk_has_the_names_and_shapes_of_the_published_file(torch_fixture):
    spec = {name: shape for name, shape, _, _ in torch_fixture("tsn_bninception_rgb").spec}
    with torch.device("meta"):
        trunk = registry.load("vtk.trunks", "bninception").build(3)
    ours = {f"base_model.{name}": list(tensor.shape) for name, tensor in trunk.state_dict().items()}
    assert ours == {name: shape for name, shape in spec.items() if name.startswith("base_model.")}
