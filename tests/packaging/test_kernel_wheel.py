"""The compiled kernels travel in the wheel, bound to the platform and to no version of Python; a wheel can do without."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

REPOSITORY = Path(__file__).resolve().parents[2]
KERNELS = {"vtk_cli/flow/_tvl1.so", "vtk_cli/video/_levels.so"}


def wheel(folder: Path, **environment: str) -> Path:
    # From a source distribution, so that the libraries of this checkout stay as they are.
    subprocess.run(
        [sys.executable, "-m", "build", "--outdir", str(folder), str(REPOSITORY)],
        env={**os.environ, **environment}, check=True, capture_output=True,
    )  # fmt: skip
    (found,) = folder.glob("*.whl")
    return found


def test_the_kernels_are_in_the_wheel(tmp_path):
    found = wheel(tmp_path)
    assert found.name.startswith("vtk_cli-")
    assert "-py3-none-" in found.name
    assert not found.name.endswith("-any.whl")
    names = set(zipfile.ZipFile(found).namelist())
    assert names >= KERNELS
    assert "vtk_cli/flow/csrc/tvl1.c" in names


def test_without_them_the_wheel_is_for_any_machine_and_torch_computes_flow(tmp_path):
    found = wheel(tmp_path, VTK_KERNEL="off")
    assert found.name.endswith("-py3-none-any.whl")
    assert not set(zipfile.ZipFile(found).namelist()) & KERNELS
    site = tmp_path / "site"
    zipfile.ZipFile(found).extractall(site)
    code = (
        "import numpy as np, vtk_cli.flow.tvl1 as t\n"
        "y, x = np.mgrid[0:32, 0:40]\n"
        "before, after = (np.rint(127 + 60 * np.sin((x - s) / 5) * np.cos(y / 6)).astype(np.uint8) for s in (0, 1))\n"
        "method = t.FLOW.build(t.TvL1Config())\n"
        "print(t.__file__, type(method).__name__, round(float(np.median(method(before, after)[0]))))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(site)}, cwd=tmp_path,
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.split() == [str(site / "vtk_cli/flow/tvl1.py"), "TorchTvL1", "1"]
