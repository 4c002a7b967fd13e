"""PyTorch's files, npz and safetensors, and how a file is recognised."""

import argparse
import doctest
import gzip
import io
import pickle
import time
import zipfile

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from vtk_cli.errors import CheckpointError
from vtk_cli.evaluate.readers import protobuf, read_foreign

ZIP = [True, False]


def saved(path, content, zipped=True):
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    return path


@pytest.mark.parametrize("zipped", ZIP)
def test_checkpoints_come_with_what_old_scripts_left_beside_them(tmp_path, zipped):
    content = {
        "epoch": 80,
        "args": argparse.Namespace(lr=0.1, milestones=[1, 2]),
        "best_prec1": np.float64(71.0),
        "history": np.arange(3),
        "cfg": "NUM_GPUS: 8\n",
        "state_dict": {"a": torch.arange(6.0).reshape(2, 3).t(), "b": torch.tensor(3)},
    }
    for named in (b"numpy._core", b"numpy.core"):  # numpy 2's and numpy 1's names
        path = saved(tmp_path / "old.pth.tar", content, zipped)
        if zipped:
            rewrite(path, lambda name, data, named=named: data.replace(b"numpy._core", named))
        else:
            path.write_bytes(path.read_bytes().replace(b"numpy._core", named))
        found = read_foreign(path)
        assert torch.equal(found["state_dict"]["a"], content["state_dict"]["a"])
        assert (found["epoch"], found["cfg"]) == (80, "NUM_GPUS: 8\n")
        assert not isinstance(found["args"], argparse.Namespace)


def rewrite(path, change, compress=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path) as archive:
        entries = [(entry.filename, archive.read(entry)) for entry in archive.infolist()]
    with zipfile.ZipFile(path, "w", compress) as archive:
        for name, data in entries:
            archive.writestr(name, change(name, data))


class Evil:
    def __reduce__(self):
        return (print, ("executed",))


@pytest.mark.parametrize("zipped", ZIP)
def test_nothing_of_an_evil_checkpoint_is_run(tmp_path, capfd, zipped):
    for content in (Evil(), {"state_dict": Evil()}, {"args": argparse.Namespace(x=Evil())}):
        path = saved(tmp_path / "w.pth", content, zipped)
        with pytest.raises(CheckpointError, match=r"a pickle that would run code: it names \S*print") as error:
            read_foreign(path)
        assert "weights_only" not in str(error.value)
    assert "executed" not in capfd.readouterr().out


def test_a_legacy_file_that_claims_more_than_it_has_is_refused_before_there_is_room(tmp_path):
    path = saved(tmp_path / "w.pth", {"a": torch.zeros(1000)}, zipped=False)
    content = path.read_bytes()
    path.write_bytes(content.replace(b"M\xe8\x03", b"\x8a\x05" + (10_000_000_000).to_bytes(5, "little")))
    with pytest.raises(CheckpointError, match="claims 10000000000 numbers"):
        read_foreign(path)


def test_a_zip_that_claims_more_than_it_has_is_refused(tmp_path):
    path = saved(tmp_path / "w.pth", {"a": torch.zeros(1000)})
    rewrite(path, lambda _name, data: data.replace(b"M\xe8\x03", b"J\xff\xff\xff\x7f"))
    with pytest.raises(CheckpointError, match="found: "):
        read_foreign(path)


def test_a_zip_that_is_packed_could_be_a_bomb(tmp_path):
    path = saved(tmp_path / "w.pth", {"a": torch.zeros(100_000)})
    rewrite(path, lambda _name, data: data, zipfile.ZIP_DEFLATED)
    with pytest.raises(CheckpointError, match=r"which torch.save never writes"):
        read_foreign(path)


