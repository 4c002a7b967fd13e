"""What is to be done: the request, the stores it needs, and the clips that they lack."""

import os
from collections import defaultdict
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

from vtk_cli import registry
from vtk_cli.api.flow import FlowSpec
from vtk_cli.api.stores import FlowCodec, StoreMeta
from vtk_cli.api.video import DecoderSpec, PlanarDecoder
from vtk_cli.catalog import Catalog, CatalogRow
from vtk_cli.config import resolve
from vtk_cli.errors import DataError, PluginError, UsageError, did_you_mean
from vtk_cli.extract.clip import Clip, Encoding
from vtk_cli.extract.lengths import lengths
from vtk_cli.extract.worker import FLOW, FRAMES, WARPED, Job, Task
from vtk_cli.flow.quantize import BOUND
from vtk_cli.flow.warp import Camera, WarpConfig, recorded_with
from vtk_cli.store.lmdb_store import StoreReader
from vtk_cli.store.meta import META, SHARDS, check_same, create_store, read_meta, shard_of, store_name
from vtk_cli.workspace import DatasetDir

QUALITY = 95
"""What OpenCV writes unless told otherwise."""
TIME_LIMIT_SECONDS = 120.0

Engine = Literal["local", "ray"]
"""Who runs the workers: this process, or a Ray cluster."""


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
    """`flow.<parameter>=<value>` and, with `warped`, `warp.<parameter>=<value>`, as --set takes them."""
    flow_codec: FlowCodec = "jpeg"
    """How flow is stored: JPEG of `quality`, or lossless PNG. Frames are always JPEG."""
    warped: bool = False
    """Extract flow without the camera's motion too, into a store beside that of the flow."""
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
    workers: int | None = None
    """None for one per core: of this process, or of the Ray cluster."""
    engine: Engine = "local"
    time_limit: float = TIME_LIMIT_SECONDS
    keep_truncated: bool = False
    retry_failed: bool = False

    def __post_init__(self) -> None:
        if not self.frames and not self.flow:
            raise UsageError("Frames, flow or both should be extracted, found neither. Name a method with --flow.")
        self._check_flow()
        self._check_numbers()
        if self.engine not in get_args(Engine):
            raise UsageError(f'There is no engine "{self.engine}". {did_you_mean(self.engine, get_args(Engine))}')

    def _check_flow(self) -> None:
        if self.flow_settings and not self.flow:
            raise UsageError(f"--set {self.flow_settings[0]} changes a flow method. Name the method with --flow.")
        if self.warped and not self.flow:
            raise UsageError("--warped needs a flow method, found none. Name it with --flow, such as --flow tvl1.")
        if self.flow_codec not in get_args(FlowCodec):
            known = " or ".join(get_args(FlowCodec))
            raise UsageError(f'--flow-codec should be {known}, found "{self.flow_codec}".')
        if self.flow_codec != "jpeg" and not self.flow:
            raise UsageError(f"--flow-codec {self.flow_codec} is how flow is stored. Name a method with --flow.")

    def _check_numbers(self) -> None:
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
    """The largest first, so that none is begun when the others are nearly done."""
    lengths: Mapping[str, float]
    """Frames of each of `rows`, about."""
    failed: Mapping[str, Mapping[str, str]]
    """Store -> id -> cause, of earlier runs."""
    present: Mapping[str, set[str]]
    """Store -> ids that are there."""

    @property
    def todo(self) -> int:
        """Clips that are not finished."""
        return sum(len(task.clips) for task in self.tasks)

    def lacking(self, store: str) -> Iterator[str]:
        """Clips that are to be put into "frames", "flow" ..., those of other parts included."""
        tried: Container[str] = () if self.job.retry_failed else self.failed[store]
        return (name for name in self.rows if name not in self.present[store] and name not in tried)


