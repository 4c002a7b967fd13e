"""The variables of Baidu's old library: files written here byte by byte, as its `SerializeToStream` does."""

import io
import struct
import tarfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vtk_cli.errors import CheckpointError
from vtk_cli.evaluate.readers import read_foreign
from vtk_cli.evaluate.readers.fluid import read_variable
from vtk_cli.evaluate.readers.unreadable import Unreadable

KINDS = {"?": 0, "i2": 1, "i4": 2, "i8": 3, "f2": 4, "f4": 5, "f8": 6, "u1": 20, "i1": 21}


def varint(number):
    low, rest = number & 127, number >> 7
    return bytes([low | 128]) + varint(rest) if rest else bytes([low])


def variable(array, *, levels=(), packed=False, claim=None):
    """A LoDTensor's bytes; `claim` is another shape than the array's."""
    shape = array.shape if claim is None else claim
    kind = b"\x08" + varint(KINDS[array.dtype.str[1:] if array.dtype != bool else "?"])
    if packed:
        sizes = b"".join(map(varint, shape))
        desc = kind + b"\x12" + varint(len(sizes)) + sizes
    else:
        desc = kind + b"".join(b"\x10" + varint(size) for size in shape)
    lod = b"".join(struct.pack("<Q", 8 * len(level)) + struct.pack(f"<{len(level)}Q", *level) for level in levels)
    head = struct.pack("<IQ", 0, len(levels)) + lod + struct.pack("<Ii", 0, len(desc)) + desc
    return head + array.tobytes()


WEIGHT = np.arange(24, dtype=np.float32).reshape(2, 3, 2, 2)
FILES = {
    "conv1_weights": variable(WEIGHT),
    "bn_conv1_mean": variable(np.ones(2, np.float32), packed=True),
    "@LR_DECAY_COUNTER@": variable(np.array([7], np.int64)),
}


def check(found):
    assert sorted(found) == sorted(FILES)
    assert np.array_equal(found["conv1_weights"], WEIGHT)
    assert found["@LR_DECAY_COUNTER@"].tolist() == [7]
    assert all(array.flags.writeable for array in found.values())


@pytest.mark.parametrize("kind", KINDS)
def test_every_type_of_number_is_read(kind):
    array = np.array([[0, 1, 1], [1, 0, 0]], dtype=kind)
    for levels in ((), ((0, 2, 3),), ((0, 1), (0, 2, 3))):
        found = read_variable(variable(array, levels=levels))
        assert found.dtype == array.dtype
        assert np.array_equal(found, array)


def test_no_numbers_and_no_dimensions_are_shapes_too():
    assert read_variable(variable(np.zeros((0, 3), np.float32))).shape == (0, 3)
    assert read_variable(variable(np.array(2.5, np.float32))).item() == 2.5


def test_a_folder_gives_variables_by_file_name(tmp_path):
    folder = tmp_path / "ResNet50_pretrained"
    folder.mkdir()
    for name, content in {**FILES, "__model__": b"a program", ".DS_Store": b"noise"}.items():
        (folder / name).write_bytes(content)
    check(read_foreign(folder))


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
@pytest.mark.parametrize("prefix", ["", "stnet_kinetics/", "./weights/stnet/"])
def test_an_archive_of_a_folder_is_read_in_place(tmp_path, mode, prefix):
    path = tmp_path / "archive.bin"
    write_tar(path, {f"{prefix}{name}": content for name, content in FILES.items()}, mode)
    check(read_foreign(path))


def write_tar(path, files, mode="w:gz", change=lambda info: info):
    with tarfile.open(path, mode) as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(change(info), io.BytesIO(content))


def program(names, others=()):
    """A ProgramDesc that declares these persistable variables, and others that are not saved."""

    def field(number, content):
        return varint(number << 3 | 2) + varint(len(content)) + content

    def declared(name, kind, *, persistable):
        return field(3, field(1, name.encode()) + field(2, b"\x08" + varint(kind)) + b"\x18" + varint(persistable))

    block = b"\x08\x00\x10\x00" + b"".join(declared(name, 7, persistable=1) for name in names)
    block += b"".join(declared(name, kind, persistable=persistable) for name, kind, persistable in others)
    return field(1, block) + b"\x20\x01"