@pytest.mark.parametrize("zipped", ZIP)
def test_a_checkpoint_that_is_cut_off_is_refused(tmp_path, zipped):
    content = saved(tmp_path / "w.pth", {"a": torch.arange(500.0), "b": {"c": 1}}, zipped).read_bytes()
    for length in range(1, len(content) - 1, 97):
        (tmp_path / "cut.pth").write_bytes(content[:length])
        with pytest.raises(CheckpointError, match=r"cut\.pth"):
            read_foreign(tmp_path / "cut.pth")


def test_npz_and_safetensors_are_read_too(tmp_path):
    np.savez(
        tmp_path / "a", weight=np.ones(3), turned=np.asfortranarray(np.arange(6).reshape(2, 3)), big=np.ones(2, ">f4")
    )
    np.savez_compressed(tmp_path / "b", weight=np.ones(3))
    save_file({"weight": torch.ones(3)}, tmp_path / "c")
    for name in ("a.npz", "b.npz", "c"):
        assert np.asarray(read_foreign(tmp_path / name)["weight"]).tolist() == [1, 1, 1]
    assert read_foreign(tmp_path / "a.npz")["turned"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert read_foreign(tmp_path / "a.npz")["big"].dtype.isnative


def npy(header, data=b""):
    text = header.encode()
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + data


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (npy("{'descr': '<f4', 'fortran_order': False, 'shape': (1099511627776,), }\n"), "claims 4398046511104 bytes"),
        (npy("{'descr': '|O', 'fortran_order': False, 'shape': (1,), }\n", pickle.dumps(Evil())), "else than numbers"),
        (npy("{'descr': '<U9', 'fortran_order': False, 'shape': (1,), }\n", b"x" * 36), "else than numbers"),
        (npy("__import__('os').system('echo executed')\n"), "found: "),
        (b"no array", "found: "),
        (npy("{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }\n", b"x" * 7), "claims 8 bytes"),
    ],
)
def test_arrays_that_are_none_are_refused(tmp_path, capfd, content, said):
    path = tmp_path / "w.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.npy", content)
    with pytest.raises(CheckpointError, match=said):
        read_foreign(path)
    assert "executed" not in capfd.readouterr().out


def test_a_bomb_of_zeros_is_refused_unpacked(tmp_path):
    path = tmp_path / "w.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.npy", npy("{'descr': '<f4', 'fortran_order': False, 'shape': (0,), }\n"))
    content = path.read_bytes()
    at = content.index(b"PK\x01\x02") + 24  # the size after unpacking, in the central directory
    path.write_bytes(content[:at] + b"\xfe\xff\xff\xff" + content[at + 4 :])
    started = time.perf_counter()
    with pytest.raises(CheckpointError, match="found: "):
        read_foreign(path)
    assert time.perf_counter() - started < 2


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"<html>not found</html>", "another format"),
        (b"", "empty file"),
        (b"PK\x03\x04 and no more", "found: "),
        (gzip.compress(b"no tar", mtime=0), "damaged archive"),
        (b"conv1: 3x3\n", "found: "),
        (pickle.dumps([np.ones(3)]), "tensors by name, found list"),
        ((99).to_bytes(8, "little") + b"{" + b"}" * 200, "found: "),
    ],
)
def test_what_is_no_checkpoint_is_explained(tmp_path, content, said):
    path = tmp_path / "w.bin"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=said):
        read_foreign(path)


def test_suffixes_do_not_matter(tmp_path):
    buffer = io.BytesIO()
    np.savez(buffer, a=np.ones(2))
    (tmp_path / "w.pth").write_bytes(buffer.getvalue())
    assert read_foreign(tmp_path / "w.pth")["a"].tolist() == [1, 1]
    saved(tmp_path / "w.npz", {"a": torch.ones(2)})
    assert read_foreign(tmp_path / "w.npz")["a"].tolist() == [1, 1]


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(CheckpointError, match=r"There is no file at .*gone"):
        read_foreign(tmp_path / "gone.pth")


def test_examples_in_docstrings():
    assert doctest.testmod(protobuf).failed == 0
