from pathlib import Path

import pytest

from vtk_cli.datasets.ucf101 import RECIPE
from vtk_cli.errors import DataError


def lists(tmp_path: Path, **texts: str) -> Path:
    folder = tmp_path / "UCF101TrainTestSplits-RecognitionTask" / "ucfTrainTestlist"
    folder.mkdir(parents=True)
    for name, text in texts.items():
        (folder / f"{name}.txt").write_bytes(text.encode())
    return tmp_path


def test_the_lists_of_two_divisions(tmp_path: Path) -> None:
    raw = lists(
        tmp_path,
        trainlist01="ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01.avi 1\r\nHandstandPushups/v_HandStandPushups_g08_c01.avi 37\r\n",
        testlist01="YoYo/v_YoYo_g01_c01.avi\n",
        trainlist02="YoYo/v_YoYo_g01_c01.avi 101\n",
        testlist02="ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01.avi\n",
    )
    rows = {row.id: row for row in RECIPE.rows(raw, ["train1", "test1", "train2", "test2"])}
    assert rows["v_ApplyEyeMakeup_g08_c01"].splits == ("train1", "test2")
    assert rows["v_YoYo_g01_c01"].splits == ("test1", "train2")
    assert rows["v_YoYo_g01_c01"].labels == (100,)
    odd = rows["v_HandstandPushups_g08_c01"]
    assert (odd.path, odd.labels) == ("HandstandPushups/v_HandstandPushups_g08_c01.avi", (36,))
    assert [row.id for row in RECIPE.rows(raw, ["test1"])] == ["v_YoYo_g01_c01"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01.avi 2", "should have class 1, found 2"),
        ("Nothing/v_Nothing_g08_c01.avi 2", "should name a class, found 'Nothing'"),
        ("ApplyEyeMakeup.avi 1", "should name Class/v_Class"),
    ],
)
def test_a_wrong_line_is_named(tmp_path: Path, line: str, message: str) -> None:
    with pytest.raises(DataError, match=rf"line 1: .*{message}"):
        list(RECIPE.rows(lists(tmp_path, trainlist01=line), ["train1"]))


@pytest.mark.parametrize(
    ("member", "path"),
    [
        ("UCF101/v_ApplyEyeMakeup_g01_c01.avi", "ApplyEyeMakeup/v_ApplyEyeMakeup_g01_c01.avi"),
        ("UCF-101/ApplyEyeMakeup/v_ApplyEyeMakeup_g01_c01.avi", "ApplyEyeMakeup/v_ApplyEyeMakeup_g01_c01.avi"),
        ("UCF-101/HandstandPushups/v_HandStandPushups_g25_c07.avi", "HandstandPushups/v_HandstandPushups_g25_c07.avi"),
        ("UCF101/v_HandstandPushups_g25_c07.avi", "HandstandPushups/v_HandstandPushups_g25_c07.avi"),
        ("UCF101/._v_YoYo_g01_c01.avi", None),
        ("UCF101/readme.txt", None),
    ],
)
def test_one_spelling_for_every_archive(member: str, path: str | None) -> None:
    assert RECIPE.clip_path(member) == path
