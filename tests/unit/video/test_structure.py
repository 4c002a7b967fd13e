"""Cut-off files are recognised by their structure, and nothing else is taken for one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vtk_cli.testing.decoders import MadeClip
from vtk_cli.video.structure import cut_off


def box(kind, content, length=None):
    return (8 + len(content) if length is None else length).to_bytes(4, "big") + kind + content


def chunk(kind, content, length=None):
    return kind + (len(content) if length is None else length).to_bytes(4, "little") + content


def element(name, content, unknown=False):
    length = b"\x01\xff\xff\xff\xff\xff\xff\xff" if unknown else (1 << 56 | len(content)).to_bytes(8, "big")
    return name + length + content


SEGMENT, CLUSTER, BLOCK, CUES = b"\x18\x53\x80\x67", b"\x1f\x43\xb6\x75", b"\xa3", b"\x1c\x53\xbb\x6b"
EBML = element(b"\x1a\x45\xdf\xa3", b"\x42\x82\x84webm")
BLOCKS = element(BLOCK, b"x" * 300) * 3
LIVE = EBML + element(SEGMENT, element(CLUSTER, BLOCKS, unknown=True) * 2, unknown=True)
MOVI = chunk(b"LIST", b"movi" + chunk(b"00dc", b"x" * 500) * 4)
AVI = chunk(b"RIFF", b"AVI " + chunk(b"LIST", b"hdrl" + bytes(40)) + MOVI + chunk(b"idx1", bytes(64)))
MP4 = box(b"ftyp", b"isom") + box(b"moov", bytes(200)) + box(b"mdat", b"x" * 2000)
FRAGMENTED = box(b"ftyp", b"isom") + box(b"moov", bytes(50)) + (box(b"moof", bytes(90)) + box(b"mdat", b"x" * 900)) * 2

WHOLE = {
    "mp4": MP4,
    "mp4, 64-bit length": box(b"ftyp", b"isom") + b"\0\0\0\1mdat" + (16 + 700).to_bytes(8, "big") + bytes(700),
    "mp4, mdat to the end": box(b"ftyp", b"isom") + box(b"mdat", bytes(700), length=0),
    "mp4, fragmented": FRAGMENTED,
    "mp4, padded": MP4 + bytes(512),
    "mp4, unknown box behind": MP4 + b"\x7f\0\0\0trailing words",
    "avi": AVI,
    "avi, OpenDML": AVI + chunk(b"RIFF", b"AVIX" + MOVI),
    "avi, counts its own header": AVI.replace(MOVI[:8], b"LIST" + (len(MOVI)).to_bytes(4, "little"))[:-72],
    "avi, empty junk chunk": chunk(b"RIFF", b"AVI " + chunk(b"JUNK", b"") + MOVI),
    # HMDB51's clips are filled up with leftovers of the writer's buffer.
    "avi, chunk headers behind": AVI + bytes(440) + b"LIST" + (260008).to_bytes(4, "little") + b"movi",
    "avi, never finished": chunk(b"RIFF", b"AVI " + chunk(b"LIST", b"movi" + bytes(600), length=0), length=0),
    "matroska": EBML + element(SEGMENT, element(CLUSTER, BLOCKS) + element(CUES, b"x" * 20)),
    "matroska, padded": EBML + element(SEGMENT, element(CLUSTER, BLOCKS)) + b"\x9f" * 4096,
    "webm, live": LIVE,
    "gif": b"GIF89a" + bytes(50),
    "short": b"RI",
}


@pytest.mark.parametrize("name", WHOLE)
def test_whole_files_are_whole(tmp_path, name):
    path = tmp_path / "clip"
    path.write_bytes(WHOLE[name])
    assert cut_off(path) == ""


@pytest.mark.parametrize(
    ("name", "content", "least"),
    [
        # least: bytes that must be there before a cut can be told from a file of that length
        ("mp4", MP4, 12 + 208 + 8),
        ("fragmented mp4", FRAGMENTED, len(FRAGMENTED) - 900),
        ("avi", AVI[:-72], 12 + 52 + 12),
        ("matroska", EBML + element(SEGMENT, element(CLUSTER, BLOCKS)), len(EBML) + 12),
        ("live webm", LIVE, len(LIVE) - 299),
    ],
)
def test_every_cut_is_recognised(tmp_path, name, content, least):
    path = tmp_path / "clip"
    tolerated = 8 if name == "avi" else 0
    ends = {least, len(content) - tolerated - 1}
    for length in sorted({*range(least, len(content) - tolerated, 13), *ends}):
        path.write_bytes(content[:length])
        assert str(length) in cut_off(path), f"{name} cut at {length} of {len(content)}"


@pytest.mark.parametrize(
    ("suffix", "codec"), [("mp4", "libx264"), ("mkv", "libx264"), ("avi", "mpeg4"), ("webm", "libvpx")]
)
def test_what_ffmpeg_writes_is_whole_and_its_half_is_not(tmp_path, suffix, codec):
    path = MadeClip(name=f"clip.{suffix}", codec=codec, frames=12).write(tmp_path)
    assert cut_off(path) == ""
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    assert cut_off(path) != ""


@given(st.sampled_from([b"RIFF\0\0\0\0AVI ", b"\0\0\0\x14ftyp", b"\x1a\x45\xdf\xa3", b""]), st.binary(max_size=200))
def test_damaged_structure_is_no_error_and_ends(tmp_path_factory, magic, rest):
    path = tmp_path_factory.getbasetemp() / "damaged-structure"
    path.write_bytes(magic + rest)
    assert isinstance(cut_off(path), str)


def test_shared_clips_are_whole_and_derived_ones_are_not(shared):
    cut = {path.name for path in (shared / "data/videos").iterdir() if cut_off(path)}
    assert cut == {"bad_truncated_50pct.avi", "bad_truncated_50pct.mp4"}
