"""Writing stores out as folders of numbered pictures, as other tools' loaders read them.

    N decoded frames    tsn                             denseflow
    frame i             img_{i:05}      i = 1 .. N-1    img_{i:05}      i = 0 .. N-1
    flow i -> i+1       flow_x_{i+1:05} i = 0 .. N-2    flow_x_{i:05}   i = 0 .. N-2
    warped flow         warped_x_...    likewise        warped_x_...    likewise
    frames in the list  N-1                             N
    finished videos                                     .done/<id>

TSN's dense_flow writes frame and flow together from the second frame on, so its img_00001 is the second frame
(yjxiong/dense_flow src/dense_flow.cpp); its lists say 163 where 164 frames decode. denseflow counts both from 0
(open-mmlab/denseflow); mmaction2 reads its folders with start_index=0. Both name warped flow as flow, and put it into
another folder; here it can stand beside it. Readers take the name as a prefix (tsn-pytorch --flow_prefix warped_).
Frames are .jpg; flow is .jpg or .png, as the store has it.
"""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from vtk_cli.api.stores import StoreMeta
from vtk_cli.catalog import Catalog, CatalogRow
from vtk_cli.console import Progress
from vtk_cli.errors import DataError, Interrupted, UsageError, did_you_mean
from vtk_cli.files import write_atomic
from vtk_cli.flow.quantize import codec_of, decode_flow, encode_grey
from vtk_cli.store.lmdb_store import StoreReader
from vtk_cli.store.meta import PAIRS
from vtk_cli.workspace import DatasetDir


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Numbering of one tool. Frames and flow pairs are counted from 0 in a store."""

    skipped_frames: int
    """Leading frames that are not written."""
    first: int
    """Number of the first picture of each kind."""
    done_marks: bool
    labels_by: str
    """What stands between the labels of one video in a list."""

    def frame_name(self, index: int) -> str | None:
        """File of frame `index`; None for one that is not written."""
        number = index - self.skipped_frames + self.first
        return f"img_{number:05d}.jpg" if index >= self.skipped_frames else None

    def flow_names(self, index: int, meta: StoreMeta) -> tuple[str, str]:
        """Files of the motion from frame `index` to the next: x and y."""
        number, suffix = index + self.first, SUFFIXES[meta.codec]
        return f"{meta.modality}_x_{number:05d}{suffix}", f"{meta.modality}_y_{number:05d}{suffix}"

    def listed_frames(self, frames: int) -> int:
        """What the list says of a video of so many decoded frames."""
        return frames - self.skipped_frames


SUFFIXES = {"jpeg": ".jpg", "png": ".png"}

LAYOUTS = {
    "tsn": Layout(skipped_frames=1, first=1, done_marks=False, labels_by=","),
    "denseflow": Layout(skipped_frames=0, first=0, done_marks=True, labels_by=" "),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """What an export wrote."""

    folder: str
    layout: str
    videos: int
    """Videos that are there now, those of earlier exports included."""
    written: int
    """Videos that this run wrote."""
    lists: list[str]
    """A list file per split."""


def export(
    dataset: DatasetDir,
    stores: Sequence[str],
    folder: Path,
    layout: str,
    *,
    split: str | None = None,
    limit: int | None = None,
    workers: int = 1,
) -> Exported:
    """Write the videos that are in all the named stores, each whole or not at all; running again goes on.

    Raises:
        UsageError: an id cannot stand in a list.
        DataError: no video is in all the stores, or a file cannot be written.
        Interrupted: SIGINT came.
    """
    with Catalog(dataset.catalog) as catalog:
        rows = [row for row in catalog.rows(split) if row.status in ("ready", "broken")][:limit]
    with ExitStack() as stack:
        readers = [stack.enter_context(StoreReader(dataset.store(name))) for name in stores]
        there = set.intersection(*(set(reader.ids()) for reader in readers))
        whole = [row for row in rows if row.id in there]
        if not whole:
            raise DataError(f"No video of the selection is in {' and '.join(stores)}. Look at why with `vtk check`.")
        _check_ids(whole)
        counts, written = _write_all(_FolderWriter(folder, LAYOUTS[layout], readers), whole, workers)
    lists = _write_lists(folder, LAYOUTS[layout], whole, counts, split)
    return Exported(folder=str(folder), layout=layout, videos=len(whole), written=written, lists=lists)


def check_layout(layout: str) -> None:
    """Raises UsageError when there is no such layout."""
    if layout not in LAYOUTS:
        raise UsageError(f'There is no layout "{layout}". {did_you_mean(layout, LAYOUTS)}')


def _write_all(writer: "_FolderWriter", rows: Sequence[CatalogRow], workers: int) -> tuple[dict[str, int], int]:
    """Decoded frames of each video, and how many were written now. Threads do: JPEG and files leave Python's lock."""
    counts: dict[str, int] = {}
    written = 0
    shutil.rmtree(writer.partial, ignore_errors=True)  # of a run that was killed
    try:
        with Progress("exporting", total=len(rows), unit="clips") as progress, ThreadPoolExecutor(workers) as threads:
            for row, is_new in zip(rows, threads.map(writer.ensure, [row.id for row in rows]), strict=True):
                counts[row.id] = writer.num_frames(row.id)
                written += is_new
                progress.advance()
    except OSError as error:
        raise DataError(
            f"The export to {writer.folder} cannot be written: {error.strerror or error}. What is whole stays; free "
            "space and run the same command again."
        ) from error
    except KeyboardInterrupt as error:
        raise Interrupted(
            "The export was stopped. What is whole stays; run the same command again to go on."
        ) from error
    finally:
        shutil.rmtree(writer.partial, ignore_errors=True)
    return counts, written


