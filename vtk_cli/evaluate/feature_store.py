"""`vtk extract --features`: a trained model of clips fills a store of vectors for a dataset.

    loader processes            this process
    read clips of a video  ->   forward passes  ->  the video's vectors, whole  ->  its shard

A video's vectors depend on nothing else: not on workers, shards, or where an earlier run was stopped.
"""

import re
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from torch import Tensor

from vtk_cli.api.loaders import Clip, FrameSource
from vtk_cli.api.stores import StoreMeta
from vtk_cli.catalog import Catalog
from vtk_cli.console import Progress
from vtk_cli.errors import DataError, Interrupted, StoreError, UsageError
from vtk_cli.evaluate.classifier import Classifier
from vtk_cli.evaluate.feature_reading import computed
from vtk_cli.evaluate.feature_windows import STRIDE, FeatureWindows
from vtk_cli.evaluate.features import Extractor, origin_of
from vtk_cli.evaluate.protocol import check_stores
from vtk_cli.extract.run import FAILED_LIST, Failure, Summary, write_list
from vtk_cli.loader.feature_source import PREFIX
from vtk_cli.loader.options import DataOptions
from vtk_cli.loader.split import absent, clip_of, open_source, stores_of
from vtk_cli.store.lmdb_store import ShardWriter, StoreReader
from vtk_cli.store.meta import SHARDS, create_store, shard_of
from vtk_cli.store.vectors import CODEC, pack_vectors
from vtk_cli.workspace import DatasetDir

KIND = "features"
COMMIT_SECONDS = 2.0
"""Finished videos are committed when this much time has passed; a killed run loses no more."""
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureRequest:
    """What `vtk extract --features` was asked for."""

    windows: FeatureWindows = field(default_factory=lambda: FeatureWindows(stride=STRIDE))
    name: str = ""
    """The store is features-<name>; empty for the model's name and the digest of its weights."""
    dtype: Literal["float16", "float32"] = "float16"
    shards: int | None = None
    split: str | None = None
    limit: int | None = None
    part: tuple[int, int] = (0, 1)
    """(i, n): only shards i, i + n, i + 2n ..."""
    retry_failed: bool = False
    options: DataOptions = field(default_factory=DataOptions)

    def __post_init__(self) -> None:
        if self.name and not _NAME.fullmatch(self.name):
            raise UsageError(
                f'--as names a store by lower-case letters, digits, ".", "_" and "-", found "{self.name}". Choose '
                "another."
            )
        if self.dtype not in ("float16", "float32"):
            raise UsageError(f'--dtype takes float16 or float32, found "{self.dtype}". Use one of these.')
        for name, value, most in (("--shards", self.shards, 8192), ("--limit", self.limit, None)):
            if value is not None and (value < 1 or (most is not None and value > most)):
                raise UsageError(f"{name} should be above 0{f' and at most {most}' if most else ''}, found {value}.")
        part, parts = self.part
        if not 0 <= part < parts:
            raise UsageError(f"--shard I/N takes I from 0 to N-1, found {part}/{parts}.")


def extract_features(dataset: DatasetDir, classifier: Classifier, request: FeatureRequest) -> Summary:
    """Put the features of a dataset's videos into a store; what is there stays, what is missing is added.

    Raises:
        UsageError: the model reads features itself, or a wrong value.
        StoreError: the store there was made by other weights or windows, or is damaged.
        DataError: none of the selection can be read.
        Interrupted: SIGINT or SIGTERM came.
    """
    begun = time.monotonic()
    extractor = Extractor(classifier.scorer, classifier.spec.classifier, request.windows)
    prefer = classifier.info.stores
    source = open_source(dataset, extractor.plan.inputs, request.options, training=False, prefer=prefer)
    try:
        check_stores(classifier.info.stores, stores_of(source))
        chosen, missing = _select(dataset, source, request)
        meta = _meta(classifier, extractor, next(iter(stores_of(source)), "videos"), request)
        name = PREFIX + (request.name or f"{_plain(classifier.info.model)}-{meta.origin['sha256'][:8]}")
        store = _Filling(dataset.store(name), create_store(dataset.store(name), meta), chosen, request)
        extracted = store.fill(extractor, source, request.options)
    finally:
        source.close()
    failed = [Failure(id=i, store=name, cause=store.failed[i]) for i in chosen if i in store.failed]
    path = dataset.path / FAILED_LIST
    write_list(path, failed)
    return Summary(
        dataset=dataset.name,
        stores={KIND: name},
        selected=len(chosen),
        absent=missing,
        extracted=extracted,
        present={KIND: len(store.present)},
        failed=failed,
        failed_list=str(path) if failed else "",
        seconds=round(time.monotonic() - begun, 3),
    )


