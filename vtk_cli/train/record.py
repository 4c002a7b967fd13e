"""What a run says and writes while it trains: the progress line, log.jsonl, checkpoints, run.json.

Everything that only one of several training processes may do is done here and nowhere else.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

from torch import Tensor

from vtk_cli.console import Progress, duration, say
from vtk_cli.run_dir import RunDir, RunStatus
from vtk_cli.train.checkpoint import Checkpoints
from vtk_cli.train.step import StepResult


@dataclass(slots=True)
class Sums:
    """What was measured over some steps; goes into the checkpoint, so that a resumed run logs the same means."""

    clips: int = 0
    loss: float = 0.0
    correct: int = 0
    seconds: float = 0.0
    wait_seconds: float = 0.0

    def add(self, result: StepResult, seconds: float) -> None:
        self.clips += result.clips
        self.loss += result.loss * result.clips
        self.correct += result.correct
        self.seconds += seconds
        self.wait_seconds += result.wait_seconds

    def means(self) -> dict[str, float]:
        """loss, top1 in [0, 1], clips_per_second, wait_share in [0, 1]."""
        return {
            "loss": self.loss / max(self.clips, 1),
            "top1": self.correct / max(self.clips, 1),
            "clips_per_second": round(self.clips / max(self.seconds, 1e-9), 2),
            "wait_share": round(self.wait_seconds / max(self.seconds, 1e-9), 4),
        }


class Record:
    """The outer side of one run."""

    def __init__(self, run: RunDir, *, metadata: Mapping[str, str], epochs: int, log_every: int) -> None:
        """`metadata` travels with every file of weights."""
        self.run = run
        self.checkpoints = Checkpoints(run.checkpoints)
        self.window, self.epoch = Sums(), Sums()
        self._metadata = metadata
        self._epochs, self._log_every = epochs, log_every
        self._bar: Progress | None = None

    @contextmanager
    def progress(self, clips: int) -> Iterator[None]:
        """Show how far the run is; `clips` are still to be trained on."""
        with Progress("training", total=clips, unit="clips") as self._bar:
            yield
        self._bar = None

    def step(self, result: StepResult, *, epoch: int, step: int, lr: float, seconds: float, last: bool) -> None:
        """After each step; `last` of its epoch."""
        self.window.add(result, seconds)
        self.epoch.add(result, seconds)
        means = self.window.means()
        note = (
            f"epoch {epoch + 1}/{self._epochs}, loss {means['loss']:.3f}, top-1 {means['top1']:.1%}, lr {lr:.3g}, "
            f"waits {means['wait_share']:.0%}"
        )
        if self._bar is not None:
            self._bar.advance(result.clips, note=note)
        if (step + 1) % self._log_every == 0 or last:
            self.run.log("step", epoch=epoch, step=step, **means, lr=lr, seconds=round(self.window.seconds, 3))
            self.window = Sums()

    def close_epoch(
        self, *, epoch: int, step: int, lr: float, validation: Mapping[str, float], seconds: float, best: bool
    ) -> None:
        """After an epoch and its validation (which took `seconds`); `step` is the epoch's last."""
        means = self.epoch.means()
        validated = {f"val_{name}": value for name, value in validation.items()}
        took = round(self.epoch.seconds + seconds, 3)
        self.run.log(
            "epoch",
            epoch=epoch,
            step=step,
            train_loss=means["loss"],
            train_top1=means["top1"],
            **validated,
            lr=lr,
            seconds=took,
        )
        shown = "".join(f", {name.replace('_', ' ')} {_shown(name, value)}" for name, value in validated.items())
        say(
            f"epoch {epoch + 1}/{self._epochs}: loss {means['loss']:.3f}, top-1 {means['top1']:.1%}{shown}, "
            f"{duration(took)}{' (best so far)' if best else ''}"
        )
        self.epoch = Sums()

    def save(self, tensors: Mapping[str, Tensor], state: Mapping[str, Any], *, best: bool = False) -> None:
        """Write a checkpoint that also holds what was measured since the last line of the log."""
        sums = {"window": asdict(self.window), "epoch": asdict(self.epoch)}
        self.checkpoints.save(tensors, {**state, "sums": sums}, self._metadata, best=best)

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up where a checkpoint's state stands; what was logged after it is dropped."""
        self.window = Sums(**state["sums"]["window"])
        self.epoch = Sums(**state["sums"]["epoch"])
        self.run.truncate_log(state["step"], state["closed"])

    def status(self, status: RunStatus, *, message: str = "", **changes: Any) -> None:
        """Change run.json, and say why in the log."""
        self.run.set(status=status, **changes)
        self.run.log("event", message=message or status)


def _shown(name: str, value: float) -> str:
    return f"{value:.3f}" if name.endswith("loss") else f"{value:.1%}"
