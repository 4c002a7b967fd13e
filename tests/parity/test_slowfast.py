"""SlowFast and SlowOnly against PySlowFast: its weights through our layout, its logits from our model."""

from dataclasses import replace

import pytest
import torch

from vtk_models import slowfast, slowonly
from vtk_models.slowfast import SlowFastConfig
from vtk_models.slowfast_parts import NON_LOCAL
from vtk_models.slowonly import SlowOnlyConfig

CROP = 64
"""The references were made for training crops of 64."""


@pytest.mark.parametrize(
    ("name", "spec"), [("slowfast_4x16_r50", slowfast.MODEL), ("slowonly_4x16_r50", slowonly.MODEL)]
)
def test_logits_and_mean_probabilities_equal_the_originals(torch_fixture, name, spec):
    case = torch_fixture(name)
    layout = spec.layouts["pyslowfast"]
    config = replace(spec.config(**layout.infer(case.published())), crop=CROP)
    assert config == replace(spec.config(), crop=CROP), "the file says what the defaults are"
    with torch.device("meta"):
        model = spec.build(config, 400).eval()
    model.load_state_dict(layout(case.published()), strict=True, assign=True)
    assert sum(p.numel() for p in model.parameters()) == case.params
    larger, probability_BK = case.fcn
    with torch.no_grad():
        over_positions_BK = model(clip(larger[-1]))
        logits_BK = model.double()(clip(case.inputs[-1][:1].double()))
    torch.testing.assert_close(logits_BK, case.logits64[:1], rtol=1e-10, atol=1e-10)
    # The reference of larger crops is single precision.
    torch.testing.assert_close(over_positions_BK.softmax(1), probability_BK, rtol=0, atol=5e-6)


def clip(x_BCTHW):
    return x_BCTHW.transpose(1, 2).unsqueeze(1)


@pytest.mark.parametrize(
    ("spec", "config", "num_classes", "parameters"),
    [
        (slowfast, SlowFastConfig(), 400, 34_480_216),
        (slowfast, SlowFastConfig(alpha=4, fusion_kernel=7), 400, 34_566_488),
        (slowfast, SlowFastConfig(alpha=4, non_local=NON_LOCAL), 400, 41_838_680),
        (slowfast, SlowFastConfig(depth=101, alpha=4), 400, 62_826_968),
        (slowfast, SlowFastConfig(depth=101, alpha=4, res4_temporal=6, fast_res4_temporal=6), 400, 53_774_808),
        (slowfast, SlowFastConfig(lateral_norm=False, slow_frames="every"), 400, 34_479_288),
        (slowfast, SlowFastConfig(lateral_norm=False, fc_bias=False), 600, 34_939_688),
        (slowfast, SlowFastConfig(depth=101, lateral_norm=False, fc_bias=False), 700, 63_516_840),
        (slowonly, SlowOnlyConfig(), 400, 32_454_096),
        (slowonly, SlowOnlyConfig(non_local=NON_LOCAL), 400, 39_812_560),
    ],
)
def test_number_of_parameters(spec, config, num_classes, parameters):
    with torch.device("meta"):
        model = spec.MODEL.build(config, num_classes)
    assert sum(p.numel() for p in model.parameters()) == parameters
