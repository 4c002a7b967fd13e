"""The clips that benchmarks take when none are named."""

import os
from pathlib import Path

NAMES = (
    "kinetics_R6llTwEh07w.mp4", "mmaction2_demo.mp4", "mdn_rabbit320.mp4", "kinetics_flipping_a_pancake.mkv",
)  # fmt: skip


def real_clips() -> list[Path]:
    """Filmed clips of the shared data beside the repository, or at $VTK_SHARED; exits where there are none."""
    shared = Path(os.environ.get("VTK_SHARED") or Path(__file__).resolve().parents[3] / "shared")
    found = [shared / "data" / "videos" / name for name in NAMES]
    if not all(path.is_file() for path in found):
        raise SystemExit("Name some video files.")
    return found
