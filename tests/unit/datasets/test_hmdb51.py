from pathlib import Path

import pytest

from vtk_cli.datasets.hmdb51 import RECIPE
from vtk_cli.errors import DataError

ODD = "#20_Rhythm_clap_u_nm_np1_fr_goo_0 (x) [a]&+;~@!"


def lists(tmp_path: Path, **texts: str) -> Path:
    folder = tmp_path / "test_train_splits" / "testTrainMulti_7030_splits"
    folder.mkdir(parents=True)
    for name in RECIPE.classes():
        for division in (1, 2, 3):
            (folder / f"{name}_test_split{division}.txt").write_text(texts.get(f"{name}{division}", ""))
    return tmp_path


def test_codes_and_names_with_every_character(tmp_path: Path) -> None:
    raw = lists(
        tmp_path, clap1=f"{ODD}.avi 1 \nb.avi 2 \nc.avi 0 \n", clap2=f"{ODD}.avi 2 \nb.avi 0 \n", wave1="w.avi 1 \n"
    )
    rows = {row.id: row for row in RECIPE.rows(raw, RECIPE.splits)}
    assert set(rows) == {ODD, "b", "w"}
    assert rows[ODD].splits == ("train1", "test2")
    assert rows[ODD].path == f"clap/{ODD}.avi"
    assert rows["b"].splits == ("test1",)
    assert RECIPE.classes()[rows["w"].labels[0]] == "wave"
    assert [row.id for row in RECIPE.rows(raw, ["test2"])] == [ODD]


@pytest.mark.parametrize("line", ["a.avi 3 ", "a.avi", "a.mp4 1"])
def test_a_wrong_line_is_named(tmp_path: Path, line: str) -> None:
    with pytest.raises(DataError, match=r"clap_test_split1.txt, line 1: should be"):
        list(RECIPE.rows(lists(tmp_path, clap1=line), ["train1"]))


@pytest.mark.parametrize(
    ("member", "path"),
    [
        (f"clap/{ODD}.avi", f"clap/{ODD}.avi"),
        ("hmdb51_org/kick_ball/x.avi", "kick_ball/x.avi"),
        ("clap/._x.avi", None),
        ("x.avi", None),
        ("nothing/x.avi", None),
        ("clap.rar", None),
    ],
)
def test_members(member: str, path: str | None) -> None:
    assert RECIPE.clip_path(member) == path
