"""Fixtures that every test may use."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real clips, facts and reference outputs that lies beside the repository ($VTK_SHARED elsewhere).

    Where it is absent a test that needs it skips visibly; under CI=true that is a failure, so green cannot lie.
    """
    folder = Path(os.environ.get("VTK_SHARED") or Path(__file__).resolve().parents[2] / "shared")
    if not folder.is_dir():
        reason = f"needs the shared test data at {folder} (or VTK_SHARED)"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return folder
