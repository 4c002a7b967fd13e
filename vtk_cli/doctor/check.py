"""All checks of `vtk doctor`: which there are, whether vtk needs them, and what to do about each."""

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

from vtk_cli.console import size

Status = Literal["ok", "low", "not installed", "broken"]

SECONDS = 90.0
"""A probe that takes longer hangs; importing torch from a cold network disk takes half of this."""
LEAST_DISK = 10e9
LEAST_SHARED_MEMORY = 1e9
"""Loader processes hand batches over through /dev/shm; containers often give it 64 MB."""
LEAST_FILES = 1024
"""Stores keep one file per shard open in every loader process."""


@dataclass(frozen=True, slots=True)
class Backend:
    """Something that can be loaded."""

    name: str
    """Of its probe."""
    purpose: str
    install: str
    """What pip installs; empty for what is there anyway."""
    required: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One line of the doctor's answer."""

    name: str
    status: Status
    detail: str
    advice: str = ""
    required: bool = False


BACKENDS = (
    Backend("python", "everything", "", required=True),
    Backend("torch", "models, training and testing", "torch", required=True),
    Backend("av", "decoding video", "av", required=True),
    Backend("lmdb", "stores of frames and flow", "lmdb", required=True),
    Backend("simplejpeg", "pictures in stores", "simplejpeg", required=True),
    Backend("tvl1", "fast TV-L1 flow on the CPU; torch computes the same, slower", "--force-reinstall vtk-cli"),
    Backend("opencv", "optical flow by farneback and dis, warped flow", "vtk-cli[opencv]"),
    Backend("pil", "pictures in code of other packages; vtk itself does without", "pillow"),
    Backend("ffmpeg", "making clips by hand; vtk itself does without", "imageio-ffmpeg"),
    Backend("dali", "decoding on a GPU, for plugins", "nvidia-dali-cuda130"),
    Backend("torchvision", "optical flow by raft, networks of plugins", "torchvision"),
    Backend("timm", "networks of plugins", "timm"),
    Backend("ray", "extracting on a cluster (--engine ray)", "vtk-cli[ray]"),
    Backend("torchcodec", "another decoder, for plugins", "torchcodec"),
)


def examine(root: Path) -> list[Finding]:
    """Every backend, each in a process of its own, then the machine; `root` is the workspace."""
    with ThreadPoolExecutor(max_workers=min(4, os.cpu_count() or 1)) as pool:
        found = list(pool.map(probe, BACKENDS))
    return [*found, disk(root), shared_memory(Path("/dev/shm")), open_files()]  # noqa: S108  looked at, not written to


def probe(backend: Backend, *, seconds: float = SECONDS) -> Finding:
    """Load one backend in a process of its own."""
    command = [sys.executable, "-P", "-m", "vtk_cli.doctor.probes", backend.name]
    try:
        done = subprocess.run(command, capture_output=True, timeout=seconds, check=False)  # noqa: S603  fixed words
    except subprocess.TimeoutExpired:
        return _finding(backend, "broken", f"does not load within {seconds:g} s")
    if done.returncode != 0:
        return _finding(backend, "broken", _ending(done.returncode, done.stderr))
    answer = json.loads(done.stdout)
    return _finding(backend, answer["status"], answer["detail"])


def disk(root: Path) -> Finding:
    """Free space where the workspace is or would be."""
    there = next(folder for folder in (root, *root.parents) if folder.exists())
    free = shutil.disk_usage(there).free
    low = free < LEAST_DISK
    advice = "Name a workspace on a larger disk with --root or VTK_HOME." if low else ""
    return Finding(name="disk", status="low" if low else "ok", detail=f"{size(free)} free at {root}", advice=advice)


def shared_memory(folder: Path) -> Finding:
    if not folder.is_dir():
        return Finding(name="shared memory", status="ok", detail=f"no {folder} on this system")
    total = shutil.disk_usage(folder).total
    low = total < LEAST_SHARED_MEMORY
    advice = "Batches pass through it: start a container with --shm-size=2g, or set data.workers=0." if low else ""
    return Finding(
        name="shared memory", status="low" if low else "ok", detail=f"{size(total)} at {folder}", advice=advice
    )


def open_files() -> Finding:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    low = soft != resource.RLIM_INFINITY and soft < LEAST_FILES
    advice = f"Raise it: ulimit -n {hard if hard > soft else LEAST_FILES}." if low else ""
    return Finding(name="open files", status="low" if low else "ok", detail=f"at most {soft}", advice=advice)


def _finding(backend: Backend, status: Status, detail: str) -> Finding:
    advice = ""
    if status == "not installed":
        advice = f"For {backend.purpose}: {_pip(backend.install)}"
    elif status == "broken":
        again = _pip(f"--force-reinstall --no-deps {backend.install}") if backend.install else "install Python anew"
        advice = f"For {backend.purpose}; install it again: {again}"
    return Finding(name=backend.name, status=status, detail=detail, advice=advice, required=backend.required)


def _pip(what: str) -> str:
    """The command that installs something and leaves the torch that is there; some packages would exchange it."""
    words = what.split()
    if words[-1] in ("torchvision", "timm", "torchcodec"):
        with suppress(metadata.PackageNotFoundError):
            words.append(f"torch=={metadata.version('torch').split('+', maxsplit=1)[0]}")
    return " ".join(["pip install", *(f'"{word}"' if "[" in word or "==" in word else word for word in words)])


def _ending(code: int, stderr: bytes) -> str:
    if code < 0:
        name = signal.Signals(-code).name
        illegal = " (built for another processor)" if name == "SIGILL" else ""
        return f"loading it ends the process with {name}{illegal}"
    lines = stderr.decode(errors="replace").strip().splitlines()
    return f"loading it ends the process with code {code}: {lines[-1] if lines else 'no message'}"
