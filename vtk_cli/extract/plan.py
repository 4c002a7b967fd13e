"""What is to be done: the request, the stores it needs, and the clips that they lack."""

import os
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from vtk_cli import registry
from vtk_cli.api.flow import FlowSpec
from vtk_cli.api.stores import StoreMeta
from vtk_cli.api.video import DecoderSpec
from vtk_cli.catalog import Catalog, CatalogRow
from vtk_cli.config import resolve
from vtk_cli.errors import DataError, PluginError, UsageError
from vtk_cli.extract.clip import Clip, Encoding
from vtk_cli.extract.worker import FLOW, FRAMES, Job, Task
from vtk_cli.flow.quantize import BOUND
from vtk_cli.store.lmdb_store import StoreReader
from vtk_cli.store.meta import META, SHARDS, check_same, create_store, read_meta, shard_of, store_name
from vtk_cli.workspace import DatasetDir

QUALITY = 95
"""What OpenCV writes unless told otherwise."""
TIME_LIMIT_SECONDS = 120.0


def default_workers() -> int:
    """One worker per core that this process may use."""
    return len(os.sched_getaffinity(0))


_MOST = {"short_side": 8192, "shards": 8192, "workers": 1024}
"""Above these a slip of the finger would fill the disk or the machine; a JPEG has at most 65535 pixels a side."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What `vtk extract` was asked for."""

    frames: bool = True
    flow: str = ""
    """Name of a flow method; empty for none."""
    flow_settings: tuple[str, ...] = ()
    """`flow.<parameter>=<value>`, as --set takes them."""
    short_side: int = 256
    quality: int = QUALITY
    square_pixels: bool = True
    decoder: str = "pyav"
    shards: int | None = None
    """Of a store that is made now; None for as many as the stores beside it have, else the default."""
    split: str | None = None
    limit: int | None = None
    part: tuple[int, int] = (0, 1)
    """(i, n): only shards i, i + n, i + 2n ..."""
    workers: int = field(default_factory=default_workers)
    time_limit: float = TIME_LIMIT_SECONDS
    keep_truncated: bool = False
    retry_failed: bool = False

    def __post_init__(self) -> None:
        if not self.frames and not self.flow:
            raise UsageError("Frames, flow or both should be extracted, found neither. Name a method with --flow.")
        if self.flow_settings and not self.flow:
            raise UsageError(f"--set {self.flow_settings[0]} changes a flow method. Name the method with --flow.")
        for name in ("short_side", "quality", "workers", "time_limit", "shards", "limit"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise UsageError(f"--{name.replace('_', '-')} should be above 0, found {value}.")
            if value is not None and value > _MOST.get(name, value):
                raise UsageError(f"--{name.replace('_', '-')} should be at most {_MOST[name]}, found {value}.")
        if self.quality > 100:
            raise UsageError(f"--quality is a JPEG quality of 1 to 100, found {self.quality}.")
        if self.short_side % 2:
            raise UsageError(f"--short-side should be even, as the stored pictures are; found {self.short_side}.")
        part, parts = self.part
        if not 0 <= part < parts:
            raise UsageError(f"--shard I/N takes I from 0 to N-1, found {part}/{parts}.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is there and what is to be done."""

    job: Job
    rows: Mapping[str, CatalogRow]
    """The clips that are asked for and whose files are here, by id."""
    absent: int
    """Clips that are asked for and whose files are not here."""
    tasks: list[Task]
    failed: Mapping[str, Mapping[str, str]]
    """"frames" or "flow" -> id -> cause, of earlier runs."""
    present: Mapping[str, set[str]]
    """"frames" or "flow" -> ids that are there."""

    @property
    def todo(self) -> int:
        """Clips that are not finished."""
        return sum(len(task.clips) for task in self.tasks)


def make_plan(dataset: DatasetDir, catalog: Catalog, request: Request) -> Plan:
    """Check everything, make the stores that are new, and find what they lack.

    Raises:
        UsageError: a wrong name or value.
        PluginError: the decoder or the flow method does not work here.
        StoreError: a store there has other settings, or is damaged.
        DataError: no clip of the selection is here.
    """
    if request.split is not None:
        catalog.check_split(request.split)
    metas = _metas(request)
    rows, absent = _select(dataset, catalog, request)
    stores = _make_stores(dataset, metas, request)
    shards = next(iter(stores.values())).meta.shards
    present = {name: set(reader.ids()) & rows.keys() for name, reader in stores.items()}
    failed = {name: {i: why for i, why in reader.failures() if i in rows} for name, reader in stores.items()}
    for reader in stores.values():
        reader.close()
    tried = {name: present[name] | (set() if request.retry_failed else failed[name].keys()) for name in stores}
    lacking = [row for row in rows.values() if any(row.id not in tried[name] for name in stores)]
    return Plan(
        job=_job(request, metas, {name: reader.folder for name, reader in stores.items()}),
        rows=rows,
        absent=absent,
        tasks=_tasks(dataset, lacking, shards, request.part),
        failed=failed,
        present=present,
    )


def flow_config(method: str, settings: Iterable[str]) -> Any:
    """A flow method's parameters with `flow.<parameter>=<value>` laid over its defaults.

    Raises:
        UsageError: no such method or parameter, or a value that it does not take.
        PluginError: the method does not load.
    """
    return resolve({"flow": flow_spec(method).config()}, assignments=settings)["flow"]


def flow_spec(method: str) -> FlowSpec:
    """The plugin of a flow method; raises UsageError or PluginError where there is none that works."""
    spec = registry.load("vtk.flow", method)
    if not isinstance(spec, FlowSpec):
        raise PluginError(
            f'The flow method "{method}" should be a FlowSpec, found {type(spec).__name__}. Ask its author.'
        )
    return spec


def _metas(request: Request) -> dict[str, StoreMeta]:
    """The stores that are asked for, once the decoder and the flow method have shown that they work here."""
    decoder = registry.load("vtk.decoders", request.decoder)
    if not isinstance(decoder, DecoderSpec):
        raise PluginError(
            f'The decoder "{request.decoder}" should be a DecoderSpec, found {type(decoder).__name__}. Ask its author.'
        )
    decoder.build()
    common = StoreMeta(
        modality="rgb",
        short_side=request.short_side,
        square_pixels=request.square_pixels,
        quality=request.quality,
        shards=request.shards or SHARDS,
        decoder=request.decoder,
    )
    metas = {FRAMES: common} if request.frames else {}
    if request.flow:
        config = flow_config(request.flow, request.flow_settings)
        spec = flow_spec(request.flow)
        spec.build(config)
        parameters = dict(spec.recorded(config))
        metas[FLOW] = replace(common, modality="flow", method=request.flow, parameters=parameters, bound=BOUND)
    return metas


def _make_stores(dataset: DatasetDir, metas: Mapping[str, StoreMeta], request: Request) -> dict[str, StoreReader]:
    """Readers of the stores, made where they are new; nothing is made if one of them cannot be used."""
    folders = {name: dataset.store(store_name(meta)) for name, meta in metas.items()}
    there = {name: read_meta(folder) for name, folder in folders.items() if (folder / META).exists()}
    for name, found in there.items():
        check_same(folders[name], found, metas[name])
    counts = {found.shards for found in there.values()}
    if len(counts) > 1:
        raise UsageError(
            f"The stores of frames and flow have {' and '.join(map(str, sorted(counts)))} shards; one pass needs the "
            "same number. Extract flow alone with --no-frames."
        )
    shards = counts.pop() if counts else request.shards or SHARDS
    if request.shards not in (None, shards):
        raise UsageError(
            f"The number of shards is fixed when a store is made: found {shards}, and --shards {request.shards} asked "
            "for. Leave --shards out."
        )
    for name, meta in metas.items():
        create_store(folders[name], replace(meta, shards=shards))
    return {name: StoreReader(folder) for name, folder in folders.items()}


def _select(dataset: DatasetDir, catalog: Catalog, request: Request) -> tuple[dict[str, CatalogRow], int]:
    rows = catalog.rows(request.split)
    here = [row for row in rows if row.status in ("ready", "broken")]
    if not here:
        split = f" of the split {request.split}" if request.split else ""
        raise DataError(
            f"Of {len(rows)} videos{split} in the dataset {dataset.name} none is here. "
            f"Get them with `vtk download {dataset.name}`."
        )
    return {row.id: row for row in here[: request.limit]}, len(rows) - len(here)


def _tasks(dataset: DatasetDir, rows: Iterable[CatalogRow], shards: int, part: tuple[int, int]) -> list[Task]:
    clips: dict[int, list[Clip]] = defaultdict(list)
    for row in rows:
        shard = shard_of(row.id, shards)
        if shard % part[1] == part[0]:
            clips[shard].append(
                Clip(
                    id=row.id,
                    path=dataset.video(row.path),
                    start_seconds=row.start_seconds,
                    end_seconds=row.end_seconds,
                )
            )
    return [Task(shard=shard, clips=tuple(found)) for shard, found in sorted(clips.items())]


def _job(request: Request, metas: Mapping[str, StoreMeta], folders: Mapping[str, Path]) -> Job:
    return Job(
        decoder=request.decoder,
        encoding=Encoding(
            short_side=request.short_side,
            square_pixels=request.square_pixels,
            quality=request.quality,
            keep_truncated=request.keep_truncated,
        ),
        stores=folders,
        flow=request.flow,
        flow_config=flow_config(request.flow, request.flow_settings) if FLOW in metas else None,
        retry_failed=request.retry_failed,
    )
