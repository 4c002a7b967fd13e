"""The error tree. Every error that a user can cause or meet is one of these.

    VtkError                      1   something failed
    ├── UsageError                2   a wrong name, option, key or value
    ├── ItemsFailed               3   some items failed; the rest is done and a list was written
    ├── PluginError               4   a plugin or an optional dependency is missing or broken
    ├── DataError                 5   data is missing or damaged
    │   ├── VideoError                a video cannot be decoded
    │   ├── StoreError                a store of frames, flow or features
    │   ├── CatalogError              the table of labelled videos
    │   ├── CheckpointError           a checkpoint, weight file or run directory
    │   │   └── MismatchError                 its tensors are not those that are needed
    │   └── FetchError                a download
    └── Interrupted              75   stopped on request; running the same command again resumes

The number is the exit code of the command. A message is a sentence with three parts: what was expected, what was
found, what to do. Anything that is not a VtkError is a bug and keeps its traceback.
"""

from collections.abc import Iterable
from difflib import get_close_matches


class VtkError(Exception):
    """Base of all errors that vtk explains to its user instead of showing a traceback."""

    exit_code = 1


class UsageError(VtkError):
    exit_code = 2


class ItemsFailed(VtkError):
    exit_code = 3


class PluginError(VtkError):
    exit_code = 4


class DataError(VtkError):
    exit_code = 5


class VideoError(DataError):
    pass


class StoreError(DataError):
    pass


class CatalogError(DataError):
    pass


class CheckpointError(DataError):
    pass


class MismatchError(CheckpointError):
    """Tensors that are left over, missing or of another shape: all their names, of which the message has the first."""

    def __init__(
        self,
        message: str,
        *,
        unexpected: Iterable[str] = (),
        missing: Iterable[str] = (),
        misshapen: Iterable[str] = (),
    ) -> None:
        super().__init__(message)
        self.names = {"unexpected": list(unexpected), "missing": list(missing), "of another shape": list(misshapen)}


class FetchError(DataError):
    pass


class Interrupted(VtkError):
    exit_code = 75


def did_you_mean(found: str, choices: Iterable[str], *, most: int = 12) -> str:
    """The end of a message about a wrong name: the nearest right one, or the few there are.

    >>> did_you_mean("stnt", ["stnet", "tsn"])
    'Did you mean "stnet"?'
    >>> did_you_mean("x3d", ["stnet", "tsn"])
    'There are: stnet, tsn.'
    >>> did_you_mean("x3d", [])
    'There are none.'
    """
    names = sorted(choices)
    near = get_close_matches(found, names, n=1, cutoff=0.6)
    if near:
        return f'Did you mean "{near[0]}"?'
    if not names:
        return "There are none."
    listed = ", ".join(names[:most])
    return f"There are: {listed}{', ...' if len(names) > most else ''}."
