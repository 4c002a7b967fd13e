"""Where datasets, stores, weights and runs live, and which dataset is current.

<root>/                 --root, else $VTK_HOME, else ./vtk-data
    current             name of the dataset that commands use when none is named
    <dataset>/          raw/ videos/ catalog.sqlite manifest.json and stores such as frames-256/
    weights/            weight files that were fetched or imported
    runs/               one folder per training run
"""

import os
import re
from dataclasses import dataclass
from pathlib import Path

from vtk_cli.errors import DataError, UsageError, did_you_mean
from vtk_cli.files import write_atomic

RESERVED = frozenset({"current", "weights", "runs"})
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


@dataclass(frozen=True, slots=True)
class DatasetDir:
    """The folder of one dataset."""

    path: Path

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def raw(self) -> Path:
        return self.path / "raw"

    @property
    def videos(self) -> Path:
        return self.path / "videos"

    @property
    def catalog(self) -> Path:
        return self.path / "catalog.sqlite"

    @property
    def manifest(self) -> Path:
        return self.path / "manifest.json"

    def store(self, name: str) -> Path:
        """Folder of a store, e.g. frames-256 or flow-tvl1-256."""
        return self.path / name

    def stores(self) -> list[str]:
        """Names of the stores that are there."""
        return sorted(meta.parent.name for meta in self.path.glob("*/meta.json"))

    def video(self, path: str) -> Path:
        """The clip that a catalog row's path names: below videos/, or an absolute path of the user's own."""
        return self.videos / path


@dataclass(frozen=True, slots=True)
class Workspace:
    root: Path

    @classmethod
    def locate(cls, root: Path | None = None) -> "Workspace":
        """The workspace of this command: `--root`, else $VTK_HOME, else ./vtk-data. Nothing is created."""
        chosen = root or Path(os.environ.get("VTK_HOME") or "vtk-data")
        if chosen.exists() and not chosen.is_dir():
            raise UsageError(f"The workspace should be a folder, found a file at {chosen}. Choose another with --root.")
        return cls(chosen.absolute())

    @property
    def runs(self) -> Path:
        return self.root / "runs"

    @property
    def weights(self) -> Path:
        return self.root / "weights"

    def datasets(self) -> list[str]:
        """Names of the datasets that have a catalog."""
        return sorted(catalog.parent.name for catalog in self.root.glob("*/catalog.sqlite"))

    def new_dataset(self, name: str) -> DatasetDir:
        """The folder for a dataset of this name, which may be there already.

        Raises:
            UsageError: the name cannot be a folder of the workspace.
        """
        if not _NAME.fullmatch(name) or name in RESERVED:
            raise UsageError(
                f'A dataset name is lower-case letters, digits, ".", "_" and "-", and none of '
                f'{", ".join(sorted(RESERVED))}; found "{name}". Choose another.'
            )
        return DatasetDir(self.root / name)

    def dataset(self, name: str | None = None) -> DatasetDir:
        """A dataset that is there: the one named, else the current one.

        Raises:
            UsageError: there is none of that name.
            DataError: no name is given and none is current.
        """
        wanted = name or self.current()
        if wanted is None:
            raise DataError(
                f"No dataset is named and none is current in {self.root}. Get one with `vtk download NAME` or "
                "`vtk index NAME PATH`, or name the workspace with --root."
            )
        if wanted not in self.datasets():
            raise UsageError(
                f'There is no dataset "{wanted}" in {self.root}. {did_you_mean(wanted, self.datasets())} '
                "Get one with `vtk download NAME` or `vtk index NAME PATH`."
            )
        return DatasetDir(self.root / wanted)

    def current(self) -> str | None:
        """Name of the dataset that commands use when none is named."""
        try:
            return (self.root / "current").read_text(encoding="utf-8").strip() or None
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(
                f"{self.root / 'current'} should hold the name of a dataset, found: {error}. Remove it, and name a "
                "dataset on the command line."
            ) from error

    def set_current(self, name: str) -> None:
        write_atomic(self.root / "current", name + "\n")
