"""How far an extraction is: what this run does per second, what the stores take now, and what they will take."""

import shutil
import time
from collections.abc import Iterable
from pathlib import Path

from vtk_cli.console import size, warn
from vtk_cli.extract.plan import Plan
from vtk_cli.extract.worker import FRAMES, Beat, Outcome

_LOOK_SECONDS = 5.0
"""Between two looks at the disk: a store on a network disk has thousands of files."""
_LEAST_CLIPS = 16
"""Below so many clips a forecast says little."""


class Forecast:
    """Counts what one run reports; a clip's share of the work is its length."""

    def __init__(self, plan: Plan) -> None:
        """Begin to count; the rates are those from now on."""
        self.failed = 0
        self._plan, self._lengths = plan, plan.lengths
        self._folders = list(plan.job.stores.values())
        self._part = sum(self._lengths[clip.id] for task in plan.tasks for clip in task.clips)
        lacking = {video_id for name in plan.job.stores for video_id in plan.lacking(name)}
        self._all_parts = sum(self._lengths[video_id] for video_id in lacking)
        self._done = 0.0
        self._clips = self._bytes = self._pictures = 0
        self._start = time.monotonic()
        self._begun_with = self._used = used_bytes(self._folders)
        self._looked = self._start
        self._warned = False

    @property
    def share(self) -> float:
        """Of this run's work that is done, 0 to 1."""
        return self._done / self._part if self._part else 1.0

    def count(self, event: Beat | Outcome) -> None:
        """Take in what a worker says."""
        if isinstance(event, Beat):
            self._pictures += event.pictures
            return
        self._clips += 1
        self.failed += bool(event.cause or event.flow_cause)
        self._done += self._lengths[event.id]
        self._bytes += sum(event.stored.values())

    def note(self) -> str:
        """What stands at the end of the line of progress. Warns once when the disk will not suffice."""
        self._look()
        flow = self._plan.job.stores.keys() - {FRAMES}
        done = max(self._pictures - self._clips, 0) if flow else self._pictures
        rate = done / max(time.monotonic() - self._start, 1e-9)
        will = self.stores_bytes() if self.share < 1 else None
        disk = size(self._used) if will is None else f"{size(self._used)} of about {size(max(will, self._used))}"
        failed = f", {self.failed} failed" if self.failed else ""
        return f"{rate:.3g} {'pairs' if flow else 'frames'}/s, {disk}{failed}"

    def stores_bytes(self) -> float | None:
        """What the stores will take when all parts are done; None before anything is known."""
        if not self._done:
            return None
        return self._begun_with + self._bytes / self._done * self._all_parts

    def _look(self) -> None:
        if time.monotonic() - self._looked < _LOOK_SECONDS and self.share < 1:
            return
        self._used = used_bytes(self._folders)
        will = self.stores_bytes()
        if will is not None and self._clips >= _LEAST_CLIPS and not self._warned:
            free = free_bytes(self._folders[0])
            if will - self._used > free:
                self._warned = True
                warn(short_of_disk(will - self._used, free, self._folders[0].parent))
        self._looked = time.monotonic()


def used_bytes(folders: Iterable[Path]) -> int:
    """What the shards of some stores take on the disk."""
    return sum(file.stat().st_size for folder in folders for file in folder.glob("*.lmdb"))


def free_bytes(store: Path) -> int:
    """Free space of the disk on which a dataset's store is or will be."""
    return shutil.disk_usage(store.parent).free


def short_of_disk(needed: float, free: float, folder: Path | str) -> str:
    """The sentence about a disk that does not suffice."""
    return (
        f"about {size(needed)} more will be needed, {size(free)} are free at {folder}. The disk does not suffice: what "
        "is finished when it is full stays. Free space, move the dataset to a larger disk, or extract with a smaller "
        "--short-side or --quality or fewer clips (--split, --limit)."
    )
