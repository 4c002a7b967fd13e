"""What a store of encoded frames offers: one record per video, there whole or not at all."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from vtk_cli.api.inputs import Modality


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreMeta:
    """What `meta.json` of a store says; a store never mixes two of these."""

    version: int = 1
    modality: Modality
    short_side: int
    square_pixels: bool = True
    codec: str = "jpeg"
    quality: int
    shards: int
    decoder: str = "pyav"
    method: str = ""
    """Flow method; empty for frames."""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    """Of the flow method."""
    bound: float | None = None
    """Flow is clipped to +-bound pixels and scaled to 0..255."""


class FrameReader(Protocol):
    """Random access to the encoded frames of a store. Picklable: opens its files in the process that reads."""

    meta: StoreMeta

    def __contains__(self, video_id: str) -> bool: ...

    def ids(self) -> Iterator[str]:
        """Every video that is there whole."""

    def failures(self) -> Iterator[tuple[str, str]]:
        """(id, cause) of every video that could not be extracted."""

    def num_frames(self, video_id: str) -> int:
        """Frames stored for a video (flow: pairs)."""

    def read(self, video_id: str, indices: Sequence[int]) -> list[memoryview]:
        """Encoded frames, without copying; valid until the reader is closed.

        Raises:
            StoreError: the video is not there, a number lies past its end, or its record is damaged.
        """

    def close(self) -> None: ...