class _Filling:
    """One store, and the videos that it lacks."""

    def __init__(self, folder: Path, meta: StoreMeta, chosen: dict[str, Clip], request: FeatureRequest) -> None:
        if request.shards not in (None, meta.shards):
            raise UsageError(
                f"The number of shards is fixed when a store is made: found {meta.shards}, and --shards "
                f"{request.shards} asked for. Leave --shards out."
            )
        self.folder, self.meta = folder, meta
        with StoreReader(folder) as reader:
            self.present = set(reader.ids()) & chosen.keys()
            self.failed = {id_: cause for id_, cause in reader.failures() if id_ in chosen}
        tried = self.present if request.retry_failed else self.present | self.failed.keys()
        part, parts = request.part
        shards = {id_: shard_of(id_, meta.shards) for id_ in chosen if id_ not in tried}
        wanted = sorted((shard, id_) for id_, shard in shards.items() if shard % parts == part)
        self.clips = [chosen[id_] for _, id_ in wanted]  # shard by shard, so that few of them are open at a time

    def fill(self, extractor: Extractor, source: FrameSource, options: DataOptions) -> int:
        """Compute and store what is missing; how many videos that were."""
        if not self.clips:
            return 0
        done = 0
        writers = _Writers(self.folder, self.meta, self.clips)
        bar = Progress(f"extracting {self.folder.name}", total=len(self.clips), unit="clips")
        found = computed(extractor, self.clips, source, options)
        with _stoppable(), writers, bar, closing(found):
            for video_id, feature_FD, cause in found:
                why = cause or writers.put(video_id, feature_FD)
                if why:
                    writers.fail(video_id, why)
                    self.failed[video_id] = why
                else:
                    done += 1
                    self.present.add(video_id)
                    self.failed.pop(video_id, None)
                bar.advance(note=f"{len(self.failed)} failed" if self.failed else "")
        return done


class _Writers:
    """The writers of the shards that are being filled, each held until the last of its videos is done."""

    def __init__(self, folder: Path, meta: StoreMeta, clips: list[Clip]) -> None:
        self._folder, self._meta = folder, meta
        self._left = Counter(shard_of(clip.id, meta.shards) for clip in clips)
        self._open: dict[int, ShardWriter] = {}
        self._committed = time.monotonic()

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        """However it ends, what is finished is stored."""
        try:
            self._commit()
        finally:
            for writer in self._open.values():
                writer.close()

    def put(self, video_id: str, feature_FD: Tensor) -> str:
        """Keep a video's vectors for the next commit; or why they cannot be kept."""
        writer = self._writer(video_id)
        try:
            frames = pack_vectors(feature_FD.numpy(), self._meta)
        except StoreError as error:
            return str(error)
        if video_id not in writer:  # another process was quicker, before this one took the shard
            writer.put(video_id, frames)
        self._finish(video_id)
        return ""

    def fail(self, video_id: str, cause: str) -> None:
        self._writer(video_id).fail(video_id, cause)
        self._finish(video_id)

    def _writer(self, video_id: str) -> ShardWriter:
        shard = shard_of(video_id, self._meta.shards)
        if shard not in self._open:
            self._open[shard] = ShardWriter(self._folder, shard)
        return self._open[shard]

    def _finish(self, video_id: str) -> None:
        shard = shard_of(video_id, self._meta.shards)
        self._left[shard] -= 1
        if self._left[shard] == 0:
            writer = self._open[shard]
            writer.commit()
            self._open.pop(shard).close()
        if time.monotonic() - self._committed >= COMMIT_SECONDS:
            self._commit()

    def _commit(self) -> None:
        for writer in self._open.values():
            writer.commit()
        self._committed = time.monotonic()


def _select(dataset: DatasetDir, source: FrameSource, request: FeatureRequest) -> tuple[dict[str, Clip], int]:
    """The videos that can be read, and how many of the selection cannot."""
    with Catalog(dataset.catalog) as catalog:
        if request.split is not None:
            catalog.check_split(request.split)
        rows = catalog.rows(request.split)
    causes = {row.id: absent(row, source) for row in rows}
    here = [row for row in rows if not causes[row.id]]
    if not here:
        split = f" of the split {request.split}" if request.split else ""
        first = next(iter(causes.items()), ("", "there is none"))
        raise DataError(
            f"Of {len(rows)} videos{split} in the dataset {dataset.name} none can be read ({first[0]}: {first[1]}). "
            f"Run `vtk download {dataset.name}` or `vtk extract {dataset.name}` first."
        )
    chosen = here[: request.limit]
    return {row.id: clip_of(dataset, row) for row in chosen}, len(rows) - len(here)


def _meta(classifier: Classifier, extractor: Extractor, reads: str, request: FeatureRequest) -> StoreMeta:
    origin: dict[str, Any] = origin_of(
        extractor,
        model=classifier.info.model,
        path=classifier.path,
        layer=classifier.spec.classifier,
        reads=reads,
    )
    return StoreMeta(
        modality="features",
        codec=CODEC,
        shards=request.shards or SHARDS,
        streams=((extractor.plan.inputs.modality, extractor.size),),
        dtype=request.dtype,
        origin=origin,
    )


def _plain(model: str) -> str:
    """A model's name as part of a folder's."""
    return re.sub(r"[^a-z0-9._-]", "-", model.lower())


@contextmanager
def _stoppable() -> Iterator[None]:
    """SIGINT and SIGTERM end the command with the code for resumable, after what is finished was stored."""

    def stop(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    before = None
    if threading.current_thread() is threading.main_thread():
        before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    except KeyboardInterrupt as error:
        raise Interrupted(
            "Extraction was stopped. What was finished is kept; run the same command again to go on."
        ) from error
    finally:
        if before is not None:
            signal.signal(signal.SIGTERM, before)
