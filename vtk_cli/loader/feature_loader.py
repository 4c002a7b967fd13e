"""From the vectors of a video to what a sequence model is given: F of them, and which are real.

F = 5, a video of 3 vectors:    feature  a b c 0 0     mask  1 1 1 0 0
"""

from random import Random

import torch
from torch import Tensor

from vtk_cli.api.inputs import FeatureSpec
from vtk_cli.api.loaders import Clip, FeatureSource
from vtk_cli.errors import PluginError


def video_features(source: FeatureSource, clip: Clip, spec: FeatureSpec, rng: Random | None) -> tuple[Tensor, Tensor]:
    """feature_FD as stored and mask_F of one video; with `rng` a training draw, without it what tests see.

    Raises:
        DataError: the video cannot be read.
        PluginError: the sampler gives none, more than F, or numbers past the end.
    """
    length = source.num_frames(clip)
    grids = spec.sampler(length, segments=spec.frames, frames=1, stride=1, clips=1, rng=rng)
    indices = grids[0] if len(grids) == 1 else []
    if not 1 <= len(indices) <= spec.frames or not all(0 <= index < length for index in indices):
        raise PluginError(
            f"A sampler of features gives one list of 1 to {spec.frames} numbers below {length}, found {grids}. "
            "Report it to the model's author."
        )
    return pad(source.read(clip, indices), spec.frames)


def pad(feature_FD: Tensor, frames: int) -> tuple[Tensor, Tensor]:
    """Zeros after the vectors that are there, up to `frames`; and mask_F, True where one is."""
    padded_FD = feature_FD.new_zeros(frames, feature_FD.shape[1])
    padded_FD[: len(feature_FD)] = feature_FD
    return padded_FD, torch.arange(frames) < len(feature_FD)