class _FolderWriter:
    """Writes one folder per video."""

    def __init__(self, folder: Path, layout: Layout, readers: Sequence[StoreReader]) -> None:
        self.folder = folder
        self.partial = folder / ".partial"
        self._layout, self._readers = layout, readers

    def num_frames(self, video_id: str) -> int:
        """Decoded frames of a video: one more than flow pairs."""
        reader = self._readers[0]
        return reader.num_frames(video_id) + (reader.meta.modality in PAIRS)

    def ensure(self, video_id: str) -> bool:
        """Write a video unless it is there; whether it was written."""
        if self._has(video_id):
            return False
        self._write(video_id)
        return True

    def _has(self, video_id: str) -> bool:
        """Whether the last picture of every kind is there: a folder appears whole."""
        folder = self.folder / video_id
        names = [name for reader in self._readers for name in self._last_names(reader, video_id)]
        return folder.is_dir() and all((folder / name).exists() for name in names)

    def _write(self, video_id: str) -> None:
        partial, final = self.partial / video_id, self.folder / video_id
        partial.mkdir(parents=True)
        for reader in self._readers:
            for name, data in self._files(reader, video_id):
                (partial / name).write_bytes(data)
        if final.is_dir():
            for old in final.iterdir():  # of the other kind: frames beside which flow is put now, or the reverse
                if not (partial / old.name).exists():
                    old.rename(partial / old.name)
            shutil.rmtree(final)
        partial.rename(final)
        if self._layout.done_marks:
            mark = self.folder / ".done" / video_id
            mark.parent.mkdir(exist_ok=True)
            mark.touch()

    def _files(self, reader: StoreReader, video_id: str) -> Iterator[tuple[str, bytes | memoryview]]:
        encoded = reader.read(video_id, range(reader.num_frames(video_id)))
        for index, data in enumerate(encoded):
            if reader.meta.modality in PAIRS:
                names = self._layout.flow_names(index, reader.meta)
                for name, plane in zip(names, decode_flow(data), strict=True):
                    yield name, encode_grey(plane, reader.meta.quality, codec_of(data))
            elif (picture := self._layout.frame_name(index)) is not None:
                yield picture, data

    def _last_names(self, reader: StoreReader, video_id: str) -> Sequence[str]:
        last = reader.num_frames(video_id) - 1
        if reader.meta.modality in PAIRS:
            return self._layout.flow_names(last, reader.meta)
        name = self._layout.frame_name(last)
        return () if name is None else (name,)


def _write_lists(
    folder: Path, layout: Layout, rows: Sequence[CatalogRow], counts: Mapping[str, int], split: str | None
) -> list[str]:
    """One list per split: `dir frames label`, -1 where a video has no label."""
    lines: dict[str, list[str]] = {}
    for row in rows:
        labels = layout.labels_by.join(map(str, row.labels)) or "-1"
        names = (split,) if split else row.splits or ("all",)
        for name in names:
            lines.setdefault(name, []).append(f"{row.id} {layout.listed_frames(counts[row.id])} {labels}\n")
    for name, found in lines.items():
        write_atomic(folder / f"{name}.txt", "".join(found))
    return [str(folder / f"{name}.txt") for name in lines]


def _check_ids(rows: Sequence[CatalogRow]) -> None:
    for row in rows:
        if "/" in row.id or row.id.startswith(".") or any(character.isspace() for character in row.id):
            raise UsageError(
                f"These layouts divide fields by blanks, videos by folders; found the id {row.id!r}. Rename the clip."
            )
