"""`vtk extract --dry-run`: what an extraction will take, from some clips that are computed and not stored."""

import heapq
import random
import time
from collections.abc import Container, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace

from vtk_cli.catalog import Catalog
from vtk_cli.console import duration, size
from vtk_cli.errors import DataError
from vtk_cli.extract.clip import Clip
from vtk_cli.extract.engine import Engine, check_engine, start_engine
from vtk_cli.extract.forecast import free_bytes, short_of_disk
from vtk_cli.extract.plan import Plan, Request, make_plan
from vtk_cli.extract.worker import FRAMES, Outcome, Task
from vtk_cli.workspace import DatasetDir

SAMPLE = 16
"""Clips that are tried, evenly spread over the selection."""
SAMPLE_SECONDS = 20.0
"""After this long no more clips are awaited."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A clip that was tried in vain, and why."""

    id: str
    cause: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What `vtk extract --dry-run` tells; `--json` prints it. Numbers of bytes, frames and seconds are about."""

    dataset: str
    stores: dict[str, str]
    """"frames" or "flow" -> the store's name."""
    selected: int
    """Clips that are asked for and here."""
    absent: int
    present: dict[str, int]
    """"frames" or "flow" -> clips of the selection that its store holds."""
    clips: int
    """Clips to do; of --shard I/N only that part's, as are the following numbers."""
    frames: int
    pairs: int
    """Of flow; 0 where none is extracted."""
    store_bytes: dict[str, int]
    """"frames" or "flow" -> what will be added to its store."""
    workers: int
    """That will have work: a shard has one writer."""
    seconds: float
    sampled: int
    """Clips that were tried."""
    sample_failed: list[Failure]
    """Of these, those that cannot be extracted whole."""
    all_parts_bytes: int
    """What will be added to all stores by all parts of --shard together."""
    free_bytes: int
    folder: str
    enough: bool
    """Whether the disk has room for all parts."""

    def rows(self) -> list[dict[str, object]]:
        """A line of a table per store."""
        return [
            {
                "store": self.stores[name],
                "there": self.present[name],
                "to add": size(count),
                "a clip": size(count / self.clips) if self.clips else "",
            }
            for name, count in self.store_bytes.items()
        ]

    def lines(self) -> list[str]:
        """What a person is told below the table."""
        if not self.clips:
            return [f"{self.dataset}: nothing is to be done; the stores have all {self.selected} clips."]
        pairs = f", {self.pairs} pairs" if self.pairs else ""
        told = f"{self.dataset}: {self.clips} of {self.selected} clips to do, about {self.frames} frames{pairs}"
        workers = f"{self.workers} worker{'s' if self.workers > 1 else ''}"
        lines = [f"{told}: about {duration(self.seconds)} with {workers}, judged by {self.sampled} clips."]
        if self.sample_failed:
            first = self.sample_failed[0]
            lines.append(f"{len(self.sample_failed)} of these fail; the first, {first.id}: {first.cause}")
        if self.enough:
            lines.append(f"{size(self.all_parts_bytes)} needed, {size(self.free_bytes)} free at {self.folder}.")
        return lines

    def warning(self) -> str:
        """What is wrong; empty if nothing is."""
        return "" if self.enough else short_of_disk(self.all_parts_bytes, self.free_bytes, self.folder)


