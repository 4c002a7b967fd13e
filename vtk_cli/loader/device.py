"""What a model is called with: a batch's clips or features, brought to the device and to float32 there.

The one place where pictures are normalised and features dequantised, in training, validation, testing, prediction and
dry runs alike.

    B videos  V views  T segments  N frames per segment  C channels  H W pixels  F feature frames  D feature size
"""

import torch
from torch import Tensor

from vtk_cli.api.inputs import FeatureSpec, InputSpec, Stream, View
from vtk_cli.loader.transforms import normalise


def model_arguments(inputs: InputSpec | FeatureSpec, device: torch.device | str, *loaded: Tensor) -> tuple[Tensor, ...]:
    """The arguments of the model's forward for what a loader gave.

    uint8 clip_BTNCHW -> (clip_BTNCHW,); feature_BFD as stored and mask_BF -> (feature_BFD, mask_BF); all float32.
    """
    if isinstance(inputs, FeatureSpec):
        feature_BFD, mask_BF = (tensor.to(device, non_blocking=True) for tensor in loaded)
        return dequantise(feature_BFD, mask_BF, inputs.streams), mask_BF
    (clip,) = loaded
    return (normalise(clip, inputs.norm, device),)


def dequantise(feature_BFD: Tensor, mask_BF: Tensor, streams: tuple[Stream, ...]) -> Tensor:
    """float32 feature_BFD; uint8 become scale * q + offset by stream, floats stay, and what is masked out is zero.

    Zero after, not before: a quantised 0 is not 0 (google/youtube-8m readers.py pads dequantised frames).
    """
    values = feature_BFD.to(torch.float32)
    if feature_BFD.dtype == torch.uint8:
        scale_D, offset_D = (
            torch.cat([torch.full((stream.size,), getattr(stream, name)) for stream in streams]).to(values.device)
            for name in ("scale", "offset")
        )
        values = torch.addcmul(offset_D, values, scale_D, out=values)
    return values.masked_fill_(~mask_BF[..., None], 0)


def per_view(inputs: InputSpec | FeatureSpec, loaded: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """What a batch holds with one row per view: clip_BVTNCHW becomes clip_NTNCHW, N = B x V; features have one view."""
    if isinstance(inputs, FeatureSpec):
        return loaded
    return tuple(clip_BVTNCHW.flatten(0, 1) for clip_BVTNCHW in loaded)


def blank(inputs: InputSpec | FeatureSpec, view: View | None = None) -> tuple[Tensor, ...]:
    """One video as a loader gives it, all zeros: what shows a model's shapes. `view`: of clips, else the training's."""
    if isinstance(inputs, FeatureSpec):
        shape = (1, inputs.frames, inputs.size)
        return torch.zeros(shape, dtype=torch.uint8), torch.ones(shape[:2], dtype=torch.bool)
    seen = view or inputs.train
    shape_BTNCHW = (1, seen.segments, inputs.loaded_frames(seen), inputs.channels, seen.crop, seen.crop)
    return (torch.zeros(shape_BTNCHW, dtype=torch.uint8),)