def make_plan(dataset: DatasetDir, catalog: Catalog, request: Request, *, create: bool = True) -> Plan:
    """Check everything, make the stores that are new (unless `create` is off), and find what they lack.

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
    stores = {name: dataset.store(store_name(meta)).absolute() for name, meta in metas.items()}
    shards = _make_stores(stores, metas, request, create=create)
    present, failed = _contents(stores, rows)
    tried = {name: present[name] | (set() if request.retry_failed else failed[name].keys()) for name in stores}
    lacking = [row for row in rows.values() if any(row.id not in tried[name] for name in stores)]
    known = lengths(rows)
    return Plan(
        job=_job(request, metas, stores),
        rows=rows,
        absent=absent,
        tasks=sorted(
            _tasks(dataset, lacking, shards, request.part),
            key=lambda task: -sum(known[clip.id] for clip in task.clips),
        ),
        lengths=known,
        failed=failed,
        present=present,
    )


def flow_config(method: str, settings: Iterable[str], *, warped: bool = False) -> tuple[Any, WarpConfig | None]:
    """A flow method's parameters with `flow.<parameter>=<value>` laid over its defaults; with `warped` those of the
    compensation too, with `warp.<parameter>=<value>`.

    Raises:
        UsageError: no such method or parameter, or a value that it does not take.
        PluginError: the method does not load.
    """
    settings = tuple(settings)
    foreign = next((text for text in settings if text.startswith("warp.")), None)
    if foreign and not warped:
        raise UsageError(f"--set {foreign} changes how the camera's motion is undone. Ask for that with --warped.")
    sections: dict[str, Any] = {"flow": flow_spec(method).config(), **({"warp": WarpConfig()} if warped else {})}
    resolved = resolve(sections, assignments=settings)
    return resolved["flow"], resolved["warp"] if warped else None


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
    planar = isinstance(decoder.build(), PlanarDecoder)
    common = StoreMeta(
        modality="rgb",
        short_side=request.short_side,
        square_pixels=request.square_pixels,
        quality=request.quality,
        shards=request.shards or SHARDS,
        decoder=request.decoder,
    )
    metas = {FRAMES: replace(common, colours="planes" if planar else "rgb")} if request.frames else {}
    if request.flow:
        metas |= _flow_metas(request, common)
    return metas


def _flow_metas(request: Request, common: StoreMeta) -> dict[str, StoreMeta]:
    spec = flow_spec(request.flow)
    config, warp = flow_config(request.flow, request.flow_settings, warped=request.warped)
    spec.build(config)
    flow = replace(
        common,
        modality="flow",
        codec=request.flow_codec,
        quality=request.quality if request.flow_codec == "jpeg" else 0,
        method=request.flow,
        parameters=dict(spec.recorded(config)),
        bound=BOUND,
    )
    if warp is None:
        return {FLOW: flow}
    Camera(warp)
    return {FLOW: flow, WARPED: replace(flow, modality="warped", parameters=recorded_with(flow.parameters, warp))}


def _make_stores(folders: Mapping[str, Path], metas: Mapping[str, StoreMeta], request: Request, *, create: bool) -> int:
    """Make the stores that are new, or none if one of them cannot be used; returns the number of their shards."""
    there = {name: read_meta(folder) for name, folder in folders.items() if (folder / META).exists()}
    for name, found in there.items():
        check_same(folders[name], found, metas[name])
    counts = {found.shards for found in there.values()}
    if len(counts) > 1:
        raise UsageError(
            f"The stores of {' and '.join(there)} have {' and '.join(map(str, sorted(counts)))} shards; one pass needs "
            "the same number. Extract flow alone with --no-frames."
        )
    shards = counts.pop() if counts else request.shards or SHARDS
    if request.shards not in (None, shards):
        raise UsageError(
            f"The number of shards is fixed when a store is made: found {shards}, and --shards {request.shards} asked "
            "for. Leave --shards out."
        )
    if create:
        for name, meta in metas.items():
            create_store(folders[name], replace(meta, shards=shards))
    return shards


def _contents(
    folders: Mapping[str, Path], rows: Container[str]
) -> tuple[dict[str, set[str]], dict[str, dict[str, str]]]:
    """What each store holds of the clips, and what failed of them; nothing where there is no store."""
    present: dict[str, set[str]] = {name: set() for name in folders}
    failed: dict[str, dict[str, str]] = {name: {} for name in folders}
    for name, folder in folders.items():
        if (folder / META).exists():
            with StoreReader(folder) as reader:
                present[name] = {video_id for video_id in reader.ids() if video_id in rows}
                failed[name] = {video_id: why for video_id, why in reader.failures() if video_id in rows}
    return present, failed


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
    config, warp = None, None
    if FLOW in metas:
        config, warp = flow_config(request.flow, request.flow_settings, warped=request.warped)
    return Job(
        decoder=request.decoder,
        encoding=Encoding(
            short_side=request.short_side,
            square_pixels=request.square_pixels,
            quality=request.quality,
            flow_codec=request.flow_codec,
            keep_truncated=request.keep_truncated,
        ),
        stores=folders,
        flow=request.flow,
        flow_config=config,
        warp_config=warp,
        retry_failed=request.retry_failed,
    )
