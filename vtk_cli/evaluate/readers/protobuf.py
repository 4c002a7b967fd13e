"""As much of protobuf's wire format as describes a fluid variable and names those of a program."""

from collections.abc import Iterator

from vtk_cli.evaluate.readers.unreadable import Unreadable

_LENGTHS = {1: 8, 5: 4}
"""Bytes of the fixed wire types."""


def fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    r"""(field number, value) in the message's order; a varint as an int, everything else as its bytes.

    >>> list(fields(bytes([0x08, 0x05, 0x12, 0x02, 0x03, 0x04])))
    [(1, 5), (2, b'\x03\x04')]

    Raises:
        Unreadable: the message is damaged or cut off.
    """
    place = 0
    while place < len(message):
        key, place = _varint(message, place)
        kind = key & 7
        if kind == 0:
            number, place = _varint(message, place)
            yield key >> 3, number
            continue
        if kind == 2:
            size, place = _varint(message, place)
        elif kind in _LENGTHS:
            size = _LENGTHS[kind]
        else:
            raise Unreadable("a damaged description")
        if place + size > len(message):
            raise Unreadable("a description that is cut off")
        yield key >> 3, message[place : place + size]
        place += size


def numbers(packed: bytes) -> list[int]:
    """Packed varints.

    >>> numbers(bytes([0x03, 0xAC, 0x02]))
    [3, 300]
    """
    found, place = [], 0
    while place < len(packed):
        number, place = _varint(packed, place)
        found.append(number)
    return found


def _varint(message: bytes, place: int) -> tuple[int, int]:
    """An unsigned number of at most 64 bits, and where it ends."""
    number = 0
    for shift in range(0, 70, 7):
        if place >= len(message):
            raise Unreadable("a description that is cut off")
        byte = message[place]
        place += 1
        number |= (byte & 127) << shift
        if byte < 128:
            return number, place
    raise Unreadable("a damaged description")
