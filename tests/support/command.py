"""`vtk` as its user runs it: a process of its own, with its exit code and what it says."""

import os
import subprocess
import sys
from pathlib import Path


class Vtk:
    """The command in one workspace and working folder."""

    def __init__(self, home: Path, **environment: str) -> None:
        self.home = home
        self._environment = {**os.environ, "OMP_NUM_THREADS": "1", **environment, "VTK_HOME": str(home)}

    def start(self, *arguments: str | Path) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self._command(arguments),
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def __call__(
        self, *arguments: str | Path, code: int = 0, stdin: str = "", seconds: float = 240
    ) -> subprocess.CompletedProcess[str]:
        """Run it to its end; it must end with this exit code and show no traceback and no warning of Python's."""
        done = subprocess.run(
            self._command(arguments),
            env=self._environment,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
        said = f"vtk {' '.join(map(str, arguments))}\n{done.stdout}\n{done.stderr}"
        assert done.returncode == code, f"exit code {done.returncode}, not {code}: {said}"
        assert "Traceback" not in done.stderr, said
        assert "Warning:" not in done.stderr, said
        return done

    def _command(self, arguments: tuple[str | Path, ...]) -> list[str]:
        return [sys.executable, "-m", "vtk_cli", *map(str, arguments)]
