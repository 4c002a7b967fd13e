"""Whether a file ends before its own structure says: found from box sizes, never guessed from counts or times.

Decoders read a file that was cut off without complaint up to the cut. Headers' frame counts cannot tell: they are
wrong by one for packed B-frames, and count pictures that an edit list leaves out. But each container states the length
of the part that holds the pictures, and a cut leaves less than that.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

_AVI_TOLERANCE = 8
"""Bytes: some AVI writers count the 8 bytes of a chunk's own header in its size."""

_MP4_BOXES = set(b"ftyp moov mdat free skip wide pnot moof mfra sidx ssix styp prft emsg uuid meta udta PICT".split())
_MATROSKA_SEGMENT = b"\x18\x53\x80\x67"


def cut_off(path: Path) -> str:
    """Why a file is taken to be cut off, or an empty string; containers other than those below are not judged.

    AVI, QuickTime and MP4 (also fragmented), Matroska and WebM are recognised by their first bytes.
    """
    try:
        with path.open("rb") as file:
            walk = _walker(file.read(12))
            size = os.fstat(file.fileno()).st_size
            end = walk(file, size) if walk else 0
    except OSError:
        return ""  # what cannot be read is told where it is opened
    if end <= size:
        return ""
    return f"it ends after {size} bytes, but its structure goes on to byte {end} or beyond"


def _walker(head: bytes) -> Callable[[BinaryIO, int], int] | None:
    if head[:4] == b"RIFF" and head[8:12] in (b"AVI ", b"AVIX"):
        return _avi_end
    if head[4:8] in _MP4_BOXES:
        return _mp4_end
    if head[:4] == b"\x1a\x45\xdf\xa3":
        return _matroska_end
    return None


def _avi_end(file: BinaryIO, size: int) -> int:
    """End of the last `movi` list (AVI RIFF File Reference; OpenDML repeats RIFF chunks); a lost index does not matter.

    Where no such list is reached it is the end of the RIFF chunk.
    Writers pad files with leftovers of their buffers, chunk headers among them, so that nothing after a RIFF chunk
    counts but another one. A size of 0 is what a writer leaves that never finished; then nothing is known.
    """
    position = riff_end = end = 0
    while position + 12 <= size:
        file.seek(position)
        kind, length, form = file.read(4), _little(file.read(4)), file.read(4)
        if position >= riff_end:
            if kind != b"RIFF" or form not in (b"AVI ", b"AVIX"):
                break
            riff_end = position + 8 + length if length else size
            position += 12
            continue
        if kind == b"LIST" and form == b"movi":
            if length == 0:
                break
            end = position + 8 + length - _AVI_TOLERANCE
        position += 8 + length + length % 2
    return end or riff_end - _AVI_TOLERANCE


def _mp4_end(file: BinaryIO, size: int) -> int:
    """End of the last known box at the top (ISO/IEC 14496-12, 4.2); what follows is padding and does not count."""
    position = 0
    while position + 8 <= size:
        file.seek(position)
        length, kind = _big(file.read(4)), file.read(4)
        if kind not in _MP4_BOXES:
            break
        if length == 1:
            length = _big(file.read(8))
        if length < 8:  # 0 means: to the end of the file
            break
        position += length
    return position


def _matroska_end(file: BinaryIO, size: int) -> int:
    """End of the segment, or of the last element where its length is unknown (RFC 8794, 4; RFC 9559, 23.2).

    Segments and clusters of unknown length, as live recorders write them, are walked inside.
    """
    position = 0
    while position < size:
        file.seek(position)
        header = file.read(12)
        name_bytes = _vint_bytes(header[:1])
        length_bytes = _vint_bytes(header[name_bytes : name_bytes + 1])
        if not name_bytes or not length_bytes:
            break  # no element but padding or damage, about which lengths say nothing
        name, field = header[:name_bytes], header[name_bytes : name_bytes + length_bytes]
        unknown = (1 << 7 * length_bytes) - 1
        length = _big(field) & unknown
        position += name_bytes + length_bytes + (0 if length == unknown else length)
        if name == _MATROSKA_SEGMENT and length != unknown:
            break
    return position


def _vint_bytes(first: bytes) -> int:
    """Length of a variable-size integer: leading zero bits of its first byte, plus one; 0 where there is none."""
    return 9 - first[0].bit_length() if first and first[0] else 0


def _big(field: bytes) -> int:
    return int.from_bytes(field, "big")


def _little(field: bytes) -> int:
    return int.from_bytes(field, "little")
