from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from vtk_cli.api.datasets import VideoRow
from vtk_cli.fetch.trial import Trial, shares


def rows(per_class: int, classes: int, splits: tuple[str, ...]) -> list[VideoRow]:
    return [
        VideoRow(id=f"{s}-{c}-{n}", path=f"{s}/{c}/{n}.mp4", labels=(c,), splits=(s,))
        for s in splits
        for c in range(classes)
        for n in range(per_class)
    ]


@given(st.integers(1, 5), st.integers(1, 500))
def test_shares_add_up(num_splits: int, limit: int) -> None:
    found = shares([f"s{n}" for n in range(num_splits)], limit)
    assert sum(found.values()) == limit
    assert min(found.values()) >= 0
    assert found["s0"] == max(found.values())


@given(st.integers(1, 60), st.randoms(use_true_random=False))
def test_never_more_than_asked_in_any_order(limit: int, random: object) -> None:
    every = rows(9, 12, ("train", "val"))
    trial = Trial(every, ["train", "val"], limit)
    offered = [row.path for row in every] + ["not/in/the/annotation.mp4"]
    random.shuffle(offered)  # type: ignore[attr-defined]
    taken = [path for path in offered if trial.accept(path)]
    assert len(taken) <= limit
    assert {row.path for row in trial.rows} == set(taken)
    assert [row for row in every if row.path in taken] == trial.rows
    assert all(trial.accept(path) for path in taken)


def test_a_sorted_archive_gives_several_classes() -> None:
    every = rows(100, 20, ("train", "test"))
    trial = Trial(every, ["train", "test"], 100)
    for row in every:
        trial.accept(row.path)
    counts = Counter((row.splits[0], row.labels) for row in trial.rows)
    assert len(trial.rows) == 100
    assert len({labels for split, labels in counts if split == "train"}) == 10
    assert {labels for split, labels in counts if split == "test"} == {labels for s, labels in counts if s == "train"}
    assert not trial.wants("train")
    assert not trial.wants("")


def test_what_is_wanted() -> None:
    every = rows(5, 2, ("train", "val"))
    trial = Trial(every, ["train", "val"], 4)
    assert trial.wants("train")
    assert trial.wants("")
    assert not trial.wants("test")
    assert not trial.accept("test/0/0.mp4")
    for row in every[:5]:
        trial.accept(row.path)
    assert [row.labels for row in trial.rows] == [(0,)]  # one per class, since a tenth of two is less
    assert trial.wants("train")
