"""The loop: epochs of steps, validation, checkpoints, and an orderly end whenever someone asks for it."""

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn

from vtk_cli.api.inputs import FeatureSpec, InputSpec
from vtk_cli.api.loaders import Batch, Loader
from vtk_cli.api.recipes import TrainRecipe
from vtk_cli.errors import DataError, Interrupted, VtkError
from vtk_cli.train.optim import Plan, learning_rate
from vtk_cli.train.options import RunOptions
from vtk_cli.train.record import Record
from vtk_cli.train.step import ExtraLoss, Stepper
from vtk_cli.train.stopping import StopRequest

Validate = Callable[[nn.Module, Iterator[Batch]], Mapping[str, float]]
"""(model in eval mode, batches of one view per clip) -> `loss` and metrics."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """Everything that a run trains with, built and checked."""

    model: nn.Module
    """On `device`, with its initial weights."""
    inputs: InputSpec | FeatureSpec
    recipe: TrainRecipe
    options: RunOptions
    device: torch.device
    plan: Plan
    train: Loader
    """Micro-batches of the training split."""
    validation: Loader | None
    validate: Validate
    better: str
    """Metric of the validation whose largest value makes the best checkpoint."""
    fingerprint: str
    """Of the training clips and their labels; a run resumes only on the same ones."""
    extra_loss: ExtraLoss | None = None
    """`ModelSpec.extra_loss`."""


class Trainer:
    """One run. Its position is two numbers: `steps` taken and epochs `closed` (trained, validated, checkpointed)."""

    def __init__(self, task: Task, record: Record, *, resume_with: str) -> None:
        """`resume_with` is the command that goes on with the run after an interruption."""
        self.task, self.record, self.plan = task, record, task.plan
        self.stepper = Stepper(
            task.model,
            task.recipe,
            task.options,
            device=task.device,
            inputs=task.inputs,
            extra_loss=task.extra_loss,
        )
        self.steps = 0
        self.closed = 0
        self.best: dict[str, float] = {}
        self._resume_with = resume_with
        self._stop = StopRequest()
        self._saved_at = time.monotonic()

    def run(self) -> None:
        """Train to the recipe's last epoch.

        Raises:
            Interrupted: a signal asked for it; a checkpoint was written.
            VtkError: what a step, the loader or the disk raises; a checkpoint of the last whole step was written where
                that was possible.
        """
        self.record.status("running", message=f"training from step {self.steps}", best=self.best)
        try:
            with (
                self._stop,
                algorithms(self.task.options),
                self._closing(),
                self.record.progress(self._remaining_clips()),
            ):
                while self.closed < self.task.recipe.epochs:
                    self._train_epoch()
                    self._close_epoch()
        except BaseException as error:
            asked_for = isinstance(error, Interrupted | KeyboardInterrupt)
            with suppress(DataError):  # the disk may be full; what ended the run says more
                self.record.status("interrupted" if asked_for else "failed", message=f"{type(error).__name__}: {error}")
            raise
        self.record.status("finished", best=self.best)

    def state(self) -> dict[str, Any]:
        """All but the weights that resuming needs. No generator's state: every draw derives from seed and position."""
        return {
            "step": self.steps,
            "closed": self.closed,
            "best": self.best,
            "optimizer": self.stepper.optimizer.state_dict(),
            "scaler": self.stepper.scaler.state_dict(),
            "data": self.task.fingerprint,
        }

    def restore(self, weights: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
        """Take up where a checkpoint stands.

        Raises:
            DataError: the training split is no longer what the run was trained on.
        """
        if state["data"] != self.task.fingerprint:
            raise DataError(
                "A run resumes on the clips that it began with; the clips of the training split, or their labels, have "
                "changed. Bring the dataset back to what it was, or train anew."
            )
        self.task.model.load_state_dict(dict(weights))
        self.stepper.optimizer.load_state_dict(state["optimizer"])
        self.stepper.scaler.load_state_dict(state["scaler"])
        self.steps, self.closed, self.best = state["step"], state["closed"], dict(state["best"])
        self.record.restore(state)

    def save(self, *, best: bool = False) -> None:
        """Write a checkpoint of where the run stands."""
        self.record.save(self.task.model.state_dict(), self.state(), best=best)
        self._saved_at = time.monotonic()

    def _train_epoch(self) -> None:
        """The steps of the open epoch that are not taken yet; none when only its validation is missing."""
        done = self.steps - self.closed * self.plan.steps
        batches = self.task.train.epoch(self.closed, skip=done * self.plan.accumulate)
        self.task.model.train()
        for number in range(done, self.plan.steps):
            lr = learning_rate(self.task.recipe, self.steps, self.plan.steps)
            begin = time.perf_counter()
            with self._saving():
                result = self.stepper.step(islice(batches, self.plan.step_batches(number)), step=self.steps, lr=lr)
            self.record.step(
                result,
                epoch=self.closed,
                step=self.steps,
                lr=lr,
                seconds=time.perf_counter() - begin,
                last=number == self.plan.steps - 1,
            )
            self.steps += 1
            self._between_steps()

    def _between_steps(self) -> None:
        if self._stop:
            self.save()
            raise self._interrupted()
        every_steps, every_seconds = self.task.options.checkpoint_steps, self.task.options.checkpoint_seconds
        if every_steps is not None and self.steps % every_steps == 0:
            self.save()
        if every_seconds is not None and time.monotonic() - self._saved_at >= every_seconds:
            self.save()

    def _close_epoch(self) -> None:
        begin = time.perf_counter()
        with self._saving():
            measured = self._validate() if self._validation_due() else {}
        score = measured.get(self.task.better)
        best = score is not None and score > self.best.get(self.task.better, -1.0)
        if best:
            self.best = {"epoch": self.closed, **measured}
        lr = learning_rate(self.task.recipe, self.steps - 1, self.plan.steps)
        seconds = time.perf_counter() - begin
        self.record.close_epoch(
            epoch=self.closed, step=self.steps - 1, lr=lr, validation=measured, seconds=seconds, best=best
        )
        self.closed += 1
        self.save(best=best)
        if best:
            self.record.run.set(best=self.best)
        if self._stop and self.closed < self.task.recipe.epochs:
            raise self._interrupted()

    def _validation_due(self) -> bool:
        done = self.closed + 1
        if self.task.validation is None:
            return False
        return done % self.task.options.validate_every == 0 or done == self.task.recipe.epochs

    def _validate(self) -> dict[str, float]:
        assert self.task.validation is not None  # _validation_due has asked
        self.task.model.eval()
        measured = self.task.validate(self.task.model, self._watched(self.task.validation.epoch(0)))
        return dict(measured)

    def _watched(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        """A validation that someone asks to end is given up and done anew by the resumed run."""
        for batch in batches:
            if self._stop:
                self.save()
                raise self._interrupted()
            yield batch

    @contextmanager
    def _saving(self) -> Iterator[None]:
        """An error that vtk explains leaves a checkpoint of the last whole step behind."""
        try:
            yield
        except Interrupted:
            raise
        except VtkError as error:
            if not self.stepper.torn:
                self.save()
            if self._stop:  # the signal reached a loader process first
                raise self._interrupted() from error
            raise

    @contextmanager
    def _closing(self) -> Iterator[None]:
        """However a run ends, its loaders' processes end with it."""
        try:
            yield
        finally:
            self.task.train.close()
            if self.task.validation is not None:
                self.task.validation.close()

    def _remaining_clips(self) -> int:
        done = self.steps - self.closed * self.plan.steps
        into = min(done * self.task.recipe.batch_size, self.plan.clips)
        return (self.task.recipe.epochs - self.closed) * self.plan.clips - into

    def _interrupted(self) -> Interrupted:
        total = self.task.recipe.epochs * self.plan.steps
        return Interrupted(
            f"{self._stop.signal} stopped the run after step {self.steps} of {total}; its checkpoint is in "
            f"{self.record.run.checkpoints}. Go on with: {self._resume_with}"
        )


@contextmanager
def algorithms(options: RunOptions) -> Iterator[None]:
    """Let torch take the fastest algorithms, or with run.deterministic those that repeat to the bit."""
    before = torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.benchmark
    if options.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # torch asks for it; read at the first product
    torch.use_deterministic_algorithms(options.deterministic)
    torch.backends.cudnn.benchmark = not options.deterministic
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0])
        torch.backends.cudnn.benchmark = before[1]
