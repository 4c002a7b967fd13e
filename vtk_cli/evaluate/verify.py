"""What a model gave for a made input when its weights were imported, stored with them, and whether it still does.

    digest      sha256 over names, types, shapes and bytes of all tensors: tells a damaged file
    logits      of the made input in the type `dtype`: tells another model, or another reading of the weights
    shape       of the input; for features `lengths` says how many frames each video has
    tolerance   largest difference that is none, as a part of the largest logit

The input is drawn by arithmetic on whole numbers alone (splitmix64), so it is the same on every machine and version.
"""

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vtk_cli.api.inputs import FeatureSpec, InputSpec
from vtk_cli.errors import CheckpointError, VtkError

SEED = 20190604
SIDE = 64
"""Pixels; a model that does not run on so few gets its own crop."""
FRAMES = 16
"""Features per video; a model with a fixed number gets its own."""
TOLERANCE = {"float64": 1e-8, "float32": 1e-4}
"""Between machines and releases of torch only the order of sums differs: 1e-12 and 1e-5 of the largest logit."""
_MOST_NUMBERS = 1 << 27
"""Of an input; a file from elsewhere may ask for any."""
_NOT_SO_SMALL = (RuntimeError, ValueError, IndexError, ArithmeticError, AssertionError, VtkError)
"""What models raise on inputs that are too small, or of a type that they do not take."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """The result of a check."""

    unchanged: bool
    """The tensors are those that were imported."""
    difference: float
    """From the stored logits, as a part of the largest of them."""
    tolerance: float

    @property
    def passed(self) -> bool:
        return self.unchanged and self.difference <= self.tolerance

    def check(self, name: str) -> None:
        """Raise a CheckpointError that says what is wrong with the weights of this name, if anything is."""
        if not self.unchanged:
            raise CheckpointError(
                f"{name} should hold the tensors that were imported, found others (its logits differ by "
                f"{self.difference:.1e} of the largest). The file was damaged or changed; import it anew."
            )
        if not self.passed:
            raise CheckpointError(
                f"{name} should give the logits that are stored with it within {self.tolerance:g} of the largest, "
                f"found a difference of {self.difference:.1e} although its tensors are unchanged. The model's code has "
                "changed since the import; use the version that imported it, or import it anew."
            )

    def to_json(self) -> dict[str, Any]:
        difference = self.difference if math.isfinite(self.difference) else None
        return {
            "passed": self.passed,
            "tensors_unchanged": self.unchanged,
            "difference": difference,
            "tolerance": self.tolerance,
        }


def make_check(
    module: nn.Module, tensors: Mapping[str, Tensor], inputs: InputSpec | FeatureSpec | None
) -> dict[str, Any]:
    """Run a module that has a file's tensors on a small input; a trunk has no `inputs`. It is left in float32 and eval.

    float64 and a small input where the model takes them, else float32 or its own size.
    """
    failure: Exception | None = None
    for dtype in ("float64", "float32"):
        for shape in _shapes(inputs):
            lengths = [shape[1], max(1, shape[1] * 2 // 3)] if isinstance(inputs, FeatureSpec) else []
            check = {"seed": SEED, "shape": list(shape), "lengths": lengths, "dtype": dtype}
            try:
                logits = _logits(module, _arguments(check))
            except _NOT_SO_SMALL as error:
                failure = failure or error
                continue
            stored = {"logits": _packed(logits), "tolerance": TOLERANCE[dtype], "digest": digest_of(tensors)}
            return {**check, **stored, "torch": torch.__version__}
    assert failure is not None  # there is at least one shape
    raise failure


def run_check(module: nn.Module, tensors: Mapping[str, Tensor], check: Mapping[str, Any], path: Path) -> Verified:
    """Whether a model with a file's tensors gives what the file says.

    Raises:
        CheckpointError: the file has no check, or a damaged one.
    """
    if not check:
        raise CheckpointError(
            f"{path} should have a check stored with it, found none: `vtk weights import` and `vtk weights fetch` "
            "store one, training does not. Import the file that it was made from."
        )
    try:
        stored = torch.frombuffer(bytearray.fromhex(check["logits"]), dtype=torch.float64)
        tolerance, unchanged = float(check["tolerance"]), check["digest"] == digest_of(tensors)
        arguments = _arguments(check)
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise CheckpointError(f"{path} has a damaged check: {error!r}. Import the weights anew.") from error
    try:
        found = _logits(module, arguments).flatten()
    except _NOT_SO_SMALL as error:
        raise CheckpointError(
            f"{path} should run on the input of shape {check['shape']} that is stored with it, found: {error}. The "
            "model's code has changed since the import; use the version that imported it, or import it anew."
        ) from error
    return Verified(unchanged=unchanged, difference=_difference(stored, found), tolerance=tolerance)


def digest_of(tensors: Mapping[str, Tensor]) -> str:
    """sha256 over everything that tells two sets of tensors apart."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name}\n{tensor.dtype}\n{tuple(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def drawn(shape: tuple[int, ...], seed: int) -> Tensor:
    """Numbers in [-2, 2), float64, with 24 bits each: exact in float32 too.

    >>> drawn((2,), 0).tolist()
    [1.533243179321289, -0.27388811111450195]
    """
    number = np.arange(1, math.prod(shape) + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(seed)
    number = (number ^ (number >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    number = (number ^ (number >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    number ^= number >> np.uint64(31)
    return torch.from_numpy((number >> np.uint64(40)).astype(np.float64) / 2**22 - 2).reshape(shape)


def _shapes(inputs: InputSpec | FeatureSpec | None) -> list[tuple[int, ...]]:
    """Of inputs that a model may take, the smallest first."""
    if inputs is None:
        return [(1, 3, SIDE, SIDE), (1, 3, 224, 224)]
    if isinstance(inputs, FeatureSpec):
        return [(2, frames, inputs.size) for frames in sorted({min(FRAMES, inputs.frames), inputs.frames})]
    view = inputs.train
    frames = inputs.loaded_frames(view)
    sides = sorted({min(SIDE, view.crop), view.crop})
    return [(1, view.segments, frames, inputs.channels, side, side) for side in sides]


def _arguments(check: Mapping[str, Any]) -> tuple[Tensor, ...]:
    """What the model is called with."""
    shape = tuple(check["shape"])
    if not 0 < math.prod(shape) <= _MOST_NUMBERS:
        raise ValueError(f"an input of shape {shape}")
    dtype = {"float64": torch.float64, "float32": torch.float32}[check["dtype"]]
    made = drawn(shape, int(check["seed"])).to(dtype)
    if not check["lengths"]:
        return (made,)
    mask_BF = torch.arange(shape[1]) < torch.tensor(check["lengths"])[:, None]
    return made * mask_BF[..., None], mask_BF


def _logits(module: nn.Module, arguments: tuple[Tensor, ...]) -> Tensor:
    try:
        with torch.inference_mode():
            logits: Tensor = module.to(arguments[0].dtype).eval()(*arguments)
    finally:
        module.float()
    return logits.double()


def _packed(logits: Tensor) -> str:
    return logits.flatten().numpy().astype("<f8").tobytes().hex()


def _difference(stored: Tensor, found: Tensor) -> float:
    if stored.shape != found.shape:
        return math.inf
    apart = torch.where(stored.isnan() & found.isnan(), 0.0, (stored - found).abs()).nan_to_num(nan=math.inf)
    largest = float(stored.nan_to_num().abs().max()) if len(stored) else 0.0
    return float(apart.max()) / (largest or 1.0) if len(apart) else 0.0
