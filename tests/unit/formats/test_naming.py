"""Ids, splits and look-ups."""

import random
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vtk_cli.errors import DataError, UsageError
from vtk_cli.formats import folders
from vtk_cli.formats.lookup import FrameFolderLookup, VideoLookup
from vtk_cli.formats.naming import MAX_BYTES, make_id, unique_ids
from vtk_cli.formats.splitting import stratified_splits

NAMES = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0"), min_size=1, max_size=300)


@given(st.lists(NAMES, unique_by=lambda name: unicodedata.normalize("NFC", name), max_size=8))
def test_ids_are_unique_and_safe(paths):
    ids = unique_ids(paths, [""] * len(paths))
    assert len({name.casefold() for name in ids}) == len(paths)
    for name in ids:
        assert 0 < len(name.encode()) <= MAX_BYTES
        assert name[0] not in "-."
        assert not set(name) & set("/\\ $&;()[]'\"<>|*?!#~:`\n\t")


@given(st.lists(NAMES, unique=True, min_size=2, max_size=6), st.randoms())
def test_ids_do_not_depend_on_the_order(paths, rng):
    by_path = dict(zip(paths, unique_ids(paths, [""] * len(paths)), strict=True))
    rng.shuffle(paths)
    assert dict(zip(paths, unique_ids(paths, [""] * len(paths)), strict=True)) == by_path


def test_ids_of_usual_names_read_as_the_names():
    assert make_id("Rowing/v_Rowing_g16_c03.avi") == "Rowing__v_Rowing_g16_c03"
    assert make_id("a/x.mp4", "_000010_000020") == "a__x_000010_000020"


def test_same_name_with_other_suffix_case_or_form():
    ids = unique_ids(["a/x.mp4", "a/x.avi", "a/X.mp4", "a/y.mp4"], [""] * 4)
    assert len({name.casefold() for name in ids}) == 4
    assert ids[3] == "a__y"
    assert make_id("caf\u00e9.mp4") == make_id("cafe\u0301.mp4") == "caf\u00e9"


def test_very_long_names_keep_apart():
    ids = unique_ids(["\u6f22" * 300 + "1.mp4", "\u6f22" * 300 + "2.mp4"], ["", ""])
    assert len(set(ids)) == 2
    assert all(len(name.encode()) <= MAX_BYTES for name in ids)


@given(st.lists(st.integers(0, 4), max_size=60), st.floats(0, 0.45), st.floats(0, 0.45), st.integers(0, 3))
def test_splits_are_stratified_and_ignore_the_order(strata, val, test, seed):
    ids = [f"clip{i}" for i in range(len(strata))]
    splits = stratified_splits(ids, strata, val_fraction=val, test_fraction=test, seed=seed)
    order = list(range(len(ids)))
    random.Random(seed).shuffle(order)
    again = stratified_splits(
        [ids[i] for i in order], [strata[i] for i in order], val_fraction=val, test_fraction=test, seed=seed
    )
    assert [splits[i] for i in order] == again
    for stratum in set(strata):
        members = [split for split, s in zip(splits, strata, strict=True) if s == stratum]
        assert "train" in members
        for name, fraction in (("val", val), ("test", test)):
            count = members.count(name)
            assert (count == 0) if fraction == 0 else count <= max(1, round(len(members) * fraction))
            assert count >= 1 or fraction == 0 or len(members) < 3


def test_another_seed_draws_another_division():
    ids = [f"clip{i}" for i in range(50)]
    drawn = [tuple(stratified_splits(ids, [0] * 50, val_fraction=0.2, test_fraction=0.2, seed=s)) for s in (0, 1)]
    assert drawn[0] != drawn[1]
    assert drawn[0].count("val") == drawn[0].count("test") == 10


@pytest.mark.parametrize(("val", "test"), [(0.5, 0.5), (-0.1, 0.1), (1, 0)])
def test_fractions_that_leave_nothing(val, test):
    with pytest.raises(UsageError, match="Lower them"):
        stratified_splits(["a"], [0], val_fraction=val, test_fraction=test, seed=0)


@pytest.fixture
def tree(tmp_path):
    for path in ("train/A/x.mp4", "train/B/x.mp4", "val/A/y.webm", "val/A/v.1.mp4", "._y.webm", "val/A/notes.txt"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(b"x")
    return tmp_path


@pytest.mark.parametrize(
    ("name", "hint", "found"),
    [
        ("train/A/x.mp4", "", "train/A/x.mp4"),
        ("./train//A/x.mp4", "", "train/A/x.mp4"),
        ("val/A/y", "", "val/A/y.webm"),
        ("y", "", "val/A/y.webm"),
        ("y.mp4", "", "val/A/y.webm"),
        ("elsewhere/y.avi", "", "val/A/y.webm"),
        ("v.1", "", "val/A/v.1.mp4"),
        ("x", "B", "train/B/x.mp4"),
    ],
)
def test_lookup(tree, name, hint, found):
    assert VideoLookup(tree).find(name, hint=hint) == (tree / found, "")


def test_lookup_says_why_not(tree):
    lookup = VideoLookup(tree)
    assert "may be train/A/x.mp4 or train/B/x.mp4" in lookup.find("x")[1]
    assert "there is no clip 'z'" in lookup.find("z")[1]
    assert "there is no clip /nowhere/y.mp4" in lookup.find("/nowhere/y.mp4")[1]
    assert lookup.find("n" * 5000)[0] is None
    assert lookup.find("a\0b")[0] is None


def test_lookup_of_frame_folders(tmp_path):
    for name in ("A/v_A_g01/img_00001.jpg", "A/v_B.1/flow_x_00001.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    lookup = FrameFolderLookup(tmp_path)
    assert lookup.find("v_A_g01")[0] == tmp_path / "A/v_A_g01"
    assert lookup.find("A/v_A_g01.avi")[0] == tmp_path / "A/v_A_g01"
    assert lookup.find("v_B.1")[0] == tmp_path / "A/v_B.1"
    assert "no frame folder" in lookup.find("v_C")[1]


def test_class_folders(tree):
    parsed = folders.read(tree)
    assert parsed.classes == ("A", "B")
    assert [(row.path, row.labels, row.splits) for row in parsed.rows] == [
        ("train/A/x.mp4", ("A",), ("train",)),
        ("train/B/x.mp4", ("B",), ("train",)),
        ("val/A/v.1.mp4", ("A",), ("val",)),
        ("val/A/y.webm", ("A",), ("val",)),
    ]
    assert parsed.problems == []


def test_a_class_may_be_called_test_and_clips_may_lie_deeper(tmp_path):
    for path in ("test/x.mp4", "B/deep/er/y.MP4", "b/z.mkv", "stray.mp4", ".hidden/h.mp4"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(b"x")
    (tmp_path / "empty").mkdir()
    parsed = folders.read(tmp_path)
    assert parsed.classes == ("B", "b", "empty", "test")
    assert [row.path for row in parsed.rows] == ["B/deep/er/y.MP4", "b/z.mkv", "test/x.mp4"]
    (problem,) = parsed.problems
    assert problem.file == str(tmp_path / "stray.mp4")


def test_class_folders_that_are_not_there(tmp_path):
    with pytest.raises(DataError, match="cannot be read"):
        folders.read(tmp_path / "absent")
