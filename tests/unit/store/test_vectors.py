import json
from dataclasses import replace

import numpy as np
import pytest
import toy_sequence

from vtk_cli.api.stores import StoreMeta
from vtk_cli.errors import StoreError
from vtk_cli.store.lmdb_store import StoreReader
from vtk_cli.store.meta import create_store, meta_of, meta_values, read_meta
from vtk_cli.store.vectors import pack_vectors, unpack_vectors, vector_bytes
from vtk_cli.workspace import DatasetDir

TWO = (("rgb", 4), ("audio", 2))


@pytest.mark.parametrize("dtype", ["uint8", "float16", "float32"])
def test_vectors_come_back_as_they_went_in(tmp_path, dtype):
    meta = toy_sequence.meta(dtype, TWO)
    dataset = DatasetDir(tmp_path)
    name = toy_sequence.fill(dataset, ["a", "b"], meta)
    with StoreReader(dataset.store(name)) as reader:
        assert reader.meta == meta
        expected = toy_sequence.vectors("a", meta)
        assert reader.num_frames("a") == len(expected)
        assert len(reader.read("a", [0])[0]) == vector_bytes(meta)
        found = unpack_vectors(reader.read("a", [len(expected) - 1, 0, 0]), meta)
    assert found.dtype == np.dtype(dtype)
    assert np.array_equal(found, expected[[len(expected) - 1, 0, 0]])
    assert found.flags.writeable


@pytest.mark.parametrize(
    ("dtype", "feature", "said"),
    [
        ("float16", np.zeros((2, 5), np.float32), r"vectors of 6 numbers, found the shape \(2, 5\)"),
        ("float16", np.zeros((0, 6), np.float32), r"found the shape \(0, 6\)"),
        ("uint8", np.zeros((1, 6), np.float32), "holds uint8, found float32"),
        ("float32", np.zeros((1, 6), np.uint8), "holds float32, found uint8"),
        ("float16", np.full((1, 6), 70_000, np.float32), "more than float16 holds"),
        ("float32", np.full((1, 6), np.nan, np.float32), "not finite"),
    ],
)
def test_what_a_store_cannot_hold_is_refused(dtype, feature, said):
    with pytest.raises(StoreError, match=said):
        pack_vectors(feature, toy_sequence.meta(dtype, TWO))


def test_a_vector_of_another_length_is_damage():
    with pytest.raises(StoreError, match="6 bytes, found 5"):
        unpack_vectors([memoryview(b"123456"), memoryview(b"12345")], toy_sequence.meta("uint8", TWO))


ORIGIN = {"model": "tsn", "sha256": "ab", "stride": 16, "run": "r", "file": "/a/b"}


def test_a_meta_says_only_what_its_modality_has(tmp_path):
    meta = toy_sequence.meta("float16", TWO, origin=ORIGIN)
    create_store(tmp_path / "s", meta)
    assert read_meta(tmp_path / "s") == meta
    values = meta_values(meta)
    assert meta_of(values) == meta
    assert set(values) == {"version", "modality", "codec", "shards", "streams", "dtype", "origin"}
    frames = meta_values(StoreMeta(modality="rgb", short_side=64, quality=95, shards=1))
    assert not {"streams", "dtype", "origin"} & set(frames)
    assert frames["short_side"] == 64


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"streams": (("rgb", 4),)}, "streams"),
        ({"dtype": "float32"}, "dtype 'float16' where 'float32'"),
        ({"origin": {**ORIGIN, "sha256": "cd"}}, "sha256 'ab' where 'cd'"),
        ({"origin": {**ORIGIN, "stride": 8}}, "stride 16 where 8"),
    ],
)
def test_features_of_another_kind_are_not_mixed(tmp_path, change, said):
    meta = toy_sequence.meta("float16", TWO, origin=ORIGIN)
    create_store(tmp_path / "s", meta)
    with pytest.raises(StoreError, match=f"{said}.*--as"):
        create_store(tmp_path / "s", replace(meta, **change))


def test_weights_that_moved_are_the_same_weights(tmp_path):
    meta = toy_sequence.meta("float16", TWO, origin=ORIGIN)
    create_store(tmp_path / "s", meta)
    assert create_store(tmp_path / "s", replace(meta, origin={**ORIGIN, "file": "/c", "run": ""})) == meta


@pytest.mark.parametrize("change", [{"streams": ()}, {"streams": (("a", 0),)}, {"dtype": ""}, {"streams": TWO + TWO}])
def test_an_impossible_meta_is_damage(tmp_path, change):
    create_store(tmp_path / "good", toy_sequence.meta())
    (tmp_path / "bad").mkdir()
    text = (tmp_path / "good" / "meta.json").read_text()
    (tmp_path / "bad" / "meta.json").write_text(json.dumps({**json.loads(text), **change}))
    with pytest.raises(StoreError, match="is damaged"):
        read_meta(tmp_path / "bad")
