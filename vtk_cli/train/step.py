"""One optimiser step: a batch accumulated from micro-batches, mixed precision, clipping, and numbers that go wrong."""

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from vtk_cli.api.inputs import FeatureSpec, InputSpec
from vtk_cli.api.loaders import Batch
from vtk_cli.api.recipes import TrainRecipe
from vtk_cli.errors import DataError, PluginError, UsageError, VtkError
from vtk_cli.loader.device import model_arguments, per_view
from vtk_cli.train.optim import build_optimizer, set_learning_rate
from vtk_cli.train.options import RunOptions

ExtraLoss = Callable[[nn.Module, Tensor, Tensor], Tensor]
PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
SMALLEST_SCALE = 1.0
"""fp16: a loss scale below this means that gradients overflow whatever the scale is."""
MOST_IDS = 16


class NotFiniteError(VtkError):
    """A loss or gradient is NaN or infinite; the step was not taken and the weights are as before it."""


@dataclass(frozen=True, slots=True)
class StepResult:
    """What one step saw."""

    clips: int
    loss: float
    """Mean over the step's clips, before the step."""
    correct: int
    """Clips whose highest score is (one of) their label(s)."""
    wait_seconds: float
    """Time spent waiting for the loader."""


def seed_for(*parts: int | str) -> int:
    """A 63-bit number that depends on every part; the same everywhere and always."""
    return int.from_bytes(sha256(repr(parts).encode()).digest()[:8], "little") >> 1


def seed_all(seed: int) -> None:
    """Seed every global generator that a model may draw from: torch's on all devices, Python's and numpy's."""
    torch.manual_seed(seed)
    random.seed(seed)
    np.random.seed(seed & 0xFFFFFFFF)  # noqa: NPY002  the global generator is the one that a plugin would draw from


