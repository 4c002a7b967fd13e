"""Every registered dataset keeps the contract that plugin authors test theirs with."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from host import KINETICS, kinetics

from vtk_cli import registry
from vtk_cli.api.datasets import DatasetRecipe, Source, VideoRow
from vtk_cli.testing.datasets import DatasetTests

NAMES = registry.names("vtk.datasets")


def demo(raw: Path) -> None:
    lines = ["path,label,split", *(f"{split}/{split}-0000.mp4,pan-left,{split}" for split in ("train", "val", "test"))]
    (raw / "annotation.csv").write_text("\n".join(lines) + "\n")


def kinetics400(raw: Path) -> None:
    (raw / "annotations").mkdir()
    for split in ("train", "val", "test"):
        (raw / "annotations" / f"{split}.csv").write_bytes(kinetics()[f"{KINETICS}400/annotations/{split}.csv"])


def ucf101(raw: Path) -> None:
    folder = raw / "UCF101TrainTestSplits-RecognitionTask" / "ucfTrainTestlist"
    folder.mkdir(parents=True)
    for number in (1, 2, 3):
        (folder / f"trainlist0{number}.txt").write_text(f"ApplyEyeMakeup/v_ApplyEyeMakeup_g0{number}_c01.avi 1\r\n")
        other = number % 3 + 1
        (folder / f"testlist0{number}.txt").write_text(f"ApplyEyeMakeup/v_ApplyEyeMakeup_g0{other}_c01.avi\r\n")


def hmdb51(raw: Path) -> None:
    folder = raw / "test_train_splits" / "testTrainMulti_7030_splits"
    folder.mkdir(parents=True)
    for name in registry.load("vtk.datasets", "hmdb51").classes():
        for number in (1, 2, 3):
            clips = (f"{name} #[a] (b)_1.avi 1 ", f"{name}_2.avi 2 ", f"{name}_3.avi 0 ")
            (folder / f"{name}_test_split{number}.txt").write_text("\n".join(clips) + "\n")


SAMPLES: dict[str, Callable[[Path], None]] = {
    "demo": demo,
    "kinetics400": kinetics400,
    "ucf101": ucf101,
    "hmdb51": hmdb51,
}
"""Name -> what writes a few annotation lines; a new dataset must add one here."""


class TestEveryDataset(DatasetTests):
    @pytest.fixture(autouse=True, params=NAMES)
    def _named(self, request: pytest.FixtureRequest) -> None:
        self.recipe = registry.load("vtk.datasets", request.param)
        self.sample = SAMPLES[request.param]


def test_the_first_party_is_there() -> None:
    assert {"demo", "kinetics400", "ucf101", "hmdb51"} <= set(NAMES)


@pytest.mark.parametrize(("name", "count"), [("kinetics400", 400), ("ucf101", 101), ("hmdb51", 51)])
def test_the_official_class_lists(name: str, count: int, shared: Path) -> None:
    classes = registry.load("vtk.datasets", name).classes()
    assert len(classes) == count
    assert list(classes) == (shared / "facts" / "labels" / f"{name}.txt").read_text().splitlines()


def test_where_orders_differ_from_sorted() -> None:
    kinetics_classes = registry.load("vtk.datasets", "kinetics400").classes()
    assert list(kinetics_classes) == sorted(kinetics_classes)
    ucf = registry.load("vtk.datasets", "ucf101").classes()
    assert ucf[34:36] == ("Hammering", "HammerThrow")
    assert ucf[46:48] == ("JumpingJack", "JumpRope")
    assert registry.load("vtk.datasets", "hmdb51").classes()[20:22] == ("kick", "kick_ball")


# The contract itself: each of these recipes breaks one rule, and the rule's test must notice.

GOOD: DatasetRecipe = registry.load("vtk.datasets", "kinetics400")


def row(**changes: object) -> VideoRow:
    return VideoRow(**{"id": "a", "path": "a.mp4", "labels": (0,), "splits": ("train",), **changes})


def only(*rows: VideoRow) -> DatasetRecipe:
    return replace(GOOD, rows=lambda _raw, _splits: list(rows))


def source(**changes: object) -> DatasetRecipe:
    given = {"url": GOOD.hosts[0] + "a.csv", "path": "a.csv", "kind": "annotation", **changes}
    return replace(GOOD, sources=lambda _splits: [Source(**given)])


@pytest.mark.parametrize(
    ("recipe", "rule"),
    [
        (replace(GOOD, classes=lambda: ("a", "a")), "test_classes_differ_and_keep_their_order"),
        (replace(GOOD, train_split="training"), "test_the_roles_are_splits"),
        (replace(GOOD, notes=("no full stop",)), "test_words_for_people"),
        (source(url="ftp://host/a"), "test_sources_can_be_fetched"),
        (source(url="https://elsewhere/a"), "test_sources_can_be_fetched"),
        (source(sha256="abc"), "test_sources_can_be_fetched"),
        (source(path="../a.csv"), "test_sources_are_kept_apart_below_raw"),
        (source(kind="archive"), "test_an_annotation_is_fetched_or_the_set_is_made"),
    ],
)
def test_a_broken_recipe_is_noticed(recipe: DatasetRecipe, rule: str) -> None:
    contract = DatasetTests()
    contract.recipe = recipe
    with pytest.raises(AssertionError):
        getattr(contract, rule)()


@pytest.mark.parametrize(
    "rows",
    [
        [row(), row()],
        [row(id="a/b")],
        [row(path="../a.mp4")],
        [row(labels=(400,))],
        [row(splits=())],
        [row(splits=("training",))],
    ],
)
def test_broken_rows_are_noticed(rows: list[VideoRow]) -> None:
    contract = DatasetTests()
    contract.recipe = only(*rows)
    with pytest.raises(AssertionError):
        contract.test_rows_are_usable(rows)
