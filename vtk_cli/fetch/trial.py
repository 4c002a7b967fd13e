"""Choosing the clips of `--limit N`: a small set that trains and tests, at the price of few archives."""

from collections import Counter
from collections.abc import Sequence

from vtk_cli.api.datasets import VideoRow

_TRAIN_SHARE = 0.6
_CLASSES = 10
"""A split's clips come from this many classes or more, if there are so many."""


class Trial:
    """Takes clips as they turn up, until each split has its share.

    Six tenths of the clips are for training, the rest is divided among the other splits. Of one class a split takes a
    tenth of its clips at most (more where there are fewer classes): an archive that is sorted by class would otherwise
    give a single one.
    """

    def __init__(self, rows: Sequence[VideoRow], splits: Sequence[str], limit: int) -> None:
        """`splits` begins with the one for training."""
        self._rows = {row.path: row for row in rows}
        self._shares = shares(splits, limit)
        self._num_classes = max(1, min(_CLASSES, len({row.labels for row in rows})))
        self._taken: dict[str, VideoRow] = {}
        self._counts: Counter[str] = Counter()
        self._classes: Counter[tuple[str, tuple[int, ...]]] = Counter()

    @property
    def rows(self) -> list[VideoRow]:
        """The clips that were taken, in the annotation's order."""
        return [row for path, row in self._rows.items() if path in self._taken]

    def wants(self, split: str) -> bool:
        """Whether clips are missing of this split; of any, where it is empty."""
        if split and split not in self._shares:
            return False
        return any(self._counts[name] < share for name, share in self._shares.items() if split in ("", name))

    def accept(self, path: str) -> bool:
        """Take this clip if it is wanted."""
        if path in self._taken:
            return True
        row = self._rows.get(path)
        split = next((name for name in row.splits if name in self._shares), None) if row else None
        if row is None or split is None:
            return False
        share = self._shares[split]
        most_per_class = max(1, -(-share // self._num_classes))
        if self._counts[split] >= share or self._classes[split, row.labels] >= most_per_class:
            return False
        self._taken[path] = row
        self._counts[split] += 1
        self._classes[split, row.labels] += 1
        return True


def shares(splits: Sequence[str], limit: int) -> dict[str, int]:
    """How many of `limit` clips each split gets.

    >>> shares(["train", "val", "test"], 20)
    {'train': 12, 'val': 4, 'test': 4}
    >>> shares(["train1", "test1"], 5)
    {'train1': 3, 'test1': 2}
    >>> shares(["val"], 7), shares(["train", "val"], 1)
    ({'val': 7}, {'train': 1, 'val': 0})
    """
    if len(splits) == 1:
        return {splits[0]: limit}
    train = max(1, round(limit * _TRAIN_SHARE))
    rest, over = divmod(limit - train, len(splits) - 1)
    others = {name: rest + (number < over) for number, name in enumerate(splits[1:])}
    return {splits[0]: train, **others}
