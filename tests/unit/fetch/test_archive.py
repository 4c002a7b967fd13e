import bz2
import gzip
import io
import lzma
import stat
import tarfile
import zipfile
from pathlib import Path

import pytest
from host import tar
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vtk_cli.fetch.archive import DamagedArchive, Limits, UnsafeArchive, check_name, members, sniff

FILES = {"a/one.mp4": b"1" * 5000, "two.mp4": bytes(range(256)) * 40, "empty.mp4": b"", "-dash [x] (y).mp4": b"3"}


def make_zip(files: dict[str, bytes], *, deflate: bool = True) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED if deflate else zipfile.ZIP_STORED) as archive:
        archive.writestr("folder/", b"")
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def make_tar(*infos: tarfile.TarInfo) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for info in infos:
            archive.addfile(info, io.BytesIO(b"x" * info.size) if info.isreg() else None)
    return buffer.getvalue()


def entry(name: str, kind: bytes = tarfile.REGTYPE, size: int = 3, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.size, info.linkname = kind, size if kind == tarfile.REGTYPE else 0, link
    return info


def read(path: Path, limits: Limits | None = None) -> dict[str, bytes]:
    return {member.name: b"".join(member.chunks()) for member in members(path, limits)}


PACKED = {
    "gz": lambda: tar(FILES, "gz"),
    "tar": lambda: tar(FILES, ""),
    "bz2": lambda: tar(FILES, "bz2"),
    "xz": lambda: lzma.compress(tar(FILES, "")),
    "zip": lambda: make_zip(FILES),
}


@pytest.mark.parametrize("kind", PACKED)
def test_the_kind_is_told_from_the_content(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "part_120.tar.gz"  # the name says gzip whatever it is
    path.write_bytes(PACKED[kind]())
    assert sniff(path) == kind
    assert read(path) == FILES


@pytest.mark.parametrize("kind", PACKED)
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
def test_a_cut_archive_is_noticed(tmp_path: Path, kind: str, share: float) -> None:
    content = PACKED[kind]()
    path = tmp_path / "a"
    path.write_bytes(
        content[: int(len(content) * share)].rstrip(b"\0") if kind == "tar" else content[: int(len(content) * share)]
    )
    with pytest.raises(DamagedArchive, match="should"):
        read(path)


@given(data=st.data())
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_a_changed_byte_never_passes_for_another_content(tmp_path: Path, data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(["gz", "bz2", "xz", "zip"]))
    content = bytearray(PACKED[kind]())
    at = data.draw(st.integers(0, len(content) - 1))
    content[at] ^= data.draw(st.integers(1, 255))
    path = tmp_path / "a"
    path.write_bytes(content)
    try:
        found = read(path)
    except (DamagedArchive, UnsafeArchive):
        return
    # Bytes without meaning (a gzip's time stamp, a zip's attributes and names' upper bits) may change; content may not.
    assert sorted(found.values()) == sorted(FILES.values())


@given(content=st.binary(max_size=600))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_anything_else_is_refused_in_words(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a"
    path.write_bytes(content)
    if sniff(path) is None:
        with pytest.raises(DamagedArchive, match="should be a tar, zip or rar archive"):
            read(path)


def test_a_web_page_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.tar.gz"
    path.write_bytes(b"\n<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>")
    with pytest.raises(DamagedArchive, match="web page"):
        read(path)


def test_a_damaged_header_is_no_end(tmp_path: Path) -> None:
    content = bytearray(tar(FILES, ""))
    second = content.index(b"two.mp4")
    content[second] ^= 1
    path = tmp_path / "a"
    path.write_bytes(gzip.compress(bytes(content)))
    with pytest.raises(DamagedArchive, match="damaged header"):
        read(path)


def test_the_checksum_behind_the_end_is_compared(tmp_path: Path) -> None:
    content = bytearray(tar(FILES, "gz"))
    content[-6] ^= 1  # CRC32 of gzip
    path = tmp_path / "a"
    path.write_bytes(content)
    with pytest.raises(DamagedArchive, match="CRC"):
        read(path)


EVIL_NAMES = ["../x.mp4", "a/../../x.mp4", "/etc/x.mp4", "C:/x.mp4", "c:\\x.mp4", "..\\x.mp4", "\\\\host\\x.mp4"]


@pytest.mark.parametrize("name", EVIL_NAMES)
@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_names_that_lead_out_are_refused(tmp_path: Path, name: str, kind: str) -> None:
    path = tmp_path / "a"
    path.write_bytes(make_tar(entry(name)) if kind == "tar" else make_zip({name: b"x"}))
    with pytest.raises(UnsafeArchive, match="refused"):
        read(path)


@pytest.mark.parametrize(
    "info",
    [
        entry("x.mp4", tarfile.SYMTYPE, link="/etc/passwd"),
        entry("x.mp4", tarfile.LNKTYPE, link="/etc/passwd"),
        entry("x.mp4", tarfile.CHRTYPE),
        entry("x.mp4", tarfile.BLKTYPE),
        entry("x.mp4", tarfile.FIFOTYPE),
    ],
    ids=["symlink", "hardlink", "character device", "block device", "fifo"],
)
def test_only_plain_files(tmp_path: Path, info: tarfile.TarInfo) -> None:
    path = tmp_path / "a"
    path.write_bytes(make_tar(info))
    with pytest.raises(UnsafeArchive, match=r"link or device 'x.mp4'"):
        read(path)


def test_a_link_in_a_zip(tmp_path: Path) -> None:
    info = zipfile.ZipInfo("x.mp4")
    info.create_system, info.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "a", "w") as archive:
        archive.writestr(info, "/etc/passwd")
    with pytest.raises(UnsafeArchive, match="link or device"):
        read(tmp_path / "a")


def test_a_password(tmp_path: Path) -> None:
    content = bytearray(make_zip({"x.mp4": b"x"}))
    for magic, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.rindex(magic) + offset] |= 1
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(DamagedArchive, match="password"):
        read(tmp_path / "a")


SMALL = Limits(ratio=10, floor_bytes=10_000, member_bytes=1_000_000)


@pytest.mark.parametrize(
    "content",
    [
        tar({"x.mp4": b"\0" * 900_000}),
        make_zip({"x.mp4": b"\0" * 900_000}),
        gzip.compress(tar({"x.mp4": b"1"}, "") + b"\0" * 900_000),
        bz2.compress(tar({f"{n}.mp4": b"\0" * 20_000 for n in range(40)}, "")),
    ],
    ids=["tar", "zip", "behind the end", "many"],
)
def test_bombs_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(UnsafeArchive, match="refused"):
        read(tmp_path / "a", SMALL)


@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_a_huge_member_is_refused_before_it_is_read(tmp_path: Path, kind: str) -> None:
    if kind == "tar":
        info = tarfile.TarInfo("x.mp4")
        info.size = 1 << 50
        content = info.tobuf()
    else:
        content = make_zip({"x.mp4": b"\0" * 2_000_000})
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(UnsafeArchive, match=r"member 'x.mp4' of"):
        read(tmp_path / "a", SMALL)


def test_an_extended_header_does_not_fill_the_memory(tmp_path: Path) -> None:
    info = tarfile.TarInfo("././@LongLink")
    info.type, info.size = tarfile.GNUTYPE_LONGNAME, 1 << 40
    (tmp_path / "a").write_bytes(info.tobuf(format=tarfile.GNU_FORMAT) + b"\0" * 2048)
    with pytest.raises(DamagedArchive, match="extended header"):
        read(tmp_path / "a")


def test_long_names_are_read(tmp_path: Path) -> None:
    files = {f"{'d' * 120}/{'n' * 150}.mp4": b"1", "ünïcode.mp4": b"2"}
    (tmp_path / "a").write_bytes(tar(files))
    assert read(tmp_path / "a") == files


@given(st.text(max_size=40))
def test_names_that_pass_stay_below(name: str) -> None:
    try:
        check_name(Path("a"), name)
    except UnsafeArchive:
        return
    base = Path("/base/folder")
    assert (base / name).is_relative_to(base)
    assert ".." not in (base / name).parts
