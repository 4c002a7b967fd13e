"""From the views of a video to its scores, with bounded memory.

B videos  V views  T segments  N frames  C channels  H W pixels  K classes
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn

from vtk_cli.api.inputs import InputSpec
from vtk_cli.errors import CheckpointError, UsageError
from vtk_cli.loader.transforms import normalise

Autocast = Callable[[], AbstractContextManager[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scorer:
    """A model that is asked for scores.

    `inputs.test.average` says what is averaged over the views: logits, or their probabilities.
    """

    module: nn.Module
    """In eval mode and on `device`."""
    inputs: InputSpec
    device: torch.device
    multi_label: bool = False
    view_batch: int = 16
    """Views per forward pass at most."""
    autocast: Autocast = nullcontext

    def scores(self, clip_BVTNCHW: Tensor) -> Tensor:
        """scores_BK of uint8 clips, float32 on the CPU: the average over the views of each video.

        Raises:
            CheckpointError: the model does not give one row of scores per clip.
        """
        videos, views = clip_BVTNCHW.shape[:2]
        flat = clip_BVTNCHW.flatten(0, 1)
        with torch.inference_mode(), self.autocast():
            parts = [self._forward(part) for part in torch.split(flat, self.view_batch)]
        scores_NK = torch.cat(parts)
        if scores_NK.dim() != 2 or len(scores_NK) != len(flat):
            raise CheckpointError(
                f"A model gives logits_BK, found shape {tuple(scores_NK.shape)} for {len(flat)} clips. Ask its author."
            )
        return scores_NK.reshape(videos, views, -1).mean(1).cpu()

    def probabilities(self, scores_BK: Tensor) -> Tensor:
        """What `scores` gave, as probabilities."""
        if self.inputs.test.average == "probabilities":
            return scores_BK
        return self._squash(scores_BK)

    def _forward(self, clip_NTNCHW: Tensor) -> Tensor:
        logits = self.module(normalise(clip_NTNCHW, self.inputs.norm, self.device)).float()
        return self._squash(logits) if self.inputs.test.average == "probabilities" else logits

    def _squash(self, logits_BK: Tensor) -> Tensor:
        return logits_BK.sigmoid() if self.multi_label else logits_BK.softmax(-1)


def change_views(
    inputs: InputSpec,
    *,
    clips: int | None = None,
    crops: Literal[1, 3, 5, 10] | None = None,
    segments: int | None = None,
) -> InputSpec:
    """A model's inputs with other test views than its paper's; raises UsageError for numbers no view can have."""
    wanted = {"clips": clips, "crops": crops, "segments": segments}
    changes: dict[str, Any] = {name: value for name, value in wanted.items() if value is not None}
    return replace(inputs, test=replace(inputs.test, **changes)) if changes else inputs


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
