"""The worker process: takes shards one by one, is their only writer, and tells its parent what it does.

    parent -> worker    Task, None (stop: commit what is finished and end)
    worker -> parent    Begun(id), Beat(pictures), Finished(outcomes), ShardDone, or a VtkError that ends the run

The worker can be killed at any moment: what it reported as finished is committed, everything else is done again.
"""

import signal
import time
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, cast

from vtk_cli import registry
from vtk_cli.api.flow import BatchFlowMethod, FlowSpec
from vtk_cli.api.video import Decoder, DecoderSpec
from vtk_cli.errors import VideoError, VtkError
from vtk_cli.extract.clip import Clip, Encoded, Encoding, encode_clip
from vtk_cli.extract.sample import CountingWriter, SampledFlow
from vtk_cli.flow.motion import Motion
from vtk_cli.flow.warp import WarpConfig
from vtk_cli.store.lmdb_store import ShardWriter

COMMIT_BYTES = 1 << 24
COMMIT_SECONDS = 1.0
"""Finished clips are committed when they have this size or age; a killed worker loses no more than that."""
BEAT_SECONDS = 1.0
POLL_SECONDS = 0.05
"""Between two looks for the parent's word: a look costs 1 % of a small picture."""

FRAMES, FLOW, WARPED = "frames", "flow", "warped"

Writer = ShardWriter | CountingWriter


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What every worker does with every clip."""

    decoder: str
    encoding: Encoding
    stores: Mapping[str, Path]
    """Folder of each store: "frames", "flow", "warped", those that are wanted."""
    flow: str = ""
    flow_config: Any = None
    warp_config: WarpConfig | None = None
    """Of warped flow; None where there is none."""
    retry_failed: bool = False
    sample: Mapping[str, frozenset[str]] | None = None
    """To see what extraction will cost: the clips that each store lacks. They are computed as far as
    `vtk_cli.extract.sample` says, and nothing is stored."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A shard and what it lacks."""

    shard: int
    clips: tuple[Clip, ...]
    lost: tuple[tuple[Clip, str], ...] = ()
    """Clips that took a worker down, with the cause."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one clip; both it and what it tells are on the disk."""

    id: str
    cause: str = ""
    """Why the clip cannot be used at all."""
    flow_cause: str = ""
    """Why it has no flow, nor warped flow, although it decodes."""
    note: str = ""
    pictures: int = 0
    """Decoded; 0 where a predecessor of this worker had done the clip."""
    stored: Mapping[str, int] = field(default_factory=dict)
    """Bytes that went into each store."""
    seconds: float = 0.0
    """From the first packet to the last encoded byte; of a sample, what it would have been without leaving out."""


@dataclass(frozen=True, slots=True)
class Begun:
    id: str


@dataclass(frozen=True, slots=True)
class Beat:
    pictures: int
    """Decoded since the last one."""


@dataclass(frozen=True, slots=True)
class Finished:
    outcomes: tuple[Outcome, ...]


@dataclass(frozen=True, slots=True)
class ShardDone:
    shard: int


Event = Begun | Beat | Outcome
"""What a pool tells of its workers."""


class _Stop(Exception):
    """The parent asked for it, or is gone."""


def main(connection: Connection, job: Job) -> None:
    """Serve a parent until it says None or is gone."""
    # The parent decides what a signal to the whole group means. A handler, unlike SIG_IGN, is not inherited by a
    # decoder's own child processes.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: None)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        worker = _Worker(connection, job)
        while (task := connection.recv()) is not None:
            worker.do(task)
            connection.send(ShardDone(task.shard))
    except _Stop:
        pass
    except VtkError as error:
        with suppress(OSError):  # the parent is gone
            connection.send(error)
    except (EOFError, OSError):
        pass  # the parent is gone; nobody is left to tell


