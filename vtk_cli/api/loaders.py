"""What a loader hands to training and testing."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class Batch:
    """Clips of B videos, V views each (1 in training), as uint8; the device normalises."""

    clip_BVTNCHW: "Tensor"
    label_B: "Tensor"
    """int64 class numbers; 0/1 float matrix label_BK for datasets with several labels per video."""
    ids: tuple[str, ...]
    wait_seconds: float = 0.0
    """Time the consumer waited for this batch."""


class Loader(Protocol):
    """One split of a dataset as batches.

    Every draw derives from (seed, epoch, video id): any number of workers and any point of resumption give the same.
    """

    def __len__(self) -> int:
        """Batches per epoch."""

    def epoch(self, number: int, *, skip: int = 0) -> Iterator[Batch]:
        """The batches of epoch `number` (from 0), the first `skip` left out without being read."""
