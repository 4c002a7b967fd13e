"""Vectors that a trained model of clips makes of a video: what its classifier is given, one per window.

    B clips  W windows  T segments  N frames  C channels  H W pixels  D feature size

What a window is says feature_windows.py.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vtk_cli.api.inputs import FeatureSpec
from vtk_cli.api.loaders import Clip, FrameSource
from vtk_cli.errors import CheckpointError, PluginError, UsageError
from vtk_cli.evaluate.feature_windows import ClipPlan, FeatureWindows, Grid
from vtk_cli.evaluate.foreign import sha256_of
from vtk_cli.evaluate.views import Scorer
from vtk_cli.loader.device import model_arguments
from vtk_cli.loader.feature_source import columns, stream_names
from vtk_cli.store.meta import meta_of
from vtk_cli.workspace import Workspace


class Extractor:
    """A trained model of clips that is asked for what its classifier is given."""

    def __init__(self, scorer: Scorer, layer: str, windows: FeatureWindows) -> None:
        """`layer`: dotted name of the classifier (`ModelSpec.classifier`).

        Raises:
            UsageError: the model reads features itself.
            PluginError: it has no such layer, or that is neither linear nor a convolution.
        """
        if isinstance(scorer.inputs, FeatureSpec):
            raise UsageError("Features are made by a model of clips, found one that reads features. Name another run.")
        inputs = replace(scorer.inputs, test=replace(scorer.inputs.test, clips=1, crops=1))
        self.plan = ClipPlan(inputs, windows, scorer.view_batch)
        self._module, self._device, self._name = scorer.module, scorer.device, layer
        self._layer = _find(scorer.module, layer)
        self._given: list[Tensor] = []
        self._layer.register_forward_pre_hook(lambda _, arguments: self._given.append(arguments[0].detach()))

    @property
    def size(self) -> int:
        """D."""
        layer = self._layer
        return layer.in_features if isinstance(layer, nn.Linear) else layer.in_channels

    def vectors(self, clip_WTNCHW: Tensor) -> Tensor:
        """feature_WD, float32 on the CPU: the classifier's input, averaged over a clip's segments and positions.

        Raises:
            PluginError: the layer is not given whole rows for each clip.
        """
        self._given.clear()
        with torch.inference_mode():
            self._module(*model_arguments(self.plan.inputs, self._device, clip_WTNCHW))
        if not self._given or any(len(given) % len(clip_WTNCHW) for given in self._given):
            shapes = [tuple(given.shape) for given in self._given]
            raise PluginError(
                f"The model's classifier {self._name} should be given rows of each of {len(clip_WTNCHW)} clips, found "
                f"{shapes or 'that it is not called'}. Report it to the model's author."
            )
        parts = [self._pooled(given.float(), len(clip_WTNCHW)) for given in self._given]
        self._given.clear()
        return torch.stack(parts).mean(0).cpu()

    def _pooled(self, given: Tensor, clips: int) -> Tensor:
        """A linear layer's features come last, a convolution's second; the rows of one clip follow one another."""
        if not isinstance(self._layer, nn.Linear):
            given = given.flatten(2).mean(2)
        return given.reshape(clips, -1, self.size).mean(1)


class ComputedFeatures:
    """Implements `vtk_cli.api.loaders.FeatureSource` on video files: computes what a store would hold of them."""

    def __init__(self, extractor: Extractor, frames: FrameSource, meta: Mapping[str, Any], spec: FeatureSpec) -> None:
        """`meta`: of the store that the model was trained on.

        Raises:
            CheckpointError: the network gives other streams than the store had.
        """
        stored = meta_of(meta)
        made = ((extractor.plan.inputs.modality, extractor.size),)
        if stored.streams != made:
            raise CheckpointError(
                f"The model reads {stream_names(stored.streams)}, and the network that should make them gives "
                f"{stream_names(made)}. Make a store of the videos' features and use `vtk test`."
            )
        self._extractor, self._frames = extractor, frames
        self._dtype = getattr(torch, stored.dtype)
        self._columns = columns(stored, spec)
        self._last: tuple[Clip, list[Grid]] | None = None

    def num_frames(self, clip: Clip) -> int:
        """Windows of the file."""
        return len(self._grids(clip))

    def read(self, clip: Clip, indices: Sequence[int]) -> Tensor:
        """feature_FD of the windows with these numbers, of the store's type; raises a DataError as the files do."""
        grids = self._grids(clip)
        clips = self._extractor.plan.clips(self._frames, clip, [grids[index] for index in indices])
        feature_FD = torch.cat([self._extractor.vectors(part) for part in clips]).to(self._dtype)
        return torch.cat([feature_FD[:, part] for part in self._columns], dim=1)

    def _grids(self, clip: Clip) -> list[Grid]:
        """Counting the frames of a file means decoding it, so the last answer is kept."""
        if self._last is None or self._last[0] != clip:
            self._last = clip, self._extractor.plan.grids(self._frames.num_frames(clip))
        return self._last[1]

    def close(self) -> None:
        self._frames.close()


def origin_of(extractor: Extractor, *, model: str, path: Path, layer: str, reads: str) -> dict[str, Any]:
    """What the meta of a feature store says of where its features come from."""
    plan, folder = extractor.plan, path.absolute().parent
    shown = ("segments", "frames", "stride", "short_side", "aspect", "crop")
    return {
        "model": model,
        "run": folder.parent.name if (folder.parent / "run.json").is_file() else "",
        "file": str(path.absolute()),
        "sha256": sha256_of(path),
        "layer": layer,
        "windows": plan.windows.count,
        "stride": plan.windows.stride,
        "view": {name: getattr(plan.inputs.test, name) for name in shown},
        "reads": reads,
    }


def find_origin(meta: Mapping[str, Any], workspaces: Iterable[Workspace]) -> Path:
    """The file of weights that made the features of a store.

    Raises:
        UsageError: the meta does not say what made them.
        CheckpointError: that file is nowhere any more, or has changed.
    """
    origin: Mapping[str, Any] = meta.get("origin", {})
    if not origin.get("sha256"):
        raise UsageError(
            "The model reads features, and its weights do not say which network makes them from a file. Make a dataset "
            "of the videos with `vtk index` and a store of their features, and use `vtk test`."
        )
    file = Path(str(origin["file"]))
    places = [file]
    for workspace in workspaces:
        places += [workspace.runs / str(origin["run"]) / "checkpoints" / file.name, workspace.weights / file.name]
    there = [path for path in places if path.is_file()]
    found = next((path for path in there if sha256_of(path) == origin["sha256"]), None)
    if found is None:
        state = f"{there[0]} has changed since" if there else f"they are no more at {file}"
        raise CheckpointError(
            f"The model reads features that {origin['model']} made with weights of sha256 {origin['sha256'][:8]}...; "
            f"{state}. Bring those weights back, or make features of the videos anew, train on them, and predict then."
        )
    return found


def _find(module: nn.Module, name: str) -> "nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d":
    try:
        layer = module.get_submodule(name)
    except AttributeError as error:
        raise PluginError(
            f'The model\'s classifier should be its layer "{name}", which it does not have. Report it to its author.'
        ) from error
    if not isinstance(layer, nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d):
        raise PluginError(
            f"The model's classifier {name} should be a linear layer or a convolution, found {type(layer).__name__}. "
            "Report it to its author."
        )
    return layer
