"""Reading other projects' checkpoints: from their names of tensors to ours, complete or refused."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

from vtk_cli.api.models import StateDict
from vtk_cli.errors import CheckpointError, MismatchError

Rename = Callable[[str], str | None]
"""A foreign name -> our name, "" for what our models have no use for, None for a name that the layout does not know."""

WRAPPERS = ("state_dict", "model_state", "model", "blobs")
"""Keys under which tsn-pytorch, TSM and MMAction2, PySlowFast, X-Temporal, and Caffe2 keep their tensors."""

MOST_NAMES = 8


def convert(checkpoint: Mapping[str, Any], *, layout: str, rename: Rename, required: Mapping[str, str]) -> StateDict:
    """Bring a checkpoint's tensors to our names; `required` maps names of ours that must result to the foreign ones.

    Batch norms of files older than torch 0.4.1 and of other frameworks get the counter that torch keeps beside them.

    Raises:
        CheckpointError: it holds names that the layout does not know, or lacks required ones; all are named.
    """
    converted: StateDict = {}
    unknown = []
    for name, tensor in unwrap(checkpoint, layout=layout).items():
        ours = rename(name)
        if ours is None:
            unknown.append(name)
        elif ours:
            converted[ours] = tensor
    missing = [foreign for ours, foreign in required.items() if ours not in converted]
    if unknown or missing:
        raise MismatchError(
            f'A checkpoint of the layout "{layout}" has no other tensors than the layout knows and all that it needs; '
            f"found unexpected: {_listed(unknown)}; missing: {_listed(missing)}. "
            "Name the layout and the model that the file was written for.",
            unexpected=unknown,
            missing=missing,
        )
    for name in [name for name in converted if name.endswith(".running_var")]:
        converted.setdefault(name.removesuffix("running_var") + "num_batches_tracked", torch.tensor(0))
    return converted


def unwrap(checkpoint: Mapping[str, Any], *, layout: str) -> StateDict:
    """The tensors of a checkpoint, out of the dictionary they are saved in and without DataParallel's `module.`.

    Raises:
        CheckpointError: a value is neither a tensor nor a numpy array.
    """
    for key in WRAPPERS:
        if isinstance(checkpoint.get(key), Mapping):
            checkpoint = checkpoint[key]
            break
    tensors: StateDict = {}
    for name, value in checkpoint.items():
        if not isinstance(value, torch.Tensor | np.ndarray):
            raise CheckpointError(
                f'A checkpoint of the layout "{layout}" holds tensors by name, found {type(value).__name__} under '
                f'"{name}". Name the layout that the file was written in.'
            )
        tensors[str(name).removeprefix("module.")] = torch.as_tensor(value)
    return tensors


def _listed(names: list[str]) -> str:
    if not names:
        return "none"
    more = len(names) - MOST_NAMES
    return ", ".join(names[:MOST_NAMES]) + (f" and {more} more" if more > 0 else "")
