"""PyTorch's checkpoints, zip and legacy: torch's own reader with `weights_only=True`, after a look at their claims."""

import mmap
import re
import warnings
import zipfile
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch

from vtk_cli.evaluate.readers.pickles import Buildable, Machine
from vtk_cli.evaluate.readers.unreadable import Unreadable

MAGIC = bytes.fromhex("80028a0a6cfc9c46f9206aa85019")
"""How legacy files begin: a pickle of torch's magic number."""


class Leftover(Buildable):
    """What old training scripts left beside the tensors: `args`, `best_prec1` as a numpy number.

    Nothing of it is kept, and numpy's own functions see none of it.
    """

    def __init__(self, *_arguments: Any) -> None:
        pass

    def build(self, state: Any) -> None:
        """Nothing."""

    def __setstate__(self, state: Any) -> None:
        pass


_LEFTOVERS = (
    "argparse.Namespace",
    "numpy.dtype",
    "numpy.ndarray",
    *(
        f"{module}.{name}"
        for module in ("numpy.core.multiarray", "numpy._core.multiarray")
        for name in ("scalar", "_reconstruct")
    ),
    *(f"numpy.dtypes.{kind}DType" for kind in ("Float64", "Float32", "Int64", "Int32", "Bool")),
)


def read_torch(path: Path) -> Any:
    """What a checkpoint holds: tensors and plain values.

    Raises:
        Unreadable: it is damaged, would run code, or claims more than it has.
    """
    if zipfile.is_zipfile(path):
        _check_zip(path)
    else:
        _check_legacy(path)
    allowed: Any = [(Leftover, name) for name in _LEFTOVERS]
    try:
        with torch.serialization.safe_globals(allowed), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of pickle protocols: what cannot be read is an error below
            # latin1 reads what Python 2 wrote, whatever it is.
            return torch.load(path, map_location="cpu", weights_only=True, encoding="latin1")
    except UnpicklingError as error:
        named = re.search(r"GLOBAL (\S+) was not an allowed", str(error))
        # torch's own text advises to load such files without the check.
        raise Unreadable("a pickle that would run code" + (f": it names {named[1]}" if named else "")) from error
    except (RuntimeError, EOFError, OSError, KeyError, TypeError, AttributeError, IndexError, MemoryError) as error:
        raise Unreadable((str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")) from error


def _check_zip(path: Path) -> None:
    """PyTorch checks each tensor's record against its claim, but one that is packed could unpack to anything."""
    try:
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
    except (zipfile.BadZipFile, NotImplementedError) as error:
        raise Unreadable(f"a damaged archive ({error})") from error
    if unpacked > path.stat().st_size:
        raise Unreadable(f"an archive that unpacks to {unpacked} bytes, which torch.save never writes")


def _check_legacy(path: Path) -> None:
    """Legacy files say how large each storage is before its numbers come, and torch makes room for it at once."""
    claimed = 0

    def refer(persistent: Any) -> Leftover:
        nonlocal claimed
        if isinstance(persistent, tuple) and len(persistent) > 4 and isinstance(persistent[4], int):
            claimed += max(0, persistent[4])
        return Leftover()

    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        for _ in ("magic number", "version", "system", "object"):
            Machine(content, lambda _name: Leftover, refer).run()
        if claimed > len(content):
            raise Unreadable(f"a checkpoint that claims {claimed} numbers and has {len(content)} bytes")
