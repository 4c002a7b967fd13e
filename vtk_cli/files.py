"""Writing small files so that each is there whole or not at all, whatever happens meanwhile."""

import os
from contextlib import suppress
from pathlib import Path

from vtk_cli.errors import DataError


def write_atomic(path: Path, content: str | bytes) -> None:
    """Write to a temporary neighbour, flush it to the disk, and rename it into place.

    Raises:
        DataError: the file cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink()
        reason = error.strerror or error
        raise DataError(f"{path} cannot be written: {reason}. Free space or choose another folder.") from error
