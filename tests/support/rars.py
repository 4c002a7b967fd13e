"""Rar archives (version 4, stored) made by hand, and a stand-in for bsdtar that reads them.

No free program writes rar; the format of stored members is small enough to write down.
"""

import struct
import sys
import zlib
from pathlib import Path

LINK = 0xA1FF
FILE = 0x81A4

_READER = """
import os, struct, sys

def members(content):
    at = 7 + 13
    while at < len(content):
        kind, flags, size = struct.unpack_from("<BHH", content, at + 2)
        if kind != 0x74:
            return
        packed, = struct.unpack_from("<L", content, at + 7)
        length, mode = struct.unpack_from("<HL", content, at + 26)
        yield content[at + 32:at + 32 + length].decode().replace(chr(92), '/'), mode, content[at + size:at + size + packed]
        at += size + packed

mode, archive, *rest = sys.argv[1:]
content = open(archive, "rb").read()
if content.endswith(b"DAMAGE"):
    sys.exit("bsdtar: Error opening archive: damaged")
for name, form, data in members(content):
    if mode == "-tf":
        print(name)
        continue
    target = os.path.join(rest[1], name)
    os.makedirs(os.path.dirname(target), exist_ok=True)
    if form == 0xA1FF:
        os.symlink(data, target)
    else:
        with open(target, "wb") as file:
            file.write(data)
"""


def rar(members: dict[str, bytes], *, mode: int = FILE) -> bytes:
    out = b"Rar!\x1a\x07\x00" + _header(0x73, 0, b"\0" * 6)
    for name, content in members.items():
        raw = name.replace("/", "\\").encode()  # the format's separator
        fields = struct.pack(
            "<LLBLLBBHL", len(content), len(content), 3, zlib.crc32(content), 0x21 << 16, 20, 0x30, len(raw), mode
        )
        out += _header(0x74, 0x8000, fields + raw) + content
    return out + _header(0x7B, 0x4000, b"")


def _header(kind: int, flags: int, fields: bytes) -> bytes:
    rest = struct.pack("<BHH", kind, flags, 7 + len(fields)) + fields
    return struct.pack("<H", zlib.crc32(rest) & 0xFFFF) + rest


def stand_in(folder: Path) -> Path:
    """A folder for PATH with a `bsdtar` that reads what `rar` writes."""
    folder.mkdir(exist_ok=True)
    program = folder / "bsdtar"
    program.write_text(f"#!{sys.executable}\n{_READER}")
    program.chmod(0o755)
    return folder
