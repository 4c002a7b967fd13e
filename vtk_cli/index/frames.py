"""Frame folders of other tools into stores: pictures unchanged, flow x and y packed into one picture.

A picture's JPEG bytes are copied. Flow is the one thing that is encoded again: x and y are decoded, put above each
other and encoded at quality 95, since a store holds one picture per pair; against the files a byte moves by one or two.
Flow in PNGs stays what it is: its store is lossless too.
"""

import multiprocessing
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import simplejpeg

from vtk_cli.api.stores import StoreMeta
from vtk_cli.errors import DataError, UsageError
from vtk_cli.flow.png import png_size
from vtk_cli.flow.quantize import BOUND, decode_grey, encode_flow
from vtk_cli.formats.frame_folders import LAYOUTS, FrameFolder, read_folder
from vtk_cli.formats.rows import Problem
from vtk_cli.index.plan import IndexPlan
from vtk_cli.index.request import IndexRequest
from vtk_cli.store.lmdb_store import ShardWriter
from vtk_cli.store.meta import SHARDS, create_store, shard_of, store_name
from vtk_cli.workspace import DatasetDir

QUALITY = 95
"""OpenCV's JPEG quality, with which TSN's and denseflow's tools write."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameImport:
    """Frame folders by id, and what their stores are."""

    folders: Mapping[str, FrameFolder]
    frames: StoreMeta | None
    flow: StoreMeta | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shard:
    store: Path
    meta: StoreMeta
    number: int
    folders: tuple[tuple[str, FrameFolder], ...]


def plan_frames(plan: IndexPlan, request: IndexRequest) -> FrameImport:
    """Take stock of every folder; folders that do not fit the layout become problems of the plan, and lose their row.

    Raises:
        UsageError: the flow's bound is not known.
    """
    layout = LAYOUTS[request.format]
    folders: dict[str, FrameFolder] = {}
    kept = []
    for row in plan.rows:
        try:
            folder = read_folder(Path(row.path), layout)
            _check_listed(folder, plan.listed_frames.get(row.id))
        except DataError as error:
            plan.problems.append(Problem(file=request.format, line=0, reason=str(error)))
            plan.listed_frames.pop(row.id, None)
        else:
            folders[row.id] = folder
            kept.append(row)
    plan.rows = kept
    return FrameImport(folders=folders, frames=_frames_meta(folders, request), flow=_flow_meta(folders, request))


def _check_listed(folder: FrameFolder, listed: int | None) -> None:
    there = len(folder.images) or len(folder.flow_x)
    if there == 0:
        raise DataError(f"{folder.path} holds neither frames nor flow. Copy it again or drop it from the list.")
    if listed is not None and listed != there:
        raise DataError(f"{folder.path} should hold {listed} frames by the list, found {there}. Mend the list.")


def _frames_meta(folders: Mapping[str, FrameFolder], request: IndexRequest) -> StoreMeta | None:
    short_side = _first_short_side(folder.path / folder.images[0] for folder in folders.values() if folder.images)
    if short_side is None:
        return None
    return StoreMeta(
        modality="rgb",
        short_side=short_side,
        square_pixels=False,
        quality=QUALITY,
        shards=SHARDS,
        decoder=request.format,
        parameters={"first_frame": LAYOUTS[request.format].first_frame},
    )


def _flow_meta(folders: Mapping[str, FrameFolder], request: IndexRequest) -> StoreMeta | None:
    firsts = [folder.path / folder.flow_x[0] for folder in folders.values() if folder.flow_x]
    short_side = _first_short_side(firsts)
    if short_side is None:
        return None
    lossless = all(path.suffix == ".png" for path in firsts)
    if request.bound is None and request.format == "denseflow-frames":
        raise UsageError(
            "The bound of denseflow's flow is in no file: its own default is 32 pixels, MMAction2 passes -b=20. "
            "Say which with --bound."
        )
    return StoreMeta(
        modality="flow",
        short_side=short_side,
        square_pixels=False,
        codec="png" if lossless else "jpeg",
        quality=0 if lossless else QUALITY,
        shards=SHARDS,
        decoder=request.format,
        method=request.flow_method,
        bound=request.bound or BOUND,
    )


def _first_short_side(paths: Iterable[Path]) -> int | None:
    """Of the first picture that can be read; None when there is no such."""
    for path in paths:
        try:
            return _short_side(path.read_bytes(), path)
        except (DataError, OSError):
            continue  # this video is recorded as failed when its turn comes
    return None


def _short_side(data: bytes, path: Path) -> int:
    try:
        height, width = png_size(data) if path.suffix == ".png" else simplejpeg.decode_jpeg_header(data)[:2]
    except ValueError as error:
        raise DataError(f"{path} should be a {_kind(path)}, found: {error}. Copy it again.") from error
    return int(min(height, width))


def _kind(path: Path) -> str:
    return "grey PNG" if path.suffix == ".png" else "JPEG"


def pack_frames(dataset: DatasetDir, found: FrameImport, *, workers: int) -> Iterator[tuple[str, str]]:
    """Fill the stores; yield (id, "") for each video that is in a store afterwards, or (id, why it is not).

    What is in a store already is left alone, so that running again finishes what was interrupted.

    Raises:
        StoreError: a store there holds other data, or cannot be written.
    """
    tasks = [task for meta in (found.frames, found.flow) if meta for task in _shards(dataset, meta, found.folders)]
    if workers <= 1 or len(tasks) <= 1:
        for task in tasks:
            yield from _pack_shard(task)
        return
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        for outcome in pool.map(_pack_shard, tasks):
            yield from outcome


def _shards(dataset: DatasetDir, meta: StoreMeta, folders: Mapping[str, FrameFolder]) -> list[_Shard]:
    store = dataset.store(store_name(meta))
    shards = create_store(store, meta).shards
    members: dict[int, list[tuple[str, FrameFolder]]] = defaultdict(list)
    for video_id, folder in folders.items():
        if folder.flow_x if meta.modality == "flow" else folder.images:
            members[shard_of(video_id, shards)].append((video_id, folder))
    return [_Shard(store=store, meta=meta, number=n, folders=tuple(members[n])) for n in sorted(members)]


def _pack_shard(task: _Shard) -> list[tuple[str, str]]:
    outcome = []
    encode = _flow_records if task.meta.modality == "flow" else _pictures
    with ShardWriter(task.store, task.number) as writer:
        for video_id, folder in task.folders:
            cause = ""
            if video_id not in writer:
                try:
                    writer.put(video_id, encode(folder, task.meta))
                except DataError as error:
                    cause = str(error)
                    writer.fail(video_id, cause)
                writer.commit()
            outcome.append((video_id, cause))
    return outcome


def _pictures(folder: FrameFolder, meta: StoreMeta) -> list[bytes]:
    return [_read(folder.path / name, meta.short_side) for name in folder.images]


def _flow_records(folder: FrameFolder, meta: StoreMeta) -> list[bytes]:
    return [
        _pack_pair([folder.path / x, folder.path / y], meta) for x, y in zip(folder.flow_x, folder.flow_y, strict=True)
    ]


def _pack_pair(paths: Sequence[Path], meta: StoreMeta) -> bytes:
    planes = []
    for path in paths:
        try:
            planes.append(decode_grey(_read(path, meta.short_side)))
        except ValueError as error:
            raise DataError(f"{path} should be a {_kind(path)}, found: {error}. Copy it again.") from error
    if planes[0].shape != planes[1].shape:
        raise DataError(f"{paths[1]} should have the size of {paths[0].name}, found another. Copy it again.")
    return encode_flow(np.stack(planes), QUALITY, "png" if meta.codec == "png" else "jpeg")


def _read(path: Path, short_side: int) -> bytes:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}. Check its permissions.") from error
    found = _short_side(data, path)
    if found != short_side:
        raise DataError(f"{path} should have a short side of {short_side} like the others, found {found}.")
    return data
