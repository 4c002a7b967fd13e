"""Unpacking rar archives with a tool of the system; Python's library has none for this format.

UCF101 and HMDB51 come as rar from their authors; HMDB51's holds one rar per class. The tool writes into a scratch
folder, which is looked through before anything is taken from it.
"""

import os
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from vtk_cli.errors import Interrupted, PluginError
from vtk_cli.fetch.archive import DamagedArchive, Limits, Member, check_name, check_sizes, refused, sniff

_POLL_SECONDS = 0.05
_MEASURE_SECONDS = 2.0
_ENVIRONMENT = {**os.environ, "LC_ALL": "C.UTF-8"}


@dataclass(frozen=True, slots=True)
class _Tool:
    """How one program lists and unpacks; arguments only, never a shell: clip names hold every special character."""

    program: str
    list_names: Callable[[str], list[str]]
    """A command that prints one member per line ..."""
    prefix: str
    """... behind this; other lines are no members."""
    unpack: Callable[[str, str], list[str]]


_TOOLS = (
    _Tool(
        "unrar",
        lambda a: ["unrar", "lb", "-p-", "--", a],
        "",
        lambda a, to: ["unrar", "x", "-o+", "-y", "-p-", "-idq", "--", a, f"{to}/"],
    ),
    _Tool("bsdtar", lambda a: ["bsdtar", "-tf", a], "", lambda a, to: ["bsdtar", "-xf", a, "-C", to]),
    _Tool(
        "unar",
        lambda a: ["lsar", a],
        "",
        lambda a, to: ["unar", "-quiet", "-force-overwrite", "-no-directory", "-output-directory", to, a],
    ),
    _Tool(
        "7zz",
        lambda a: ["7zz", "l", "-slt", "-ba", "--", a],
        "Path = ",
        lambda a, to: ["7zz", "x", "-y", f"-o{to}", "--", a],
    ),
    _Tool(
        "7z",
        lambda a: ["7z", "l", "-slt", "-ba", "--", a],
        "Path = ",
        lambda a, to: ["7z", "x", "-y", f"-o{to}", "--", a],
    ),
)


def find_tool() -> _Tool:
    """The first program of the system that can unpack a rar.

    Raises:
        PluginError: there is none.
    """
    for tool in _TOOLS:
        if shutil.which(tool.program):
            return tool
    raise PluginError(
        f"Unpacking a .rar needs one of {', '.join(tool.program for tool in _TOOLS)}, found none. Install one: "
        "`apt install libarchive-tools` (Debian, Ubuntu), `dnf install bsdtar` (Fedora), `brew install rar` or "
        "`conda install -c conda-forge libarchive`; then run the same command again."
    )


def rar_members(path: Path, scratch: Path, stop: threading.Event, limits: Limits) -> Iterator[Member]:
    """The regular files of a rar and of the rars inside it, one level deep; see `archive.members`.

    Raises:
        PluginError: no program can unpack it.
        Interrupted: `stop` was set.
    """
    yield from _members(path, scratch / "outer", stop, limits, nested=scratch / "inner")


def _members(path: Path, folder: Path, stop: threading.Event, limits: Limits, nested: Path | None) -> Iterator[Member]:
    try:
        for file in _unpack(path, folder, stop, limits):
            if nested is not None and sniff(file) == "rar":
                yield from _members(file, nested, stop, limits, nested=None)
                continue
            name = file.relative_to(folder).as_posix()
            yield Member(name, file.stat().st_size, path, _opener(file))
            file.unlink()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _opener(file: Path) -> Callable[[], IO[bytes]]:
    return lambda: file.open("rb")


def _unpack(path: Path, folder: Path, stop: threading.Event, limits: Limits) -> Sequence[Path]:
    tool = find_tool()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    archive = str(path.absolute())
    most = limits.total(path.stat().st_size)
    for line in _run(tool.list_names(archive), path, folder, stop, most).splitlines():
        if line.startswith(tool.prefix) and not line.startswith(f"{archive}: "):  # lsar's heading
            check_name(path, line.removeprefix(tool.prefix))
    _run(tool.unpack(archive, str(folder)), path, folder, stop, most)
    files = []
    for found in sorted(folder.rglob("*")):
        if found.is_symlink() or not (found.is_file() or found.is_dir()):
            raise refused(path, f"the link or device {found.name!r}")
        if found.is_file():
            files.append(found)
    check_sizes(path, {str(file): file.stat().st_size for file in files}, limits)
    return files


def _run(command: list[str], path: Path, folder: Path, stop: threading.Event, most_bytes: int) -> str:
    """What the program prints; it is ended when `stop` is set or it writes too much."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        process = subprocess.Popen(  # noqa: S603  a list of arguments, no shell; the program is one of _TOOLS
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=err, env=_ENVIRONMENT
        )
        try:
            measured = time.monotonic()
            while process.poll() is None:
                if stop.wait(_POLL_SECONDS):
                    raise Interrupted("Unpacking was stopped; run the same command to go on.")
                if time.monotonic() - measured > _MEASURE_SECONDS:
                    measured = time.monotonic()
                    if _bytes_in(folder) > most_bytes:
                        raise refused(path, f"more than {most_bytes} bytes in {path.stat().st_size}")
        finally:
            process.kill()
            process.wait()
        out.seek(0)
        err.seek(0)
        printed, errors = (file.read().decode("utf-8", "surrogateescape") for file in (out, err))
    if process.returncode:
        raise _damaged(path, command[0], errors or printed)
    return printed


def _bytes_in(folder: Path) -> int:
    total = 0
    for file in folder.rglob("*"):
        try:
            total += file.lstat().st_size
        except FileNotFoundError:  # the tool renames while it works
            continue
    return total


def _damaged(path: Path, program: str, message: str) -> DamagedArchive:
    last = (message.strip().splitlines() or ["no message"])[-1]
    return DamagedArchive(f"{path} should be a whole rar archive, {program} found: {last}. Fetch it again.")
