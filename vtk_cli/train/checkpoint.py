"""Checkpoints: a file of weights and a file of everything else that resuming needs, a pair that belongs together.

    last.safetensors    the weights; `checkpoint` in its metadata is the pair's token
    last.state          optimiser, loss scale, position, what was measured; names the same token
    best.safetensors    the weights of the best validation

A new pair is written beside the old one, then renamed into place, state first. That rename is the moment at which the
new checkpoint counts. A kill before it leaves the old pair. A kill after it leaves weights that only need their
rename, and `load` gives them that, so whatever the moment there is one whole pair:

    write next.safetensors . write next.state . rename next.state . rename next.safetensors
         old pair                old pair     ^     new pair              new pair
"""

import io
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from vtk_cli.errors import CheckpointError
from vtk_cli.evaluate.weights import read_metadata, read_weights
from vtk_cli.files import write_atomic

VERSION = 1
TOKEN = "checkpoint"  # noqa: S105  names a key, is no secret


@dataclass(frozen=True, slots=True)
class Checkpoints:
    """The folder checkpoints/ of a run."""

    folder: Path

    @property
    def last(self) -> Path:
        return self.folder / "last.safetensors"

    @property
    def best(self) -> Path:
        return self.folder / "best.safetensors"

    @property
    def state(self) -> Path:
        return self.folder / "last.state"

    def save(
        self, tensors: Mapping[str, Tensor], state: Mapping[str, Any], metadata: Mapping[str, str], *, best: bool
    ) -> None:
        """Write a pair, whole or not at all; `best` also writes the weights as the best ones, before the pair counts.

        Raises:
            DataError: it cannot be written; the previous pair is as it was.
        """
        token = secrets.token_hex(8)
        # Copies: safetensors takes neither tied tensors nor other memory formats.
        copies = {name: t.detach().cpu().clone(memory_format=torch.contiguous_format) for name, t in tensors.items()}
        weights = safetensors.torch.save(copies, {**metadata, TOKEN: token})
        packed = io.BytesIO()
        torch.save({**state, "version": VERSION, TOKEN: token}, packed)
        next_weights, next_state = self._next(self.last), self._next(self.state)
        try:
            write_atomic(next_weights, weights)
            write_atomic(next_state, packed.getvalue())
            if best:
                write_atomic(self.best, weights)
        except BaseException:
            next_weights.unlink(missing_ok=True)
            next_state.unlink(missing_ok=True)
            raise
        next_state.replace(self.state)
        next_weights.replace(self.last)
        _flush(self.folder)

    def load(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Weights and state of the last checkpoint, both on the CPU.

        Raises:
            CheckpointError: there is none, or it is damaged.
        """
        state = self._read_state()
        self._finish(state[TOKEN])
        self._clean()
        return read_weights(self.last), state

    def _read_state(self) -> dict[str, Any]:
        try:
            state = torch.load(self.state, map_location="cpu", weights_only=True)
        except FileNotFoundError as error:
            raise CheckpointError(
                f"There is no checkpoint to resume from in {self.folder}: the run ended before its first. Train anew."
            ) from error
        except Exception as error:  # torch's reader can raise anything on bytes that are no checkpoint
            raise CheckpointError(
                f"{self.state} should hold the state of a run, found: {error}. Restore the file, or train anew from "
                f"`--init {self.last}`."
            ) from error
        if not isinstance(state, dict) or state.get("version") != VERSION or TOKEN not in state:
            raise CheckpointError(f"{self.state} should have version {VERSION}. Resume with the vtk that wrote it.")
        return state

    def _finish(self, token: str) -> None:
        """Do the last rename of a `save` that was killed before it."""
        waiting = self._next(self.last)
        for path in (waiting, self.last):
            if _token(path) == token:
                path.replace(self.last)
                return
        raise CheckpointError(
            f"{self.last} and {self.state.name} should belong to one checkpoint, found weights of another. Put back "
            "the file that was exchanged."
        )

    def _clean(self) -> None:
        """Remove what a `save` that was killed left behind."""
        for path in (self._next(self.last), self._next(self.state), *self.folder.glob(".*.tmp")):
            path.unlink(missing_ok=True)

    @staticmethod
    def _next(path: Path) -> Path:
        return path.with_name(f"next{path.suffix}")


def _token(path: Path) -> str | None:
    """Which checkpoint a file of weights belongs to; None where the file is absent or cut off."""
    try:
        return read_metadata(path).get(TOKEN)
    except CheckpointError:
        return None


def _flush(folder: Path) -> None:
    """Bring renames in a folder to the disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