class Stepper:
    """Takes optimiser steps on a model; owns the optimiser and, for fp16, the loss scale.

    Every micro-batch reseeds all generators from (seed, step, micro-batch), so dropout does not depend on what ran
    before: a resumed run draws what the uninterrupted one would have drawn, without any generator's state on disk.
    """

    def __init__(
        self,
        model: nn.Module,
        recipe: TrainRecipe,
        options: RunOptions,
        *,
        device: torch.device,
        inputs: InputSpec | FeatureSpec,
        extra_loss: ExtraLoss | None = None,
    ) -> None:
        """`inputs` says how a batch becomes what the model is called with; `extra_loss` is `ModelSpec.extra_loss`."""
        model.train()  # partial batch norm freezes parameters here, before the optimiser asks which can be trained
        self.model, self.recipe, self.options, self.device = model, recipe, options, device
        self.optimizer = build_optimizer(model, recipe)
        self.scaler = torch.amp.GradScaler(device.type, enabled=options.precision == "fp16")
        self._parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        self._buffers = [buffer for buffer in model.buffers() if buffer.numel()]
        self._before = [torch.empty_like(buffer) for buffer in self._buffers]
        self._forward: Callable[..., Tensor] = torch.compile(model) if options.compile else model
        self._inputs, self._extra_loss = inputs, extra_loss
        self.torn = False
        """True when an update of the weights was cut off, so that they are neither before nor after a step."""

    def step(self, batches: Iterable[Batch], *, step: int, lr: float) -> StepResult:
        """One step on the clips of all `batches`, as if they were one batch.

        Raises:
            NotFiniteError: a loss or the joint gradient norm is NaN or infinite; names the clips.
            VtkError: the micro-batch does not fit into memory, or is too small for batch norm.

        Whatever is raised, parameters and buffers are as before the step, unless `torn` is set.
        """
        for before, buffer in zip(self._before, self._buffers, strict=True):
            before.copy_(buffer)
        try:
            set_learning_rate(self.optimizer, lr)
            return self._step(batches, step)
        except BaseException as error:
            for before, buffer in zip(self._before, self._buffers, strict=True):
                buffer.copy_(before)
            explained = _explain(error, self.recipe)
            if explained is None:
                raise
            raise explained from error
        finally:
            self.model.zero_grad(set_to_none=True)

    def _step(self, batches: Iterable[Batch], step: int) -> StepResult:
        losses, corrects, ids, sizes, wait = [], [], [], [], 0.0
        for micro, batch in enumerate(batches):
            seed_all(seed_for(self.options.seed, step, micro))
            loss, correct = self._micro_batch(batch)
            losses.append(loss)
            corrects.append(correct)
            ids.append(batch.ids)
            sizes.append(len(batch.ids))
            wait += batch.wait_seconds
        if not ids:
            raise PluginError(
                "The loader should give as many batches as its length says, found none left for a step. Report it to "
                "the loader's author, or use data.loader=torch."
            )
        # Loss and hits of all micro-batches come from the device in one transfer.
        loss_M, correct_M = torch.stack([torch.stack(losses), torch.stack(corrects)]).double().cpu()
        clips = sum(sizes)
        self._check_losses(loss_M, ids, step)
        if clips != self.recipe.batch_size:  # an epoch's last step: gradients were weighted for a whole batch
            self._scale_gradients(self.recipe.batch_size / clips)
        self._take_step([i for some in ids for i in some], step)
        mean = float((loss_M * torch.tensor(sizes, dtype=torch.float64)).sum()) / clips
        return StepResult(clips=clips, loss=mean, correct=int(correct_M.sum()), wait_seconds=wait)

    def _micro_batch(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Forward and backward; returns the mean loss over the micro-batch and the number of hits, both 0-d float."""
        label = batch.label_B.to(self.device, non_blocking=True)
        arguments = model_arguments(self._inputs, self.device, *per_view(self._inputs, batch.inputs))
        with autocast(self.device, self.options):
            logits_BK = self._forward(*arguments)
        if logits_BK.shape[:1] != label.shape[:1] or logits_BK.ndim != 2:
            raise PluginError(
                f"The model should give logits_BK with B={len(label)}, found the shape {tuple(logits_BK.shape)} for "
                f"an input of {tuple(arguments[0].shape)}. Report it to the model's author."
            )
        loss = loss_of(logits_BK.float(), label, self.recipe)
        if self._extra_loss is not None:
            loss = loss + self._extra_loss(self.model, logits_BK, label)
        weighted: Any = self.scaler.scale(loss * (len(label) / self.recipe.batch_size))
        weighted.backward()
        return loss.detach(), hits(logits_BK.detach(), label).float()

    def _check_losses(self, loss_M: Tensor, ids: list[tuple[str, ...]], step: int) -> None:
        finite_M = torch.isfinite(loss_M).tolist()
        culprits = [i for some, fine in zip(ids, finite_M, strict=True) if not fine for i in some]
        if culprits:
            raise NotFiniteError(_not_finite("loss", loss_M[~torch.isfinite(loss_M)][0].item(), culprits, step))

    def _take_step(self, ids: list[str], step: int) -> None:
        self.scaler.unscale_(self.optimizer)
        gradients = [p.grad for p in self._parameters if p.grad is not None]
        norm = torch.nn.utils.get_total_norm(gradients)
        finite = bool(torch.isfinite(norm))
        # Under fp16 an overflow is how the scaler finds its scale: it skips the step and halves the scale.
        if not finite and (not self.scaler.is_enabled() or self.scaler.get_scale() < SMALLEST_SCALE):
            raise NotFiniteError(_not_finite("gradient norm", norm.item(), ids, step))
        if finite and self.recipe.clip_norm is not None:
            torch.nn.utils.clip_grads_with_norm_(self._parameters, self.recipe.clip_norm, norm)
        self.torn = True
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.torn = False

    def _scale_gradients(self, factor: float) -> None:
        for parameter in self._parameters:
            if parameter.grad is not None:
                parameter.grad.mul_(factor)


def autocast(device: torch.device, options: RunOptions) -> torch.autocast:
    """The context of every forward pass, in training and validation."""
    dtype = PRECISIONS[options.precision]
    return torch.autocast(device.type, dtype=dtype, enabled=dtype != torch.float32)


def loss_of(logits_BK: Tensor, label: Tensor, recipe: TrainRecipe) -> Tensor:
    """Mean loss over B; for binary cross entropy (label_BK of 0 and 1) over K what the recipe's `reduction` says.

    For "sum" it is the mean times the recipe's batch, so that a step's gradient is that of the sum over its batch.
    """
    if recipe.loss == "binary_cross_entropy":
        mean = functional.binary_cross_entropy_with_logits(logits_BK, label.to(logits_BK.dtype))
        if recipe.reduction == "mean":
            return mean
        return mean * logits_BK.shape[1] * (recipe.batch_size if recipe.reduction == "sum" else 1)
    return functional.cross_entropy(logits_BK, label, label_smoothing=recipe.label_smoothing)


def hits(logits_BK: Tensor, label: Tensor) -> Tensor:
    """How many clips have their highest score at (one of) their label(s)."""
    best_B = logits_BK.argmax(dim=1)
    if label.ndim == 2:
        return label.gather(1, best_B[:, None]).sum()
    return (best_B == label).sum()


def check_loss(recipe: TrainRecipe, *, multi_label: bool) -> None:
    """Raises UsageError when the recipe's loss does not go with the dataset's labels."""
    fitting = "binary_cross_entropy" if multi_label else "cross_entropy"
    if recipe.loss != fitting:
        labels = "several labels" if multi_label else "one label"
        raise UsageError(
            f"A dataset with {labels} per video needs train.loss={fitting}, found {recipe.loss}. Leave train.loss out."
        )
    if multi_label and recipe.label_smoothing:
        raise UsageError(
            f"train.label_smoothing goes with cross_entropy, found {recipe.label_smoothing} with {recipe.loss}. "
            "Set it to 0."
        )
    if not multi_label and recipe.reduction != "mean":
        raise UsageError(
            f"train.reduction goes with binary_cross_entropy, found {recipe.reduction} with {recipe.loss}. Leave it "
            "out."
        )


def _not_finite(what: str, value: float, ids: list[str], step: int) -> str:
    shown = ", ".join(ids[:MOST_IDS]) + (f" and {len(ids) - MOST_IDS} more" if len(ids) > MOST_IDS else "")
    return (
        f"The {what} of step {step} should be finite, found {value} in the batch of these clips: {shown}. The step was "
        "not taken. Look at them with `vtk check`, or start again with a lower train.lr or with train.clip_norm set."
    )


def _explain(error: BaseException, recipe: TrainRecipe) -> VtkError | None:
    if isinstance(error, torch.OutOfMemoryError):
        return VtkError(
            f"A forward pass of train.micro_batch={recipe.micro_batch} clips does not fit into the GPU's memory. Lower "
            "train.micro_batch; train.batch_size and with it the result of a step stay the same."
        )
    if isinstance(error, RuntimeError) and "DataLoader worker" in str(error):
        # torch raises this from a signal handler, wherever the main process happens to be.
        return DataError(f"A loader process ended by itself ({error}). Free memory or lower data.workers.")
    # torch/nn/functional.py, _verify_batch_size
    if isinstance(error, ValueError) and "more than 1 value per channel" in str(error):
        return UsageError(
            f"Batch norm in training needs more than one value per channel, found one in a micro-batch ({error}). "
            "Raise train.micro_batch (and train.batch_size), or train on more clips."
        )
    return None
