"""The bytes of one video in a store.

    magic "vtkR" | version u16 | 0 u16 | frames u32 | crc32 u32 | (end u32, crc32 u32) per frame | frame 0 | frame 1 ...
                                                      of everything before it, and of the table

Little-endian. `end` counts from the first byte of frame 0, so frame i is payload[end of i-1 : end of i]. Each frame
carries its own checksum: a damaged picture decodes to a wrong picture without complaint, and checking 15 KB costs 9 us
where decoding them costs 500 us. The table adds 8 bytes per frame, 0.05 % of 15 KB.
"""

import struct
from collections.abc import Iterator, Sequence
from zlib import crc32

from vtk_cli.errors import StoreError

VERSION = 1
MAX_BYTES = 2**32 - 1
"""Largest value that LMDB takes."""

FRAME_OVERHEAD = 8
"""Bytes that a frame costs beside its own."""

_MAGIC = b"vtkR"
_HEAD = struct.Struct("<4sHHI")
_CRC = struct.Struct("<I")
_ENTRY = struct.Struct("<II")
_TABLE = _HEAD.size + _CRC.size
_LEAST_BYTES = 4096
"""Shorter records are filled up with zeros. LMDB moves values below half a page about with its tree; longer ones keep
their pages for ever, so that views of them stay valid while another process writes."""


def pack(frames: Sequence[bytes]) -> bytes:
    """The record of a video; the same frames give the same bytes.

    Raises:
        StoreError: there are no frames, or they are too large for one record.
    """
    if not frames:
        raise StoreError("A record needs at least one frame, found none. Record a failure instead.")
    total = _TABLE + sum(_ENTRY.size + len(frame) for frame in frames)
    if total > MAX_BYTES:
        raise StoreError(
            f"A record holds at most {MAX_BYTES} bytes, found {total} in {len(frames)} frames. "
            "Cut the video into shorter clips, or extract at a smaller short side or quality."
        )
    table = b"".join(_entries(frames))
    head = _HEAD.pack(_MAGIC, VERSION, 0, len(frames))
    padding = bytes(max(0, _LEAST_BYTES - total))
    return b"".join([head, _CRC.pack(crc32(table, crc32(head))), table, *frames, padding])


def _entries(frames: Sequence[bytes]) -> Iterator[bytes]:
    end = 0
    for frame in frames:
        end += len(frame)
        yield _ENTRY.pack(end, crc32(frame))


class Record:
    """A packed video, read without copying. Offsets are checked at birth, a frame's bytes when it is asked for."""

    __slots__ = ("_payload", "_value", "num_frames")

    def __init__(self, value: memoryview) -> None:
        """Take a record's bytes.

        Raises:
            StoreError: these are no record, one of another version, or a damaged one.
        """
        if len(value) < _TABLE:
            raise StoreError(f"it should have at least {_TABLE} bytes, found {len(value)}")
        magic, version, _, count = _HEAD.unpack_from(value)
        self.num_frames: int = count
        if magic != _MAGIC:
            raise StoreError(f"it should begin with {_MAGIC!r}, found {magic!r}")
        if version != VERSION:
            raise StoreError(f"it should have version {VERSION}, found {version}; another vtk wrote it")
        self._value = value
        self._payload = _TABLE + self.num_frames * _ENTRY.size
        (expected,) = _CRC.unpack_from(value, _HEAD.size)
        table = value[_TABLE : self._payload]
        if crc32(table, crc32(value[: _HEAD.size])) != expected:
            raise StoreError("its table of frames does not match its checksum")
        if self.num_frames == 0 or self._payload + self._end(self.num_frames - 1) > len(value):
            raise StoreError("its table of frames reaches past its end")

    def frame(self, index: int) -> memoryview:
        """Encoded frame `index`, a slice of the record.

        Raises:
            StoreError: the frame does not match its checksum.
        """
        begin = self._end(index - 1) if index else 0
        end, expected = _ENTRY.unpack_from(self._value, _TABLE + index * _ENTRY.size)
        found = self._value[self._payload + begin : self._payload + end]
        if crc32(found) != expected:
            raise StoreError(f"its frame {index} does not match its checksum")
        return found

    def _end(self, index: int) -> int:
        end: int = _ENTRY.unpack_from(self._value, _TABLE + index * _ENTRY.size)[0]
        return end
