"""The parts that all readers share."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vtk_cli.errors import DataError
from vtk_cli.formats.rows import entries, numbered_lines, read_text, split_of, trailing_numbers, whole_number

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(), JSON, max_size=6), st.sampled_from([None, 1]))
def test_entries_gives_an_objects_members_with_their_lines(tmp_path_factory, value, indent):
    text = json.dumps(value, indent=indent)
    found = list(entries(tmp_path_factory.getbasetemp() / "x.json", text))
    assert {key: member for _, key, member in found} == value
    lines = text.split("\n")
    for line, key, _ in found:
        assert json.dumps(key) in lines[line - 1]


@given(st.lists(JSON, max_size=6))
def test_entries_gives_an_arrays_members(tmp_path_factory, value):
    found = entries(tmp_path_factory.getbasetemp() / "x.json", json.dumps({"a": {"b": value}}), "a", "b")
    assert [member for _, _, member in found] == value


@given(st.text())
def test_entries_refuses_what_is_no_json(tmp_path_factory, text):
    try:
        list(entries(tmp_path_factory.getbasetemp() / "x.json", text))
    except DataError:
        return
    json.loads(text)


def test_entries_keeps_both_of_equal_keys(tmp_path):
    assert [key for _, key, _ in entries(tmp_path / "x", '{"a": 1, "a": 2}')] == ["a", "a"]


def test_deep_nesting_is_an_error_not_a_crash(tmp_path):
    with pytest.raises(DataError):
        list(entries(tmp_path / "x", "[" * 100_000))


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"a\0b 1", b"\x00\x00\x00\x18ftypmp42\x81"])
def test_read_text_refuses_bytes(tmp_path, content):
    (tmp_path / "list.txt").write_bytes(content)
    with pytest.raises(DataError, match=r"list\.txt"):
        read_text(tmp_path / "list.txt")


def test_read_text_of_a_folder_and_of_nothing(tmp_path):
    with pytest.raises(DataError, match="Check the path"):
        read_text(tmp_path)
    with pytest.raises(DataError, match="No such file"):
        read_text(tmp_path / "absent")


def test_line_ends_bom_and_blank_lines(tmp_path):
    (tmp_path / "l").write_bytes(b"\xef\xbb\xbfa 1 \r\n\r\n  b 2\t\rc 3\n\x0cd 4")
    assert list(numbered_lines(read_text(tmp_path / "l"))) == [(1, "a 1"), (3, "b 2"), (4, "c 3"), (5, "d 4")]


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("kinetics400_train_list_videos.txt", "train"),
        ("ucf101_val_split_1_rawframes.txt", "val"),
        ("something-something-v2-validation.json", "val"),
        ("testlist01.txt", "test"),
        ("validate.csv", "val"),
        ("trainval.txt", ""),
        ("train2.txt", "train2"),
        ("contest.csv", ""),
        ("train_test.txt", ""),
        ("TRAIN.csv", "train"),
    ],
)
def test_split_of(name, split):
    assert split_of(name) == split


@given(st.text())
def test_whole_number_takes_only_plain_decimals(text):
    found = whole_number(text)
    if found is not None:
        assert int(text) == found
        assert text.isascii()


def test_the_first_field_is_never_a_number():
    assert trailing_numbers(["1", "2", "3"]) == 2
    assert trailing_numbers(["1"]) == 0
    assert trailing_numbers(["a", "1", "2", "3"], most=2) == 2
