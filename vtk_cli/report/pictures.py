"""Strips of small pictures of a clip, from a store or from the video itself, as data URIs."""

import base64
import colorsys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self, cast

import numpy as np
import simplejpeg
from numpy.typing import NDArray

from vtk_cli import registry
from vtk_cli.api.video import Cut, DecodeReport, DecoderSpec
from vtk_cli.catalog import Catalog, CatalogRow
from vtk_cli.errors import CatalogError, VtkError
from vtk_cli.flow.quantize import BOUND, decode_flow, dequantize
from vtk_cli.store.lmdb_store import StoreReader
from vtk_cli.workspace import DatasetDir

if TYPE_CHECKING:
    from vtk_cli.api.video import Picture

FRAMES = 8
"""Pictures per strip, spread evenly from the first frame to the last."""
LEAST_HEIGHT = 72
"""JPEG decodes at 1/2, 1/4 or 1/8 size for little: the smallest of these that is still this high is taken."""
SMALL = {"min_height": LEAST_HEIGHT, "min_width": LEAST_HEIGHT}
QUALITY = 72


@dataclass(frozen=True, slots=True)
class Strip:
    """Pictures of one clip, or the reason why there are none."""

    images: Sequence[str]
    """data: URIs."""
    reason: str = ""


class ClipPictures:
    """Where pictures of a dataset's clips come from: a frame store if there is one, else the videos."""

    def __init__(self, dataset: DatasetDir, preferred: Sequence[str] = ()) -> None:
        """Look for stores; `preferred` names the ones that the run was trained from."""
        stores = [*preferred, *(name for name in dataset.stores() if name not in preferred)]
        readers = list(_readers(dataset, stores))
        self._dataset = dataset
        self._readers = readers
        self._rows: dict[str, CatalogRow] = {}
        self._frames = next((r for r in readers if r.meta.modality == "rgb"), None)
        self._flow = next((r for r in readers if r.meta.modality in ("flow", "warped")), None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for reader in self._readers:
            reader.close()

    def frames(self, video_id: str) -> Strip:
        """RGB pictures of a clip."""
        try:
            if self._frames is not None:
                return Strip([_uri(_encode(picture)) for picture in _stored(self._frames, video_id)])
            return Strip([_uri(_encode(picture)) for picture in self._decoded(video_id)])
        except (VtkError, ValueError) as error:  # ValueError: simplejpeg's word for a damaged picture
            return Strip([], str(error))

    def has_flow(self, video_id: str) -> bool:
        """Whether there is optical flow of this clip to show."""
        return self._flow is not None and video_id in self._flow

    def flow(self, video_id: str) -> Strip | None:
        """Coloured optical flow of a clip; None where the dataset has no flow store."""
        if self._flow is None:
            return None
        try:
            count = self._flow.num_frames(video_id)
            encoded = self._flow.read(video_id, spread(count, FRAMES))
            bound = self._flow.meta.bound or BOUND
            flows = [dequantize(decode_flow(data), bound) for data in encoded]
        except VtkError as error:
            return Strip([], str(error))
        largest = max(float(np.percentile(np.hypot(*flow), 99)) for flow in flows)
        return Strip([_uri(_encode(colour_flow(flow, max(largest, 0.5)))) for flow in flows])

    def _decoded(self, video_id: str) -> list["Picture"]:
        row = self._row(video_id)
        spec = registry.load("vtk.decoders", "pyav")
        assert isinstance(spec, DecoderSpec)
        cut = Cut(start_seconds=row.start_seconds, end_seconds=row.end_seconds, short_side=LEAST_HEIGHT)
        found = spec.build().frames(self._dataset.video(row.path), cut, DecodeReport())
        return _spread_over(found, FRAMES)

    def _row(self, video_id: str) -> CatalogRow:
        if not self._rows:
            with Catalog(self._dataset.catalog) as catalog:
                self._rows = {row.id: row for row in catalog.rows()}
        if video_id not in self._rows:
            raise CatalogError(f"{video_id} is not in the dataset {self._dataset.name} any more.")
        return self._rows[video_id]


def spread(length: int, count: int) -> list[int]:
    """`count` frame numbers from the first to the last, fewer in a shorter clip.

    >>> spread(20, 4)
    [0, 6, 13, 19]
    >>> spread(2, 4)
    [0, 1]
    """
    if length <= count:
        return list(range(length))
    return [round(i * (length - 1) / (count - 1)) for i in range(count)]


def colour_flow(flow_2HW: NDArray[np.float32], largest: float) -> NDArray[np.uint8]:
    """Direction as hue (right red, down yellow-green, left cyan, up violet), length as saturation; rest is white."""
    turns = np.arctan2(flow_2HW[1], flow_2HW[0]) / (2 * np.pi) % 1.0
    strength = np.clip(np.hypot(flow_2HW[0], flow_2HW[1]) / largest, 0, 1)[..., None]
    hues = np.array([colorsys.hsv_to_rgb(step / 360, 1, 0.92) for step in range(360)], dtype=np.float32)
    colour = hues[(turns * 360).astype(int) % 360]
    shaded = (1 - strength * (1 - colour)) * 255 + 0.5
    return cast("Picture", shaded.astype(np.uint8))


def colour_wheel(size: int = 48) -> str:
    """The key to `colour_flow` as a data URI: what moves towards a place of the disc has its colour."""
    y, x = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j].astype(np.float32)
    flow = np.stack([x, y])
    flow[:, np.hypot(x, y) > 1] = 0
    return _uri(_encode(colour_flow(flow, 1.0)))


def _readers(dataset: DatasetDir, names: Sequence[str]) -> Iterator[StoreReader]:
    for name in names:
        try:
            yield StoreReader(dataset.store(name))
        except VtkError:
            continue  # a store that was removed or is damaged leaves the others, or the videos


def _stored(reader: StoreReader, video_id: str) -> list["Picture"]:
    encoded = reader.read(video_id, spread(reader.num_frames(video_id), FRAMES))
    return [cast("Picture", simplejpeg.decode_jpeg(data, **SMALL)) for data in encoded]


def _spread_over(pictures: Iterator["Picture"], count: int) -> list["Picture"]:
    """Evenly spread pictures of a stream of unknown length, never more than 8 x `count` of them in memory."""
    kept: list[Picture] = []
    every = 1
    for number, picture in enumerate(pictures):
        if number % every == 0:
            kept.append(picture)
        if len(kept) == 8 * count:
            kept, every = kept[::2], every * 2
    return [kept[i] for i in spread(len(kept), count)]


def _encode(picture_HWC: "Picture") -> bytes:
    data: bytes = simplejpeg.encode_jpeg(
        np.ascontiguousarray(picture_HWC), quality=QUALITY, colorspace="RGB", colorsubsampling="420"
    )
    return data


def _uri(jpeg: bytes) -> str:
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode()
