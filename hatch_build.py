"""Builds the TV-L1 kernel with the wheel: a shared library that ctypes loads, bound to no version of Python.

The compiler is $CC, cc, gcc or clang; where there is none, the package ziglang brings one. VTK_KERNEL=off leaves the
kernel out: TV-L1 then runs in torch, which gives the same flow and is slower.
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
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SOURCES = Path("vtk_cli/flow/csrc")
LIBRARY = Path("vtk_cli/flow/_tvl1.so")
FLAGS = ("-std=c11", "-O3", "-fPIC", "-fvisibility=hidden", "-fno-math-errno", "-ffp-contract=off", "-Wall", "-Wextra")
"""No contraction: products and sums are fused only where the source says so, whatever the compiler."""
INSTRUCTION_SETS = {"avx2": ("-mavx2", "-mfma"), "avx512": ("-mavx512f", "-mavx2", "-mfma")}
OLDEST_LIBC = {"x86_64": "x86_64-linux-gnu.2.17", "aarch64": "aarch64-linux-gnu.2.17"}
"""What ziglang builds for: any Linux of the last ten years."""


class KernelBuildHook(BuildHookInterface[Any]):
    """Compiles before the wheel is put together; an editable install keeps the library beside its sources."""

    PLUGIN_NAME = "custom"

    def dependencies(self) -> list[str]:
        return ["ziglang>=0.13"] if wanted() and not system_compiler() else []

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        del version
        root = Path(self.root)
        (root / LIBRARY).unlink(missing_ok=True)
        if not wanted():
            return
        try:
            compile_kernel(root)
        except (OSError, subprocess.CalledProcessError) as error:
            said = getattr(error, "stderr", "") or error
            self.app.display_warning(f"TV-L1 will run in torch, slower: its kernel could not be compiled. {said}")
            return
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{sysconfig.get_platform().replace('-', '_').replace('.', '_')}"


def wanted() -> bool:
    """Whether the kernel is to be built."""
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


def digest(root: Path) -> str:
    """Of the kernel's sources; the library says it, so that a stale one is seen."""
    total = hashlib.sha256()
    for path in sorted((root / SOURCES).iterdir()):
        total.update(path.read_bytes())
    return total.hexdigest()[:16]


def compile_kernel(root: Path) -> None:
    """Compile the library; it appears whole or not at all.

    Raises:
        OSError: there is no compiler.
        subprocess.CalledProcessError: it does not take the sources.
    """
    command = compiler()
    on_x86 = platform.machine().lower() in ("x86_64", "amd64")
    common = [*FLAGS, f'-DTVL1_SOURCES="{digest(root)}"', *(["-DTVL1_X86"] if on_x86 else [])]
    objects = [("tvl1", ()), ("tvl1_kernels", ())]
    if on_x86:
        objects += [("tvl1_kernels", flags) for flags in INSTRUCTION_SETS.values()]
    with tempfile.TemporaryDirectory(dir=root / LIBRARY.parent, prefix=".build-") as folder:
        made = [f"{folder}/{number}.o" for number in range(len(objects))]
        for (name, flags), to in zip(objects, made, strict=True):
            _run([*command, *common, *flags, "-c", str(root / SOURCES / f"{name}.c"), "-o", to])
        _run([*command, "-shared", "-o", f"{folder}/library", *made, "-lm"])
        Path(folder, "library").replace(root / LIBRARY)


def _run(command: list[str]) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603  the compiler and our own files
