"""Late fusion: the weighted mean of the scores that several streams give the same videos.

    fused_BK = sum over streams s of  weight_s / (sum of the weights) * scores_s_BK

TSN adds scores before the softmax, RGB to flow as 1 to 1.5 (temporal-segment-networks README.md and
tools/eval_scores.py, `--score_weights 1 1.5`); MMAction2's tools/analysis_tools/report_accuracy.py adds what was
saved, after a softmax where that is asked for. Dividing by the sum of the weights changes no ranking, and leaves fused
logits and probabilities what they are, so that they can be fused again.

S streams  B videos  K classes
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vtk_cli.errors import DataError, UsageError
from vtk_cli.evaluate.predict import Scores, load_metric
from vtk_cli.evaluate.scores_file import Kind, ScoresFile

NAMED = 3
"""Videos or classes that a message names."""
MOST_SEARCHED = 6
"""Streams of a weight search; the grid of more has too many points."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Aligned:
    """Streams that speak of the same videos and classes in the same order: the first stream's."""

    names: tuple[str, ...]
    ids: tuple[str, ...]
    classes: tuple[str, ...]
    scores_SBK: NDArray[np.float64]
    labels: NDArray[np.int64]
    kind: Kind
    reordered: tuple[str, ...] = ()
    """Streams whose classes stood in another order."""
    left_out: tuple[int, ...] = ()
    """Of each stream, videos that another one lacks."""

    def stream(self, number: int) -> Scores:
        """One stream alone."""
        return Scores(self.ids, self.scores_SBK[number], self.labels)

    def fused(self, weights: Sequence[float]) -> Scores:
        """The weighted mean, rounded as a scores file keeps it; raises UsageError, see `shares`."""
        mean_BK = np.tensordot(shares(weights, len(self.names)), self.scores_SBK, 1)
        return Scores(self.ids, mean_BK.astype(np.float32).astype(np.float64), self.labels)


def shares(weights: Sequence[float], streams: int) -> NDArray[np.float64]:
    """share_S: the weights over their sum.

    Raises:
        UsageError: not one per stream, negative, not finite, or all zero.

    >>> shares((1, 1.5), 2).tolist()
    [0.4, 0.6]
    """
    if len(weights) != streams:
        raise UsageError(
            f"Fusion takes one weight per stream, found {len(weights)} for {streams}. Write them with commas between, "
            "in the order of the streams: --weights 1,1.5."
        )
    total = sum(weights)
    if min(weights) < 0 or not 0 < total < math.inf:  # a NaN makes a sum that compares as false
        listed = ", ".join(f"{weight:g}" for weight in weights)
        raise UsageError(f"Weights are finite numbers from 0 upwards, not all of them 0; found {listed}. Change them.")
    normalised: NDArray[np.float64] = np.array(weights, np.float64) / total
    return normalised


