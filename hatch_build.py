"""Builds the compiled kernels with the wheel: shared libraries that ctypes loads, bound to no version of Python.

The compiler is $CC, cc, gcc or clang; where there is none, the package ziglang brings one. VTK_KERNEL=off leaves the
kernels out: what they do is then done without them, with the same results and slower.
"""

import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

FLAGS = ("-std=c11", "-O3", "-fPIC", "-fvisibility=hidden", "-fno-math-errno", "-ffp-contract=off", "-Wall", "-Wextra")
"""No contraction: products and sums are fused only where the source says so, whatever the compiler."""
INSTRUCTION_SETS = {"avx2": ("-mavx2", "-mfma"), "avx512": ("-mavx512f", "-mavx2", "-mfma")}
OLDEST_LIBC = {"x86_64": "x86_64-linux-gnu.2.17", "aarch64": "aarch64-linux-gnu.2.17"}
"""What ziglang builds for: any Linux of the last ten years."""


@dataclass(frozen=True)
class Library:
    """A shared library, made of all that its folder of sources holds."""

    path: Path
    sources: Path
    prefix: str
    """Of the macros that its sources are told: prefix_SOURCES, their digest, and prefix_X86 on such a machine."""
    objects: tuple[str, ...]
    """Sources compiled for every processor of a kind."""
    variants: tuple[str, ...]
    """Sources compiled once more for each of `INSTRUCTION_SETS`."""
    without: str
    """What it means that it is not there."""


LIBRARIES = {
    "tvl1": Library(
        path=Path("vtk_cli/flow/_tvl1.so"),
        sources=Path("vtk_cli/flow/csrc"),
        prefix="TVL1",
        objects=("tvl1", "tvl1_kernels"),
        variants=("tvl1_kernels",),
        without="TV-L1 will run in torch, slower",
    ),
    "levels": Library(
        path=Path("vtk_cli/video/_levels.so"),
        sources=Path("vtk_cli/video/csrc"),
        prefix="LEVELS",
        objects=("levels",),
        variants=(),
        without="frames will be extracted a little slower",
    ),
}


class KernelBuildHook(BuildHookInterface[Any]):
    """Compiles before the wheel is put together; an editable install keeps the libraries beside their sources."""

    PLUGIN_NAME = "custom"

    def dependencies(self) -> list[str]:
        return ["ziglang>=0.13"] if wanted() and not system_compiler() else []

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        del version
        root = Path(self.root)
        for library in LIBRARIES.values():
            (root / library.path).unlink(missing_ok=True)
        if not wanted():
            return
        compiled = [self._compiled(root, library) for library in LIBRARIES.values()]
        if any(compiled):
            build_data["pure_python"] = False
            build_data["tag"] = f"py3-none-{sysconfig.get_platform().replace('-', '_').replace('.', '_')}"

    def _compiled(self, root: Path, library: Library) -> bool:
        try:
            compile_library(root, library)
        except (OSError, subprocess.CalledProcessError) as error:
            said = getattr(error, "stderr", "") or error
            self.app.display_warning(f"{library.path} could not be compiled; {library.without}. {said}")
            return False
        return True


def wanted() -> bool:
    """Whether the libraries are to be built."""
    return os.environ.get("VTK_KERNEL", "").lower() not in ("off", "0", "no")


def system_compiler() -> list[str]:
    """The command of the compiler that this machine has; empty if there is none."""
    if os.environ.get("CC"):
        return shlex.split(os.environ["CC"])
    return next(([path] for name in ("cc", "gcc", "clang") if (path := shutil.which(name))), [])


def compiler() -> list[str]:
    """The command of a compiler.

    Raises:
        OSError: there is none.
    """
    found = system_compiler()
    if not found and find_spec("ziglang"):
        target = OLDEST_LIBC.get(platform.machine()) if sys.platform == "linux" else None
        found = [sys.executable, "-m", "ziglang", "cc", *(["-target", target] if target else [])]
    if not found:
        raise OSError("There is no C compiler: no $CC, cc, gcc, clang or package ziglang.")
    return found


def digest(root: Path, library: Library) -> str:
    """Of a library's sources; the library says it, so that a stale one is seen."""
    total = hashlib.sha256()
    for path in sorted((root / library.sources).iterdir()):
        total.update(path.read_bytes())
    return total.hexdigest()[:16]


def compile_library(root: Path, library: Library) -> None:
    """Compile a library; it appears whole or not at all.

    Raises:
        OSError: there is no compiler.
        subprocess.CalledProcessError: it does not take the sources.
    """
    command = compiler()
    on_x86 = platform.machine().lower() in ("x86_64", "amd64")
    x86 = [f"-D{library.prefix}_X86"] if on_x86 else []
    common = [*FLAGS, f'-D{library.prefix}_SOURCES="{digest(root, library)}"', *x86]
    objects: list[tuple[str, tuple[str, ...]]] = [(name, ()) for name in library.objects]
    if on_x86:
        objects += [(name, flags) for name in library.variants for flags in INSTRUCTION_SETS.values()]
    with tempfile.TemporaryDirectory(dir=(root / library.path).parent, prefix=".build-") as folder:
        made = [f"{folder}/{number}.o" for number in range(len(objects))]
        for (name, flags), to in zip(objects, made, strict=True):
            _run([*command, *common, *flags, "-c", str(root / library.sources / f"{name}.c"), "-o", to])
        _run([*command, "-shared", "-o", f"{folder}/library", *made, "-lm"])
        Path(folder, "library").replace(root / library.path)


def _run(command: list[str]) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603  the compiler and our own files