def estimate(dataset: DatasetDir, request: Request) -> Estimate:
    """Try some clips of what `extract` would do; nothing is written.

    Raises:
        UsageError, PluginError, StoreError, DataError: as `extract`.
        DataError: no clip that was tried can be extracted.
        Interrupted: SIGINT or SIGTERM came.
    """
    check_engine(request.engine)
    with Catalog(dataset.catalog) as catalog:
        plan = make_plan(dataset, catalog, request, create=False)
    clips = [clip for task in plan.tasks for clip in task.clips]
    lacking = {name: frozenset(plan.lacking(name)) for name in plan.job.stores}
    tasks = [Task(shard=number, clips=(clip,)) for number, clip in enumerate(_spread(plan, clips))]
    job = replace(plan.job, sample=lacking)
    engine = start_engine(job, tasks, request)
    costs = _Costs(plan, lacking, _try(engine))
    part = {name: [clip.id for clip in clips if clip.id in ids] for name, ids in lacking.items()}
    store_bytes = {name: costs.bytes(name, ids) for name, ids in part.items()}
    needed = sum(costs.bytes(name, ids) for name, ids in lacking.items())
    free = free_bytes(next(iter(plan.job.stores.values())))
    return Estimate(
        dataset=dataset.name,
        stores={name: folder.name for name, folder in plan.job.stores.items()},
        selected=len(plan.rows),
        absent=plan.absent,
        present={name: len(ids) for name, ids in plan.present.items()},
        clips=len(clips),
        frames=costs.frames(clip.id for clip in clips),
        pairs=max([costs.frames(ids) - len(ids) for name, ids in part.items() if name != FRAMES], default=0),
        store_bytes=store_bytes,
        workers=min(engine.workers, len(plan.tasks)),
        seconds=costs.seconds(plan.tasks, engine.workers),
        sampled=len(costs.outcomes),
        sample_failed=[
            Failure(id=outcome.id, cause=outcome.cause or outcome.flow_cause)
            for outcome in costs.outcomes
            if outcome.cause or outcome.flow_cause
        ],
        all_parts_bytes=needed,
        free_bytes=free,
        folder=str(dataset.path),
        enough=needed <= free,
    )


def _spread(plan: Plan, clips: Iterable[Clip]) -> list[Clip]:
    """Clips at even distances in the catalog's order, shuffled: the first ones to end stand for all."""
    todo = {clip.id: clip for clip in clips}
    ordered = [todo[video_id] for video_id in plan.rows if video_id in todo]
    count = min(SAMPLE, len(ordered))
    chosen = [ordered[(2 * number + 1) * len(ordered) // (2 * count)] for number in range(count)]
    random.Random(0).shuffle(chosen)
    return chosen


def _try(engine: Engine) -> list[Outcome]:
    """What became of the clips that ended in time; of the first one in any time."""
    outcomes: list[Outcome] = []
    begun = time.monotonic()
    with closing(engine.run()) as events:
        for event in events:
            if isinstance(event, Outcome):
                outcomes.append(event)
            if outcomes and time.monotonic() - begun > SAMPLE_SECONDS:
                break
    return outcomes


class _Costs:
    """What a frame costs in the sample, and so all clips."""

    def __init__(self, plan: Plan, lacking: Mapping[str, Container[str]], outcomes: list[Outcome]) -> None:
        """`lacking`: the clips that each store does not have."""
        self.outcomes, self._lacking = outcomes, lacking
        self._lengths = plan.lengths
        if outcomes and not any(outcome.stored for outcome in outcomes):
            first = outcomes[0]
            raise DataError(
                f"Some clips should be extracted to see what it costs, found that all {len(outcomes)} that were tried "
                f"fail. The first, {first.id}: {first.cause or first.flow_cause}. Mend it and try again."
            )

    def frames(self, ids: Iterable[str]) -> int:
        """Frames of some clips: what the catalog says of their lengths, corrected by what it says of the sample."""
        return round(self._scaled(ids, sum(outcome.pictures for outcome in self.outcomes), self.outcomes))

    def bytes(self, store: str, ids: Iterable[str]) -> int:
        """What some clips will add to a store that lacks them."""
        of_store = [outcome for outcome in self.outcomes if outcome.id in self._lacking[store]]
        return round(self._scaled(ids, sum(outcome.stored.get(store, 0) for outcome in of_store), of_store))

    def seconds(self, tasks: Sequence[Task], workers: int) -> float:
        """Until the last of the workers has done the last of the tasks, which they take in this order."""
        total = sum(outcome.seconds for outcome in self.outcomes)
        busy_until = [0.0] * max(1, min(workers, len(tasks)))
        for task in tasks:
            took = self._scaled((clip.id for clip in task.clips), total, self.outcomes)
            heapq.heappush(busy_until, heapq.heappop(busy_until) + took)
        return round(max(busy_until), 1)

    def _scaled(self, ids: Iterable[str], amount: float, sample: Sequence[Outcome]) -> float:
        """`amount` of the sample, in proportion to the lengths of other clips."""
        length = sum(self._lengths[outcome.id] for outcome in sample)
        return amount / length * sum(self._lengths[video_id] for video_id in ids) if length else 0.0
