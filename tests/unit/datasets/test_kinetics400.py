from pathlib import Path

import pytest
from host import CLASSES, KINETICS, clip_id, kinetics

from vtk_cli.datasets.kinetics400 import RECIPE
from vtk_cli.errors import DataError


def annotate(tmp_path: Path, split: str, text: str) -> Path:
    path = tmp_path / "annotations" / f"{split}.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return tmp_path


def test_the_rows_of_the_official_layout(tmp_path: Path) -> None:
    files = kinetics()
    for split in RECIPE.splits:
        annotate(tmp_path, split, files[f"{KINETICS}400/annotations/{split}.csv"].decode())
    rows = list(RECIPE.rows(tmp_path, ["train", "val"]))
    assert [row.splits for row in rows].count(("train",)) == 13
    assert [row.splits for row in rows].count(("val",)) == 12
    first = rows[0]
    assert first.id == clip_id("train", 0)
    assert first.id.startswith("-")
    assert first.path == f"{first.id}.mp4"
    assert (first.start_seconds, first.end_seconds) == (None, None)  # the clips are cut already
    assert [RECIPE.classes()[row.labels[0]] for row in rows[:4]] == list(CLASSES)


def test_labels_in_doubled_quotes_and_none_at_all(tmp_path: Path) -> None:
    annotate(tmp_path, "val", 'label,youtube_id,time_start,time_end,split\n"""using segway""",R6llTwEh07w,0,10,val\n')
    annotate(tmp_path, "test", "youtube_id,time_start,time_end,split\n--6bJUbfpnQ,17,27,test\n")
    known, unknown = RECIPE.rows(tmp_path, ["val", "test"])
    assert known.id == "R6llTwEh07w_000000_000010"
    assert RECIPE.classes()[known.labels[0]] == "using segway"
    assert unknown.id == "--6bJUbfpnQ_000017_000027"
    assert unknown.labels == ()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("juggling bals,x,0,10,val", r'line 2: .*Did you mean "juggling balls"'),
        ("abseiling,x,zero,10,val", "line 2: should have times"),
        ("abseiling,x", "line 2: should have 5 fields, found 2"),
    ],
)
def test_a_wrong_line_is_named(tmp_path: Path, line: str, message: str) -> None:
    annotate(tmp_path, "val", f"label,youtube_id,time_start,time_end,split\n{line}\n")
    with pytest.raises(DataError, match=message):
        list(RECIPE.rows(tmp_path, ["val"]))


@pytest.mark.parametrize(
    ("member", "path"),
    [
        ("./0wR5jVB-WPk_000417_000427.mp4", "0wR5jVB-WPk_000417_000427.mp4"),
        ("home/a/b/c/d/e/f/-x_000001_000011.mp4", "-x_000001_000011.mp4"),
        ("replacement_for_corrupted_k400/x_000001_000011.mp4", "x_000001_000011.mp4"),
        ("./._x_000001_000011.mp4", None),
        ("readme.txt", None),
    ],
)
def test_members(member: str, path: str | None) -> None:
    assert RECIPE.clip_path(member) == path


def test_the_replacements_belong_to_train() -> None:
    assert [source.replaces for source in RECIPE.sources(["train"])] == [False, False, True]
    assert len(RECIPE.sources(["val"])) == 2
    assert len(RECIPE.sources(["train", "val", "test"])) == 7
