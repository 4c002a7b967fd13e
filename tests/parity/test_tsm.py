"""TSM against MIT's code, MMAction2 and Paddle: their weights through our layouts, their logits from our model."""

import pytest
import torch

from vtk_models.tsm import MODEL, TSMConfig


def loaded(layout, checkpoint, num_classes):
    layout = MODEL.layouts[layout]
    with torch.device("meta"):
        model = MODEL.build(MODEL.config(**layout.infer(checkpoint)), num_classes)
    model.load_state_dict(layout(checkpoint), strict=True, assign=True)
    return model.eval()


@pytest.mark.parametrize(("name", "layout"), [("tsm_r50", "mit-tsm"), ("mm_tsm_r50", "mmaction2")])
def test_logits_equal_the_originals(torch_fixture, name, layout):
    """One clip in float64: nothing but the last bits may differ."""
    case = torch_fixture(name)
    model = loaded(layout, case.published(), case.logits.shape[1])
    assert sum(p.numel() for p in model.parameters()) == case.params
    frames = case.inputs[0][:1]
    clip_BTNCHW = frames.view(1, 8, 1, 3, *frames.shape[2:])
    with torch.no_grad():
        double = model.double()(clip_BTNCHW.double())
    torch.testing.assert_close(double, case.logits64[:1], rtol=1e-10, atol=1e-10)


def test_x_temporals_names_are_mits(torch_fixture):
    checkpoint = torch_fixture("tsm_r50").published()
    theirs = {"model": checkpoint["state_dict"]}
    assert MODEL.layouts["x-temporal"].infer(theirs) == MODEL.layouts["mit-tsm"].infer(checkpoint)
    assert MODEL.layouts["x-temporal"](theirs).keys() == MODEL.layouts["mit-tsm"](checkpoint).keys()


def test_logits_equal_paddles(fluid_case):
    """Its own direction, and its dropout's scaling in the classifier's weight. The reference is float32: 5e-6."""
    case = fluid_case("tsm50_t8_64_c10_eval")
    assert MODEL.layouts["paddle"].infer(case.weights)["shift"] == "prev_first"
    model = loaded("paddle", case.weights, 10).double()
    clip_BTNCHW = case.image.double().unsqueeze(2)
    largest = case.logits.abs().max().item()
    with torch.no_grad():
        torch.testing.assert_close(model(clip_BTNCHW), case.logits.double(), rtol=0, atol=5e-6 * largest)
        assert (model(clip_BTNCHW.flip(1)) - case.logits).abs().max() > 1e-3 * largest


@pytest.mark.parametrize(
    ("changes", "num_classes", "parameters"),
    [
        ({"trunk": "resnet18"}, 27, 11_190_363),
        ({}, 174, 23_864_558),
        ({"place": "block"}, 174, 23_864_558),
        ({"temporal_pool": True}, 174, 23_864_558),
        ({"modality": "flow"}, 174, 23_886_510),
        ({"trunk": "resnet101"}, 174, 42_856_686),
        ({"trunk": "bninception"}, 174, 10_448_590),
        ({"trunk": "mobilenetv2"}, 400, 2_736_272),
        ({"non_local": "embedded_gaussian"}, 174, 31_223_022),
        ({"non_local": "embedded_gaussian", "non_local_bias": False}, 400, 31_682_000),
    ],
)
def test_number_of_parameters(changes, num_classes, parameters):
    with torch.device("meta"):
        model = MODEL.build(TSMConfig(**changes), num_classes)
    assert sum(p.numel() for p in model.parameters()) == parameters
