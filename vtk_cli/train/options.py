"""The settings of a run that are neither the model's, the recipe's nor the loader's: the section [run]."""

import re
from dataclasses import dataclass
from typing import Literal

from vtk_cli.errors import UsageError

_EVERY = re.compile(r"(\d+)(|s|min|h)")
_SECONDS = {"s": 1, "min": 60, "h": 3600}


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """Its fields are what `--set run.<field>=` changes."""

    seed: int = 0
    """Every random draw of a run derives from it."""
    init: str | None = "auto"
    """What training starts from. auto: what the model's paper starts from; none: random numbers; else a file of
    weights, or the name of published ones."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """auto: the GPU where there is one."""
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    """Type that convolutions and matrix products are computed in; weights stay fp32, fp16 scales the loss."""
    compile: bool = False
    """Run the network through torch.compile."""
    channels_last: bool = False
    """Keep images with channels innermost, which GPUs' half-precision convolutions prefer."""
    deterministic: bool = False
    """Only algorithms that give the same bits every time; slower on a GPU, an error where torch has none."""
    validate_every: int = 1
    """Epochs from one validation to the next; the last epoch is always validated."""
    log_every: int = 10
    """Steps from one line of log.jsonl to the next."""
    checkpoint_every: int | str = "10min"
    """Besides the end of each epoch: a number of steps (500), or a time with its unit (90s, 10min, 2h); 0 is never."""

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise UsageError(f"run.seed is at least 0, found {self.seed}.")
        for field in ("validate_every", "log_every"):
            if getattr(self, field) < 1:
                raise UsageError(f"run.{field} is at least 1, found {getattr(self, field)}.")
        if not _EVERY.fullmatch(str(self.checkpoint_every)):
            raise UsageError(
                "run.checkpoint_every is a number of steps such as 500, or a time such as 90s, 10min or 2h; "
                f'found "{self.checkpoint_every}".'
            )

    @property
    def checkpoint_steps(self) -> int | None:
        """Steps between checkpoints within an epoch, where they are counted in steps."""
        amount, unit = self._every()
        return amount if amount and not unit else None

    @property
    def checkpoint_seconds(self) -> int | None:
        """Seconds between checkpoints within an epoch, where they are counted in time."""
        amount, unit = self._every()
        return amount * _SECONDS[unit] if amount and unit else None

    def _every(self) -> tuple[int, str]:
        found = _EVERY.fullmatch(str(self.checkpoint_every))
        assert found is not None  # __post_init__ has checked
        return int(found[1]), found[2]


RESUMABLE = frozenset(
    {
        "run.device",
        "run.compile",
        "run.validate_every",
        "run.log_every",
        "run.checkpoint_every",
        "data.workers",
        "data.prefetch",
        "data.pin",
        "data.view_batch",
        "train.epochs",
    }
)
"""What `--resume` may change: none of it alters what a step computes (train.epochs only where the learning rate of the
steps done does not depend on it, which is checked)."""
