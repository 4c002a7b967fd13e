"""What env.json says: enough to find out later why a number came out as it did."""

import os
import platform
import shlex
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from vtk_cli import registry

PACKAGES = ("numpy", "av", "lmdb", "simplejpeg", "safetensors", "pydantic", "opencv-contrib-python-headless")
"""Besides torch, those whose version can change what a model sees."""

DECISIVE = ("torch", "threads", "device", "cpu", "gpu")
"""With another one of these a resumed run may differ from an uninterrupted one by rounding."""


def environment(model: str, device: torch.device) -> dict[str, Any]:
    """Versions, machine and command line of this process."""
    plugin = registry.find("vtk.models", model)
    found = {
        "command": shlex.join(["vtk", *sys.argv[1:]]),
        "folder": str(Path.cwd()),
        "git": git_commit(Path.cwd()),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "vtk": _version("vtk-cli"),
        "plugin": {"model": plugin.name, "distribution": plugin.distribution, "version": plugin.version},
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "device": device.type,
        "gpu": torch.cuda.get_device_name(device) if device.type == "cuda" else None,
        "cpu": _processor(),
        "processors": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "packages": {name: found for name in PACKAGES if (found := _version(name))},
    }
    return {key: value for key, value in found.items() if value is not None}


def git_commit(folder: Path) -> str | None:
    """The commit that a folder is at, with `+` where files differ from it; None outside a repository or without git."""
    answers = []
    for arguments in (["rev-parse", "HEAD"], ["status", "--porcelain", "--untracked-files=no"]):
        try:
            answer = subprocess.run(  # noqa: S603  a fixed command
                ["git", *arguments],  # noqa: S607  whichever git the user has
                cwd=folder,
                capture_output=True,
                text=True,
                timeout=10,
                check=True,
            )
        except (OSError, subprocess.SubprocessError):
            return None
        answers.append(answer.stdout.strip())
    commit, changes = answers
    return f"{commit}+" if changes else commit


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _processor() -> str:
    """The processor's name: Linux keeps it in a file, elsewhere Python knows it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
