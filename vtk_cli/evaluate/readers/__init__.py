"""Reading checkpoints of other projects, whatever file they are in: recognised by content, read as data alone.

PyTorch          zip or legacy; .pth, .pth.tar, .pt, .pyth            torch_files
plain pickle     .pdparams, .pdopt; Caffe2's .pkl                     pickles
fluid            a folder of variables, a tar of it, one file of all  fluid
numpy            .npz                                                 arrays
safetensors                                                           safetensors itself
"""

import tarfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from vtk_cli.errors import CheckpointError
from vtk_cli.evaluate.readers.arrays import read_npz
from vtk_cli.evaluate.readers.fluid import looks_like_variable, read_combined, read_folder, read_tar
from vtk_cli.evaluate.readers.pickles import read_pickle
from vtk_cli.evaluate.readers.torch_files import MAGIC, read_torch
from vtk_cli.evaluate.readers.unreadable import Unreadable
from vtk_cli.evaluate.weights import read_weights

_ZIP = b"PK\x03\x04"
_PACKED = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ\x00")
"""gzip, bzip2, xz: what they pack has to be a tar."""
_PICKLED = (b"\x80", b"(", b"}", b"]", b"c")
"""Protocol 2 and later; the first instructions of the older ones."""
_STRUCTURED = "StructuredToParameterName@@"
"""Paddle's table from a layer's names to its variables, beside the tensors."""


def read_foreign(path: Path) -> Mapping[str, Any]:
    """Tensors or numpy arrays by name, with what else the checkpoint holds.

    Raises:
        CheckpointError: the file is absent, of no known format, damaged, or a pickle that would run code.
    """
    if not path.exists():
        raise CheckpointError(f"There is no file at {path}. Check the path.")
    try:
        found = _reader(path)(path)
    except (ValueError, OSError) as error:
        raise CheckpointError(
            f"{path} should be a checkpoint of tensors (PyTorch, .pdparams, Caffe2 .pkl, a fluid folder or its tar, "
            f"npz or safetensors), found: {str(error).rstrip('.')}. Get the file anew; where you trust it, save its "
            "tensors alone with torch.save or numpy.savez."
        ) from error
    if not isinstance(found, Mapping):
        raise CheckpointError(
            f"{path} should hold tensors by name, found {type(found).__name__}. Save the model's state_dict()."
        )
    return {name: value for name, value in found.items() if name != _STRUCTURED}


def _reader(path: Path) -> Callable[[Path], Any]:
    """The reader that a file's first bytes call for."""
    if path.is_dir():
        return read_folder
    with path.open("rb") as file:
        beginning = file.read(64)
    if not beginning:
        raise Unreadable("an empty file")
    header = int.from_bytes(beginning[:8], "little")  # of safetensors: a length, then JSON
    kinds: list[tuple[Callable[[], bool], Callable[[Path], Any]]] = [
        (lambda: beginning.startswith(_ZIP) and _holds_arrays(path), read_npz),
        (lambda: beginning.startswith((_ZIP, MAGIC)), read_torch),
        (lambda: beginning[8:9] == b"{" and header < path.stat().st_size, read_weights),
        (lambda: looks_like_variable(beginning), read_combined),
        (lambda: beginning.startswith(_PACKED) or tarfile.is_tarfile(path), read_tar),
        (lambda: beginning.startswith(_PICKLED), read_pickle),
    ]
    found = next((reader for fits, reader in kinds if fits()), None)
    if found is None:
        raise Unreadable("a file of another format")
    return found


def _holds_arrays(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return all(name.endswith(".npy") for name in archive.namelist())
    except (zipfile.BadZipFile, NotImplementedError):
        return False  # torch reads no damaged archive either, and says so
