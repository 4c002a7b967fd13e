"""From the views of a video, or its features, to its scores, with bounded memory.

B videos  V views  T segments  N frames  C channels  H W pixels  F feature frames  D feature size  K classes
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn

from vtk_cli.api.inputs import FeatureSpec, InputSpec
from vtk_cli.errors import CheckpointError, UsageError
from vtk_cli.loader.device import model_arguments, per_view

Autocast = Callable[[], AbstractContextManager[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scorer:
    """A model that is asked for scores.

    `inputs.test.average` says what is averaged over the views: logits, or their probabilities.
    """

    module: nn.Module
    """In eval mode and on `device`."""
    inputs: InputSpec | FeatureSpec
    device: torch.device
    multi_label: bool = False
    view_batch: int = 16
    """Views per forward pass at most."""
    autocast: Autocast = nullcontext

    @property
    def average(self) -> Literal["logits", "probabilities"]:
        """What `scores` are: what is averaged over the views; features have one view."""
        return "logits" if isinstance(self.inputs, FeatureSpec) else self.inputs.test.average

    def scores(self, *loaded: Tensor) -> Tensor:
        """scores_BK, float32 on the CPU, of what a loader gave: the average over the views of each video.

        `loaded`: uint8 clip_BVTNCHW, or feature_BFD and mask_BF, as `Batch.inputs` has them.

        Raises:
            CheckpointError: the model does not give one row of scores per clip.
        """
        rows = per_view(self.inputs, loaded)
        videos, count = len(loaded[0]), len(rows[0])
        portions = zip(*(torch.split(tensor, self.view_batch) for tensor in rows), strict=True)
        with torch.inference_mode(), self.autocast():
            scores_NK = torch.cat([self._forward(portion) for portion in portions])
        if scores_NK.dim() != 2 or len(scores_NK) != count:
            raise CheckpointError(
                f"A model gives logits_BK, found shape {tuple(scores_NK.shape)} for {count} clips. Ask its author."
            )
        return scores_NK.reshape(videos, count // videos, -1).mean(1).cpu()

    def probabilities(self, scores_BK: Tensor) -> Tensor:
        """What `scores` gave, as probabilities."""
        if self.average == "probabilities":
            return scores_BK
        return self._squash(scores_BK)

    def _forward(self, rows: tuple[Tensor, ...]) -> Tensor:
        logits = self.module(*model_arguments(self.inputs, self.device, *rows)).float()
        return self._squash(logits) if self.average == "probabilities" else logits

    def _squash(self, logits_BK: Tensor) -> Tensor:
        return logits_BK.sigmoid() if self.multi_label else logits_BK.softmax(-1)


def change_views(
    inputs: InputSpec | FeatureSpec,
    *,
    clips: int | None = None,
    crops: Literal[1, 3, 5, 10] | None = None,
    segments: int | None = None,
) -> InputSpec | FeatureSpec:
    """A model's inputs with other test views than its paper's.

    Raises:
        UsageError: numbers no view can have, or the model reads features, which have no views.
    """
    wanted = {"clips": clips, "crops": crops, "segments": segments}
    changes: dict[str, Any] = {name: value for name, value in wanted.items() if value is not None}
    if not changes:
        return inputs
    if isinstance(inputs, FeatureSpec):
        raise UsageError(
            f"The model reads features, all of a video at once; found --{next(iter(changes))}, which is of models of "
            "clips. Drop it."
        )
    if clips == 0:  # of a view itself: as many as its sampler finds
        raise UsageError("Other views need clips >= 1, found 0. Give a number, or drop it for the model's own.")
    return replace(inputs, test=replace(inputs.test, **changes))


def default_device(name: str = "auto") -> torch.device:
    """`auto`: a GPU where there is one.

    Raises:
        UsageError: there is no such device.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:  # torch asserts that it was built with CUDA
        raise UsageError(
            f'--device takes auto, cpu, cuda or cuda:N of this machine, found "{name}". See `vtk doctor`.'
        ) from error
    return device
