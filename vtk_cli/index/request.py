"""What `vtk index` is asked for."""

from dataclasses import dataclass
from pathlib import Path

VAL_FRACTION = TEST_FRACTION = 0.1
"""Of each class, where the source names no splits: large enough to measure on, small enough to train on the rest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexRequest:
    """Where the videos and their labels are."""

    path: Path
    """A folder of class folders, a list file, a folder of list files; with `lists` the folder of the videos."""
    format: str = "auto"
    lists: tuple[tuple[str, Path], ...] = ()
    """(split, list file); an empty split is taken from the file's name."""
    videos: Path | None = None
    """The folder that relative paths start from; else that of the list."""
    classes: Path | None = None
    """A file of class names in label order."""
    split: str = ""
    """For clips whose source names none."""
    val_fraction: float = VAL_FRACTION
    test_fraction: float = TEST_FRACTION
    seed: int = 0
    separator: str = ""
    """Between the fields of SlowFast's csv; empty for its default."""
    flow_method: str = "tvl1"
    """Frame folders: what computed their flow, which no file tells; TSN's is TV-L1."""
    bound: float | None = None
    """Frame folders: pixels to which their flow was clipped, which no file tells either."""
    skip_bad: bool = False
    """Leave wrong rows out instead of refusing the whole list."""
