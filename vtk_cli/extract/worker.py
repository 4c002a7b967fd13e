"""The worker process: takes shards one by one, is their only writer, and tells its parent what it does.

    parent -> worker    Task, None (stop: commit what is finished and end)
    worker -> parent    Begun(id), Beat, Finished(outcomes), ShardDone, or a VtkError that ends the run

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
from vtk_cli.api.flow import FlowMethod, FlowSpec
from vtk_cli.api.video import Decoder, DecoderSpec
from vtk_cli.errors import VideoError, VtkError
from vtk_cli.extract.clip import Clip, Encoded, Encoding, encode_clip
from vtk_cli.store.lmdb_store import ShardWriter

COMMIT_BYTES = 1 << 24
COMMIT_SECONDS = 1.0
"""Finished clips are committed when they have this size or age; a killed worker loses no more than that."""
BEAT_SECONDS = 1.0

FRAMES, FLOW = "frames", "flow"


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What every worker does with every clip."""

    decoder: str
    encoding: Encoding
    stores: Mapping[str, Path]
    """Folder of the store of "frames", of "flow", or of both."""
    flow: str = ""
    flow_config: Any = None
    retry_failed: bool = False


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
    note: str = ""


@dataclass(frozen=True, slots=True)
class Begun:
    id: str


@dataclass(frozen=True, slots=True)
class Beat:
    pass


@dataclass(frozen=True, slots=True)
class Finished:
    outcomes: tuple[Outcome, ...]


@dataclass(frozen=True, slots=True)
class ShardDone:
    shard: int


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
        self._flow: FlowMethod | None = None
        if job.flow:
            self._flow = cast("FlowSpec", registry.load("vtk.flow", job.flow)).build(job.flow_config)
        self._last_beat = time.monotonic()

    def do(self, task: Task) -> None:
        with ExitStack() as stack:
            writers = {
                name: stack.enter_context(ShardWriter(folder, task.shard)) for name, folder in self._job.stores.items()
            }
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

    def _extract(self, clip: Clip, writers: Mapping[str, ShardWriter], batch: "_Batch") -> None:
        wanted = self._wanted(clip, writers)
        if not wanted:  # a predecessor that was killed had committed it
            causes = {name: writer.failure(clip.id) or "" for name, writer in writers.items()}
            batch.tell(clip, cause=causes.get(FRAMES, ""), flow_cause=causes.get(FLOW, ""))
            return
        try:
            encoded = encode_clip(
                self._decoder,
                self._flow if FLOW in wanted else None,
                self._job.encoding,
                clip,
                frames=FRAMES in wanted,
                beat=self._beat,
            )
        except _Stop:
            raise
        except VideoError as error:
            batch.add(clip, wanted, cause=str(error))
        except Exception as error:  # noqa: BLE001  a plugin's decoder can raise anything; the other clips go on
            batch.add(clip, wanted, cause=f"{type(error).__name__}: {error}")
        else:
            batch.add(clip, wanted, encoded=encoded)

    def _wanted(self, clip: Clip, writers: Mapping[str, ShardWriter]) -> list[str]:
        return [
            name
            for name, writer in writers.items()
            if clip.id not in writer and (self._job.retry_failed or writer.failure(clip.id) is None)
        ]

    def _beat(self) -> None:
        """Called for every picture: tell the parent of progress, and hear whether to stop."""
        now = time.monotonic()
        try:
            if now - self._last_beat >= BEAT_SECONDS:
                self._last_beat = now
                self._connection.send(Beat())
            if self._connection.poll():
                self._connection.recv()  # None
                raise _Stop
        except (EOFError, OSError) as error:  # the parent is gone; no fault of the clip
            raise _Stop from error


@dataclass(slots=True)
class _Batch:
    """Finished clips that wait for the next commit."""

    connection: Connection
    writers: Mapping[str, ShardWriter]
    outcomes: list[Outcome] = field(default_factory=list)
    begun: float = 0.0

    def add(self, clip: Clip, wanted: list[str], *, encoded: Encoded | None = None, cause: str = "") -> None:
        """Keep what one pass over a clip gave: either `encoded` or `cause`."""
        if encoded is None:
            for name in wanted:
                self.writers[name].fail(clip.id, cause)
            self.tell(clip, cause=cause)
        else:
            self._put(clip, wanted, encoded)
            self.tell(clip, flow_cause=encoded.flow_cause, note=encoded.note)

    def tell(self, clip: Clip, *, cause: str = "", flow_cause: str = "", note: str = "") -> None:
        """Report a clip after the next commit."""
        if not self.outcomes:
            self.begun = time.monotonic()
        self.outcomes.append(Outcome(id=clip.id, cause=cause, flow_cause=flow_cause, note=note))

    def _put(self, clip: Clip, wanted: list[str], encoded: Encoded) -> None:
        if FRAMES in wanted:
            self.writers[FRAMES].put(clip.id, encoded.frames)
        if FLOW in wanted and encoded.flow_cause:
            self.writers[FLOW].fail(clip.id, encoded.flow_cause)
        elif FLOW in wanted:
            self.writers[FLOW].put(clip.id, encoded.pairs)

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
