"""What a dataset plugin states. An entry point of the group `vtk.datasets` names a `DatasetRecipe`.

A recipe is data and parsing, no engine: it says which files the official hosts offer, what the annotation files mean
and how clips lie in the archives. Fetching, verifying, unpacking and the catalog are the core's work.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from vtk_cli import registry


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One file to fetch."""

    url: str
    path: str
    """Where it is kept, relative to the dataset's raw/ folder."""
    kind: Literal["annotation", "list", "archive"]
    """`list`: a text file that names further archives, one URL per line; `archive`: holds clips."""
    split: str = ""
    """Which split its clips belong to; empty for all."""
    bytes: int | None = None
    sha256: str | None = None
    md5: str | None = None
    replaces: bool = False
    """Its clips take the place of equally named ones in the other archives (a host's mended copies)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoRow:
    """One labelled video as the annotation states it."""

    id: str
    """Unique in the dataset, the name of its record in every store, and file-system safe."""
    path: str
    """Where the clip lies or will lie, relative to the dataset's videos/ folder; absolute for own videos."""
    labels: tuple[int, ...]
    """Class numbers; empty where the annotation gives none (test sets)."""
    splits: tuple[str, ...]
    start_seconds: float | None = None
    """Set when the clip is a part of the file."""
    end_seconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetRecipe:
    """One public dataset."""

    title: str
    classes: Callable[[], tuple[str, ...]]
    """Class names in label order."""
    label_order: str
    """Which order that is and whom it agrees with."""
    splits: tuple[str, ...]
    """Every split, in the order train, val, test; where a set has several official divisions, in their order."""
    train_split: str = "train"
    """What `vtk train` trains on."""
    val_split: str = "val"
    """What `vtk train` measures on after each epoch; a set without one of its own uses its test split."""
    test_split: str
    """What `vtk test` uses: the split that papers report on."""
    sources: Callable[[Sequence[str]], list[Source]]
    """(splits) -> annotation files, lists and archives. An annotation that is an archive is unpacked beside itself: the
    members of raw/a/b.zip lie in raw/a/b/."""
    rows: Callable[[Path, Sequence[str]], Iterable[VideoRow]]
    """(raw folder, splits) -> the videos that the fetched annotation names."""
    clip_path: Callable[[str], str | None]
    """Member name in an archive -> path below videos/, or None for a member that is no clip (._x.mp4, folders)."""
    generate: Callable[[Path, int], None] | None = None
    """(dataset folder, seed) -> makes raw/ and videos/ itself; only for synthetic sets."""
    flip: bool = True
    """False where labels change under mirroring."""
    hosts: tuple[str, ...] = ()
    """Beginnings of URLs that `--mirror BASE` replaces."""
    licence: str
    gate: str = ""
    """What the user must do by hand before `--from DIR`; empty for open datasets."""
    videos: int | None = None
    """Clips in the official annotation."""
    size_gb: float | None = None
    missing: str = ""
    """Why clips are missing after a complete download, where that is normal; half a sentence."""
    home: str = ""
    notes: tuple[str, ...] = ()
    """Known traps, one sentence each."""
    api: int = registry.API_VERSION