@pytest.mark.parametrize("model", ["__model__", "params.pdmodel"])
def test_one_file_of_all_variables_takes_its_names_from_the_program(tmp_path, model):
    path = tmp_path / "params.pdiparams"
    path.write_bytes(b"".join(FILES[name] for name in sorted(FILES)))
    others = [("feed", 9, 1), ("fetch", 10, 1), ("conv1.tmp_0", 7, 0)]
    (tmp_path / model).write_bytes(program(FILES, others))
    check(read_foreign(path))
    (tmp_path / model).write_bytes(program(["conv1_weights"]))
    with pytest.raises(CheckpointError, match=r"3 variables where .* declares 1"):
        read_foreign(path)
    (tmp_path / model).unlink()
    with pytest.raises(CheckpointError, match=r"3 variables without names, and no program beside them.*__model__"):
        read_foreign(path)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (variable(WEIGHT)[:-1], "claims 24 numbers and has 95 bytes"),
        (variable(WEIGHT) + b"x", "1 bytes behind"),
        (variable(WEIGHT, claim=(1 << 40, 1 << 20)), "claims"),
        (variable(WEIGHT, claim=(1 << 63,)), "impossible shape"),
        (variable(WEIGHT, claim=((1 << 64) - 1, 2)), "impossible shape"),
        (variable(WEIGHT, claim=(1,) * 40), "impossible shape"),
        (variable(WEIGHT).replace(b"\x08\x05", b"\x08\x07", 1), "another type"),
        (b"\x01" + variable(WEIGHT)[1:], "no variable"),
        (struct.pack("<IQ", 0, 1 << 60) + bytes(64), "no variable"),
        (struct.pack("<IQQ", 0, 1, 1 << 62) + bytes(64), "cut off"),
        (struct.pack("<IQIi", 0, 0, 0, -5) + bytes(64), "no variable"),
        (struct.pack("<IQIi", 0, 0, 0, 1 << 30) + bytes(64), "no variable"),
        (bytes(200), "no variable"),
        (struct.pack("<IQIi", 0, 0, 0, 4) + b"\x08\x05\x10\x81", "cut off"),
        (struct.pack("<IQIi", 0, 0, 0, 12) + b"\x08\x05\x10" + b"\xff" * 9, "cut off|damaged"),
        (struct.pack("<IQIi", 0, 0, 0, 4) + b"\x08\x05\x1a\x00", "description cannot be read"),
    ],
)
def test_damage_and_huge_claims_are_refused(tmp_path, content, said):
    with pytest.raises(Unreadable, match=said):
        read_variable(content)
    (tmp_path / "conv1_weights").write_bytes(content)
    with pytest.raises(CheckpointError, match="conv1_weights: "):
        read_foreign(tmp_path)


@settings(max_examples=200, deadline=None)
@given(st.integers(0, len(FILES["conv1_weights"]) - 1), st.binary(min_size=1, max_size=4))
def test_a_changed_or_shortened_file_ends_in_numbers_or_a_refusal(place, change):
    good = FILES["conv1_weights"]
    with pytest.raises(Unreadable):
        read_variable(good[:place])
    try:
        found = read_variable(good[:place] + change + good[place + len(change) :])
    except Unreadable:
        return
    assert found.nbytes <= len(good)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=64))
def test_garbage_is_refused(content):
    with pytest.raises(Unreadable):
        read_variable(struct.pack("<IQI", 0, 0, 0) + content + b"\x01")


class TestArchives:
    def test_links_and_ways_out_are_refused(self, tmp_path):
        def link(info):
            info.type, info.linkname, info.size = tarfile.SYMTYPE, "/etc/passwd", 0
            return info

        path = tmp_path / "w.tar.gz"
        write_tar(path, {"conv1_weights": FILES["conv1_weights"]}, change=link)
        with pytest.raises(CheckpointError, match="no plain file"):
            read_foreign(path)
        write_tar(path, {"../../conv1_weights": FILES["conv1_weights"]})
        with pytest.raises(CheckpointError, match="no plain file"):
            read_foreign(path)

    def test_an_archive_that_claims_terabytes_is_refused_unread(self, tmp_path):
        path = tmp_path / "w.tar"
        info = tarfile.TarInfo("conv1_weights")
        info.size = 1 << 42
        path.write_bytes(info.tobuf() + FILES["conv1_weights"])
        with pytest.raises(CheckpointError, match="more than 4 GiB"):
            read_foreign(path)

    def test_cut_off_and_empty_archives_are_refused(self, tmp_path):
        path = tmp_path / "w.tar.gz"
        write_tar(path, FILES)
        path.write_bytes(path.read_bytes()[:-40])
        with pytest.raises(CheckpointError, match="damaged archive"):
            read_foreign(path)
        write_tar(path, {})
        with pytest.raises(CheckpointError, match="without variables"):
            read_foreign(path)
        (tmp_path / "empty").mkdir()
        with pytest.raises(CheckpointError, match="without variables"):
            read_foreign(tmp_path / "empty")
