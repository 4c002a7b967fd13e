"""What a store of encoded frames or of features offers: one record per video, there whole or not at all."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from vtk_cli.api.inputs import Modality

StoredModality = Modality | Literal["features"]
FlowCodec = Literal["jpeg", "png"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreMeta:
    """What `meta.json` of a store says; a store never mixes two of these."""

    version: int = 1
    modality: StoredModality
    short_side: int = 0
    """Of pictures; features have none, nor any other field from here to `bound` but shards."""
    square_pixels: bool = True
    codec: Literal["jpeg", "png", "raw"] = "jpeg"
    """Of a frame: a JPEG; a lossless grey PNG, which flow may be stored as; the plain numbers of features."""
    quality: int = 0
    """Of the JPEGs, 1 to 100; 0 for the other codecs."""
    colours: Literal["rgb", "planes"] = "rgb"
    """How the decoder's pictures became JPEGs: over RGB, or where they could as the planes that videos and JPEGs share.
    Flow is computed of RGB."""
    shards: int
    decoder: str = "pyav"
    method: str = ""
    """Flow method; empty for frames."""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    """Of the flow method."""
    bound: float | None = None
    """Flow is clipped to +-bound pixels and scaled to 0..255."""
    streams: tuple[tuple[str, int], ...] = ()
    """features: name and size of each stream; a frame of a record is one vector of each, side by side."""
    dtype: Literal["", "uint8", "float16", "float32"] = ""
    """features: type of every number, little-endian. uint8 are quantised, and what they stand for is the model's to
    say (`Stream.scale` and `offset`)."""
    origin: Mapping[str, Any] = field(default_factory=dict)
    """features: what made them. Of `vtk extract --features`: model, run, file and sha256 of its weights, the layer
    whose input they are, windows or stride, length of a window, the clip cut from it, what was read."""


class FrameReader(Protocol):
    """Random access to the encoded frames, or vectors, of a store. Picklable: opens its files where it reads."""

    meta: StoreMeta

    def __contains__(self, video_id: str) -> bool: ...

    def ids(self) -> Iterator[str]:
        """Every video that is there whole."""

    def failures(self) -> Iterator[tuple[str, str]]:
        """(id, cause) of every video that could not be extracted."""

    def num_frames(self, video_id: str) -> int:
        """Frames stored for a video (flow: pairs; features: vectors)."""

    def read(self, video_id: str, indices: Sequence[int]) -> list[memoryview]:
        """Encoded frames, without copying; valid until the reader is closed.

        Raises:
            StoreError: the video is not there, a number lies past its end, or its record is damaged.
        """

    def close(self) -> None: ...
