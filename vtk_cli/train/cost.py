"""What a model costs: parameters, and multiply-adds of one forward pass; nothing is computed, shapes are enough."""

import warnings
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from vtk_cli.api.inputs import FeatureSpec, View
from vtk_cli.api.models import ModelSpec
from vtk_cli.loader.device import blank

CLIP_CLASSES = 400
FEATURE_CLASSES = 3862
"""Numbers of classes for which sizes are stated: Kinetics-400's, and YouTube-8M's of 2018."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Of a model that is built for `classes` classes."""

    classes: int
    parameters: int
    train_gmacs: float
    """1e9 multiply-adds (which papers call GFLOPs) of convolutions and matrix products, for one training clip."""
    test_gmacs: float
    """The same for one of the test views."""
    views: int
    """Test views per video; 0 where it depends on the video."""


def cost(spec: ModelSpec[Any], config: Any) -> Cost:
    """Build the model without memory and run shapes through it."""
    inputs = spec.inputs(config)
    features = isinstance(inputs, FeatureSpec)
    classes = FEATURE_CLASSES if features else CLIP_CLASSES
    with torch.device("meta"):
        model = spec.build(config, classes).eval()

    def gmacs(view: View | None) -> float:
        zeros = tuple(tensor.to("meta") for tensor in blank(inputs, view))
        given = tuple(tensor if tensor.dtype == torch.bool else tensor.float() for tensor in zeros)
        counter = FlopCounterMode(display=False)
        with torch.no_grad(), warnings.catch_warnings(), counter:
            warnings.simplefilter("ignore")  # of kernels that the counter has no formula for: they are no products
            model(*given)
        return counter.get_total_flops() / 2e9

    return Cost(
        classes=classes,
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        train_gmacs=gmacs(None if isinstance(inputs, FeatureSpec) else inputs.train),
        test_gmacs=gmacs(None if isinstance(inputs, FeatureSpec) else inputs.test),
        views=1 if isinstance(inputs, FeatureSpec) else inputs.test.views,
    )