def align(
    files: Sequence[ScoresFile], names: Sequence[str], *, kind: Kind | None = None, common: bool = False
) -> Aligned:
    """Streams in one order of videos and classes, as one kind of scores.

    `kind`: what is averaged; None is logits where every stream has them, else probabilities. `common`: the videos that
    every stream has, where they differ.

    Raises:
        UsageError: the streams are of different datasets, splits or classes, of different videos without `common`, or
            have no logits.
        DataError: their labels differ, or scores are not finite.
    """
    first = files[0]
    for file, name in zip(files[1:], names[1:], strict=True):
        _check_place(first, file, names[0], name)
        _check_classes(first, file, names[0], name)
    for file, name in zip(files, names, strict=True):
        _check_finite(file, name)
    chosen = _kind(files, names, kind)
    ids = _videos(files, names, common=common)
    columns_SK = [[file.classes.index(name) for name in first.classes] for file in files]
    rows_SB = [_positions(file.scores.ids, ids) for file in files]
    labels_S = [_labels(file, rows, columns) for file, rows, columns in zip(files, rows_SB, columns_SK, strict=True)]
    for labels, name in zip(labels_S[1:], names[1:], strict=True):
        _check_labels(labels_S[0], labels, ids, names[0], name)
    found = [file.scores.scores_BK if chosen == file.kind else file.probability_BK for file in files]
    scores_SBK = np.stack([s[rows][:, cols] for s, rows, cols in zip(found, rows_SB, columns_SK, strict=True)])
    return Aligned(
        names=tuple(names),
        ids=ids,
        classes=first.classes,
        scores_SBK=scores_SBK,
        labels=labels_S[0],
        kind=chosen,
        reordered=tuple(name for name, file in zip(names, files, strict=True) if file.classes != first.classes),
        left_out=tuple(len(file.scores.ids) - len(ids) for file in files),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """Weights tried on a validation split."""

    metric: str
    best: tuple[float, ...]
    curve: list[tuple[tuple[float, ...], float]]
    """(weights, which sum to 1; the metric), from the first stream alone to the last alone."""

    @property
    def best_value(self) -> float:
        return dict(self.curve)[self.best]


def search(aligned: Aligned) -> Search:
    """The best weights on a grid over all that sum to 1, by top-1, or by mAP of several labels per video.

    Twentieths for two and three streams, tenths for more. Of equally good ones those nearest to equal weights win.

    Raises:
        UsageError: there are too many streams.
    """
    streams = len(aligned.names)
    if streams > MOST_SEARCHED:
        raise UsageError(f"Weights are searched for up to {MOST_SEARCHED} streams, found {streams}. Give --weights.")
    metric = "map" if aligned.labels.ndim == 2 else "top1"
    compute: Callable[[Any, Any], float] = load_metric(metric).compute
    parts = 20 if streams <= 3 else 10
    grid = [tuple(part / parts for part in point) for point in simplex(streams, parts)]
    curve = [(weights, compute(aligned.fused(weights).scores_BK, aligned.labels)) for weights in grid]
    best = max(curve, key=lambda tried: (tried[1], -_unevenness(tried[0])))
    return Search(metric=metric, best=best[0], curve=curve)


def simplex(streams: int, parts: int) -> Iterator[tuple[int, ...]]:
    """Every way to hand out `parts` to the streams.

    >>> list(simplex(2, 2))
    [(2, 0), (1, 1), (0, 2)]
    """
    if streams == 1:
        yield (parts,)
        return
    for first in range(parts, -1, -1):
        for rest in simplex(streams - 1, parts - first):
            yield (first, *rest)


def _unevenness(weights: Sequence[float]) -> float:
    return round(sum((weight - 1 / len(weights)) ** 2 for weight in weights), 9)


def _check_place(first: ScoresFile, file: ScoresFile, one: str, other: str) -> None:
    for what, a, b in (("dataset", first.dataset, file.dataset), ("split", first.split, file.split)):
        if a != b:
            raise UsageError(
                f"Streams should be scores of one dataset and split; found {what} {a} of {one} and {b} of {other}. "
                "Name a split that all were tested on with --split."
            )


def _check_classes(first: ScoresFile, file: ScoresFile, one: str, other: str) -> None:
    extra, missing = (_without(a.classes, b.classes) for a, b in ((file, first), (first, file)))
    if extra or missing:
        raise UsageError(
            f"Streams should have the same classes; {one} has {len(first.classes)}, {other} lacks {some(missing)} of "
            f"them and has {some(extra)} besides. Fuse runs of one set of classes."
        )


def _kind(files: Sequence[ScoresFile], names: Sequence[str], wanted: Kind | None) -> Kind:
    squashed = [name for name, file in zip(names, files, strict=True) if file.kind == "probabilities"]
    if wanted == "logits" and squashed:
        raise UsageError(
            f"--of logits needs logits of every stream, found probabilities of {', '.join(squashed)}, whose model "
            "averages those over its views. Fuse with --of probabilities."
        )
    return wanted or ("probabilities" if squashed else "logits")


def _videos(files: Sequence[ScoresFile], names: Sequence[str], *, common: bool) -> tuple[str, ...]:
    """The ids to fuse, in the order of the first stream."""
    known = [set(file.scores.ids) for file in files]
    shared = set.intersection(*known)
    every = dict.fromkeys(id_ for file in files for id_ in file.scores.ids)
    lacking = [[id_ for id_ in every if id_ not in ids] for ids in known]
    if not any(lacking) or (common and shared):
        return tuple(id_ for id_ in files[0].scores.ids if id_ in shared)
    found = "; ".join(f"{name} lacks {some(ids)}" for name, ids in zip(names, lacking, strict=True) if ids)
    to_do = "Fuse those that all have with --common" if shared else "There is none that all have: fuse other streams"
    raise UsageError(f"Streams should have scores of the same videos; of {len(every)} videos {found}. {to_do}.")


def _positions(known: Sequence[str], wanted: Sequence[str]) -> list[int]:
    place = {id_: number for number, id_ in enumerate(known)}
    return [place[id_] for id_ in wanted]


def _labels(file: ScoresFile, rows: list[int], columns: list[int]) -> NDArray[np.int64]:
    """A stream's labels for the first one's order of classes; `columns`: where each of those is in the stream."""
    labels = file.scores.labels[rows]
    found: NDArray[np.int64] = labels[:, columns] if labels.ndim == 2 else np.argsort(columns)[labels]
    return found


def _check_labels(a: NDArray[Any], b: NDArray[Any], ids: Sequence[str], one: str, other: str) -> None:
    if a.ndim != b.ndim:
        raise DataError(
            f"Streams should have the same labels; found one per video in one of {one} and {other}, several in the "
            "other. Test both on the same dataset."
        )
    differ_B = (a != b).reshape(len(ids), -1).any(axis=1)
    if differ_B.any():
        wrong = [ids[number] for number in np.flatnonzero(differ_B).tolist()]
        raise DataError(
            f"Streams should have the same labels; those of {one} and {other} differ for {some(wrong)} of {len(ids)} "
            "videos. The catalog has changed between the tests: run `vtk test` again for both."
        )


def _check_finite(file: ScoresFile, name: str) -> None:
    scores_BK = file.scores.scores_BK
    wrong = int((~(np.abs(scores_BK) <= np.finfo(np.float32).max)).any(axis=1).sum())  # NaN compares as false
    if wrong:
        raise DataError(
            f"Scores should be finite numbers, found others for {wrong} of {len(scores_BK)} videos of {name}. The "
            "weights are damaged or training diverged: test another checkpoint."
        )


def _without(names: Sequence[str], known: Sequence[str]) -> list[str]:
    others = set(known)
    return [name for name in names if name not in others]


def some(names: Sequence[str]) -> str:
    """How many, and the first few.

    >>> some([]), some(["a", "b"]), some(["a", "b", "c", "d"])
    ('none', '2 (a, b)', '4 (a, b, c ...)')
    """
    if not names:
        return "none"
    return f"{len(names)} ({', '.join(names[:NAMED])}{' ...' if len(names) > NAMED else ''})"
