"""Random inputs of a model, as loader and device hand them over: clip_BTNCHW, or feature_BFD with mask_BF."""

from random import Random

import torch
from torch import Tensor

from vtk_cli.api.inputs import FeatureSpec, InputSpec, View

Inputs = InputSpec | FeatureSpec


def views_of(inputs: Inputs) -> tuple[View | None, ...]:
    """The views that a model is asked for, training and test; features have none of either."""
    return (None,) if isinstance(inputs, FeatureSpec) else (inputs.train, inputs.test)


def made_inputs(inputs: Inputs, view: View | None, videos: int) -> tuple[Tensor, ...]:
    """What the model is called with for so many videos; the videos of features have different lengths."""
    generator = torch.Generator().manual_seed(videos)
    if isinstance(inputs, FeatureSpec):
        lengths_B = torch.tensor([max(1, inputs.frames - 2 * i) for i in range(videos)])
        mask_BF = torch.arange(inputs.frames) < lengths_B[:, None]
        feature_BFD = torch.randn(videos, inputs.frames, inputs.size, generator=generator)
        return feature_BFD.masked_fill(~mask_BF[..., None], 0), mask_BF
    assert view is not None
    frames = inputs.loaded_frames(view)
    shape = (videos, view.segments, frames, inputs.channels, view.crop, view.crop)
    return (torch.randn(shape, generator=generator),)


def others_changed(given: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """The same first video, all others different."""
    return (torch.cat((given[0][:1], given[0][1:].flip(0) * 2 + 1)), *given[1:])


def first_alone(given: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """The first video only."""
    return tuple(tensor[:1] for tensor in given)


def sampled(inputs: Inputs, view: View | None, length: int, rng: Random | None) -> list[list[int]]:
    """The frame numbers that the loader would ask for."""
    if isinstance(inputs, FeatureSpec):
        return inputs.sampler(length, segments=inputs.frames, frames=1, stride=1, clips=1, rng=rng)
    assert view is not None
    frames = inputs.loaded_frames(view)
    return view.sampler(length, segments=view.segments, frames=frames, stride=view.stride, clips=view.clips, rng=rng)
