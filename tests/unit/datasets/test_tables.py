from pathlib import Path

import pytest

from vtk_cli.api.datasets import VideoRow
from vtk_cli.datasets.tables import class_number, merge, read_csv, read_lines
from vtk_cli.errors import DataError


def write(tmp_path: Path, content: bytes) -> Path:
    path = tmp_path / "t.csv"
    path.write_bytes(content)
    return path


def test_lines_of_any_system_with_their_numbers(tmp_path: Path) -> None:
    path = write(tmp_path, b"\xef\xbb\xbfa\r\n\r\nb\n")
    assert list(read_lines(path)) == [(f"{path}, line 1", "a"), (f"{path}, line 3", "b")]


def test_quoted_names_with_commas(tmp_path: Path) -> None:
    path = write(tmp_path, b'label,id\n"a, (b)",1\n')
    assert list(read_csv(path, ["id"])) == [(f"{path}, line 2", {"label": "a, (b)", "id": "1"})]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "columns id, found nothing"),
        (b"<html>sign in</html>\n", "columns id, found <html>"),
        (b"label,id\nx\n", "line 2: should have 2 fields, found 1"),
        (b"\xff\xfe\n", "should be text"),
    ],
)
def test_what_is_no_table_is_refused_with_its_place(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(DataError, match=message):
        list(read_csv(write(tmp_path, content), ["id"]))


def test_an_absent_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"should be there.*vtk download"):
        list(read_lines(tmp_path / "absent"))


def test_a_misspelt_class(tmp_path: Path) -> None:
    assert class_number("t, line 2", "wave", {"wave": 3}) == 3
    with pytest.raises(DataError, match=r't, line 2: .*Did you mean "wave"'):
        class_number("t, line 2", "wavee", {"wave": 3})


def test_rows_of_one_id_become_one() -> None:
    def row(labels: tuple[int, ...], split: str) -> VideoRow:
        return VideoRow(id="a", path="a.mp4", labels=labels, splits=(split,))

    assert merge([row((), "train"), row((2,), "test"), row((2,), "train")]) == [
        VideoRow(id="a", path="a.mp4", labels=(2,), splits=("train", "test"))
    ]
