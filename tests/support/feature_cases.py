"""Paddle's reference outputs for the models on feature vectors, with the padded inputs that our models take."""

import json
import sys
from dataclasses import dataclass

import numpy as np
import torch

from vtk_cli.api.inputs import FeatureSpec


@dataclass
class FeatureCase:
    weights: dict
    """By fluid's names, as numpy arrays."""
    streams: list
    """One list of [frames, D] arrays, a video each, for every stream: uint8 as stored, or float."""
    logits: torch.Tensor
    stored: dict
    """All arrays of the reference."""

    def batch(self, spec: FeatureSpec, padding: int = 0):
        """feature_BFD in float64, dequantised as the core does it and then padded, and mask_BF."""
        lengths = [len(video) for video in self.streams[0]]
        frames = max(lengths) + padding
        mask_BF = torch.arange(frames) < torch.tensor(lengths)[:, None]
        feature_BFD = torch.zeros(len(lengths), frames, spec.size, dtype=torch.float64)
        for place, length in enumerate(lengths):
            parts = []
            for stream, videos in zip(spec.streams, self.streams, strict=True):
                array = torch.from_numpy(videos[place])
                quantised = array.dtype == torch.uint8
                parts.append(array.double() * stream.scale + stream.offset if quantised else array.double())
            feature_BFD[place, :length] = torch.cat(parts, dim=1)
        return feature_BFD, mask_BF


def load(shared, name: str) -> FeatureCase:
    folder = shared / "parity" / "paddle"
    sys.path.insert(0, str(folder))
    try:
        common = __import__("common")
    finally:
        sys.path.remove(str(folder))
    with np.load(folder / f"{name}.npz") as file:
        stored = {key: file[key] for key in file.files}
    meta = json.loads(str(stored.pop("meta")))
    weights = {key: common.gen(meta["salt"], key, shape, kind) for key, shape, kind in meta["params"]}
    if "in/eigen_param" in stored:
        weights["eigen_param"] = stored["in/eigen_param"]
    arrays = [stored["in/rgb"], stored["in/audio"]]
    cuts = np.cumsum(stored["in/lengths"])[:-1] if "in/lengths" in stored else None
    streams = [list(array) if cuts is None else np.split(array, cuts) for array in arrays]
    return FeatureCase(weights, streams, torch.from_numpy(stored["res/logits"]), stored)
