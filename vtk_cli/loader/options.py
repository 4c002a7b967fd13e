"""What `--set data.<field>=` changes."""

import os
from dataclasses import dataclass
from typing import Literal

from vtk_cli.errors import UsageError

MOST_WORKERS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class DataOptions:
    """How clips are read; a section of the run configuration."""

    loader: str = "torch"
    """A plugin of the group vtk.loaders."""
    workers: int | Literal["auto"] = "auto"
    """Loader processes; 0 reads in the training process. auto: half of the processors, at most 8."""
    prefetch: int = 2
    """Batches that each worker prepares ahead."""
    store: str = "auto"
    """Name of a store of the dataset, or `videos` for the files themselves. auto: the store that fits the model; the
    files where no frames were extracted, for models of colour pictures."""
    decoder: str = "pyav"
    """A plugin of the group vtk.decoders, for reading straight from the files."""
    on_error: Literal["stop", "skip"] = "stop"
    """What an unreadable clip does. stop: the error names it; skip: another clip of the epoch takes its place in
    training, it is left out in testing, and what was skipped is told at the end of the epoch."""
    max_missing: float = 0.5
    """Part of a split that may be absent (not downloaded, broken, not extracted) before it is an error."""
    pin: bool | Literal["auto"] = "auto"
    """Batches in page-locked memory, which copies faster to a GPU. auto: where there is one."""
    view_batch: int = 16
    """Views per forward pass in testing."""

    def __post_init__(self) -> None:
        if self.workers != "auto" and self.workers < 0:
            raise UsageError(f"data.workers is at least 0, found {self.workers}.")
        if self.prefetch < 1 or self.view_batch < 1:
            raise UsageError(
                f"data.prefetch and data.view_batch are at least 1, found {self.prefetch} and {self.view_batch}."
            )
        if not 0 <= self.max_missing < 1:
            raise UsageError(f"data.max_missing lies in [0, 1), found {self.max_missing}.")

    def num_workers(self) -> int:
        """Processes to start."""
        if self.workers != "auto":
            return self.workers
        return min(MOST_WORKERS, len(os.sched_getaffinity(0)) // 2)
