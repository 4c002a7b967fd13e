"""Films to look at: what stores hold of clips, frame beside flow, as H.264 in mp4 that browsers play."""

import io
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from fractions import Fraction
from itertools import chain, islice
from pathlib import Path
from typing import cast

import av
import numpy as np
import simplejpeg
from av.video.reformatter import ColorRange, Colorspace, VideoReformatter

from vtk_cli import registry
from vtk_cli.api.video import DecoderSpec
from vtk_cli.catalog import Catalog, CatalogRow
from vtk_cli.console import Progress
from vtk_cli.errors import DataError, Interrupted, StoreError, UsageError
from vtk_cli.extract.panels import Panel, Picture, draw
from vtk_cli.files import write_atomic
from vtk_cli.flow.colour import to_rgb
from vtk_cli.flow.quantize import BOUND, decode_flow, dequantize
from vtk_cli.formats.naming import make_id
from vtk_cli.store.lmdb_store import StoreReader
from vtk_cli.workspace import DatasetDir

PANELS = ("frames", "flow", "warped")
"""From left to right; "flow" and "warped" have one scale of colours, so that what is gone is seen to be gone."""
MOST_PICTURES = 1500
"""A minute at 25 frames per second; of longer clips the beginning is shown."""
RATE = Fraction(25)
"""Frames per second where the clip's file does not say."""
RATES = (1, 120)
LEAST_SCALE = 2.0
"""Pixels per frame at the rim of the colour wheel, at least: less would show the steps of stored flow, 0.16 px."""
LONGEST = 99
"""Percentile of the lengths of motion that the rim stands for."""
SAMPLES = 32
"""Pairs of a clip in which they are looked at."""


def write_previews(
    dataset: DatasetDir, stores: Mapping[str, str], folder: Path, *, split: str | None, count: int
) -> list[Path]:
    """Write a film for each of `count` clips, evenly spread over those of the split that are in all the stores.

    `stores`: "frames", "flow", "warped", or some of them -> the store's name. A film is there whole or not at all; one
    of the same name is replaced. Returns the films in the catalog's order.

    Raises:
        UsageError: there is no such split, or `folder` is a file.
        StoreError: a store is missing or damaged.
        DataError: no clip is in all the stores, or a film cannot be written.
        Interrupted: SIGINT came.
    """
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"--preview takes a folder, found a file at {folder}. Name another.")
    with ExitStack() as stack:
        readers = {
            kind: stack.enter_context(StoreReader(dataset.store(stores[kind]))) for kind in PANELS if kind in stores
        }
        rows = _choose(dataset, list(readers.values()), split, count)
        paths = [folder / f"{make_id(f'{row.id}.mp4')}.mp4" for row in rows]
        try:
            with Progress("writing previews", total=len(rows), unit="clips") as progress:
                for row, path in zip(rows, paths, strict=True):
                    write_atomic(path, _film(row.id, _panels(readers, row.id), _rate(dataset, row, readers)))
                    progress.advance()
        except KeyboardInterrupt as error:
            raise Interrupted(
                "The previews were stopped. The stores are done; run the same command again for the films."
            ) from error
    return paths


def _choose(dataset: DatasetDir, readers: Sequence[StoreReader], split: str | None, count: int) -> list[CatalogRow]:
    with Catalog(dataset.catalog) as catalog:
        rows = catalog.rows(split)
    there = set.intersection(*(set(reader.ids()) for reader in readers))
    whole = [row for row in rows if row.id in there]
    if not whole:
        names = " and ".join(reader.folder.name for reader in readers)
        raise DataError(f"No video of the selection is in {names}. Look at why with `vtk check`.")
    number = min(count, len(whole))
    return [whole[place * len(whole) // number] for place in range(number)]


def _panels(readers: Mapping[str, StoreReader], video_id: str) -> list[Panel]:
    flows = {kind: reader for kind, reader in readers.items() if kind != "frames"}
    scale = max([LEAST_SCALE, *(_longest(reader, video_id) for reader in flows.values())])
    return [
        Panel(
            label=reader.folder.name,
            count=reader.num_frames(video_id),
            read=_flow_pictures(reader, video_id, scale) if kind in flows else _frames(reader, video_id),
            scale=scale if kind in flows else None,
        )
        for kind, reader in readers.items()
    ]


def _frames(reader: StoreReader, video_id: str) -> Callable[[int], Picture]:
    def read(number: int) -> Picture:
        data = reader.read(video_id, [number])[0]
        try:
            return cast("Picture", simplejpeg.decode_jpeg(data, colorspace="RGB"))
        except ValueError as error:
            raise StoreError(f"Frame {number} of {video_id} should be a JPEG: {error}. Run `vtk check`.") from error

    return read


def _flow_pictures(reader: StoreReader, video_id: str, scale: float) -> Callable[[int], Picture]:
    """Each pair of bytes has one colour, so colours are looked up."""
    y, x = np.mgrid[0:256, 0:256].astype(np.uint8)
    colours = to_rgb(dequantize(np.stack([x, y]), reader.meta.bound or BOUND), scale)

    def read(number: int) -> Picture:
        bytes_2HW = decode_flow(reader.read(video_id, [number])[0])
        return cast("Picture", colours[bytes_2HW[1], bytes_2HW[0]])

    return read


def _longest(reader: StoreReader, video_id: str) -> float:
    """Pixels per frame that nearly all of a clip's motion stays below, to the tenth that the film says."""
    count = reader.num_frames(video_id)
    chosen = sorted({place * count // SAMPLES for place in range(SAMPLES)})
    flows = [dequantize(decode_flow(data), reader.meta.bound or BOUND) for data in reader.read(video_id, chosen)]
    return math.ceil(10 * float(np.percentile([np.hypot(*flow_2HW) for flow_2HW in flows], LONGEST))) / 10


def _rate(dataset: DatasetDir, row: CatalogRow, readers: Mapping[str, StoreReader]) -> Fraction:
    """Frames per second of the clip's file, which need not be here any more."""
    fps = row.probe.get("fps")
    if not fps:
        decoder = next(iter(readers.values())).meta.decoder
        try:
            spec = cast("DecoderSpec", registry.load("vtk.decoders", decoder))
            fps = spec.build().probe(dataset.video(row.path)).fps
        except Exception:  # noqa: BLE001  a plugin's decoder can raise anything; a film has some rate or other
            fps = None
    return Fraction(fps).limit_denominator(1001) if fps and RATES[0] <= fps <= RATES[1] else RATE


def _film(title: str, panels: Sequence[Panel], rate: Fraction) -> bytes:
    """An mp4 of as many pictures as all panels have."""
    pictures = draw(title, panels)
    first = next(pictures)
    buffer = io.BytesIO()
    scaler = VideoReformatter()
    with av.open(buffer, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=rate, options={"crf": "18", "preset": "veryfast"})
        stream.height, stream.width = first.shape[:2]
        stream.pix_fmt = "yuv420p"
        context = stream.codec_context
        # Said in the file, as browsers differ in what they take small pictures for.
        context.colorspace = context.color_primaries = context.color_trc = Colorspace.ITU709
        context.color_range = ColorRange.MPEG
        for picture in islice(chain([first], pictures), MOST_PICTURES):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            container.mux(stream.encode(scaler.reformat(frame, format="yuv420p", dst_colorspace=Colorspace.ITU709)))
        container.mux(stream.encode())
    return buffer.getvalue()