class _Worker:
    def __init__(self, connection: Connection, job: Job) -> None:
        self._connection, self._job = connection, job
        self._decoder: Decoder = cast("DecoderSpec", registry.load("vtk.decoders", job.decoder)).build()
        self._motion: Motion | None = None
        if job.flow:
            method = cast("FlowSpec", registry.load("vtk.flow", job.flow)).build(job.flow_config)
            self._motion = Motion(method, job.warp_config)
        self._last_beat = self._last_poll = time.monotonic()
        self._pictures = self._untold = 0
        self._sampled: SampledFlow | None = None
        if job.sample is not None and self._motion is not None:
            self._sampled = SampledFlow(self._motion)

    def do(self, task: Task) -> None:
        with ExitStack() as stack:
            writers: dict[str, Writer] = {}
            for name in self._job.stores:
                writers[name] = writer = self._writer(name, task)
                stack.enter_context(writer)
            batch = _Batch(self._connection, writers)
            for clip, cause in task.lost:
                batch.add(clip, self._wanted(clip, writers), cause=cause)
            batch.commit()
            try:
                for clip in task.clips:
                    self._connection.send(Begun(clip.id))
                    self._extract(clip, writers, batch)
                    batch.commit_if_due()
            finally:
                batch.commit()
            self._tell_pictures()

    def _writer(self, store: str, task: Task) -> Writer:
        if self._job.sample is not None:
            return CountingWriter(self._job.sample[store])
        return ShardWriter(self._job.stores[store], task.shard)

    def _extract(self, clip: Clip, writers: Mapping[str, Writer], batch: "_Batch") -> None:
        wanted = self._wanted(clip, writers)
        if not wanted:  # a predecessor that was killed had committed it
            causes = {name: writer.failure(clip.id) or "" for name, writer in writers.items()}
            flow_cause = causes.get(FLOW) or causes.get(WARPED, "")
            batch.tell(Outcome(id=clip.id, cause=causes.get(FRAMES, ""), flow_cause=flow_cause))
            return
        encoded: Encoded | None
        cause = ""
        begun, self._pictures = time.perf_counter(), 0
        try:
            encoded = encode_clip(
                self._decoder,
                self._motion_of(wanted),
                self._job.encoding,
                clip,
                frames=FRAMES in wanted,
                flow=FLOW in wanted,
                beat=self._beat,
            )
        except _Stop:
            raise
        except VideoError as error:
            encoded, cause = None, str(error)
        except Exception as error:  # noqa: BLE001  a plugin's decoder can raise anything; the other clips go on
            encoded, cause = None, f"{type(error).__name__}: {error}"
        note = self._motion.take_note() if self._motion else ""
        if encoded is not None and note:
            encoded.note = "; ".join(filter(None, [encoded.note, note]))
        seconds = time.perf_counter() - begun + (self._sampled.take_seconds_left_out() if self._sampled else 0)
        batch.add(clip, wanted, encoded=encoded, cause=cause, pictures=self._pictures, seconds=seconds)

    def _motion_of(self, wanted: list[str]) -> BatchFlowMethod | None:
        """What computes the kinds of flow that are wanted of a clip; None where none is."""
        if self._motion is None or not {FLOW, WARPED}.intersection(wanted):
            return None
        self._motion.warped = WARPED in wanted
        return self._sampled or self._motion

    def _wanted(self, clip: Clip, writers: Mapping[str, Writer]) -> list[str]:
        return [
            name
            for name, writer in writers.items()
            if clip.id not in writer and (self._job.retry_failed or writer.failure(clip.id) is None)
        ]

    def _beat(self) -> None:
        """Called for every picture: tell the parent of progress, and hear whether to stop."""
        self._pictures += 1
        self._untold += 1
        now = time.monotonic()
        if now - self._last_poll < POLL_SECONDS:
            return
        self._last_poll = now
        try:
            if now - self._last_beat >= BEAT_SECONDS:
                self._tell_pictures()
            if self._connection.poll():
                self._connection.recv()  # None
                raise _Stop
        except (EOFError, OSError) as error:  # the parent is gone; no fault of the clip
            raise _Stop from error

    def _tell_pictures(self) -> None:
        self._last_beat = time.monotonic()
        self._connection.send(Beat(self._untold))
        self._untold = 0


@dataclass(slots=True)
class _Batch:
    """Finished clips that wait for the next commit."""

    connection: Connection
    writers: Mapping[str, Writer]
    outcomes: list[Outcome] = field(default_factory=list)
    begun: float = 0.0

    def add(
        self,
        clip: Clip,
        wanted: list[str],
        *,
        encoded: Encoded | None = None,
        cause: str = "",
        pictures: int = 0,
        seconds: float = 0.0,
    ) -> None:
        """Keep what one pass over a clip gave: either `encoded` or `cause`."""
        if encoded is None:
            for name in wanted:
                self.writers[name].fail(clip.id, cause)
            self.tell(Outcome(id=clip.id, cause=cause, pictures=pictures, seconds=seconds))
            return
        before = {name: writer.pending_bytes for name, writer in self.writers.items()}
        self._put(clip, wanted, encoded)
        self.tell(
            Outcome(
                id=clip.id,
                flow_cause=encoded.flow_cause,
                note=encoded.note,
                pictures=pictures,
                stored={name: writer.pending_bytes - before[name] for name, writer in self.writers.items()},
                seconds=seconds,
            )
        )

    def tell(self, outcome: Outcome) -> None:
        """Report a clip after the next commit."""
        if not self.outcomes:
            self.begun = time.monotonic()
        self.outcomes.append(outcome)

    def _put(self, clip: Clip, wanted: list[str], encoded: Encoded) -> None:
        if FRAMES in wanted:
            self.writers[FRAMES].put(clip.id, encoded.frames)
        for name, pairs in ((FLOW, encoded.pairs), (WARPED, encoded.warped)):
            if name in wanted and encoded.flow_cause:
                self.writers[name].fail(clip.id, encoded.flow_cause)
            elif name in wanted:
                self.writers[name].put(clip.id, pairs)

    def commit_if_due(self) -> None:
        waiting = sum(writer.pending_bytes for writer in self.writers.values())
        if waiting >= COMMIT_BYTES or time.monotonic() - self.begun >= COMMIT_SECONDS:
            self.commit()

    def commit(self) -> None:
        """Store what waits, then tell the parent."""
        for writer in self.writers.values():
            writer.commit()
        if self.outcomes:
            self.connection.send(Finished(tuple(self.outcomes)))
            self.outcomes.clear()
